// A run of the daemon as a service manager sees it: a real datagram socket, the addon's own sender, and a stuck worker.
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DaemonEvent } from '../../../src/daemon/output.js';
import { loadNative } from '../../../src/native.js';
import { goodConfig } from '../module/support/hosts.js';
import { NotifyReceiver } from './support/notify-receiver.js';
import { TestDaemon } from './support/test-daemon.js';

const addon = ['build/Release', `prebuilds/${process.platform}-${process.arch}`]
  .map((folder) => fileURLToPath(new URL(`../../../${folder}/millrace.node`, import.meta.url)))
  .some(existsSync);
const unlessBuilt = addon ? false : 'the addon is not built';

let directory = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-notify-'));
});

afterEach(() => rm(directory, { recursive: true }));

function notify(socket: string, watchdog: number | undefined) {
  const send = (to: string, text: string): void => loadNative().notifyServiceManager(to, text);
  return { settings: { socket, watchdog, complaint: undefined }, send };
}

test.skipIf(unlessBuilt)('start, reload, refused reload and stop are heard in order', async () => {
  await using receiver = await NotifyReceiver.start(join(directory, 'notify'));
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const ended = daemon.run({ notify: notify(receiver.socket, undefined) });
  expect(await receiver.next()).toEqual(['READY=1', 'STATUS=serving 1 service with 2 workers']);

  await daemon.write({ ...goodConfig, services: [] });
  daemon.signals.emit('SIGHUP');
  expect(await receiver.next()).toEqual(['RELOADING=1', expect.stringMatching(/^MONOTONIC_USEC=\d+$/), 'STATUS=reloading']);
  expect(await receiver.next()).toEqual(['READY=1', 'STATUS=serving 0 services with 2 workers']);

  await writeFile(daemon.file, 'nonsense: 1\n');
  daemon.signals.emit('SIGHUP');
  expect(await receiver.next()).toContain('RELOADING=1');
  const [ready, status] = await receiver.next();
  expect(ready).toBe('READY=1');
  expect(status).toMatch(/^STATUS=the last reload was refused, serving 0 services with 2 workers: /);

  daemon.signals.emit('SIGTERM');
  expect(await receiver.next()).toEqual(['STOPPING=1', 'EXTEND_TIMEOUT_USEC=90000000', 'STATUS=stopping']);
  await ended;
});

test.skipIf(unlessBuilt)('a worker that stops moving stops the watchdog, and the daemon says which', async () => {
  await using receiver = await NotifyReceiver.start(join(directory, 'notify'));
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const moving = setInterval(() => {
    for (const memory of daemon.binding.counterMemory) {
      const slot = daemon.binding.info.findIndex(({ name }) => name === 'loop_turns');
      memory[slot] = (memory[slot] ?? 0n) + 1n;
    }
  }, 5);
  const ended = daemon.run({ notify: notify(receiver.socket, 100_000) });
  try {
    await daemon.next('ready');
    await receiver.until((lines) => lines[0] === 'WATCHDOG=1', 3);
    const warned: Promise<DaemonEvent> = daemon.next('warning');
    clearInterval(moving);
    await receiver.until((lines) => lines[0] === 'STATUS=workers 0 and 1 stuck');
    expect(await warned).toMatchObject({ message: expect.stringContaining('workers 0 and 1 stuck') });
  } finally {
    clearInterval(moving);
    daemon.signals.emit('SIGTERM');
    await ended;
  }
  // From the complaint to the end no watchdog was fed.
  const all = await receiver.until((lines) => lines[0] === 'STOPPING=1');
  const told = all.findIndex((lines) => lines[0]?.endsWith('stuck'));
  expect(all.slice(told).filter((lines) => lines[0] === 'WATCHDOG=1')).toEqual([]);
});

test.skipIf(unlessBuilt)('a socket that is not there is a warning, and traffic flows', async () => {
  const daemon = new TestDaemon(join(directory, 'millrace.yaml'));
  await daemon.write(goodConfig);
  const warned = daemon.next('warning');
  const ended = daemon.run({ notify: notify(join(directory, 'absent'), undefined) });
  expect(await warned).toMatchObject({ message: expect.stringContaining(join(directory, 'absent')) });
  daemon.signals.emit('SIGTERM');
  await ended;
  expect(daemon.names).toContain('ready');
});
