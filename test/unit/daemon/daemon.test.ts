// The life of `millrace run` over a stand-in of the addon: events in order, reloads, signals, ends.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { goodConfig } from '../module/support/hosts.js';
import { TestDaemon } from './support/test-daemon.js';

let directory = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-daemon-'));
});

afterEach(() => rm(directory, { recursive: true }));

test('it says when it is ready, and stops in order on TERM', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const ended = daemon.run();
  const ready = await daemon.next('ready');
  expect(ready).toMatchObject({
    workers: 2,
    cpus: [0, 1],
    interfaces: [{ name: 'wan', attachMode: 'native' }, { name: 'lan' }],
    services: [{ name: 'web', address: '203.0.113.10', port: 80, protocol: 'tcp', servers: 2 }],
  });
  daemon.signals.emit('SIGTERM');
  await ended;
  expect(daemon.names).toEqual(['ready', 'stopping', 'stopped']);
  expect(daemon.binding.calls.at(-1)).toBe('stop');
  expect(daemon.signals.eventNames()).toEqual([]);
});

test('a signal that comes while the last things are closed does not end the process by default', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const listening: unknown[][] = [];
  daemon.closing = async () => void listening.push(daemon.signals.eventNames());
  const ended = daemon.run();
  await daemon.next('ready');
  daemon.signals.emit('SIGTERM');
  await ended;
  expect(listening).toEqual([['SIGHUP', 'SIGTERM', 'SIGINT']]);
  expect(daemon.signals.eventNames()).toEqual([]);
});

test('HUP applies the file as it is now', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const ended = daemon.run();
  await daemon.next('ready');
  await daemon.write({ ...goodConfig, services: [] });
  daemon.signals.emit('SIGHUP');
  const applied = await daemon.next('applied');
  expect(applied).toMatchObject({ generation: 2, changes: { servicesRemoved: ['web'] } });
  expect(daemon.binding.applied.at(-1)?.services).toEqual([]);
  daemon.signals.emit('SIGINT');
  await ended;
});

test.each([
  ['is wrong', { ...goodConfig, localPorts: 'x' }, 'MILLRACE_E_CONFIG_INVALID'],
  ['changes what is fixed', { ...goodConfig, workers: 1 }, 'MILLRACE_E_CHANGE_NEEDS_RESTART'],
])('a file that %s is refused, and the old configuration stays', async (_, config, code) => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const ended = daemon.run();
  await daemon.next('ready');
  await daemon.write(config);
  daemon.signals.emit('SIGHUP');
  expect(await daemon.next('reload-failed')).toMatchObject({ code });
  expect(daemon.binding.applied).toHaveLength(1);
  daemon.signals.emit('SIGTERM');
  await ended;
});

test('a file that is gone does not stop it', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const ended = daemon.run();
  await daemon.next('ready');
  await rm(daemon.file);
  daemon.signals.emit('SIGHUP');
  expect(await daemon.next('reload-failed')).toMatchObject({ code: 'MILLRACE_E_CONFIG_UNREADABLE' });
  daemon.signals.emit('SIGTERM');
  await ended;
});

test('statistics come at the interval, and once more at the end', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const ended = daemon.run({ statsInterval: 10 });
  await daemon.next('ready');
  daemon.binding.setCounter(0, 'rx_packets', 5n);
  const first = await daemon.next('stats');
  expect(first.stats.totals.rxPackets).toBe(5n);
  daemon.binding.setCounter(0, 'rx_packets', 9n);
  daemon.signals.emit('SIGTERM');
  await ended;
  expect(daemon.names.slice(-2)).toEqual(['stats', 'stopped']);
  const last = daemon.events.at(-2);
  expect(last?.event === 'stats' && last.stats.totals.rxPackets).toBe(9n);
});

test('a second signal ends the process at once', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const ended = daemon.run();
  await daemon.next('ready');
  daemon.signals.emit('SIGTERM');
  daemon.signals.emit('SIGINT');
  await ended;
  expect(daemon.died).toEqual(['SIGINT']);
});

test('TERM while it starts ends it without an error and leaves nothing running', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  let open = (): void => undefined;
  daemon.binding.gate = new Promise((resolve) => {
    open = resolve;
  });
  const ended = daemon.run();
  daemon.signals.emit('SIGTERM');
  open();
  await ended;
  expect(daemon.names).toEqual(['stopping', 'stopped']);
  expect(daemon.binding.calls).not.toContain('apply');
});

test('a start that fails is the error of the run', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write('nonsense: 1\n');
  await expect(daemon.run()).rejects.toMatchObject({ code: 'MILLRACE_E_CONFIG_INVALID' });
  expect(daemon.signals.eventNames()).toEqual([]);
});

test('a stop that fails is the error of the run', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const ended = daemon.run();
  await daemon.next('ready');
  daemon.binding.failures.set('stop', { code: 'netlink_failed', message: 'no', errno: 0 });
  daemon.signals.emit('SIGTERM');
  await expect(ended).rejects.toMatchObject({ code: 'MILLRACE_E_NETLINK_FAILED' });
});

test('when nobody reads the output any more it stops in order', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const ended = daemon.run();
  await daemon.next('ready');
  daemon.outputClosed.abort();
  await ended;
  expect(daemon.binding.calls.at(-1)).toBe('stop');
});
