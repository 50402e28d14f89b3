// The single-writer queue: order, failures, signals.
import { expect, test } from 'vitest';
import { abortable, SerialQueue } from '../../../src/control/serial-queue.js';

test('operations run one at a time in the order of their arrival', async () => {
  const queue = new SerialQueue();
  const log: string[] = [];
  const operation = (name: string) => async () => {
    log.push(`${name} begins`);
    await new Promise((resolve) => setImmediate(resolve));
    log.push(`${name} ends`);
  };
  await Promise.all(['a', 'b', 'c'].map((name) => queue.run(operation(name))));
  expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});

test('a failure reaches its own caller and nobody else', async () => {
  const queue = new SerialQueue();
  const failing = queue.run(() => Promise.reject(new Error('broken')));
  const next = queue.run(() => Promise.resolve(7));
  await expect(failing).rejects.toThrow('broken');
  await expect(next).resolves.toBe(7);
});

test('a signal that fires after an operation has begun does not hide its outcome', async () => {
  const queue = new SerialQueue();
  const abort = new AbortController();
  const result = queue.run(async () => {
    abort.abort();
    return 'done';
  }, abort.signal);
  await expect(result).resolves.toBe('done');
});

test('a signal that has fired before means that the operation never runs', async () => {
  const queue = new SerialQueue();
  let ran = false;
  const result = queue.run(
    async () => {
      ran = true;
    },
    AbortSignal.abort(new Error('too late')),
  );
  await expect(result).rejects.toThrow('too late');
  await queue.run(() => Promise.resolve());
  expect(ran).toBe(false);
});

test('waiting can be given up while the promise goes on', async () => {
  const abort = new AbortController();
  const never = new Promise<void>(() => undefined);
  const waiting = abortable(never, abort.signal);
  abort.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
});
