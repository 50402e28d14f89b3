// What the service manager hears, with a clock that stands until it is told, and with workers that move or do not.
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { nameWorkers, STUCK_AFTER, WorkerProgress } from '../../../src/daemon/progress.js';
import { type NotifySettings, ServiceManager, takeNotifySettings } from '../../../src/daemon/service-manager.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance', 'hrtime'] });
});

afterEach(() => {
  vi.useRealTimers();
});

const WATCHDOG = 20_000_000;

function managerWith(change: Partial<NotifySettings> = {}) {
  const heard: string[] = [];
  const complaints: string[] = [];
  const behaviour = { failure: undefined as unknown };
  const manager = new ServiceManager({
    settings: { socket: '/run/notify', watchdog: WATCHDOG, complaint: undefined, ...change },
    send: (socket, text) => {
      if (behaviour.failure !== undefined) throw behaviour.failure;
      heard.push(`${socket} ${text}`);
    },
    complain: (message) => complaints.push(message),
    monotonic: () => BigInt(Math.round(performance.now() * 1e6)),
  });
  return { manager, heard, complaints, behaviour };
}

test('readiness and the end are told with a status', () => {
  const { manager, heard } = managerWith();
  manager.ready('serving 2 services');
  manager.stopping('draining', 30.5);
  expect(heard).toEqual([
    '/run/notify READY=1\nSTATUS=serving 2 services',
    '/run/notify STOPPING=1\nEXTEND_TIMEOUT_USEC=30500000\nSTATUS=draining',
  ]);
});

test('a reload has its time, and of two that overlap the last one ends it', () => {
  const { manager, heard } = managerWith();
  vi.advanceTimersByTime(1234);
  manager.reloading();
  manager.reloading();
  manager.reloaded('first');
  manager.reloaded('second');
  const begun = expect.stringMatching(/RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=reloading$/);
  expect(heard).toEqual([begun, begun, '/run/notify STATUS=first', '/run/notify READY=1\nSTATUS=second']);
  const time = Number(/MONOTONIC_USEC=(\d+)/.exec(heard[0] ?? '')?.[1]);
  expect(time).toBe(Math.round(performance.now() * 1000));
});

test('once it stops, a reload does not say that it is ready', () => {
  const { manager, heard } = managerWith();
  manager.reloading();
  manager.stopping('stopping', 1);
  manager.reloaded('done');
  expect(heard.filter((text) => text.includes('READY=1'))).toEqual([]);
});

test('started by hand it says nothing and watches nothing', () => {
  const complaints: string[] = [];
  const manager = new ServiceManager({
    settings: undefined,
    send: () => {
      throw new Error('nobody is to be told');
    },
    complain: (message) => complaints.push(message),
    monotonic: () => 0n,
  });
  manager.ready('x');
  manager.reloading();
  manager.reloaded('x');
  manager.stopping('x', 1);
  manager.watch(new WorkerProgress(() => [0n]));
  expect(vi.getTimerCount()).toBe(0);
  expect(complaints).toEqual([]);
});

test('the watchdog is fed at half of its time while every worker moves, and not while one does not', () => {
  const { manager, heard, complaints } = managerWith();
  const turns = [0n, 0n];
  let stuck = false;
  manager.watch(
    new WorkerProgress(() => {
      turns[0] = (turns[0] ?? 0n) + 1n;
      if (!stuck) turns[1] = (turns[1] ?? 0n) + 1n;
      return turns;
    }),
  );
  const fed = () => heard.filter((text) => text.endsWith('WATCHDOG=1')).length;
  expect(fed()).toBe(1);
  vi.advanceTimersByTime(9_999);
  expect(fed()).toBe(1);
  vi.advanceTimersByTime(1);
  expect(fed()).toBe(2);
  stuck = true;
  vi.advanceTimersByTime(60_000);
  expect(fed()).toBe(2);
  expect(heard.at(-1)).toBe('/run/notify STATUS=worker 1 stuck');
  expect(complaints).toEqual([expect.stringContaining('worker 1 stuck')]);
  stuck = false;
  vi.advanceTimersByTime(10_000);
  expect(fed()).toBe(3);
  expect(heard.at(-1)).toBe('/run/notify STATUS=all workers move again');
  manager.close();
  vi.advanceTimersByTime(60_000);
  expect(fed()).toBe(3);
});

test('a short watchdog does not take a worker that sleeps for a second for one that is stuck', () => {
  const { manager, heard } = managerWith({ watchdog: 500_000 });
  manager.watch(new WorkerProgress(() => [BigInt(Math.floor(performance.now() / 1000))]));
  vi.advanceTimersByTime(10_000);
  expect(heard).toHaveLength(41);
});

test('without WATCHDOG_USEC there is no watchdog', () => {
  const { manager } = managerWith({ watchdog: undefined });
  manager.watch(new WorkerProgress(() => [0n]));
  expect(vi.getTimerCount()).toBe(0);
});

test('a socket that takes nothing is complained of once until it takes something again', () => {
  const { manager, complaints, behaviour } = managerWith();
  behaviour.failure = { code: 'notify_socket_unavailable', message: 'no such file', errno: 2 };
  manager.status('a');
  manager.status('b');
  expect(complaints).toEqual(['the service manager at /run/notify is told nothing: no such file (ENOENT)']);
  behaviour.failure = undefined;
  manager.status('c');
  behaviour.failure = new Error('odd');
  manager.status('d');
  expect(complaints.slice(1)).toEqual(['the service manager at /run/notify is told nothing: Error: odd']);
});

test('no text of a status becomes an assignment of its own', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 2000 }), (text) => {
      const { manager, heard } = managerWith();
      manager.status(`a\nWATCHDOG=trigger\r\n${text}`);
      expect(heard).toHaveLength(1);
      expect(heard[0]?.split(/[\n\r\0]/)).toHaveLength(1);
      expect(heard[0]?.length).toBeLessThan(1100);
    }),
  );
});

test('the environment is taken, so that programs started later do not have it', () => {
  const env = { NOTIFY_SOCKET: '@x', WATCHDOG_USEC: '30000000', WATCHDOG_PID: '7', PATH: '/bin' };
  expect(takeNotifySettings(env, 7)).toEqual({ socket: '@x', watchdog: 30_000_000, complaint: undefined });
  expect(env).toEqual({ PATH: '/bin' });
});

test('a watchdog of another process is not ours, and one that is no number is complained of', () => {
  const take = (env: NodeJS.ProcessEnv) => takeNotifySettings(env, 7);
  expect(take({})).toBeUndefined();
  expect(take({ NOTIFY_SOCKET: '', WATCHDOG_USEC: '5' })).toBeUndefined();
  expect(take({ NOTIFY_SOCKET: '/a' })).toMatchObject({ watchdog: undefined, complaint: undefined });
  expect(take({ NOTIFY_SOCKET: '/a', WATCHDOG_USEC: '5', WATCHDOG_PID: '8' })).toMatchObject({ watchdog: undefined });
  const settings = take({ NOTIFY_SOCKET: '/a', WATCHDOG_USEC: '0' });
  expect(settings).toMatchObject({ watchdog: undefined, complaint: expect.stringContaining('WATCHDOG_USEC is "0"') });
  expect(managerWith(settings).complaints).toHaveLength(1);
});

test('whatever the environment says, it is taken or complained of', () => {
  const text = fc.oneof(fc.string(), fc.constant(undefined), fc.bigInt({ min: 0n, max: 2n ** 64n }).map(String));
  fc.assert(
    fc.property(text, text, text, (socket, time, whose) => {
      const env: NodeJS.ProcessEnv = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: time, WATCHDOG_PID: whose };
      const settings = takeNotifySettings(env, 7);
      expect(Object.keys(env)).toEqual([]);
      const watchdog = settings?.watchdog;
      expect(watchdog === undefined || (Number.isSafeInteger(watchdog) && watchdog > 0)).toBe(true);
    }),
  );
});

test('a worker is stuck only when its count stood still for the whole time', () => {
  const counts = [1n, 1n, 1n];
  const progress = new WorkerProgress(() => [...counts]);
  expect(progress.stuck(0)).toEqual([]);
  counts[1] = 2n;
  expect(progress.stuck(STUCK_AFTER - 1)).toEqual([]);
  expect(progress.stuck(STUCK_AFTER)).toEqual([0, 2]);
  expect(nameWorkers([0, 2])).toBe('workers 0 and 2');
  counts[0] = 9n;
  expect(progress.stuck(2 * STUCK_AFTER)).toEqual([1, 2]);
});
