// Words that are wrong, unknown or in the wrong place: each is reported, and what it was meant for stays unset.
import { describe, expect, test } from 'vitest';
import { load, server, short } from './support/memory.js';

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

test('an unknown keyword takes its block with it, and says so', () => {
  const [report, ...others] = load(server('', '', 'TCP_CHEK {\nconnect_port 1\n}')).reports;
  expect(others).toEqual([]);
  expect(report?.remedy).toBe('did you mean TCP_CHECK? (its block is left out, too)');
});

test('a report of a repeated line is made once', () => {
  const text = server('', '~SEQ(N, 1, 100) unknown $N');
  expect(short(load(text))).toEqual(['7:1 unknown unknown keyword "unknown"']);
});
