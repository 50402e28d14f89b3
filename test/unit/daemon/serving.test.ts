// What `millrace run` serves, over a stand-in of the addon's dataplane: reloads, doors and ends that come at the same time.
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { loadConfig } from '../../../src/config/load.js';
import type { Config, ConfigInput } from '../../../src/config/schema.js';
import { createIn } from '../../../src/create-load-balancer.js';
import type { FileSource } from '../../../src/daemon/file-source.js';
import { millraceFile } from '../../../src/daemon/file-source.js';
import { DaemonLife } from '../../../src/daemon/life.js';
import { type ServingOptions, startServing } from '../../../src/daemon/serving.js';
import { FakeBinding } from '../module/support/fake-binding.js';
import { environmentOf, goodConfig } from '../module/support/hosts.js';

let directory = '';

/** Starts of drains of workers' logs, whose thread needs a build; the next one fails with `refusal`. */
const drains = vi.hoisted(() => ({ started: 0, refusal: undefined as Error | undefined }));

vi.mock('../../../src/logs/log-drain.js', () => ({
  LogDrain: class {
    async start(): Promise<void> {
      drains.started += 1;
      const { refusal } = drains;
      drains.refusal = undefined;
      if (refusal !== undefined) throw refusal;
    }

    async stop(): Promise<void> {}
  },
}));

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-serving-'));
});

afterEach(() => rm(directory, { recursive: true }));

const file = (): string => join(directory, 'millrace.json');
const socket = (): string => join(directory, 'api.sock');

async function write(change: Partial<ConfigInput> = {}): Promise<void> {
  const config: ConfigInput = { ...goodConfig, api: { socket: socket() }, ...change };
  await writeFile(file(), JSON.stringify(config));
}

async function serve(change: Partial<ServingOptions> = {}) {
  const { signal = new AbortController().signal } = change;
  return startServing({
    configFile: file(),
    source: millraceFile,
    stateFile: undefined,
    life: new DaemonLife(),
    warn: () => undefined,
    now: () => 0,
    signal,
    create: (config, options) => createIn(environmentOf(new FakeBinding()), config, options),
    ...change,
  });
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

test('a reload that is under way when everything is closed opens nothing again', async () => {
  await write();
  let release = (): void => undefined;
  let asked = (): void => undefined;
  const reading = new Promise<void>((resolve) => {
    asked = resolve;
  });
  let gate: Promise<void> | undefined;
  const source: FileSource = {
    ...millraceFile,
    load: async (...words): Promise<Config> => {
      asked();
      await gate;
      return loadConfig(...words);
    },
  };
  const serving = await serve({ source });
  expect(await isThere(socket())).toBe(true);
  gate = new Promise((resolve) => {
    release = resolve;
  });
  const other = join(directory, 'other.sock');
  await write({ api: { socket: other } });
  const reload = serving.reload().catch((error: unknown) => error);
  await reading;
  await serving.balancer.close();
  const closed = serving.close();
  release();
  await Promise.all([reload, closed]);
  expect(await Promise.all([socket(), other].map(isThere))).toEqual([false, false]);
  await expect(serving.reload()).rejects.toMatchObject({ code: 'MILLRACE_E_NOT_RUNNING' });
  expect(await Promise.all([socket(), other].map(isThere))).toEqual([false, false]);
});

test('a stop in the middle of the start is told as a stop', async () => {
  await write();
  const stop = new AbortController();
  const binding = new FakeBinding();
  const create: ServingOptions['create'] = async (config, options) => {
    const balancer = await createIn(environmentOf(binding), config, options);
    stop.abort(new Error('stopped'));
    return balancer;
  };
  await expect(serve({ signal: stop.signal, create })).rejects.toThrow('stopped');
  expect(binding.calls.at(-1)).toBe('stop');
  expect(await isThere(socket())).toBe(false);
});

test("workers' logs that could not be written are tried again at the next reload, others are left alone", async () => {
  await write();
  const warnings: string[] = [];
  const serving = await serve({ warn: (message) => warnings.push(message) });
  const before = drains.started;
  await write({ logs: { level: 'error' } });
  drains.refusal = new Error('no room');
  await serving.reload();
  expect(warnings).toEqual(["workers' logs are not written: no room"]);
  for (let i = 0; i < 3; i++) await serving.reload();
  expect(drains.started - before).toBe(2);
  await serving.balancer.close();
  await serving.close();
});
