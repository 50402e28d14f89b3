// When checks run and what their verdicts add up to. Time is a number here, and the probe is a script of verdicts.
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Outcome } from '../../../src/health/outcome.js';
import { type Change, Runner } from '../../../src/health/runner.js';
import type { CheckTarget } from '../../../src/health/target.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'performance', 'Date'] });
});

afterEach(() => {
  vi.useRealTimers();
});

function target(id: string, change: Partial<CheckTarget> = {}): CheckTarget {
  return {
    id,
    service: 'web',
    server: '192.0.2.11:80',
    place: 0,
    type: 'tcp',
    address: '192.0.2.11',
    family: 4,
    port: 80,
    interval: 1000,
    retryInterval: 1000,
    timeout: 500,
    warmup: 0,
    jitter: 0,
    rise: 2,
    fall: 3,
    alpha: false,
    check: { type: 'tcp', interval: 1, jitter: 0, timeout: 0.5, rise: 2, fall: 3 },
    ...change,
  };
}

function runnerWith(verdict: (target: CheckTarget) => Outcome | Promise<Outcome>, limit = 100) {
  const changes: Change[] = [];
  const times: number[] = [];
  let reports = 0;
  const runner = new Runner({
    probe: async (checked) => {
      times.push(performance.now());
      return verdict(checked);
    },
    report: (found) => {
      reports += 1;
      changes.push(...found);
    },
    now: () => performance.now(),
    random: () => 0.5,
    limit,
  });
  return { runner, changes, times, reports: () => reports };
}

const bad: Outcome = { good: false, reason: 'refused' };
const good: Outcome = { good: true, reason: 'ok' };

test('a server goes down after fall bad checks in a row and comes back after rise good ones', async () => {
  const script = [good, bad, bad, good, bad, bad, bad, good, bad, good, good];
  let at = 0;
  const { runner, changes } = runnerWith(() => script[at++] ?? good);
  runner.set([target('a')]);
  await vi.advanceTimersByTimeAsync(6500);
  expect(changes).toEqual([{ id: 'a', up: false, reason: 'refused' }]);
  await vi.advanceTimersByTimeAsync(4000);
  expect(changes.slice(1)).toEqual([{ id: 'a', up: true, reason: 'ok' }]);
  expect(runner.status()).toMatchObject([{ id: 'a', up: true, checks: 11, failures: 6 }]);
});

test('the time that checks took is summed up', async () => {
  const { runner } = runnerWith(() => new Promise((resolve) => setTimeout(() => resolve(good), 20)));
  runner.set([target('a')]);
  await vi.advanceTimersByTimeAsync(3500);
  const [status] = runner.status();
  expect(status?.checks).toBeGreaterThan(2);
  expect(status?.spent).toBe(20 * (status?.checks ?? 0));
});

test('with alpha a server is down until it has been good', async () => {
  const { runner, changes } = runnerWith(() => good);
  runner.set([target('a', { alpha: true })]);
  await vi.advanceTimersByTimeAsync(500);
  expect(changes).toEqual([]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(changes).toEqual([{ id: 'a', up: true, reason: 'ok' }]);
});

test('after a failed check the next one comes after retryInterval, as long as the server is up', async () => {
  const { runner, times } = runnerWith(() => bad);
  runner.set([target('a', { retryInterval: 100 })]);
  await vi.advanceTimersByTimeAsync(2500);
  const gaps = times.slice(1).map((time, i) => Math.round(time - (times[i] ?? 0)));
  expect(gaps.slice(0, 3)).toEqual([100, 100, 1000]);
});

test('a check that takes long does not run twice at a time, and does not make the next ones late', async () => {
  let running = 0;
  let most = 0;
  const { runner, times } = runnerWith(async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, times.length === 1 ? 1500 : 10));
    running -= 1;
    return good;
  });
  runner.set([target('a')]);
  await vi.advanceTimersByTimeAsync(5100);
  expect(most).toBe(1);
  // The second began when the first was over, the third where it would have been anyway.
  expect(times.map((time) => Math.round((time - (times[0] ?? 0)) / 100)).slice(0, 4)).toEqual([0, 15, 25, 35]);
});

test('no more checks at a time than the limit, and the others wait for their turn', async () => {
  let running = 0;
  let most = 0;
  const { runner } = runnerWith(async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, 50));
    running -= 1;
    return good;
  }, 3);
  runner.set(Array.from({ length: 10 }, (_, i) => target(`t${i}`)));
  await vi.advanceTimersByTimeAsync(900);
  expect(most).toBe(3);
  expect(runner.status().every((status) => status.checks === 1)).toBe(true);
  expect(runner.lateness()).toMatchObject({ checks: 10 });
});

test('what fails together is reported together', async () => {
  const { runner, changes, reports } = runnerWith(() => bad, 2000);
  runner.set(Array.from({ length: 1000 }, (_, i) => target(`t${i}`, { fall: 1 })));
  await vi.advanceTimersByTimeAsync(100);
  expect(changes).toHaveLength(1000);
  expect(reports()).toBeLessThan(5);
});

test('a target that was removed while it was checked reports nothing', async () => {
  const { runner, changes } = runnerWith(async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    return bad;
  });
  runner.set([target('a', { fall: 1 })]);
  await vi.advanceTimersByTimeAsync(50);
  runner.remove(['a']);
  await vi.advanceTimersByTimeAsync(5000);
  expect(changes).toEqual([]);
  expect(runner.size).toBe(0);
});

test('a target that is set again keeps its state and is checked anew', async () => {
  const { runner, changes } = runnerWith(() => bad);
  runner.set([target('a', { fall: 1 })]);
  await vi.advanceTimersByTimeAsync(100);
  expect(changes).toHaveLength(1);
  runner.set([target('a', { fall: 1, port: 81 })]);
  await vi.advanceTimersByTimeAsync(100);
  expect(changes).toHaveLength(1);
  expect(runner.status()).toMatchObject([{ up: false }]);
});

test('a script that asks for another weight is reported although the server stays up', async () => {
  const weights = [undefined, 8, 8, 3];
  let at = 0;
  const { runner, changes } = runnerWith(() => {
    const weight = weights[Math.min(at++, 3)];
    return weight === undefined ? good : { ...good, weight };
  });
  runner.set([target('a')]);
  await vi.advanceTimersByTimeAsync(3500);
  expect(changes.map((change) => change.weight)).toEqual([8, 3]);
});

test('every target is checked once an interval, whatever the intervals', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 100, max: 3000 }), { minLength: 1, maxLength: 40 }), async (intervals) => {
      const { runner } = runnerWith(() => good);
      runner.set(intervals.map((interval, i) => target(`t${i}`, { interval })));
      await vi.advanceTimersByTimeAsync(6000);
      const status = new Map(runner.status().map(({ id, checks }) => [id, checks]));
      runner.close();
      for (const [i, interval] of intervals.entries()) {
        expect(Math.abs((status.get(`t${i}`) ?? 0) - 6000 / interval)).toBeLessThanOrEqual(1.5);
      }
    }),
    { numRuns: 30 },
  );
});

test('begins with what is held of a target, and reports what is otherwise', async () => {
  let verdict: Outcome = good;
  const { runner, changes } = runnerWith(() => verdict);
  runner.set([target('a'), target('b')], new Map([['a', { up: false, weight: undefined }]]));
  await vi.advanceTimersByTimeAsync(2500);
  expect(changes).toEqual([{ id: 'a', up: true, reason: 'ok' }]);
  verdict = bad;
  await vi.advanceTimersByTimeAsync(4000);
  expect(changes.slice(1).map(({ id, up }) => [id, up])).toEqual([
    ['a', false],
    ['b', false],
  ]);
});

test('a weight that a changed check does not give any more is taken back', async () => {
  let weight: number | undefined = 5;
  const { runner, changes } = runnerWith(() => (weight === undefined ? good : { ...good, weight }));
  runner.set([target('a')]);
  await vi.advanceTimersByTimeAsync(500);
  expect(changes).toEqual([{ id: 'a', up: true, reason: 'ok', weight: 5 }]);
  weight = undefined;
  runner.set([target('a', { port: 81 })]);
  await vi.advanceTimersByTimeAsync(1500);
  expect(changes.slice(1)).toEqual([{ id: 'a', up: true, reason: 'ok' }]);
});
