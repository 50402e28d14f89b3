// The record of a real server's changes on disk.
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type RealserverState, stateOfThisNamespace } from '../../../src/realserver/state-file.js';

let parent = '';
let directory = '';
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'millrace-realserver-'));
  directory = join(parent, 'state');
});
afterEach(() => {
  rmSync(parent, { recursive: true });
});

const state: RealserverState = {
  version: 1,
  cookie: '7',
  setups: [{ mode: 'direct', vips: ['203.0.113.10'], interfaces: ['eth0'] }],
  changes: [{ wanted: { kind: 'address', address: '203.0.113.10' }, before: 'absent', after: 'present' }],
};

test('what is written is read again, and removing it leaves nothing behind', async () => {
  const store = stateOfThisNamespace(directory);
  expect(store.read()).toBeUndefined();
  await store.locked(async () => store.write(state));
  expect(store.read()).toEqual(state);
  expect(readdirSync(directory)).toEqual([expect.stringMatching(/^net-\d+\.json$/)]);
  await store.locked(async () => store.write(undefined));
  expect(existsSync(directory)).toBe(false);
});

test('another namespace may remove the directory at any moment', async () => {
  const store = stateOfThisNamespace(directory);
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const source = `
    const { mkdirSync, rmdirSync } = require('node:fs');
    const { workerData: { directory, shared } } = require('node:worker_threads');
    const unlessInUse = (call) => { try { call(); } catch {} };
    // Now and then, as others come and go; without a pause it would be an attack.
    while (Atomics.wait(shared, 0, 0, 1) === 'timed-out') {
      unlessInUse(() => mkdirSync(directory));
      unlessInUse(() => rmdirSync(directory));
    }
  `;
  const other = new Worker(source, { eval: true, workerData: { directory, shared } });
  try {
    await once(other, 'online');
    for (let i = 0; i < 1_000; i++) await store.locked(async () => {});
  } finally {
    Atomics.store(shared, 0, 1);
    Atomics.notify(shared, 0);
    await once(other, 'exit');
  }
});

test('a second process waits in vain and is told who is at work', async () => {
  const store = stateOfThisNamespace(directory);
  await store.locked(async () => {
    await expect(store.locked(async () => {})).rejects.toMatchObject({
      code: 'MILLRACE_E_COMMAND_FAILED',
      message: expect.stringContaining(`process ${process.pid}`),
    });
  });
  await expect(store.locked(async () => 'free')).resolves.toBe('free');
});

test('the lock of a process that was killed is taken over', async () => {
  const store = stateOfThisNamespace(directory);
  const name = await store.locked(async () => readdirSync(directory)[0] ?? '');
  mkdirSync(directory);
  // Above the largest process id of Linux.
  writeFileSync(join(directory, name), '4194305');
  await expect(store.locked(async () => 'free')).resolves.toBe('free');
});

test('a file that is no state of this version is refused with what to do', async () => {
  const store = stateOfThisNamespace(directory);
  await store.locked(async () => store.write(state));
  writeFileSync(join(directory, readdirSync(directory)[0] ?? ''), '{"version":2}');
  expect(() => store.read()).toThrow('not a state of this version');
});
