// The pool of health workers, with a stand-in for the threads.
import type { MessagePort } from 'node:worker_threads';
import { afterEach, expect, test, vi } from 'vitest';
import type { ToWorker } from '../../../src/health/messages.js';
import { CheckerPool } from '../../../src/health/pool.js';
import { targetsOf } from '../../../src/health/target.js';
import { baseConfig, FakeBalancer } from '../metrics/support/fake-sources.js';

const workers: { readonly port: MessagePort; answers: boolean; readonly heard: ToWorker[] }[] = [];

afterEach(() => {
  workers.length = 0;
});

vi.mock('piscina', () => ({
  Piscina: class {
    readonly threads = [];
    run({ port }: { readonly port: MessagePort }): Promise<void> {
      const worker: (typeof workers)[number] = { port, answers: true, heard: [] };
      workers.push(worker);
      port.on('message', (message: ToWorker) => {
        worker.heard.push(message);
        if (message.kind === 'stop') port.close();
        if (message.kind !== 'status' || !worker.answers) return;
        port.postMessage({ ...message, targets: [], lateness: { checks: 0, mean: 0, worst: 0 } });
      });
      return new Promise((resolve) => port.once('close', resolve));
    }
    async destroy(): Promise<void> {
      for (const { port } of workers) port.close();
    }
  },
}));

test('asking for the status leaves nothing behind, however often, and a worker that dies does not hold it up', async () => {
  const warnings: Error[] = [];
  const hear = (warning: Error): void => void warnings.push(warning);
  process.on('warning', hear);
  const failed: unknown[] = [];
  const pool = new CheckerPool({ report: () => undefined, failed: (error) => failed.push(error) });
  pool.set(targetsOf(new FakeBalancer(baseConfig).config));
  for (let i = 0; i < 50; i++) expect((await pool.status()).lateness).toHaveLength(1);
  const [worker] = workers;
  if (worker === undefined) throw new Error('no worker');
  worker.answers = false;
  const unanswered = pool.status();
  worker.port.close();
  expect((await unanswered).targets).toEqual([]);
  await pool.close();
  // Warnings are emitted in a turn of their own.
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', hear);
  expect(warnings.map(({ name }) => name)).toEqual([]);
});

test('the worker in place of one that died begins with what was told last, and without what was removed meanwhile', async () => {
  const reports: unknown[] = [];
  const pool = new CheckerPool({ report: (changes) => reports.push(...changes), failed: () => undefined });
  const targets = targetsOf(new FakeBalancer(baseConfig).config);
  const [one, two] = targets;
  if (one === undefined || two === undefined) throw new Error('two targets are needed');
  pool.set(targets, new Map([[two.id, { up: false, weight: undefined }]]));
  const standingsOf = (index: number) => workers[index]?.heard.find((message) => message.kind === 'set')?.standings;
  await expect.poll(() => standingsOf(0)).toEqual(new Map([[two.id, { up: false, weight: undefined }]]));
  workers[0]?.port.postMessage({ kind: 'changes', changes: [{ id: one.id, up: false, reason: 'refused', weight: 3 }] });
  await expect.poll(() => reports).toHaveLength(1);
  workers[0]?.port.close();
  await expect.poll(() => workers).toHaveLength(2);
  await expect
    .poll(() => standingsOf(1))
    .toEqual(
      new Map([
        [one.id, { up: false, weight: 3 }],
        [two.id, { up: false, weight: undefined }],
      ]),
    );
  workers[1]?.port.close();
  // The second death waits for a moment: what is removed in it stays away.
  await new Promise((resolve) => setImmediate(resolve));
  pool.remove([two.id]);
  await expect.poll(() => workers, { timeout: 10_000 }).toHaveLength(3);
  await expect
    .poll(() => workers[2]?.heard.flatMap((message) => (message.kind === 'set' ? message.targets.map(({ id }) => id) : [])))
    .toEqual(targets.filter((target) => target !== two).map(({ id }) => id));
  await pool.close();
});

test('workers that die as soon as they live are not replaced at once for ever', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  try {
    const failed = vi.fn();
    const pool = new CheckerPool({ report: () => undefined, failed });
    pool.set(targetsOf(new FakeBalancer(baseConfig).config));
    const die = async (): Promise<void> => {
      const deaths = failed.mock.calls.length;
      workers.at(-1)?.port.close();
      while (failed.mock.calls.length === deaths) await new Promise((resolve) => setImmediate(resolve));
    };
    await die();
    await vi.advanceTimersByTimeAsync(1);
    expect(workers).toHaveLength(2);
    for (const [wait, lives] of [
      [500, 3],
      [1000, 4],
      [2000, 5],
    ] as const) {
      await die();
      await vi.advanceTimersByTimeAsync(wait - 1);
      expect(workers).toHaveLength(lives - 1);
      await vi.advanceTimersByTimeAsync(1);
      expect(workers).toHaveLength(lives);
    }
    await pool.close();
  } finally {
    vi.useRealTimers();
  }
});
