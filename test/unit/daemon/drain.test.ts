// The end of the daemon: readiness goes first, sessions may end, the deadline or a second signal ends the wait; and what is said of
// readiness, reloads and health on the way.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ConfigInput } from '../../../src/config/schema.js';
import { drainSessions } from '../../../src/daemon/drain.js';
import { DaemonLife } from '../../../src/daemon/life.js';
import { STUCK_AFTER } from '../../../src/daemon/progress.js';
import { goodConfig } from '../module/support/hosts.js';
import { TestDaemon } from './support/test-daemon.js';

let directory = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-drain-'));
});

afterEach(() => rm(directory, { recursive: true }));

const HOURS = 3600;

async function serving(drainTimeout: number, sessions: bigint) {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  const config: ConfigInput = { ...goodConfig, daemon: { drainTimeout } };
  await daemon.write(config);
  const ended = daemon.run();
  await daemon.next('ready');
  const { life } = daemon;
  daemon.binding.setCounter(1, 'sessions', sessions);
  return { daemon, life, ended };
}

const ready = (life: DaemonLife) => life.readiness().ready;
const detail = (life: DaemonLife, name: string) => life.readiness().checks.find((check) => check.name === name);

test('TERM makes it not ready at once and waits until no session is left', async () => {
  const { daemon, life, ended } = await serving(HOURS, 3n);
  expect(ready(life)).toBe(true);
  daemon.signals.emit('SIGTERM');
  expect(ready(life)).toBe(false);
  expect(detail(life, 'draining')).toEqual({ name: 'draining', ok: false, message: 'draining' });
  expect(life.draining).toBe(true);
  expect(daemon.events.at(-1)).toEqual({ event: 'draining', time: 0, signal: 'SIGTERM', sessions: 3n, seconds: HOURS });
  expect(daemon.binding.calls).not.toContain('stop');
  const stopping = daemon.next('stopping');
  daemon.binding.setCounter(1, 'sessions', 0n);
  expect(await stopping).toMatchObject({ sessions: 0n });
  await ended;
  expect(daemon.names).toEqual(['ready', 'draining', 'stopping', 'stopped']);
  expect(daemon.binding.calls.at(-1)).toBe('stop');
  expect(life.phase).toBe('stopped');
  expect(ready(life)).toBe(false);
});

test('the deadline ends the wait, and says how many sessions it cost', async () => {
  const { daemon, ended } = await serving(0.3, 2n);
  const begin = performance.now();
  const stopping = daemon.next('stopping');
  daemon.signals.emit('SIGTERM');
  expect(await stopping).toMatchObject({ sessions: 2n });
  expect(performance.now() - begin).toBeGreaterThanOrEqual(299);
  await ended;
});

test('a second TERM ends the wait, a third one the process', async () => {
  const { daemon, ended } = await serving(HOURS, 1n);
  let open = (): void => undefined;
  daemon.signals.emit('SIGTERM');
  const stopping = daemon.next('stopping');
  daemon.binding.gate = new Promise((resolve) => {
    open = resolve;
  });
  daemon.signals.emit('SIGTERM');
  await stopping;
  expect(daemon.died).toEqual([]);
  daemon.signals.emit('SIGTERM');
  expect(daemon.died).toEqual(['SIGTERM']);
  open();
  await ended;
});

test('INT does not wait', async () => {
  const { daemon, ended } = await serving(HOURS, 1n);
  daemon.signals.emit('SIGINT');
  await ended;
  expect(daemon.names).toEqual(['ready', 'stopping', 'stopped']);
});

test('without sessions there is nothing to wait for', async () => {
  const { daemon, ended } = await serving(HOURS, 0n);
  daemon.signals.emit('SIGTERM');
  await ended;
  expect(daemon.names).toEqual(['ready', 'draining', 'stopping', 'stopped']);
});

test('a reload during the drain is made, and so does not end it', async () => {
  const { daemon, life, ended } = await serving(HOURS, 1n);
  daemon.signals.emit('SIGTERM');
  await daemon.write({ ...goodConfig, services: [] });
  const applied = daemon.next('applied');
  daemon.signals.emit('SIGHUP');
  await applied;
  expect(ready(life)).toBe(false);
  expect(daemon.binding.calls).not.toContain('stop');
  daemon.binding.setCounter(1, 'sessions', 0n);
  await ended;
});

test('when nobody reads the output any more, the drain is over', async () => {
  const { daemon, ended } = await serving(HOURS, 1n);
  daemon.signals.emit('SIGTERM');
  daemon.outputClosed.abort();
  await ended;
  expect(daemon.binding.calls.at(-1)).toBe('stop');
});

test('the outcome of the last reload is kept, and a refused one leaves it ready', async () => {
  const { daemon, life, ended } = await serving(0, 0n);
  expect(life.lastReload).toBeUndefined();
  const applied = daemon.next('applied');
  await daemon.write({ ...goodConfig, services: [] });
  daemon.signals.emit('SIGHUP');
  await applied;
  await expect.poll(() => life.lastReload).toEqual({ at: 0, ok: true, message: 'removed web' });
  const failed = daemon.next('reload-failed');
  await daemon.write('nonsense: 1\n');
  daemon.signals.emit('SIGHUP');
  await failed;
  expect(life.lastReload).toMatchObject({ ok: false, message: expect.stringContaining('nonsense') });
  expect(ready(life)).toBe(true);
  expect(detail(life, 'configuration')?.message).toContain('the last reload was refused');
  daemon.signals.emit('SIGTERM');
  await ended;
});

test('it is not ready before the configuration is applied, nor while a worker is stuck', () => {
  let now = 0;
  const counts = [1n, 1n];
  const life = new DaemonLife(
    () => 5,
    () => now,
  );
  expect(life.started).toBe(5);
  expect(
    life
      .readiness()
      .checks.filter((check) => !check.ok)
      .map((check) => check.name),
  ).toEqual(['configuration', 'workers']);
  life.running({ workerCounter: () => [...counts] });
  expect(ready(life)).toBe(true);
  now = STUCK_AFTER;
  counts[0] = 2n;
  expect(detail(life, 'workers')).toEqual({ name: 'workers', ok: false, message: 'worker 1 stuck' });
  counts[1] = 2n;
  expect(ready(life)).toBe(true);
  life.end();
});

test('what health checks find becomes an event, and a stop in the middle of it ends', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  const services = goodConfig.services.map((service) => ({ ...service, healthChecks: [{ type: 'tcp' as const }] }));
  await daemon.write({ ...goodConfig, services });
  const ended = daemon.run();
  await daemon.next('ready');
  const health = daemon.next('health');
  const target = [...daemon.checkers.targets.values()].find(({ address }) => address === '192.0.2.11');
  daemon.checkers.report([{ id: target?.id ?? '', up: false, reason: 'connection refused' }]);
  expect(await health).toEqual({
    event: 'health',
    time: 0,
    kind: 'server-down',
    service: 'web',
    server: '192.0.2.11:8080',
    reason: 'connection refused',
  });
  daemon.signals.emit('SIGTERM');
  await ended;
});

test('the number of sessions is told when it changes', async () => {
  const told: bigint[] = [];
  let sessions = 3n;
  const left = await drainSessions(
    {
      closed: false,
      workerCounter: () => {
        const before = sessions;
        sessions -= sessions === 0n ? 0n : 1n;
        return [before];
      },
    },
    { timeout: 60_000, signal: new AbortController().signal, progress: (count) => told.push(count) },
  );
  expect(left).toBe(0n);
  expect(told).toEqual([2n, 1n, 0n]);
});
