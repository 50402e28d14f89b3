// Finds and loads the native addon, once, at first use: importing 'millrace' works on any operating system.
// Guarantees: the addon that comes back has the layout this TypeScript was written for; a failure names every file that was tried with
// its own error, what this machine is, what is needed, and what to do.
// Thread: the JavaScript thread that asks; each worker_thread loads an instance of its own.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createError } from './errors.js';
import { NATIVE_ABI_VERSION, type NativeBinding } from './native-binding.js';

/** What the loader needs to know about the process; a parameter so that every branch can be tested. */
export interface NativeRuntime {
  readonly platform: string;
  readonly arch: string;
  readonly nodeVersion: string;
  /** Node-API version of this Node; '' when it does not say. */
  readonly nodeApiVersion: string;
  /** Version of the C library, e.g. "2.36"; '' when it is not glibc. */
  readonly glibcVersion: string;
  /** What the addon's instructions need and this CPU lacks, by its names in /proc/cpuinfo. */
  readonly missingCpuFlags: readonly string[];
}

export interface LoadNativeOptions {
  /** Directory of the package. */
  readonly root: string;
  readonly runtime: NativeRuntime;
  readonly exists: (file: string) => boolean;
  /** Loads a `.node` file and returns its exports; throws what dlopen said. */
  readonly load: (file: string) => unknown;
}

interface Attempt {
  readonly file: string;
  readonly missing: boolean;
  readonly reason: string;
}

/** Node-API version that the addon is compiled against, `binary.napi_versions` in package.json. */
const requiredNodeApi = 9;

export function describeRuntime(): NativeRuntime {
  return {
    platform: process.platform,
    arch: process.arch,
    nodeVersion: process.version,
    nodeApiVersion: process.versions.napi ?? '',
    glibcVersion: glibcVersion(),
    missingCpuFlags: process.platform === 'linux' && process.arch === 'x64' ? missingCpuFlags(readCpuInfo()) : [],
  };
}

/** What makes an x86 CPU one of level v3, which CMakeLists.txt compiles for. */
const neededCpuFlags = ['avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe', 'xsave'];

/** The needed flags that the CPU of this /proc/cpuinfo lacks; none if it does not say. */
export function missingCpuFlags(cpuInfo: string): readonly string[] {
  const held = /^flags\s*:(.*)$/m.exec(cpuInfo)?.[1]?.split(' ');
  return held === undefined ? [] : neededCpuFlags.filter((flag) => !held.includes(flag));
}

function readCpuInfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return '';
  }
}

function glibcVersion(): string {
  if (process.platform !== 'linux') return '';
  // Without this the report looks up the names of the peers of all open sockets, which can take seconds.
  const network: unknown = Reflect.get(process.report, 'excludeNetwork');
  Reflect.set(process.report, 'excludeNetwork', true);
  const report: unknown = process.report.getReport();
  Reflect.set(process.report, 'excludeNetwork', network ?? false);
  const header: unknown = typeof report === 'object' && report !== null ? Reflect.get(report, 'header') : undefined;
  const version: unknown = typeof header === 'object' && header !== null ? Reflect.get(header, 'glibcVersionRuntime') : undefined;
  return typeof version === 'string' ? version : '';
}

function defaultOptions(): LoadNativeOptions {
  const require = createRequire(import.meta.url);
  return {
    root: dirname(dirname(fileURLToPath(import.meta.url))),
    runtime: describeRuntime(),
    exists: existsSync,
    load: (file) => require(file),
  };
}

/** The files that are tried, in this order: the binary that came with the package, then one that was built here. */
export function nativeCandidates(root: string, runtime: NativeRuntime): readonly string[] {
  return [
    join(root, 'prebuilds', `${runtime.platform}-${runtime.arch}`, 'millrace.node'),
    join(root, 'build', 'Release', 'millrace.node'),
  ];
}

/**
 * Loads the addon from the first candidate that works.
 * @throws NativeLoadError MILLRACE_E_NATIVE_MISSING (no file), MILLRACE_E_NATIVE_LOAD_FAILED (a file that does not load),
 * MILLRACE_E_NATIVE_ABI_MISMATCH (a file of another version of Millrace).
 */
export function loadNativeFrom(options: LoadNativeOptions): NativeBinding {
  const attempts: Attempt[] = [];
  for (const file of nativeCandidates(options.root, options.runtime)) {
    if (!options.exists(file)) {
      attempts.push({ file, missing: true, reason: 'no such file' });
      continue;
    }
    if (options.runtime.missingCpuFlags.length > 0) {
      // Loaded all the same, it would end the process at the first such instruction.
      attempts.push({ file, missing: false, reason: `this CPU lacks ${options.runtime.missingCpuFlags.join(', ')}` });
      continue;
    }
    try {
      return checkAbi(options.load(file), file, options.runtime);
    } catch (error) {
      // A binary of another version must not be passed over in silence for an older one further down.
      if (error instanceof Error && Reflect.get(error, 'code') === 'MILLRACE_E_NATIVE_ABI_MISMATCH') throw error;
      attempts.push({ file, missing: false, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  const code = attempts.every((attempt) => attempt.missing) ? 'MILLRACE_E_NATIVE_MISSING' : 'MILLRACE_E_NATIVE_LOAD_FAILED';
  const fixes = suggestFixes(attempts, options);
  throw createError(code, failureText(attempts, options.runtime, fixes), {
    remedy: 'Do one of the things listed; millrace doctor shows the whole host.',
  });
}

let loaded: NativeBinding | undefined;

/** The addon of this thread; loaded at the first call. Throws as `loadNativeFrom` does. */
export function loadNative(): NativeBinding {
  loaded ??= loadNativeFrom(defaultOptions());
  return loaded;
}

/** The addon if it is loaded already; never loads it. */
export function loadedNative(): NativeBinding | undefined {
  return loaded;
}

function checkAbi(exports: unknown, file: string, runtime: NativeRuntime): NativeBinding {
  const abi: unknown = typeof exports === 'object' && exports !== null ? Reflect.get(exports, 'abiVersion') : undefined;
  if (typeof abi !== 'number') throw new Error('the file loads, but it is not the addon of Millrace');
  if (abi !== NATIVE_ABI_VERSION) {
    throw createError(
      'MILLRACE_E_NATIVE_ABI_MISMATCH',
      `The native addon belongs to another version of Millrace.\n  ${file}\n    found:  layout version ${abi}\n` +
        `    needed: layout version ${NATIVE_ABI_VERSION}\n${describeMachine(runtime)}\nWhat to do:\n` +
        '  - Build it again: npm run build:native\n  - or install the package again, so that binary and JavaScript are of one version.',
    );
  }
  return exports as NativeBinding;
}

function describeMachine(runtime: NativeRuntime): string {
  const libc =
    runtime.platform === 'linux'
      ? runtime.glibcVersion === ''
        ? ', C library: not glibc'
        : `, glibc ${runtime.glibcVersion}`
      : '';
  const api = runtime.nodeApiVersion === '' ? 'unknown' : runtime.nodeApiVersion;
  return (
    `Found:  ${runtime.platform}-${runtime.arch}${libc}, Node.js ${runtime.nodeVersion}, Node-API ${api}\n` +
    `Needed: linux-x64 (x86-64-v3) or linux-arm64 with glibc, Node.js 20.19 or newer, Node-API ${requiredNodeApi} or newer`
  );
}

function failureText(attempts: readonly Attempt[], runtime: NativeRuntime, fixes: readonly string[]): string {
  const tried = attempts
    .map((attempt) => `  ${attempt.file}\n    ${attempt.reason.trim().replaceAll('\n', '\n    ')}`)
    .join('\n');
  const todo = fixes.map((fix) => `  - ${fix}`).join('\n');
  return `The native addon could not be loaded.\nTried:\n${tried}\n${describeMachine(runtime)}\nWhat to do:\n${todo}`;
}

function howToBuild(root: string): string {
  const command = root.split(sep).includes('node_modules')
    ? `npm install --no-save cmake-js && npm run --prefix ${root} build:native`
    : 'npm run build:native';
  return `Build it on this host: ${command} (needs g++, cmake, ninja, clang-14, bpftool, libxdp-dev, libbpf-dev, libmnl-dev).`;
}

/** Debian package of each shared library that the addon is linked with. */
const libraryPackages: Readonly<Record<string, string>> = {
  libelf: 'libelf1',
  libz: 'zlib1g',
  libmnl: 'libmnl0',
  libbpf: 'libbpf1',
  libxdp: 'libxdp1',
  'libstdc++': 'libstdc++6',
};

function suggestFixes(attempts: readonly Attempt[], { root, runtime }: LoadNativeOptions): readonly string[] {
  if (runtime.platform !== 'linux') {
    return [
      `The dataplane needs Linux; this is ${runtime.platform}. Use a Linux host, or a virtual machine or container with Linux.`,
      'Importing, checking configurations and types work here; starting and replaying do not.',
    ];
  }
  if (runtime.arch !== 'x64' && runtime.arch !== 'arm64') {
    return [`The dataplane needs x64 or arm64; this Node.js is ${runtime.arch}. Use a Node.js of the host's architecture.`];
  }
  const fixes: string[] = [];
  if (Number(runtime.nodeApiVersion) < requiredNodeApi) {
    fixes.push(`Use Node.js 20.19 or newer; ${runtime.nodeVersion} has no Node-API ${requiredNodeApi}.`);
  }
  if (runtime.glibcVersion === '') {
    fixes.push('Prebuilt binaries need glibc, which this system (musl?) does not have: use a Debian based image, or build here.');
  }
  if (runtime.missingCpuFlags.length > 0) {
    return [
      'Use a CPU with AVX2 and BMI2 (x86-64-v3: Intel since 2013, AMD since 2015).',
      "In a virtual machine, give the guest the host's CPU model (QEMU: -cpu host; libvirt: mode='host-passthrough').",
    ];
  }
  for (const { missing, reason } of attempts) if (!missing) fixes.push(...fixesForReason(reason));
  fixes.push(howToBuild(root));
  if (attempts.every((attempt) => attempt.missing)) {
    fixes.push(
      'If the package was installed from a registry, install it again: the binary of this platform should have been in it.',
    );
  }
  return [...new Set(fixes)];
}

function fixesForReason(reason: string): readonly string[] {
  const version = /version [`'](GLIBC(?:XX)?_[\d.]+)' not found/.exec(reason)?.[1];
  if (version !== undefined)
    return [`The binary was built for a newer C or C++ library (${version}): build it on this host, or update the system.`];
  const library = /((lib[\w+-]+?)\.so[\w.]*): cannot open shared object file/.exec(reason);
  const file = library?.[1];
  const stem = library?.[2];
  if (file !== undefined && stem !== undefined) {
    const name = libraryPackages[stem];
    return [name === undefined ? `Install the package that holds ${file}.` : `Install ${file}: apt-get install ${name}`];
  }
  if (/wrong ELF class|invalid ELF header|cannot open shared object file: No such file/.test(reason)) {
    return ['The file was built for another machine: delete it and build it here.'];
  }
  if (/not the addon of Millrace/.test(reason)) return ['Delete the file; it was put there by something else.'];
  return [];
}
