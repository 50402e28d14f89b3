// Preparing, looking and undoing on a made-up machine: every change is taken back, and nobody else's is.
import { expect, test } from 'vitest';
import { prepare, type Request, status, undo } from '../../../src/realserver/realserver.js';
import { renderPrepared, renderStatus, renderUndone } from '../../../src/realserver/render.js';
import { FakeHost, MemoryStore } from './support/fake-host.js';

function machine() {
  const host = new FakeHost();
  return { host, store: new MemoryStore() };
}

const direct: Request = { mode: 'direct', vips: ['203.0.113.10', '2001:db8:10::10'], interfaces: [] };
const tunnel: Extract<Request, { mode: 'tunnel' }> = {
  mode: 'tunnel',
  vips: ['203.0.113.10'],
  interfaces: [],
  types: ['ipip', 'gue'],
  guePort: 6080,
  from: ['192.0.2.0/24'],
  device: 'auto',
  greChecksum: false,
};
const l3dsr: Request = { mode: 'l3dsr', interfaces: [], marks: [{ dscp: 12, vip: '203.0.113.20' }] };
const arp = (scope: string, name: string) => `net/ipv4/conf/${scope}/${name}`;

test('direct: the VIPs are on lo, and ARP was silenced before', async () => {
  const one = machine();
  const order: string[] = [];
  const write = one.host.writeSysctl.bind(one.host);
  one.host.writeSysctl = (path, value) => {
    order.push(path);
    write(path, value);
  };
  const ip = one.host.ip.bind(one.host);
  one.host.ip = (args) => {
    if (args[1] === 'add') order.push(args.join(' '));
    return ip(args);
  };
  const prepared = await prepare(one, direct);
  expect(order).toEqual([
    'net/ipv4/conf/all/arp_ignore',
    'net/ipv4/conf/all/arp_announce',
    'net/ipv4/conf/eth0/arp_ignore',
    'net/ipv4/conf/eth0/arp_announce',
    'address add 203.0.113.10/32 dev lo scope host',
    'address add 2001:db8:10::10/128 dev lo nodad preferred_lft 0',
  ]);
  expect(one.host.sysctls.get(arp('all', 'arp_ignore'))).toBe('1');
  expect(one.host.sysctls.get(arp('eth0', 'arp_announce'))).toBe('2');
  expect(renderPrepared(prepared)).toContain('made   net.ipv4.conf.all.arp_ignore: 1 (before: 0)');
});

test('direct with IPv6 VIPs alone leaves ARP as it is', async () => {
  const one = machine();
  const prepared = await prepare(one, { ...direct, vips: ['2001:db8:10::10'] });
  expect(prepared.changes.map((change) => change.name)).toEqual(['2001:db8:10::10/128 on lo']);
});

test.each([
  ['direct', direct],
  ['tunnel', tunnel],
  ['l3dsr', l3dsr],
] as const)('%s: undo leaves the machine as it was, and no record', async (_mode, request) => {
  const one = machine();
  one.host.sysctls.set(arp('all', 'arp_announce'), '1');
  const before = one.host.snapshot();
  await prepare(one, request);
  expect(one.host.snapshot()).not.toEqual(before);
  const results = await undo(one);
  expect(one.host.snapshot()).toEqual(before);
  expect(one.store.state).toBeUndefined();
  expect(results.every((result) => result.outcome === 'restored')).toBe(true);
  expect(renderUndone(await undo(one))).toBe('nothing was prepared here\n');
});

test('preparing twice changes nothing the second time, and undo still knows the first state', async () => {
  const one = machine();
  const before = one.host.snapshot();
  await prepare(one, tunnel);
  const after = one.host.snapshot();
  const again = await prepare(one, tunnel);
  expect(one.host.snapshot()).toEqual(after);
  expect(again.changes.map((change) => change.outcome)).toEqual(again.changes.map(() => 'kept'));
  await undo(one);
  expect(one.host.snapshot()).toEqual(before);
});

test('what was there before is named, and undo leaves it there', async () => {
  const one = machine();
  one.host.address('lo', '203.0.113.10', 32);
  one.host.sysctls.set(arp('all', 'arp_ignore'), '2');
  one.host.ingress.makeIngressHook('eth0');
  const before = one.host.snapshot();
  const prepared = await prepare(one, tunnel);
  const there = prepared.changes.filter((change) => change.outcome === 'there').map((change) => change.name);
  expect(there).toEqual(['net.ipv4.conf.all.arp_ignore', 'ingress hook of eth0', '203.0.113.10/32 on lo']);
  const results = await undo(one);
  expect(one.host.snapshot()).toEqual(before);
  expect(results.filter((result) => result.outcome === 'kept').map((result) => result.name)).toEqual([...there].reverse());
});

test('other VIPs of the same mode take the place of the former ones', async () => {
  const one = machine();
  const before = one.host.snapshot();
  await prepare(one, direct);
  const second = await prepare(one, { ...direct, vips: ['203.0.113.11'] });
  expect(second.takenBack.map((result) => [result.name, result.outcome])).toEqual([
    ['2001:db8:10::10/128 on lo', 'restored'],
    ['203.0.113.10/32 on lo', 'restored'],
  ]);
  expect([...(one.host.links.get('lo')?.addresses.keys() ?? [])]).toEqual(['127.0.0.1', '203.0.113.11']);
  await undo(one);
  expect(one.host.snapshot()).toEqual(before);
});

test('another prefix of balancers loads the program anew', async () => {
  const one = machine();
  await prepare(one, tunnel);
  await prepare(one, { ...tunnel, from: ['198.51.100.0/24'] });
  const program = one.host.ingress.hooks.get('eth0')?.programs.get('decapsulation');
  expect(program).toMatchObject({ id: 102, config: { trusted: ['198.51.100.0/24'] } });
  expect((await status(one)).inPlace).toBe(true);
});

test('modes live side by side, and undoing one leaves the other in place', async () => {
  const one = machine();
  const before = one.host.snapshot();
  await prepare(one, tunnel);
  await prepare(one, l3dsr);
  await undo(one, { mode: 'tunnel' });
  const left = await status(one);
  expect(left.inPlace).toBe(true);
  expect(left.setups.map((setup) => setup.mode)).toEqual(['l3dsr']);
  expect([...(one.host.ingress.hooks.get('eth0')?.programs.keys() ?? [])]).toEqual(['l3dsr']);
  await undo(one, { mode: 'l3dsr' });
  expect(one.host.snapshot()).toEqual(before);
});

test('status says what somebody else changed and what is gone', async () => {
  const one = machine();
  await prepare(one, tunnel);
  one.host.sysctls.set(arp('all', 'arp_ignore'), '0');
  one.host.links.get('lo')?.addresses.delete('203.0.113.10');
  const found = await status(one);
  expect(found.inPlace).toBe(false);
  const conditions = found.entries.filter((entry) => entry.condition !== 'ok').map((entry) => [entry.name, entry.condition]);
  expect(conditions).toEqual([
    ['net.ipv4.conf.all.arp_ignore', 'changed'],
    ['203.0.113.10/32 on lo', 'gone'],
  ]);
  const text = renderStatus(found);
  expect(text).toContain('CHANGED   net.ipv4.conf.all.arp_ignore: 0, was set to 1 (before: 0)');
  expect(text).toContain('GONE      203.0.113.10/32 on lo');
  expect(text).toContain('ipip_4in4        3 packets, 300 bytes');
});

test('undo leaves what somebody else set, and restores it when forced', async () => {
  const one = machine();
  await prepare(one, direct);
  one.host.sysctls.set(arp('all', 'arp_ignore'), '3');
  const results = await undo(one);
  expect(results.filter((result) => result.outcome === 'left').map((result) => [result.name, result.reason])).toEqual([
    ['net.ipv4.conf.all.arp_ignore', 'set to 1 here, changed to 3 since'],
  ]);
  expect(one.host.sysctls.get(arp('all', 'arp_ignore'))).toBe('3');

  const two = machine();
  await prepare(two, direct);
  two.host.sysctls.set(arp('all', 'arp_ignore'), '3');
  await undo(two, { force: true });
  expect(two.host.sysctls.get(arp('all', 'arp_ignore'))).toBe('0');
});

test('a hook at which somebody else has put a filter meanwhile stays', async () => {
  const one = machine();
  await prepare(one, tunnel);
  const hook = one.host.ingress.hooks.get('eth0');
  if (hook !== undefined) hook.foreignFilters = 1;
  const results = await undo(one);
  expect(results.find((result) => result.name === 'ingress hook of eth0')).toMatchObject({
    outcome: 'left',
    reason: '1 filter of somebody else stand at it',
  });
  expect(one.host.ingress.hooks.get('eth0')?.programs.size).toBe(0);
});

test('what fails half-way is taken back, and nothing is on record', async () => {
  const one = machine();
  const before = one.host.snapshot();
  one.host.failing = 'address add';
  await expect(prepare(one, tunnel)).rejects.toMatchObject({ code: 'MILLRACE_E_COMMAND_FAILED' });
  expect(one.host.snapshot()).toEqual(before);
  expect(one.store.state).toBeUndefined();
});

test('a change is on record before it is made, so that a killed command can be undone', async () => {
  const one = machine();
  const before = one.host.snapshot();
  const write = one.host.writeSysctl.bind(one.host);
  let killed = false;
  one.host.writeSysctl = (path, value) => {
    if (killed) throw new Error('killed');
    write(path, value);
    killed = path.endsWith('eth0/arp_ignore');
    if (killed) throw new Error('killed');
  };
  await expect(prepare(one, direct)).rejects.toThrow('killed');
  // The record as it stood at that moment, since a killed process rolls nothing back.
  one.store.state = one.store.written.findLast((state) => state?.changes.length === 3);
  one.host.writeSysctl = write;
  await undo(one);
  expect(one.host.snapshot()).toEqual(before);
});

test('the record of a namespace that has gone is not believed', async () => {
  const one = machine();
  await prepare(one, direct);
  const successor = new FakeHost();
  successor.ingress.cookie = 8n;
  const other = { host: successor, store: one.store };
  expect((await status(other)).setups).toEqual([]);
  expect(await undo(other)).toEqual([]);
});

test('an interface that is gone takes its changes with it', async () => {
  const one = machine();
  await prepare(one, tunnel);
  one.host.links.delete('eth0');
  one.host.ingress.interfaces = [];
  for (const name of ['arp_ignore', 'arp_announce']) one.host.sysctls.delete(arp('eth0', name));
  const found = await status(one);
  expect(found.entries.filter((entry) => entry.condition === 'gone')).toHaveLength(4);
  await undo(one);
  expect(one.store.state).toBeUndefined();
  expect(one.host.sysctls.get(arp('all', 'arp_ignore'))).toBe('0');
});

test('a strict reverse path filter is loosened only where answers leave by another interface', async () => {
  const one = machine();
  one.host.raise('eth1');
  one.host.sysctls.set(arp('all', 'rp_filter'), '1');
  const prepared = await prepare(one, { ...direct, interfaces: ['eth0', 'eth1'] });
  const names = prepared.changes.map((change) => change.name).filter((name) => name.endsWith('rp_filter'));
  expect(names).toEqual(['net.ipv4.conf.eth1.rp_filter']);
  expect(one.host.sysctls.get(arp('eth1', 'rp_filter'))).toBe('2');
});

test('auto: the kernel takes tunnels off where it can', async () => {
  const one = machine();
  one.host.tunnelTypes = ['ipip', 'sit', 'fou'];
  one.host.sysctls.set(arp('all', 'rp_filter'), '1');
  const before = one.host.snapshot();
  const prepared = await prepare(one, { ...tunnel, vips: ['203.0.113.10', '2001:db8:10::10'], from: ['192.0.2.1/32'] });
  expect(prepared.setup).toMatchObject({ device: 'kernel' });
  expect(one.host.commands.filter((command) => command.includes('millrace-t') || command.includes('fou add port 6080'))).toEqual([
    'fou add port 6080 gue',
    'link add name millrace-t0 type ipip local any remote 192.0.2.1',
    'link set dev millrace-t0 up',
    'link add name millrace-t1 type sit local any remote 192.0.2.1',
    'link set dev millrace-t1 up',
  ]);
  expect(one.host.sysctls.get(arp('millrace-t0', 'rp_filter'))).toBe('2');
  expect(one.host.ingress.hooks.size).toBe(0);
  expect((await prepare(one, { ...tunnel, vips: ['203.0.113.10', '2001:db8:10::10'], from: ['192.0.2.1/32'] })).changes).toEqual(
    prepared.changes.map((change) => ({ ...change, outcome: 'kept' })),
  );
  await undo(one);
  expect(one.host.snapshot()).toEqual(before);
});

test.each([
  ['192.0.2.0/24', ['ipip', 'fou'], 'more than one address'],
  ['192.0.2.1/32', [], 'no device of type ipip'],
  ['192.0.2.1/32', ['ipip'], 'does not take off GUE'],
])('auto: balancers %s and a kernel with [%s] end in the program, with the reason', async (from, types, reason) => {
  const one = machine();
  one.host.tunnelTypes = types;
  const prepared = await prepare(one, { ...tunnel, from: [from] });
  expect(prepared.setup).toMatchObject({ device: 'bpf' });
  expect(prepared.deviceReason).toContain(reason);
  expect(one.host.links.has('millrace-probe')).toBe(false);
  await expect(prepare(machine(), { ...tunnel, from: [from], device: 'kernel' })).rejects.toMatchObject({
    code: 'MILLRACE_E_UNSUPPORTED_HOST',
  });
});

test('GRE of the kernel is told about checksums, and IPv6 balancers get their kinds of devices', async () => {
  const one = machine();
  one.host.tunnelTypes = ['ip6gre', 'ip6tnl'];
  await prepare(one, { ...tunnel, types: ['ipip', 'gre'], from: ['2001:db8::1/128'], greChecksum: true, device: 'kernel' });
  expect(one.host.commands.filter((command) => command.startsWith('link add name millrace-t'))).toEqual([
    'link add name millrace-t0 type ip6tnl mode any local any remote 2001:db8::1',
    'link add name millrace-t1 type ip6gre local any remote 2001:db8::1 icsum',
  ]);
});

test.each<[string, (host: FakeHost) => void, Request, string]>([
  ['a VIP on another interface', (host) => host.address('eth0', '203.0.113.10', 24), direct, 'is an address of eth0'],
  [
    'a VIP on lo with its whole network',
    (host) => host.address('lo', '203.0.113.10', 24),
    direct,
    'makes all of that network local',
  ],
  ['a proxy for the VIP', (host) => host.proxied.push('2001:db8:10::10'), direct, 'as a proxy'],
  ['an interface that is down', () => {}, { ...direct, interfaces: ['eth1'] }, 'ip link set dev eth1 up'],
  ['an interface that is not there', () => {}, { ...direct, interfaces: ['eth9'] }, 'not in this network namespace'],
  ['no right to change addresses', (host) => (host.caps = '0'), direct, 'CAP_NET_ADMIN'],
  ['no right to load programs', (host) => (host.caps = '1000'), tunnel, 'CAP_BPF'],
  ['read-only kernel parameters', (host) => (host.sysctlsReadOnly = true), direct, 'read-only'],
  ['no addon', (host) => (host.nativeError = new Error('it is not built')), l3dsr, 'it is not built'],
  ['IPv6 switched off', (host) => host.sysctls.set('net/ipv6/conf/lo/disable_ipv6', '1'), direct, 'IPv6 is switched off on lo'],
])('refused with the way out: %s', async (_name, spoil, request, reason) => {
  const one = machine();
  spoil(one.host);
  const before = one.host.snapshot();
  await expect(prepare(one, request)).rejects.toMatchObject({
    code: 'MILLRACE_E_UNSUPPORTED_HOST',
    message: expect.stringContaining(reason),
  });
  expect(one.host.snapshot()).toEqual(before);
  expect(one.store.state).toBeUndefined();
});

test('a missing way back to the clients is a warning', async () => {
  const one = machine();
  one.host.defaultDevices = { ipv4: [], ipv6: [] };
  const prepared = await prepare(one, direct);
  expect(prepared.findings.filter((finding) => finding.status === 'warning').map((finding) => finding.found)).toEqual([
    'no default route for IPv4',
    'no default route for IPv6',
  ]);
});

test('several interfaces and no route leave it to the user to name one', async () => {
  const one = machine();
  one.host.raise('eth1');
  one.host.defaultDevices = { ipv4: [], ipv6: [] };
  await expect(prepare(one, direct)).rejects.toMatchObject({ code: 'MILLRACE_E_INPUT_INVALID' });
});

test('without the addon direct routing still works', async () => {
  const one = machine();
  one.host.nativeError = new Error('it is not built');
  const before = one.host.snapshot();
  await prepare(one, direct);
  expect((await status(one)).inPlace).toBe(true);
  await undo(one);
  expect(one.host.snapshot()).toEqual(before);
});
