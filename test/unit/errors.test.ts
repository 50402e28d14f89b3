// The error classes: identity, codes, and what becomes of errors of the addon.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';
import * as errors from '../../src/errors.js';

const {
  createError,
  ERROR_CATALOGUE,
  fromNativeError,
  ConfigurationError,
  InterfaceError,
  MillraceError,
  NativeLoadError,
  UnsupportedHostError,
} = errors;

test('every entry of the catalogue says what it means and what to do', () => {
  for (const [code, entry] of Object.entries(ERROR_CATALOGUE)) {
    expect(code).toMatch(/^MILLRACE_E_[A-Z0-9_]+$/);
    expect(entry.meaning).toMatch(/\.$/);
    expect(entry.remedy).toMatch(/\.$/);
  }
});

test('an error has the class of its kind, a code, a remedy and a cause', () => {
  const cause = new Error('below');
  const error = createError('MILLRACE_E_INTERFACE_DOWN', 'wan is down', { cause, errno: 100 });
  expect(error).toBeInstanceOf(InterfaceError);
  expect(error).toBeInstanceOf(MillraceError);
  expect(error).toBeInstanceOf(Error);
  expect(error).not.toBeInstanceOf(ConfigurationError);
  expect(error).toMatchObject({ name: 'InterfaceError', code: 'MILLRACE_E_INTERFACE_DOWN', errno: 100, cause });
  expect(error.remedy).toBe(ERROR_CATALOGUE.MILLRACE_E_INTERFACE_DOWN.remedy);
});

test('instanceof holds across two copies of the module', async () => {
  vi.resetModules();
  const copy = await import('../../src/errors.js');
  expect(copy.MillraceError).not.toBe(MillraceError);
  const error = copy.createError('MILLRACE_E_PERMISSION_DENIED', 'no');
  expect(error).toBeInstanceOf(UnsupportedHostError);
  expect(error).toBeInstanceOf(MillraceError);
  expect(error).not.toBeInstanceOf(NativeLoadError);
});

test('a class derived elsewhere does not claim the errors of its base', () => {
  class Special extends MillraceError {}
  expect(new Special('MILLRACE_E_USAGE', 'x')).toBeInstanceOf(Special);
  expect(new Special('MILLRACE_E_USAGE', 'x')).toBeInstanceOf(MillraceError);
  expect(createError('MILLRACE_E_USAGE', 'x')).not.toBeInstanceOf(Special);
});

test('an error of the addon becomes the one of the same name, with the errno in words', () => {
  const native = Object.assign(new Error('wan is used by Millrace, process 4711'), { code: 'interface_busy', errno: 16 });
  const error = fromNativeError(native);
  expect(error).toBeInstanceOf(InterfaceError);
  expect(error).toMatchObject({
    code: 'MILLRACE_E_INTERFACE_BUSY',
    message: 'wan is used by Millrace, process 4711 (EBUSY)',
    errno: 16,
    cause: native,
  });
});

const native = fileURLToPath(new URL('../../native/', import.meta.url));
const sources = readdirSync(native, { recursive: true })
  .map(String)
  .filter((name) => /\.(cc|h)$/.test(name));
const raised = new Set(
  sources.flatMap((name) =>
    [...readFileSync(`${native}${name}`, 'utf8').matchAll(/\bError\{\s*"([a-z0-9_]+)"/g)].map((match) => match[1] ?? ''),
  ),
);

test.each([...raised].sort())('the native code %s has an entry in the catalogue', (code) => {
  expect(Object.keys(ERROR_CATALOGUE)).toContain(`MILLRACE_E_${code.toUpperCase()}`);
});

test('a native code without an entry keeps its name in the message', () => {
  expect(fromNativeError({ code: 'flux_capacitor', message: 'low', errno: 0 })).toMatchObject({
    code: 'MILLRACE_E_NATIVE_FAILED',
    message: 'flux_capacitor: low',
  });
});

test.each([new TypeError('x'), 'text', undefined, null, 7, Object.assign(new Error('no'), { code: 'ERR_SOMETHING' })])(
  'an error of another origin comes back unchanged (%s)',
  (error) => {
    expect(fromNativeError(error)).toBe(error);
  },
);

test('an error that is one of ours already comes back unchanged', () => {
  const error = createError('MILLRACE_E_USAGE', 'x');
  expect(fromNativeError(error)).toBe(error);
});
