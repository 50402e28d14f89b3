// Makes a fresh Debian 12 ready to build, test and show Millrace: Debian packages, npm packages, the build. `npm run demo` and
// `npm test` start with it; on its own: node scripts/setup.mjs
// Plain Node: nothing from node_modules. Guarantees: says each thing it does, does nothing twice, and starts no service on the host.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { checkNode, findProgram, isRoot } from './lib/host.mjs';
import { Problem, runScript, step } from './lib/output.mjs';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const policyFile = '/usr/sbin/policy-rc.d';
const policyMark = '# millrace setup';

/** What the addon is made of. */
const nativeInputs = ['native', 'cmake', 'CMakeLists.txt', 'binding.gyp', 'scripts/build-native.mjs'];

/** `tests: false` leaves out the native tests, which take most of the time of a build. */
export function setup({ tests = true } = {}) {
  checkNode();
  installDebianPackages();
  installNpmPackages();
  if (tests) {
    build('native', [...nativeInputs, 'test/native', 'test/fuzz'], ['build/Release/millrace.node'], ['addon']);
  } else {
    build('addon', nativeInputs, ['build/Release/millrace.node']);
  }
  build('ts', ['src', 'tsconfig.json', 'tsconfig.build.json', 'package.json'], ['dist/cli/main.js']);
}

function readPackageList() {
  const list = JSON.parse(readFileSync(join(root, 'scripts', 'debian-packages.json'), 'utf8'));
  return [...list.build, ...list.test];
}

function missingPackages() {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholders are dpkg-query's
  const query = spawnSync('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\n'], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  const installed = new Set();
  for (const line of (query.stdout ?? '').split('\n')) {
    const [name, status] = line.split(' ');
    if (status === 'installed') installed.add(name);
  }
  return readPackageList().filter((entry) => {
    if (entry.program !== undefined && findProgram(entry.program) !== undefined) return false;
    return !installed.has(entry.package);
  });
}

function installDebianPackages() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  const names = missing.map((entry) => entry.package);
  const lines = missing.map((entry) => `  ${entry.package.padEnd(20)} ${entry.purpose}`).join('\n');
  if (findProgram('apt-get') === undefined) {
    throw new Problem(
      `This system has no apt-get, and these Debian packages, or what they are called here, are needed:\n${lines}`,
      "install them with the system's own package manager.",
    );
  }
  if (!isRoot()) {
    throw new Problem(
      `These Debian packages are missing, and installing them needs root (user id ${process.getuid()} was found):\n${lines}`,
      `run "sudo node scripts/setup.mjs", or "sudo apt-get install --no-install-recommends ${names.join(' ')}".`,
    );
  }
  step(`setup: installing ${names.length} Debian packages: ${names.join(' ')}`);
  if (!apt(['update'])) step('setup: "apt-get update" failed; trying with the lists that are there');
  withoutServiceStart(() => {
    if (!apt(['install', ...names])) throw aptProblem(names);
  });
  if (names.includes('nginx-light') && existsSync('/run/systemd/system')) {
    // Installed only for the lab, which starts its own copies; the package would start it with the next boot.
    spawnSync('systemctl', ['disable', '--quiet', 'nginx.service']);
    step("setup: the host's own nginx service stays off (systemctl enable nginx would switch it on)");
  }
}

function apt(argv, options = []) {
  const result = spawnSync('apt-get', ['-y', '-q', '--no-install-recommends', '-o', 'Dpkg::Use-Pty=0', ...options, ...argv], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  lastAptOutput = `${result.stdout ?? ''}${result.stderr ?? ''}`;
  return result.status === 0;
}

let lastAptOutput = '';

/** Says which of the packages cannot be installed, found by simulating each alone. */
function aptProblem(names) {
  const output = lastAptOutput.trimEnd().split('\n').slice(-15).join('\n');
  const bad = names.filter((name) => !apt(['install', name], ['--simulate']));
  const which =
    bad.length > 0 ? `apt-get cannot install: ${bad.join(' ')}` : `apt-get failed while installing: ${names.join(' ')}`;
  return new Problem(
    `${which}\n${output}`,
    'check the package sources (Debian 12 "main" has all of them) and the network, then run it again.',
  );
}

/** Debian starts services as it installs them; policy-rc.d is its own way to say no. An administrator's file is left as it is. */
function withoutServiceStart(action) {
  const ours = () => existsSync(policyFile) && readFileSync(policyFile, 'utf8').includes(policyMark);
  const remove = () => ours() && rmSync(policyFile);
  const interrupted = () => {
    remove();
    process.exit(130);
  };
  if (!existsSync(policyFile) || ours()) {
    writeFileSync(
      policyFile,
      `#!/bin/sh\n${policyMark}: no service starts while it installs packages; removed afterwards\nexit 101\n`,
    );
    chmodSync(policyFile, 0o755);
  }
  process.on('SIGINT', interrupted);
  process.on('SIGTERM', interrupted);
  try {
    action();
  } finally {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
    remove();
  }
}

function installNpmPackages() {
  const lock = statSync(join(root, 'package-lock.json'));
  const installed = join(root, 'node_modules', '.package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= lock.mtimeMs) return;
  step('setup: installing npm packages (npm ci)');
  runStep(
    'npm',
    ['ci', '--no-audit', '--no-fund'],
    'npm ci failed',
    'check the network and the npm registry setting, then run it again.',
  );
  // npm keeps the times of an unchanged tree: the next run must see that this lock file was looked at.
  const now = new Date();
  utimesSync(installed, now, now);
}

/** Builds one part when an input is newer than the last build that succeeded. `includes` are parts that come with it. */
function build(part, inputs, outputs, includes = []) {
  const stampOf = (name) => join(root, 'build', `.built-${name}`);
  const built = existsSync(stampOf(part)) ? statSync(stampOf(part)).mtimeMs : 0;
  const present = outputs.every((output) => existsSync(join(root, output)));
  if (present && inputs.every((input) => newest(join(root, input)) <= built)) return;
  step(`setup: building (npm run build:${part})${built === 0 ? '; the first time takes minutes' : ''}`);
  const started = new Date();
  runStep('npm', ['run', '--silent', `build:${part}`], `the build failed (npm run build:${part})`, 'the lines above say why.');
  mkdirSync(join(root, 'build'), { recursive: true });
  for (const name of [part, ...includes]) {
    writeFileSync(stampOf(name), '');
    utimesSync(stampOf(name), started, started);
  }
}

/** Time of the newest file or directory below; a directory's time tells of files that went. */
function newest(path) {
  if (!existsSync(path)) return 0;
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.mtimeMs;
  return readdirSync(path).reduce((latest, name) => Math.max(latest, newest(join(path, name))), stats.mtimeMs);
}

function runStep(file, argv, failure, remedy) {
  const result = spawnSync(file, argv, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.status === 0) return;
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trimEnd().split('\n').slice(-40).join('\n');
  throw new Problem(`${failure}:\n${output || result.error?.message}`, remedy, 4);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await runScript(() => {
    setup();
    step('setup: ready');
    return 0;
  });
}
