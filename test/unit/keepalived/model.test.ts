// The typed model: every keyword with its value, and what counts where nobody wrote one.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { alphaOf, forwardingOf, inhibitsOf, timingOf, weightOf } from '../../../src/keepalived/defaults.js';
import type { Check, RealServer, VirtualServer } from '../../../src/keepalived/model.js';
import { load, server, short } from './support/memory.js';

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
