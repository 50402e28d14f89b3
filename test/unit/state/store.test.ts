// The embedded store: what it refuses, what it leaves behind when a write fails at any of its steps, and in which order it goes about it.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MillraceError } from '../../../src/errors.js';
import { canonicalJson } from '../../../src/state/canonical.js';
import { overlayStore } from '../../../src/state/effective.js';
import { applyOperations } from '../../../src/state/operations.js';
import { EMPTY_OVERLAY } from '../../../src/state/overlay.js';
import { decodeOverlay, encodeOverlay } from '../../../src/state/overlay-json.js';
import { type FileOperations, StateFile } from '../../../src/state/store.js';
import { fileOf, service } from './support/parts.js';

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-store-'));
  path = join(directory, 'state.json');
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function rejection(promise: Promise<unknown>): Promise<MillraceError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
  throw new Error('the promise was fulfilled');
}

/** node:fs/promises in which the step of that name fails as the kernel would have it, the nth time. */
function failing(step: string, code: string, nth = 1): { files: FileOperations; steps: string[] } {
  const steps: string[] = [];
  let seen = 0;
  const pass = (name: string): void => {
    steps.push(name);
    if (name === step && ++seen === nth) throw Object.assign(new Error(`${code}: made up, ${name}`), { code });
  };
  const files: FileOperations = {
    open: async (name, ...rest) => {
      const what = rest[0] === 'r' ? 'directory' : 'temporary';
      pass(`open ${what}`);
      const handle = await fs.open(name, ...rest);
      return new Proxy(handle, {
        get: (target, key) => {
          const value: unknown = Reflect.get(target, key);
          if (typeof value !== 'function') return value;
          return async (...values: unknown[]) => {
            pass(`${String(key)} ${what}`);
            return Reflect.apply(value, target, values);
          };
        },
      });
    },
    readFile: fs.readFile,
    rename: async (from, to) => {
      pass('rename');
      await fs.rename(from, to);
    },
    rm: fs.rm,
    stat: fs.stat,
  };
  return { files, steps };
}

test('what was written is read, by this and by another process; nothing else is left in the directory', async () => {
  const file = new StateFile(path);
  expect(await file.read()).toBeUndefined();
  await file.write(canonicalJson({ a: 1 }));
  await file.write(canonicalJson({ a: 2, text: 'ü"\\' }));
  expect(await new StateFile(path).read()).toEqual({ a: 2, text: 'ü"\\' });
  expect(readdirSync(directory)).toEqual(['state.json']);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('the text is on disk before the name is, and the name before write() is through', async () => {
  const { files, steps } = failing('', '');
  await new StateFile(path, files).write('{}');
  expect(steps).toEqual([
    'open temporary',
    'writeFile temporary',
    'sync temporary',
    'stat temporary',
    'close temporary',
    'open directory',
    'rename',
    'sync directory',
    'close directory',
  ]);
});

test.each([
  ['open temporary', 'EROFS'],
  ['writeFile temporary', 'ENOSPC'],
  ['sync temporary', 'EIO'],
  ['close temporary', 'EDQUOT'],
  ['open directory', 'EMFILE'],
  ['rename', 'EACCES'],
  ['sync directory', 'EIO'],
])('when "%s" fails with %s the caller learns it, the old state is there, and the next write works', async (step, code) => {
  const { files } = failing(step, code, 2);
  const file = new StateFile(path, files);
  await file.write('{"old":true}');
  const error = await rejection(file.write('{"new":true}'));
  expect(error).toMatchObject({
    code: 'MILLRACE_E_STATE_UNWRITABLE',
    message: expect.stringContaining(`${path} cannot be written: ${code}`),
  });
  expect(await new StateFile(path).read()).toEqual({ old: true });
  expect(readdirSync(directory)).toEqual(['state.json']);
  await file.write('{"newer":true}');
  expect(await new StateFile(path).read()).toEqual({ newer: true });
});

test('a first write whose directory does not reach the disk leaves no file', async () => {
  const { files } = failing('sync directory', 'EIO');
  await rejection(new StateFile(path, files).write('{}'));
  expect(readdirSync(directory)).toEqual([]);
});

test('a directory that is not there is told before anything is to be written', async () => {
  const error = await rejection(new StateFile(join(directory, 'none', 'state.json')).read());
  expect(error).toMatchObject({ code: 'MILLRACE_E_STATE_UNWRITABLE', remedy: expect.stringContaining('install -d') });
});

test('what a killed process left half written is no hindrance', async () => {
  writeFileSync(join(directory, '.state.json.new'), '{"checksum":"');
  chmodSync(join(directory, '.state.json.new'), 0o000);
  const file = new StateFile(path);
  expect(await file.read()).toBeUndefined();
  await file.write('{}');
  expect(readdirSync(directory)).toEqual(['state.json']);
});

async function whole(): Promise<string> {
  await new StateFile(path).write(canonicalJson({ services: [{ name: 'web', weight: 17 }], sections: {} }));
  const text = readFileSync(path, 'utf8');
  rmSync(path);
  return text;
}

test.each<[string, (text: string) => string, RegExp]>([
  ['torn', (text) => text.slice(0, text.length / 2), /torn or no JSON/],
  ['empty', () => '', /it is empty/],
  ['full of zeros', (text) => '\0'.repeat(text.length), /torn or no JSON/],
  ['of another program', () => '{"version": 1, "services": []}', /not a state of Millrace/],
  ['of another kind of JSON', () => '[1, 2]', /not a state of Millrace/],
  ['of a newer version', (text) => text.replace('"version":1', '"version":2'), /has version 2 of the format.*reads version 1/],
  ['edited', (text) => text.replace('17', '18'), /checksum does not fit/],
  [
    'nested without end',
    () => `{"format":"millrace-state","version":1,"checksum":"","state":${'['.repeat(1e5)}${']'.repeat(1e5)}}`,
    /cannot be used/,
  ],
])('a file that is %s is refused with path, reason and remedy, and stays', async (_, spoil, reason) => {
  const text = spoil(await whole());
  writeFileSync(path, text);
  const file = new StateFile(path);
  const error = await rejection(file.read());
  expect(error).toMatchObject({ code: 'MILLRACE_E_STATE_INVALID', remedy: expect.stringContaining(`mv ${path}`) });
  expect(error.message).toContain(path);
  expect(error.message).toMatch(reason);
  await expect(new StateFile(path).write('{}')).rejects.toMatchObject({ code: 'MILLRACE_E_STATE_INVALID' });
  expect(readFileSync(path, 'utf8')).toBe(text);
});

test('a directory in the place of the file is refused', async () => {
  mkdirSync(path);
  expect(await rejection(new StateFile(path).read())).toMatchObject({ code: 'MILLRACE_E_STATE_INVALID' });
  expect(existsSync(path)).toBe(true);
});

test('a file that another process has written meanwhile is not overwritten', async () => {
  const file = new StateFile(path);
  await file.write('{"mine":1}');
  const other = new StateFile(path);
  await other.read();
  await other.write('{"theirs":1}');
  expect(await rejection(file.write('{"mine":2}'))).toMatchObject({
    code: 'MILLRACE_E_STATE_INVALID',
    message: expect.stringContaining('another process has written it'),
  });
  expect(await new StateFile(path).read()).toEqual({ theirs: 1 });
});

test('an overlay is the same after it was on disk', async () => {
  const file = fileOf(service('web', 1, { 1: 1, 2: 2 }), service('dns', 2, { 3: 1 }));
  const overlay = applyOperations(
    EMPTY_OVERLAY,
    [
      { op: 'put-service', service: service('10', 9, { 4: 4 }, { healthChecks: [{ type: 'tcp' }] }) },
      { op: 'drain', service: '10' },
      { op: 'put-server', service: 'web', server: { address: '192.0.2.9', port: 81 } },
      { op: 'drain', service: 'web', server: '192.0.2.9' },
      { op: 'set-weight', service: 'web', server: '192.0.2.1', weight: 0 },
      { op: 'delete-server', service: 'web', server: '192.0.2.2' },
      { op: 'delete-service', name: 'dns' },
      { op: 'set-section', section: 'echoReplies', value: false },
      { op: 'set-section', section: 'sessions', value: { timeouts: { tcp: { established: 77 } } } },
    ],
    file,
  );
  await overlayStore(path).write(overlay);
  const again = await overlayStore(path).read();
  expect(again).toEqual(overlay);
  expect([...again.services.keys()]).toEqual(['10', 'web', 'dns']);
  expect(encodeOverlay(again)).toBe(encodeOverlay(overlay));
});

test('a state with something that this version does not take is refused with its place', () => {
  const put = { ...service('web', 1, { 1: 1 }), colour: 'red' };
  const stored = { sections: {}, services: [{ name: 'web', put }] };
  expect(() => decodeOverlay(stored, path)).toThrow(/services\[0\]\.colour: unknown key/);
  expect(() => decodeOverlay({ sections: {}, services: [{ name: 'web', weight: 1 }] }, path)).toThrow(path);
});

test('no text and no JSON makes reading throw anything but an error of the catalogue', async () => {
  const file = new StateFile(path);
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), async (text) => {
      writeFileSync(path, text);
      expect((await rejection(file.read())).code).toBe('MILLRACE_E_STATE_INVALID');
    }),
    { numRuns: 150 },
  );
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (a, b, c) => {
      for (const value of [
        a,
        { services: a, sections: b },
        { services: [{ name: 'x', put: a, servers: [{ server: 'y', put: b }] }], sections: { routes: c } },
      ]) {
        try {
          decodeOverlay(value, path);
        } catch (error) {
          expect(error).toMatchObject({ code: 'MILLRACE_E_STATE_INVALID' });
        }
      }
    }),
  );
});
