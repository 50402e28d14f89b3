// What stays with keepalived.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: definitions of keepalived look like that
import { describe, expect, test } from 'vitest';
import { load, short } from './support/memory.js';

const VIRTUAL_SERVER =
  'virtual_server 192.0.2.1 80 {\n  lb_algo rr # why\n\n  lb_kind NAT\n  protocol TCP\n  real_server 10.0.0.1 80 {\n  }\n}';
const VRRP = 'vrrp_instance VI_1 {\n  state MASTER   ! for now\n  virtual_ipaddress {\n    192.0.2.99\n  }\n}';

test('VRRP stays as it was written, virtual servers go', () => {
  const file = load(`! keepalived\n\nglobal_defs {\n  router_id a\n}\n\n${VIRTUAL_SERVER}\n\n${VRRP}\n\n${VIRTUAL_SERVER}\n`);
  expect(file.remainder).toBe(`! keepalived\n\nglobal_defs {\n  router_id a\n}\n\n${VRRP}\n`);
  expect(file.staysInUse).toBe(true);
  expect(file.kept.map((statement) => statement.keyword.text)).toEqual(['global_defs', 'vrrp_instance']);
  const [, vrrp] = file.kept;
  expect(vrrp?.block?.[1]?.block?.map((line) => line.keyword.text)).toEqual(['192.0.2.99']);
});

test('addresses of virtual servers leave their vrrp_instance: the kernel must not have them, too', () => {
  const group = 'virtual_server_group g {\n 192.0.2.8-9 80\n}\nvirtual_server group g {\n protocol TCP\n}';
  const lines = ['192.0.2.1/24 dev eth0', '192.0.2.9', '192.0.2.10', '2001:db8::1'];
  const vrrp = (kept: readonly string[]) =>
    `vrrp_instance V {\n virtual_ipaddress {\n${kept.map((line) => `  ${line}\n`).join('')} }\n}\n`;
  const file = load(`${VIRTUAL_SERVER}\n${group}\n${vrrp(lines)}`);
  expect(file.remainder).toBe(vrrp(['192.0.2.10', '2001:db8::1']));
  expect(short(file, ['note']).filter((line) => line.includes('leaves keepalived'))).toEqual([
    expect.stringContaining('192.0.2.1/24 leaves keepalived'),
    expect.stringContaining('192.0.2.9 leaves keepalived'),
  ]);
});

test.each([
  ['192.0.2.1', '169.254.0.51/32 dev lo'],
  ['2001:db8::1', 'fe80::51/128 dev lo'],
])('an instance whose only address is %s keeps one that is nobody’s', (address, kept) => {
  const vrrp = (line: string) => `vrrp_instance V {\n virtual_router_id 51\n virtual_ipaddress {\n  ${line}\n }\n}\n`;
  expect(load(`virtual_server ${address} 80 {\n}\n${vrrp(`${address} dev eth0`)}`).remainder).toBe(vrrp(kept));
});

test('a file of virtual servers only leaves keepalived nothing to do', () => {
  const file = load(`global_defs {\n router_id a\n}\n${VIRTUAL_SERVER}`);
  expect(file.staysInUse).toBe(false);
  expect(file.remainder).toBe('global_defs {\n router_id a\n}\n');
});

test('every block that keepalived keeps is in the remainder, and no word of it is reported', () => {
  const blocks = [
    'vrrp_sync_group G {\n group {\n  VI_1\n }\n}',
    'vrrp_script S {\n script "/bin/true"\n}',
    'vrrp_track_process P {\n process nginx\n}',
    'track_file F {\n file /run/f\n}',
    'track_group T {\n group {\n  VI_1\n }\n}',
    'bfd_instance B {\n neighbor_ip 10.0.0.1\n}',
    'static_ipaddress {\n 10.0.0.1/24 dev eth0\n}',
    'static_routes {\n 10.0.0.0/24 via 10.0.0.1\n}',
    'static_rules {\n from 10.0.0.0/24 table 1\n}',
    'linkbeat_interfaces {\n eth0\n}',
    'garp_group {\n garp_interval 1\n}',
    'interface_up_down_delays {\n eth0 1 2\n}',
    'net_namespace red',
    'instance one',
    'use_pid_dir',
    'child_wait_time 5',
    'linkbeat_use_polling',
    'namespace_with_ipsets',
    VRRP,
  ];
  const text = `${blocks.join('\n')}\n`;
  const file = load(text);
  expect(file.remainder).toBe(text);
  expect(short(file)).toEqual([]);
});

test('words of LVS leave global_defs and vrrp_instance, with a report where nothing here has their place', () => {
  const file = load(
    [
      'global_defs {',
      '  router_id a',
      '  lvs_sync_daemon eth0 VI_1 # connections',
      '  lvs_timeouts tcp 900',
      '  smtp_alert_checker on',
      '  vrrp_version 3',
      '  smtp_alert on',
      '}',
      'vrrp_instance VI_1 {',
      '  lvs_sync_daemon_interface eth0',
      '  state MASTER',
      '}',
      '',
    ].join('\n'),
  );
  expect(file.remainder).toBe(
    'global_defs {\n  router_id a\n  vrrp_version 3\n  smtp_alert on\n}\nvrrp_instance VI_1 {\n  state MASTER\n}\n',
  );
  expect(short(file)).toEqual([
    '3:3 unsupported lvs_sync_daemon has no counterpart',
    '10:3 unsupported lvs_sync_daemon_interface has no counterpart',
  ]);
  expect(file.config.globals).toMatchObject({ lvsTimeouts: { tcp: 900 }, smtpAlertChecker: true, smtpAlert: true });
});

test('unknown blocks stay, and are reported', () => {
  const file = load(`something {\n a\n}\n${VIRTUAL_SERVER}`);
  expect(file.remainder).toBe('something {\n a\n}\n');
  expect(short(file)).toEqual(['1:1 unknown unknown keyword "something"']);
});

describe('conditions', () => {
  const text = `@a net_namespace a\n@b net_namespace b\nvrrp_instance VI {\n@a priority 2\n@b priority 1\n}\n`;

  test('stay for both nodes', () => {
    const file = load(text + VIRTUAL_SERVER, { configId: 'a' });
    expect(file.remainder).toBe(text);
    expect(short(file)).toEqual([]);
  });

  test('are told of when no config-id is given', () => {
    const [report] = load(text).reports;
    expect(report).toMatchObject({ kind: 'note', line: 1, reason: expect.stringContaining('no config-id was given') });
  });

  test('in a block that goes, go with it', () => {
    const file = load(`virtual_server 192.0.2.1 80 {\n@a delay_loop 1\n@b delay_loop 2\n}\n${VRRP}\n`, { configId: 'a' });
    expect(file.remainder).toBe(`${VRRP}\n`);
    expect(file.config.virtualServers[0]?.delayLoop).toBe(1);
  });

  test('that hide a virtual server of the other node are told of', () => {
    const file = load('@b virtual_server 192.0.2.1 80 {\n@b lb_algo rr\n@b }\n', { configId: 'a' });
    expect(short(file)).toEqual(['1:1 note this virtual_server counts with another config-id; it is not read here']);
    expect(file.remainder).toContain('@b virtual_server');
  });
});

describe('definitions', () => {
  test('stay where something that stays uses them', () => {
    const file = load(
      `$VIP=192.0.2.1\n$NET=\${BASE}.0\n$BASE=10.0\n$PORT=80\n@b $PORT=81\nvirtual_server $VIP $PORT {\n$INNER=1\n}\nvrrp_instance V {\n virtual_ipaddress {\n  $VIP\n  \${NET}.1\n }\n}\n`,
    );
    expect(file.remainder).toBe('$NET=${BASE}.0\n$BASE=10.0\nvrrp_instance V {\n virtual_ipaddress {\n  ${NET}.1\n }\n}\n');
  });

  test('of several lines that made virtual servers go with their uses', () => {
    const text = '$VS= \\\nvirtual_server 192.0.2.${N} 80 { \\\n}\n$N=1\n$VS\n$N=2\n$VS\n';
    const file = load(text + VRRP);
    expect(file.config.virtualServers).toHaveLength(2);
    expect(file.remainder).toBe(`${VRRP}\n`);
  });

  test('that made both are written out', () => {
    const file = load('$BOTH= \\\nvirtual_server 192.0.2.1 80 { \\\n} \\\nvrrp_instance V { \\\n state MASTER \\\n}\n$BOTH\n');
    expect(file.remainder).toBe('vrrp_instance V\n{\nstate MASTER\n}\n');
  });
});

test('what shares a line with something that goes is written out', () => {
  expect(load('global_defs { lvs_flush\n router_id a }').remainder).toBe('global_defs\n{\n router_id a }\n');
});

describe('includes', () => {
  const vrrp = '/etc/keepalived/vrrp/a.conf';
  const mixed = '/etc/keepalived/lvs/a.conf';

  test('of files that have nothing to leave stay', () => {
    const text = 'include vrrp/*.conf\ninclude none/*\n';
    const file = load(text + VIRTUAL_SERVER, { files: { [vrrp]: VRRP } });
    expect(file.remainder).toBe(text);
    expect(file.files).toEqual(['/etc/keepalived/keepalived.conf', vrrp]);
    expect(file.staysInUse).toBe(true);
  });

  test('of files that have are replaced by what stays of them, with paths as they were', () => {
    const included = `vrrp_script s {\n script \${_PWD}/check.sh\n}\n${VIRTUAL_SERVER}\ninclude more.inc\n`;
    const file = load('include lvs/*.conf\n', { files: { [mixed]: included, '/etc/keepalived/lvs/more.inc': VRRP } });
    expect(file.remainder).toBe(
      '# include lvs/*.conf\nvrrp_script s {\n script /etc/keepalived/lvs/check.sh\n}\ninclude /etc/keepalived/lvs/more.inc\n',
    );
    expect(file.config.virtualServers[0]?.at).toMatchObject({ file: mixed, line: 4, column: 1 });
  });

  test('within a block that goes, go with it', () => {
    const files = { '/etc/keepalived/real.conf': 'real_server 10.0.0.1 80 {\n}\n' };
    const file = load(`virtual_server 192.0.2.1 80 {\n include real.conf\n}\n${VRRP}\n`, { files });
    expect(file.config.virtualServers[0]?.realServers[0]?.at).toMatchObject({ file: '/etc/keepalived/real.conf', line: 1 });
    expect(file.remainder).toBe(`${VRRP}\n`);
  });
});

test('reading the remainder again finds nothing that leaves, and leaves it as it is', () => {
  const text = `global_defs {\n lvs_flush\n router_id a\n}\n${VIRTUAL_SERVER}\n$A=1\n${VRRP}\nvirtual_server_group g { 192.0.2.1 80\n}\n`;
  const first = load(text);
  const second = load(first.remainder);
  expect(second.config.virtualServers).toEqual([]);
  expect(second.config.groups).toEqual([]);
  expect(second.remainder).toBe(first.remainder);
});
