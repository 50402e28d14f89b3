// `millrace replay` without the addon: what it is asked for, and how the result reads.
import { expect, test } from 'vitest';
import { describeReplay } from '../../../src/cli/commands/replay.js';
import { runCli } from '../../../src/cli/program.js';
import type { Config } from '../../../src/config/schema.js';
import { validateConfig } from '../../../src/config/validate.js';
import { type ReplayRequest, runReplay } from '../../../src/control/replay.js';
import { FakeBinding } from '../module/support/fake-binding.js';
import { goodConfig } from '../module/support/hosts.js';

const interfaces = [
  { name: 'wan', mac: '02:00:00:00:00:01', addresses: ['198.51.100.1/24'] },
  { name: 'lan', mac: '02:00:00:00:00:02', addresses: ['192.0.2.1/24'] },
];
const config: Config = validateConfig({ ...goodConfig, workers: 'auto', interfaces });
const request: ReplayRequest = { input: 'in.pcap', output: 'out.pcap', steering: 'flow' };

function asked(change: Partial<ReplayRequest> = {}, base: Config = config) {
  const binding = new FakeBinding();
  runReplay(binding, base, { ...request, ...change });
  if (binding.replayed === undefined) throw new Error('the addon was not asked');
  return binding.replayed;
}

test('it is deterministic by default: one worker, a fixed seed, no CPU of this host', () => {
  expect(asked()).toMatchObject({
    options: { workers: 1, cpus: [-1], seed: '1', interfaces },
    replay: { input: 'in.pcap', output: 'out.pcap', workers: 1, steering: 'flow' },
  });
});

test('workers, seed and steering can be chosen', () => {
  expect(asked({ workers: 2, seed: '18446744073709551615', steering: 'wrong' })).toMatchObject({
    options: { workers: 2, cpus: [-1, -1], seed: '18446744073709551615' },
    replay: { workers: 2, steering: 'wrong' },
  });
});

test('the seed and the workers of the configuration count when none is given', () => {
  const own = validateConfig({ ...goodConfig, workers: 2, cpus: [900, 901], interfaces, dataplane: { seed: '42' } });
  expect(asked({}, own).options).toMatchObject({ workers: 2, cpus: [-1, -1], seed: '42' });
});

test('more workers than local addresses are refused like in a file', () => {
  expect(() => asked({ workers: 3 })).toThrow(expect.objectContaining({ code: 'MILLRACE_E_CONFIG_INVALID' }));
});

test('an interface without an Ethernet address is refused with its name', () => {
  const without = validateConfig({ ...goodConfig, interfaces: [{ name: 'wan', mac: '02:00:00:00:00:01' }, { name: 'lan' }] });
  expect(() => asked({}, without)).toThrow(/missing: lan/);
});

test('native errors are those of the catalogue', () => {
  const binding = new FakeBinding();
  binding.failures.set('replay', { code: 'pcap_invalid', message: 'in.pcap: cut off at byte 30', errno: 0 });
  expect(() => runReplay(binding, config, request)).toThrow(expect.objectContaining({ code: 'MILLRACE_E_PCAP_INVALID' }));
});

test('the table has what happened, per worker when there are several, and the servers', () => {
  const binding = new FakeBinding();
  const text = describeReplay(runReplay(binding, config, { ...request, workers: 2 }));
  expect(text).toMatchInlineSnapshot(`
    "3 packets read, 3 sent, 0 left to the kernel

    counter                   total  worker 0  worker 1
    rx_packets                    3         1         2
    rx_bytes    1152921504606846976         0         0

    service  server         connections  in packets  out packets
    web      192.0.2.11:80            1           2            1"
  `);
  expect(describeReplay(runReplay(binding, config, request))).not.toContain('worker 0');
});

test.each([
  ['no configuration', ['replay', 'in.pcap', '--out', 'x']],
  ['no output', ['replay', 'in.pcap', '-c', 'x']],
  ['a seed that is no number', ['replay', 'in.pcap', '-c', 'x', '--out', 'x', '--seed', 'one']],
  ['a seed beyond 64 bits', ['replay', 'in.pcap', '-c', 'x', '--out', 'x', '--seed', '18446744073709551616']],
  ['no workers', ['replay', 'in.pcap', '-c', 'x', '--out', 'x', '--workers', '0']],
  ['an unknown steering', ['replay', 'in.pcap', '-c', 'x', '--out', 'x', '--steering', 'up']],
  ['a statistics interval that is too short', ['run', '-c', 'x', '--stats-interval', '5']],
])('%s is a usage error', async (_, argv) => {
  expect(await runCli(argv)).toBe(2);
});
