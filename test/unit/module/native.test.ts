// The loader of the addon: each branch, with a made-up file system and a made-up dlopen.
import { expect, test } from 'vitest';
import { NativeLoadError } from '../../../src/errors.js';
import {
  type LoadNativeOptions,
  loadNativeFrom,
  missingCpuFlags,
  type NativeRuntime,
  nativeCandidates,
} from '../../../src/native.js';
import { NATIVE_ABI_VERSION } from '../../../src/native-binding.js';

const linux: NativeRuntime = {
  platform: 'linux',
  arch: 'x64',
  nodeVersion: 'v20.20.2',
  nodeApiVersion: '9',
  glibcVersion: '2.36',
  missingCpuFlags: [],
};

function options(files: Record<string, unknown>, runtime: NativeRuntime = linux): LoadNativeOptions {
  return {
    root: '/pkg',
    runtime,
    exists: (file) => Object.hasOwn(files, file),
    load: (file) => {
      const content = files[file];
      if (content instanceof Error) throw content;
      return content;
    },
  };
}

function failure(files: Record<string, unknown>, runtime: NativeRuntime = linux): NativeLoadError {
  try {
    loadNativeFrom(options(files, runtime));
  } catch (error) {
    if (error instanceof NativeLoadError) return error;
    throw error;
  }
  throw new Error('loading succeeded');
}

const prebuilt = '/pkg/prebuilds/linux-x64/millrace.node';
const local = '/pkg/build/Release/millrace.node';
const addon = { abiVersion: NATIVE_ABI_VERSION };

test('the prebuilt binary of the platform comes before a local build', () => {
  expect(nativeCandidates('/pkg', linux)).toEqual([prebuilt, local]);
  expect(loadNativeFrom(options({ [prebuilt]: addon, [local]: { abiVersion: -1 } }))).toBe(addon);
});

test('a local build serves when there is no prebuilt binary', () => {
  expect(loadNativeFrom(options({ [local]: addon }))).toBe(addon);
});

test('a local build serves when the prebuilt binary does not load', () => {
  expect(loadNativeFrom(options({ [prebuilt]: new Error('broken'), [local]: addon }))).toBe(addon);
});

test('without any file the error lists both paths, the machine, the need and the build command', () => {
  const error = failure({});
  expect(error.code).toBe('MILLRACE_E_NATIVE_MISSING');
  expect(error.message).toContain(`${prebuilt}\n    no such file`);
  expect(error.message).toContain(`${local}\n    no such file`);
  expect(error.message).toContain('Found:  linux-x64, glibc 2.36, Node.js v20.20.2, Node-API 9');
  expect(error.message).toContain(
    'Needed: linux-x64 (x86-64-v3) or linux-arm64 with glibc, Node.js 20.19 or newer, Node-API 9 or newer',
  );
  expect(error.message).toMatch(/What to do:\n {2}- Build it on this host: npm run build:native/);
});

test('a file that does not load is reported with what the dynamic linker said', () => {
  const error = failure({ [local]: new Error('something odd\nin two lines') });
  expect(error.code).toBe('MILLRACE_E_NATIVE_LOAD_FAILED');
  expect(error.message).toContain(`${local}\n    something odd\n    in two lines`);
  expect(error.message).toContain(`${prebuilt}\n    no such file`);
});

test.each([
  ["/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by x)", 'newer C or C++ library (GLIBC_2.38)'],
  ['libelf.so.1: cannot open shared object file: No such file or directory', 'apt-get install libelf1'],
  ['libodd.so.3: cannot open shared object file: No such file or directory', 'Install the package that holds libodd.so.3.'],
  ['/pkg/build/Release/millrace.node: wrong ELF class: ELFCLASS32', 'built for another machine'],
  ['invalid ELF header', 'built for another machine'],
])('"%s" leads to its own advice', (reason, advice) => {
  expect(failure({ [local]: new Error(reason) }).message).toContain(advice);
});

test('a file that is some other addon is refused', () => {
  const error = failure({ [local]: { hello: 1 } });
  expect(error.code).toBe('MILLRACE_E_NATIVE_LOAD_FAILED');
  expect(error.message).toContain('not the addon of Millrace');
});

test('an addon of another version stops the search and names both versions', () => {
  const error = failure({ [prebuilt]: { abiVersion: NATIVE_ABI_VERSION + 1 }, [local]: addon });
  expect(error.code).toBe('MILLRACE_E_NATIVE_ABI_MISMATCH');
  expect(error.message).toContain(`found:  layout version ${NATIVE_ABI_VERSION + 1}`);
  expect(error.message).toContain(`needed: layout version ${NATIVE_ABI_VERSION}`);
});

test('on another operating system the advice is Linux and not a compiler', () => {
  const error = failure({}, { ...linux, platform: 'darwin', arch: 'arm64', glibcVersion: '' });
  expect(error.message).toContain('The dataplane needs Linux; this is darwin.');
  expect(error.message).not.toContain('npm run build:native');
});

test('an architecture without a dataplane is named', () => {
  expect(failure({}, { ...linux, arch: 'ia32' }).message).toContain('this Node.js is ia32');
});

test('a C library other than glibc is named', () => {
  const error = failure({}, { ...linux, glibcVersion: '' });
  expect(error.message).toContain('C library: not glibc');
  expect(error.message).toContain('musl');
});

test('a Node.js without the Node-API version is told to be updated', () => {
  expect(failure({}, { ...linux, nodeApiVersion: '8', nodeVersion: 'v18.0.0' }).message).toContain('v18.0.0 has no Node-API 9');
});

test('an installed package says how it is built where it was installed', () => {
  const installed = { ...options({}), root: '/app/node_modules/millrace' };
  expect(() => loadNativeFrom(installed)).toThrow('npm run --prefix /app/node_modules/millrace build:native');
});

test('a CPU without the instructions that the addon uses is refused before the addon is loaded', () => {
  let loads = 0;
  const load = () => {
    loads += 1;
    return addon;
  };
  const old = { ...options({ [local]: addon }, { ...linux, missingCpuFlags: ['avx2', 'bmi2'] }), load };
  expect(() => loadNativeFrom(old)).toThrow(/this CPU lacks avx2, bmi2(.|\n)*-cpu host/);
  expect(loads).toBe(0);
});

test('what a CPU lacks is read from its flags, and nothing is held against a CPU that does not tell', () => {
  const flags = 'avx avx2 bmi1 bmi2 f16c fma abm movbe xsave';
  expect(missingCpuFlags(`processor\t: 0\nflags\t\t: fpu sse2 ${flags} rdrand\n`)).toEqual([]);
  expect(missingCpuFlags(`flags\t\t: fpu sse2 ${flags.replace('avx2 ', '')}\n`)).toEqual(['avx2']);
  expect(missingCpuFlags('processor\t: 0\n')).toEqual([]);
});
