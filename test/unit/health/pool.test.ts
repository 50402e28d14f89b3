// The pool of health workers, with a stand-in for the threads.
import type { MessagePort } from 'node:worker_threads';
import { expect, test, vi } from 'vitest';
import { CheckerPool } from '../../../src/health/pool.js';
import { targetsOf } from '../../../src/health/target.js';
import { baseConfig, FakeBalancer } from '../metrics/support/fake-sources.js';

const workers: { readonly port: MessagePort; answers: boolean }[] = [];

vi.mock('piscina', () => ({
  Piscina: class {
    readonly threads = [];
    run({ port }: { readonly port: MessagePort }): Promise<void> {
      const worker = { port, answers: true };
      workers.push(worker);
      port.on('message', ({ kind, request }: { readonly kind: string; readonly request: number }) => {
        if (kind !== 'status' || !worker.answers) return;
        port.postMessage({ kind, request, targets: [], lateness: { checks: 0, mean: 0, worst: 0 } });
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
