// The typed model: every keyword with its value, and what becomes of words that are wrong, unknown or in the wrong place.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { alphaOf, forwardingOf, inhibitsOf, timingOf, weightOf } from '../../../src/keepalived/defaults.js';
import type { Check, RealServer, VirtualServer } from '../../../src/keepalived/model.js';
import { load, short } from './support/memory.js';

/** The model without places and without details of addresses: what a person would write down. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const record = value as Record<string, unknown>;
  if (typeof record['text'] === 'string' && 'family' in record) return record['text'];
  return Object.fromEntries(
    Object.entries(record)
      .filter(([key, child]) => key !== 'at' && child !== undefined)
      .map(([key, child]) => [key, plain(child)]),
  );
}

const fixture = readFileSync(fileURLToPath(new URL('fixtures/every-keyword.conf', import.meta.url)), 'utf8');

describe('every keyword', () => {
  const file = load(fixture);
  const [web, marks, mark, six] = file.config.virtualServers;

  test('is understood', () => {
    expect(short(file)).toEqual([]);
  });

  test('of groups and globals', () => {
    const { globals, ssl, groups, trackFiles, bfdInstances } = file.config;
    expect(plain({ globals, ssl, groups, trackFiles, bfdInstances })).toEqual({
      globals: {
        smtpAlert: false,
        smtpAlertChecker: true,
        checkerLogAllFailures: true,
        scriptUser: { user: 'checker', group: 'nogroup' },
        lvsTimeouts: { tcp: 900, tcpFin: 120, udp: 300 },
      },
      ssl: { password: 'secret', ca: '/etc/ssl/ca.pem', certificate: '/etc/ssl/cert.pem', key: '/etc/ssl/key.pem' },
      groups: [
        {
          name: 'web',
          entries: [
            { kind: 'addresses', first: '192.0.2.1', last: '192.0.2.1', port: 80 },
            { kind: 'addresses', first: '192.0.2.10', last: '192.0.2.20', port: 8080 },
            { kind: 'addresses', first: '192.0.2.250', last: '192.0.3.10', port: 81 },
            { kind: 'addresses', first: '192.0.2.64', last: '192.0.2.71' },
          ],
        },
        {
          name: 'six',
          entries: [
            { kind: 'addresses', first: '2001:db8::1', last: '2001:db8::f', port: 443 },
            { kind: 'addresses', first: '2001:db8:1::', last: '2001:db8:1::3', port: 443 },
          ],
        },
        {
          name: 'marks',
          entries: [
            { kind: 'fwmark', mark: 7 },
            { kind: 'fwmark', mark: 8 },
          ],
        },
      ],
      trackFiles: [{ name: '/run_weight', file: '/run/weight', weight: 10 }],
      bfdInstances: ['peer'],
    });
  });

  test('of a virtual server', () => {
    const { realServers: _, ...rest } = web as VirtualServer;
    expect(plain(rest)).toEqual({
      address: { kind: 'group', name: 'web' },
      scheduler: 'mh',
      flags: ['flag-1', 'flag-2', 'flag-3', 'mh-port', 'mh-fallback'],
      forwarding: { method: 'TUN', tunnel: { type: 'gue', port: 6080, checksum: 'remcsum' } },
      persistenceEngine: 'sip',
      persistenceTimeout: 600,
      persistenceGranularity: 24,
      protocol: 'UDP',
      ops: true,
      haSuspend: true,
      smtpAlert: true,
      virtualhost: 'www.example.org',
      snmpName: 'web',
      alpha: true,
      omega: true,
      quorum: 3,
      hysteresis: 1,
      quorumUp: { command: '/usr/bin/up "one two" three', user: 'checker', group: 'nogroup' },
      quorumDown: { command: '/usr/bin/down' },
      ipFamily: 'inet',
      connectTimeout: 2.5,
      retry: 4,
      delayBeforeRetry: 1.5,
      warmup: 0,
      delayLoop: 6,
      inhibitOnFailure: true,
      weight: 5,
      sorryServer: { address: '10.0.0.99', port: 8080, inhibit: true, forwarding: { method: 'NAT' } },
      dpvs: {},
    });
    expect(plain(marks)).toMatchObject({ scheduler: 'sh', flags: ['sh-port', 'sh-fallback'], persistenceTimeout: 360 });
    expect(plain(mark)).toMatchObject({
      address: { kind: 'fwmark', mark: 9 },
      forwarding: { method: 'TUN', tunnel: { type: 'ipip', checksum: 'nocsum' } },
      realServers: [{ address: '2001:db8::11', weight: 1 }],
    });
    expect(plain(six)).toMatchObject({
      address: { kind: 'address', address: '2001:db8::80', port: 443 },
      protocol: 'SCTP',
      persistenceGranularity: 64,
    });
  });

  test('of a real server and its checks', () => {
    const [server] = plain(web?.realServers) as [Record<string, unknown>];
    const { checks, ...rest } = server;
    expect(rest).toEqual({
      address: '10.0.0.11',
      port: 80,
      weight: 0,
      forwarding: { method: 'TUN', tunnel: { type: 'gre', checksum: 'csum' } },
      notifyUp: { command: '/usr/bin/notify up' },
      notifyDown: { command: '/usr/bin/notify down', user: 'checker' },
      upperThreshold: 1000,
      lowerThreshold: 800,
      smtpAlert: true,
      virtualhost: 'one.example.org',
      snmpName: 'one',
      alpha: false,
      connectTimeout: 3,
      retry: 2,
      delayBeforeRetry: 2,
      warmup: 4,
      delayLoop: 10,
      inhibitOnFailure: false,
    });
    expect(checks).toEqual([
      {
        type: 'TCP_CHECK',
        connection: { ip: '10.1.0.11', port: 8081, bindTo: '10.1.0.1', bindInterface: 'eth1', bindPort: 4000, fwmark: 5 },
        alpha: true,
        connectTimeout: 1,
        retry: 0,
        delayBeforeRetry: 0,
        warmup: 1,
        delayLoop: 2,
        logAllFailures: true,
      },
      {
        type: 'HTTP_GET',
        connection: {},
        httpProtocol: '1.0C',
        fastRecovery: true,
        virtualhost: 'check.example.org',
        urls: [
          {
            path: '/a b',
            digest: '9b3a0c85a887a256d6939da88aabd8cd',
            statusCodes: [
              { first: 200, last: 299 },
              { first: 404, last: 404 },
              { first: 503, last: 503 },
            ],
            virtualhost: 'url.example.org',
            regex: '^a\\.b\t[0-9]+ "c"',
            regexNoMatch: true,
            regexOptions: ['caseless', 'dotall'],
            regexMinOffset: 10,
            regexMaxOffset: 1000,
            regexStack: { start: 1024, max: 4096 },
          },
          { path: '/second', statusCodes: [], regexOptions: [] },
        ],
      },
      { type: 'SSL_GET', connection: {}, enableSni: true, urls: [{ path: '/', statusCodes: [], regexOptions: [] }] },
      { type: 'SMTP_CHECK', connection: {}, hosts: [], heloName: 'lb one' },
      { type: 'DNS_CHECK', connection: {}, queryType: 'AAAA', name: 'example.org' },
      {
        type: 'MISC_CHECK',
        connection: {},
        path: { command: "/usr/bin/check 'a b' c" },
        timeout: 5,
        dynamic: true,
        user: 'checker',
        group: 'nogroup',
        retry: 1,
        logAllFailures: true,
      },
      { type: 'BFD_CHECK', connection: {}, name: 'peer' },
      { type: 'PING_CHECK', connection: {} },
      {
        type: 'UDP_CHECK',
        connection: {},
        payload: { bytes: [0xab, 0x12, 0x0f, 0x03, 0x45, 0x06], ignored: [0, 0, 0, 0, 0, 0] },
        requireReply: { pattern: { bytes: [0xab, 0, 0x10], ignored: [0, 0xff, 0x0f] } },
        minReplyLength: 1,
        maxReplyLength: 99,
      },
      { type: 'FILE_CHECK', connection: {}, trackFile: '/run_weight', weight: -2, reverse: true },
    ]);
  });

  test('knows its line', () => {
    expect(web?.at).toMatchObject({ line: 43, column: 1, text: 'virtual_server' });
    expect(web?.realServers[0]?.checks[0]?.at).toMatchObject({ line: 94, column: 9 });
    expect(web?.forwarding?.at).toMatchObject({ line: 50, column: 5 });
  });
});

test('words of DPVS', () => {
  const file = load(`
local_address_group laddr {
    192.168.100.200 dpdk0
    192.168.100.201-203 dpdk1
}
deny_address_group bad {
    198.51.100.1-20
    ipset:evil
}
allow_address_group good { 2001:db8::1 }
virtual_server 192.0.2.1 80 {
    lb_algo conhash
    lb_kind FNAT
    protocol tcp
    hash_target qid
    laddr_group_name laddr
    daddr_group_name bad
    waddr_group_name good
    syn_proxy
    establish_timeout 120
    proxy_protocol v2
    bps 1000
    limit_proportion 80
    expire_quiescent_conn
    quic
    vip_bind_dev dpdk0
    hashed
    real_server 10.0.0.1 80 { lvs_method DR }
}
virtual_server match out {
    lb_kind SNAT
    lb_algo wrr
    protocol icmp
    src-range 10.0.0.0-10.0.0.9
    dst-range 0.0.0.0-255.255.255.255
    iif dpdk1
    oif dpdk0
    real_server 203.0.113.1 0 { weight 4 }
}`);
  expect(short(file)).toEqual(['8:5 unsupported ipset:evil names a set of the kernel']);
  expect(plain(file.config.localAddressGroups)).toEqual([
    {
      name: 'laddr',
      entries: [
        { first: '192.168.100.200', last: '192.168.100.200', interface: 'dpdk0' },
        { first: '192.168.100.201', last: '192.168.100.203', interface: 'dpdk1' },
      ],
    },
  ]);
  expect(plain(file.config.denyAddressGroups)).toEqual([
    { name: 'bad', entries: [{ first: '198.51.100.1', last: '198.51.100.20' }] },
  ]);
  expect(plain(file.config.allowAddressGroups)).toEqual([
    { name: 'good', entries: [{ first: '2001:db8::1', last: '2001:db8::1' }] },
  ]);
  expect(plain(file.config.virtualServers)).toMatchObject([
    {
      forwarding: { method: 'FNAT' },
      flags: ['hashed'],
      dpvs: {
        localAddressGroup: 'laddr',
        denyAddressGroup: 'bad',
        allowAddressGroup: 'good',
        synProxy: true,
        establishTimeout: 120,
        proxyProtocol: 'v2',
        bps: 1000,
        limitProportion: 80,
        expireQuiescentConnections: true,
        quic: true,
        vipInterface: 'dpdk0',
        hashTarget: 'qid',
      },
    },
    {
      address: { kind: 'match', name: 'out' },
      protocol: 'ICMP',
      dpvs: {
        sourceRange: '10.0.0.0-10.0.0.9',
        destinationRange: '0.0.0.0-255.255.255.255',
        inputInterface: 'dpdk1',
        outputInterface: 'dpdk0',
      },
    },
  ]);
});

/** A virtual server with these lines, its real server with those, a check with further ones. */
function server(virtual: string, real = '', check = 'TCP_CHECK {\n}'): string {
  const head = 'virtual_server 192.0.2.1 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP';
  return `${head}\n${virtual}\nreal_server 10.0.0.1 80 {\n${real}\n${check}\n}\n}`;
}

/** Reasons of one text, apart from its places. */
const reasons = (text: string) => load(text).reports.map((report) => `${report.kind}: ${report.reason}`);

describe('what is wrong is reported and stays unset', () => {
  test.each([
    ['quorun 3', 'unknown: unknown keyword "quorun"'],
    ['delay_loop', 'invalid: delay_loop needs a time in seconds above 0'],
    ['delay_loop 0', 'invalid: expected a time in seconds above 0, found "0"'],
    ['delay_loop 1x', 'invalid: expected a time in seconds above 0, found "1x"'],
    ['retry 0', 'invalid: expected a number from 1 to 4294967295, found "0"'],
    ['quorum 4294967296', 'invalid: expected a number from 1 to 4294967295, found "4294967296"'],
    ['weight 1 2', 'unknown: "2" stands behind weight, where nothing is expected'],
    ['alpha yes', 'unknown: "yes" stands behind alpha, where nothing is expected'],
    ['smtp_alert perhaps', 'invalid: expected on or off, found "perhaps"'],
    ['ip_family inet4', 'invalid: expected one of inet, inet6, found "inet4"'],
    ['persistence_timeout 0', 'invalid: expected a number from 1 to 2678400, found "0"'],
    [
      'persistence_granularity 255.0.255.0',
      'invalid: expected a mask such as 255.255.255.0, or a prefix length of IPv6 from 1 to 128',
    ],
    ['sorry_server_inhibit', 'invalid: sorry_server_inhibit stands in front of sorry_server'],
    ['sorry_server_lvs_method NAT', 'invalid: sorry_server_lvs_method stands in front of sorry_server'],
    ['sorry_server 10.0.0', 'invalid: expected an IP address, found "10.0.0"'],
    ['sorry_server 10.0.0.1 65536', 'invalid: expected a port from 1 to 65535, found "65536"'],
    ['quorum_up', 'invalid: quorum_up names no script'],
    ['quorum_up "a b', 'syntax: a double quote has no partner on this line'],
    ["quorum_up 'a b", 'syntax: the quotes behind quorum_up do not pair'],
    ['quorum_up a b c d', 'unknown: "d" stands behind the script, its user and its group'],
    ['quorum {\n}', 'syntax: quorum has a block, where none belongs'],
    ['real_server 10.0.0.2 80', 'syntax: real_server has no block'],
    ['real_server x 80 {\n}', 'invalid: expected an IP address, found "x"'],
    ['real_server x 80 {\n}', 'invalid: this real_server is left out with all that is in it'],
    ['quorum_down a\nquorum_down b', 'note: quorum_down stands on line 5 already; this one is ignored'],
    ['quorum 1\nquorum 2', 'note: quorum stands on line 5 already; this one replaces it'],
    ['limit_proportion 101', 'invalid: expected a number from 0 to 100, found "101"'],
    ['hash_target x', 'invalid: expected one of sip, qid, found "x"'],
  ])('in a virtual server: %j', (line, reason) => {
    expect(reasons(server(line))).toContainEqual(expect.stringContaining(reason));
  });

  test.each([
    ['lvs_method', 'invalid: lvs_method needs one of NAT, DR, TUN, FNAT, SNAT'],
    ['lvs_method NATTED', 'invalid: expected one of NAT, DR, TUN, FNAT, SNAT, found "NATTED"'],
    ['lvs_method NAT csum type gre', 'invalid: csum has a meaning with TUN only'],
    ['lvs_method TUN type', 'invalid: lvs_method needs a type of tunnel: ipip, gue or gre'],
    ['lvs_method TUN type vxlan', 'invalid: expected ipip, gue or gre, found "vxlan"'],
    ['lvs_method TUN type gue', 'invalid: a gue tunnel needs a port'],
    ['lvs_method TUN type gue port 0', 'invalid: expected a number from 1 to 65535, found "0"'],
    ['lvs_method TUN port 5', 'invalid: a tunnel of type ipip has no port'],
    ['lvs_method TUN csum', 'invalid: an ipip tunnel has no checksum'],
    ['lvs_method TUN type gre remcsum', 'invalid: a gre tunnel has no remote checksum'],
    ['lvs_method TUN fast', 'invalid: expected type, port, nocsum, csum or remcsum, found "fast"'],
    ['uthreshold -1', 'invalid: expected a number from 0 to 4294967295, found "-1"'],
    ['TCP_CHECKS {\n}', 'unknown: unknown keyword "TCP_CHECKS"'],
    ['TCP_CHECK', 'syntax: TCP_CHECK has no block'],
  ])('in a real server: %j', (line, reason) => {
    expect(reasons(server('', line))).toContainEqual(expect.stringContaining(reason));
  });

  test.each([
    ['TCP_CHECK {\nconnect_ip a\n}', 'invalid: expected an IP address, found "a"'],
    ['TCP_CHECK {\nconnect_port 0\n}', 'invalid: expected a number from 1 to 65535, found "0"'],
    ['TCP_CHECK {\nbind_if averyverylongname\n}', 'invalid: expected the name of an interface, 15 characters at most'],
    ['TCP_CHECK {\nurl { path / }\n}', 'unknown: unknown keyword "url"'],
    ['HTTP_GET {\n}', 'invalid: HTTP_GET has no url; keepalived ignores it'],
    ['HTTP_GET {\nurl { }\n}', 'invalid: the url has no path; keepalived ignores it'],
    ['HTTP_GET {\nurl {\npath /\ndigest 12\n}\n}', 'invalid: expected 32 hexadecimal digits'],
    ['HTTP_GET {\nurl {\npath /\nstatus_code 99\n}\n}', 'invalid: expected a status code from 100 to 599'],
    ['HTTP_GET {\nurl {\npath /\nstatus_code 300-200\n}\n}', 'invalid: expected a status code from 100 to 599'],
    ['HTTP_GET {\nurl {\npath /\nregex a b\n}\n}', 'invalid: regex takes one word'],
    ["HTTP_GET {\nurl {\npath /\nregex 'a\n}\n}", 'invalid: the quotes of the regular expression do not pair'],
    ['HTTP_GET {\nurl {\npath /\nregex_options fast\n}\n}', 'unknown: unknown option "fast"'],
    ['HTTP_GET {\nhttp_protocol 2\nurl { path / }\n}', 'invalid: expected one of 1.0, 1.0C, 1.0c, 1.1, found "2"'],
    ['MISC_CHECK {\n}', 'invalid: MISC_CHECK has no misc_path; keepalived ignores it'],
    ['MISC_CHECK {\nmisc_path /a\nconnect_port 80\n}', 'unknown: unknown keyword "connect_port"'],
    ['MISC_CHECK {\nmisc_path /a\nuser\n}', 'invalid: user needs a user'],
    ['DNS_CHECK {\ntype SRV\n}', 'invalid: expected one of A, NS, CNAME, SOA, MX, TXT, AAAA, found "SRV"'],
    ['DNS_CHECK {\nname a..b\n}', 'invalid: expected a domain name without empty labels, found "a..b"'],
    ['UDP_CHECK {\npayload\n}', 'invalid: payload needs bytes in hexadecimal'],
    ['UDP_CHECK {\npayload xx\n}', 'invalid: expected hexadecimal digits, found "xx"'],
    ['UDP_CHECK {\nrequire_reply yy\n}', 'invalid: expected hexadecimal digits, found "yy"'],
    ['BFD_CHECK {\n}', 'invalid: BFD_CHECK has no name; keepalived ignores it'],
    ['BFD_CHECK {\nname nobody\n}', 'invalid: there is no bfd_instance nobody'],
    ['FILE_CHECK {\ntrack_file nothing\ndynamic\n}', 'note: keepalived 2.2.7 does not know dynamic in FILE_CHECK'],
    ['FILE_CHECK {\ntrack_file nothing\n}', 'invalid: there is no track_file nothing'],
    ['FILE_CHECK {\ntrack_file nothing\nweight 1 backwards\n}', 'invalid: expected reverse or noreverse, found "backwards"'],
  ])('in a check: %j', (text, reason) => {
    expect(reasons(server('', '', text))).toContainEqual(expect.stringContaining(reason));
  });

  test.each([
    ['virtual_servr 192.0.2.1 80 {\n}', 'unknown: unknown keyword "virtual_servr"'],
    ['virtual_server 192.0.2.1 80', 'syntax: virtual_server has no block'],
    ['virtual_server {\n}', 'invalid: virtual_server needs an IP address'],
    ['virtual_server x 80 {\nquorum 1\n}', 'invalid: this virtual_server is left out with all that is in it'],
    ['virtual_server_group {\n192.0.2.1\n}', 'invalid: this virtual_server_group is left out with all that is in it'],
    ['virtual_server fwmark {\n}', 'invalid: virtual_server needs a number from 0 to 4294967295'],
    ['virtual_server group {\n}', 'invalid: virtual_server needs a name'],
    ['virtual_server group none {\n}', 'invalid: there is no virtual_server_group none'],
    ['virtual_server 192.0.2.1 80 {\nladdr_group_name none\n}', 'invalid: there is no local_address_group none'],
    ['virtual_server 192.0.2.1 80 {\n}', 'note: a virtual server without real servers; keepalived ignores it'],
    ['virtual_server 192.0.2.1 80 {\n}', 'note: no protocol; keepalived takes UDP'],
    ['virtual_server 192.0.2.1 80 {\n}', 'note: no scheduler; keepalived takes wlc'],
    ['virtual_server 192.0.2.1 80 {\n}', 'note: no forwarding method; keepalived takes NAT'],
    ['virtual_server 192.0.2.1 {\n}', 'note: no port; keepalived takes that for all ports'],
    ['virtual_server 192.0.2.1 80 {\nops\nprotocol TCP\n}', 'note: ops needs protocol UDP; keepalived ignores it'],
    ['virtual_server fwmark 1 {\nha_suspend\n}', 'note: ha_suspend has no meaning with a fwmark'],
    ['virtual_server fwmark 1 {\n}\nvirtual_server fwmark 1 {\n}', 'invalid: the same virtual server is on line 1'],
    ['virtual_server_group {\n}', 'invalid: virtual_server_group needs a name'],
    ['virtual_server_group a', 'syntax: virtual_server_group has no block'],
    ['virtual_server_group a {\n}', 'invalid: the group a is empty; keepalived ignores it'],
    ['virtual_server_group a b {\n192.0.2.1\n}', 'unknown: "b" stands behind the name'],
    ['virtual_server_group a {\n192.0.2.9-3\n}', 'invalid: expected an address or a range of addresses'],
    ['virtual_server_group a {\n192.0.2.1-999\n}', 'invalid: expected an address or a range of addresses'],
    ['virtual_server_group a {\n192.0.2.1-::1\n}', 'invalid: expected an address or a range of addresses'],
    ['virtual_server_group a {\n192.0.2.1/24\n}', 'invalid: expected an address or a range of addresses'],
    ['virtual_server_group a {\n192.0.2.1 80 tcp\n}', 'unknown: "tcp" is not expected here'],
    ['virtual_server_group a {\nfwmark 1 ipv6\n}', 'invalid: expected inet or inet6, found "ipv6"'],
    ['virtual_server_group a {\n192.0.2.1 {\n}\n}', 'syntax: a block stands where none belongs'],
    ['SSL', 'syntax: SSL has no block'],
    ['SSL {\npasswort x\n}', 'unknown: unknown keyword "passwort"'],
    ['tunnel_group a {\n}', 'unsupported: tunnels of DPVS are not made'],
    ['net_namespace_ipvs a', 'unsupported: net_namespace_ipvs has no counterpart'],
    ['global_defs {\nlvs_sync_daemon eth0 VI_1\n}', 'unsupported: lvs_sync_daemon has no counterpart'],
    ['global_defs {\nlvs_timeouts tcp 1 x 2\n}', 'invalid: expected tcp, tcpfin or udp, found "x"'],
    ['global_defs {\nlvs_timeouts tcp\n}', 'invalid: lvs_timeouts needs a number from 0 to 2678400'],
    ['}', 'syntax: a } closes nothing'],
    ['{', 'syntax: a { stands here without a statement in front'],
    ['a {\n}\n{', 'syntax: a { stands here without a statement in front'],
    ['vrrp_instance a {', 'syntax: the block of vrrp_instance is not closed'],
    ['vrrp_instance a { {\n}', 'syntax: a { stands here without a statement in front'],
  ])('at the top: %j', (text, reason) => {
    expect(reasons(text)).toContainEqual(expect.stringContaining(reason));
  });
});

test('a report says where, what is meant and what was around it', () => {
  const [report] = load(server('  quorun 3')).reports;
  expect(report).toMatchObject({
    kind: 'unknown',
    line: 5,
    column: 3,
    length: 6,
    path: 'virtual_server 192.0.2.1 80',
    source: '  quorun 3',
    remedy: 'did you mean quorum?',
  });
});

test('hosts of SMTP_CHECK, and words of keepalived after 2.2.7', () => {
  const smtp = 'SMTP_CHECK {\nhost {\nconnect_ip 10.0.0.2\nconnect_port 587\nretry 2\n}\nhost {\nbindto 10.0.0.3\n}\n}';
  const ssl =
    'SSL_GET {\nsni_name a.example\ntls_compliant\nurl {\npath /\ntls_compliant off\n}\n}\nHTTP_GET {\nsni_name\nnb_get_retry 4\nurl { path / }\n}';
  const file = load(server('', '', `${smtp}\n${ssl}`));
  expect(short(file)).toEqual([]);
  expect(plain(file.config.virtualServers[0]?.realServers[0]?.checks)).toEqual([
    { type: 'SMTP_CHECK', connection: {}, hosts: [{ ip: '10.0.0.2', port: 587, retry: 2 }, { bindTo: '10.0.0.3' }] },
    {
      type: 'SSL_GET',
      connection: {},
      enableSni: true,
      sniName: 'a.example',
      tlsCompliant: true,
      urls: [{ path: '/', statusCodes: [], regexOptions: [], tlsCompliant: false }],
    },
    {
      type: 'HTTP_GET',
      connection: {},
      enableSni: true,
      retry: 4,
      urls: [{ path: '/', statusCodes: [], regexOptions: [] }],
    },
  ]);
});

test('an unknown keyword takes its block with it, and says so', () => {
  const [report, ...others] = load(server('', '', 'TCP_CHEK {\nconnect_port 1\n}')).reports;
  expect(others).toEqual([]);
  expect(report?.remedy).toBe('did you mean TCP_CHECK? (its block is left out, too)');
});

test('a report of a repeated line is made once', () => {
  const text = server('', '~SEQ(N, 1, 100) unknown $N');
  expect(short(load(text))).toEqual(['7:1 unknown unknown keyword "unknown"']);
});

describe('what nobody wrote', () => {
  const read = (virtual: string, real: string, check: string) => {
    const [found] = load(server(virtual, real, check)).config.virtualServers as [VirtualServer];
    const [realServer] = found.realServers as [RealServer];
    return [found, realServer, realServer.checks[0] as Check] as const;
  };

  test.each([
    ['TCP_CHECK {\n}', { retry: 1, delayBeforeRetry: 1 }],
    ['HTTP_GET {\nurl { path / }\n}', { retry: 1, delayBeforeRetry: 3 }],
    ['DNS_CHECK {\n}', { retry: 3, delayBeforeRetry: 60 }],
    ['MISC_CHECK {\nmisc_path /a\n}', { retry: 0, delayBeforeRetry: 1 }],
  ])('has the defaults of keepalived: %j', (check, expected) => {
    const found = read('', '', check);
    expect(timingOf(...found)).toEqual({ delayLoop: 60, connectTimeout: 5, warmup: 60, ...expected });
    expect(weightOf(found[0], found[1])).toBe(1);
    expect(inhibitsOf(found[0], found[1])).toBe(false);
    expect(alphaOf(...found)).toBe(false);
    expect(forwardingOf(found[0], found[1])?.method).toBe('NAT');
  });

  test('comes from outside, the innermost first', () => {
    const virtual = 'delay_loop 10\nretry 5\nconnect_timeout 9\nweight 7\ninhibit_on_failure\nalpha';
    const found = read(virtual, 'retry 6\nwarmup 2\nlvs_method DR', 'TCP_CHECK {\nretry 8\nalpha off\n}');
    expect(timingOf(...found)).toEqual({ delayLoop: 10, connectTimeout: 9, warmup: 2, retry: 8, delayBeforeRetry: 1 });
    expect(weightOf(found[0], found[1])).toBe(7);
    expect(inhibitsOf(found[0], found[1])).toBe(true);
    expect(alphaOf(...found)).toBe(false);
    expect(forwardingOf(found[0], found[1])?.method).toBe('DR');
  });
});
