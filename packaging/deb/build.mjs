// Builds the Debian package: Millrace, its npm packages, its addon, and the Node.js that runs this script, which is copied as it is.
//   node packaging/deb/build.mjs [--out DIR] [--fast]      --fast compresses little, for tests
// Plain Node; needs node_modules, the built addon (npm run build:native), dpkg-deb, and dpkg-shlibdeps (dpkg-dev).
// Guarantees: makes DIR/millrace_VERSION_ARCH.deb and prints its path; works in a temporary folder and removes it; changes nothing else.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { findProgram } from '../../scripts/lib/host.mjs';
import { Problem, runScript, step } from '../../scripts/lib/output.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const home = 'usr/lib/millrace';
const prebuilt = `prebuilds/${process.platform}-${process.arch}`;
const documents = 'usr/share/doc/millrace';

/** Not needed where the addon is prebuilt. */
const leftOut = ['node-addon-api'];
/** Folders at the top of an npm package, and endings, that no program loads. */
const uselessFolders = ['.github', 'benchmark', 'benchmarks', 'docs', 'examples', 'test', 'tests', '__tests__'];
const uselessFiles = /(\.map|\.d\.[cm]?ts|\.md|\.ya?ml|\.sh|^\..*)$/i;

await runScript(() => {
  const { values } = parseArgs({
    options: { out: { type: 'string', default: join(root, 'build') }, fast: { type: 'boolean', default: false } },
  });
  requireParts();
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const architecture = output('dpkg', ['--print-architecture']);
  const stage = mkdtempSync(join(tmpdir(), 'millrace-deb-'));
  try {
    chmodSync(stage, 0o755);
    putProgram(stage);
    putSystemFiles(stage);
    putDocuments(stage, version);
    setModes(stage);
    putControl(stage, version, architecture);
    mkdirSync(values.out, { recursive: true });
    const file = resolve(values.out, `millrace_${version}_${architecture}.deb`);
    const compression = values.fast ? ['-Zgzip', '-z1'] : ['-Zxz'];
    output('dpkg-deb', ['--root-owner-group', ...compression, '--build', stage, file]);
    process.stdout.write(`${file}\n`);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
  return 0;
});

function requireParts() {
  for (const [program, debian] of Object.entries({ 'dpkg-deb': 'dpkg', 'dpkg-shlibdeps': 'dpkg-dev', strip: 'binutils' })) {
    if (findProgram(program) === undefined) throw new Problem(`${program} is missing`, `run "apt-get install ${debian}".`);
  }
  for (const name of ['millrace.node', 'millrace-realserver']) {
    const file = join(root, 'build', 'Release', name);
    if (!existsSync(file)) throw new Problem(`${file} does not exist`, 'run "npm run build:native" first.');
  }
}

function output(file, argv, options = {}) {
  return execFileSync(file, argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options }).trim();
}

function put(stage, path, content) {
  const file = join(stage, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}

function copy(stage, path, from) {
  const file = join(stage, path);
  mkdirSync(dirname(file), { recursive: true });
  copyFileSync(from, file);
  return file;
}

function putProgram(stage) {
  step('deb: compiling');
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const plain = ['--sourceMap', 'false', '--inlineSources', 'false', '--declaration', 'false'];
  output(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json'), '--outDir', join(stage, home, 'dist'), ...plain]);
  for (const name of ['package.json', 'millrace.schema.json']) copy(stage, `${home}/${name}`, join(root, name));
  step('deb: copying Node.js, npm packages and the addon');
  copy(stage, `${home}/node`, realpathSync(process.execPath));
  for (const path of productionPackages()) copyPackage(join(root, path), join(stage, home, path));
  const addon = copy(stage, `${home}/${prebuilt}/millrace.node`, join(root, 'build', 'Release', 'millrace.node'));
  output('strip', ['--strip-unneeded', addon]);
  const agent = copy(stage, `${home}/${prebuilt}/millrace-realserver`, join(root, 'build', 'Release', 'millrace-realserver'));
  output('strip', [agent]);
  const start = `#!/bin/sh\nexec /${home}/node /${home}/dist/cli/main.js "$@"\n`;
  put(stage, 'usr/bin/millrace', start);
  symlinkSync(`../lib/millrace/${prebuilt}/millrace-realserver`, join(stage, 'usr/bin/millrace-realserver'));
}

/** Paths of the npm packages that the lock file wants in production and that are installed on this platform. */
function productionPackages() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages).flatMap(([path, entry]) => {
    if (path === '' || entry.dev || leftOut.includes(path.slice('node_modules/'.length))) return [];
    if (existsSync(join(root, path, 'package.json'))) return [path];
    if (entry.optional) return [];
    throw new Problem(`${path} is not installed`, 'run "npm ci" first.');
  });
}

function copyPackage(from, to) {
  // Packages inside packages are entries of the lock file themselves.
  cpSync(from, to, {
    recursive: true,
    dereference: true,
    filter: (source) => {
      const path = relative(from, source);
      if (path === '') return true;
      if (path.split('/').includes('node_modules') || uselessFolders.includes(path)) return false;
      return statSync(source).isDirectory() || !uselessFiles.test(basename(source));
    },
  });
}

function putSystemFiles(stage) {
  copy(stage, 'lib/systemd/system/millrace.service', join(root, 'packaging', 'systemd', 'millrace.service'));
  copy(stage, 'etc/millrace/millrace.yaml', join(here, 'millrace.yaml'));
  copy(stage, 'usr/share/lintian/overrides/millrace', join(here, 'lintian-overrides'));
  for (const page of list('man')) {
    const section = /\.([1-8])$/.exec(page)?.[1];
    if (section !== undefined) put(stage, `usr/share/man/man${section}/${page}.gz`, zipped(join(root, 'man', page)));
  }
  for (const name of list('completions')) {
    const from = join(root, 'completions', name);
    if (name.endsWith('.bash')) copy(stage, 'usr/share/bash-completion/completions/millrace', from);
    if (name.endsWith('.zsh') || name === '_millrace') copy(stage, 'usr/share/zsh/vendor-completions/_millrace', from);
  }
}

function list(folder) {
  return existsSync(join(root, folder)) ? readdirSync(join(root, folder)) : [];
}

function zipped(file) {
  return gzipSync(readFileSync(file), { level: 9 });
}

function putDocuments(stage, version) {
  cpSync(join(root, 'docs'), join(stage, documents), { recursive: true });
  for (const name of ['README.md', 'CHANGELOG.md']) copy(stage, `${documents}/${name}`, join(root, name));
  put(stage, `${documents}/LICENSE.node.gz`, zipped(nodeLicense()));
  const digest = createHash('sha256')
    .update(readFileSync(join(stage, home, 'node')))
    .digest('hex');
  put(stage, `${documents}/copyright`, copyright(digest));
  const seconds = process.env.SOURCE_DATE_EPOCH ?? Math.trunc(statSync(join(root, 'package.json')).mtimeMs / 1000);
  const date = new Date(Number(seconds) * 1000).toUTCString().replace('GMT', '+0000');
  const entry = `millrace (${version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- ${maintainer()}  ${date}\n`;
  put(stage, `${documents}/changelog.gz`, gzipSync(entry, { level: 9 }));
}

function maintainer() {
  return 'Millrace maintainers <maintainers@millrace.invalid>';
}

/** The licence that came with this Node.js: of Debian-like packages, then of the makers' own archive. */
function nodeLicense() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  const places = ['share/doc/nodejs/LICENSE', 'LICENSE', 'share/doc/nodejs/copyright'].map((path) => join(prefix, path));
  const found = places.find(existsSync);
  if (found !== undefined) return found;
  throw new Problem(
    `The licence of this Node.js, which must go along with it, was found at none of: ${places.join(', ')}`,
    'install Node.js from a package or an archive of its makers.',
  );
}

function copyright(digest) {
  return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: millrace
Comment: usr/lib/millrace/node is Node.js ${process.version}, copied without any change from the machine that built this
 package, because Debian 12 has Node.js 18 and Millrace needs 20.19 or newer. SHA-256 of the file:
 ${digest}.
 Security updates of Node.js come with new versions of this package, not with those of Debian's nodejs.

Files: *
Copyright: Millrace contributors
License: Apache-2.0
 On Debian systems, the text of the Apache License, Version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.

Files: usr/lib/millrace/node
Copyright: Node.js contributors, and those of the libraries inside
License: Node.js
 The text, with those of the libraries inside, is in /usr/share/doc/millrace/LICENSE.node.gz.

Files: usr/lib/millrace/node_modules/*
Copyright: the authors of the packages
License: each-its-own
 MIT, ISC, BSD-3-Clause or Apache-2.0: package.json and LICENSE in each folder say which.
`;
}

/** Modes are those of the package and not of the clone. */
function setModes(stage) {
  const programs = new Set(
    [`${home}/node`, `${home}/${prebuilt}/millrace-realserver`, 'usr/bin/millrace'].map((path) => join(stage, path)),
  );
  for (const entry of readdirSync(stage, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isSymbolicLink()) chmodSync(path, entry.isDirectory() || programs.has(path) ? 0o755 : 0o644);
  }
}

function putControl(stage, version, architecture) {
  const files = readdirSync(stage, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  const size = paths.reduce((sum, path) => sum + statSync(path).size, 0);
  const sums = paths
    .filter((path) => !path.startsWith(join(stage, 'etc')))
    .map((path) => `${createHash('md5').update(readFileSync(path)).digest('hex')}  ${relative(stage, path)}\n`);
  const control = [
    'Package: millrace',
    `Version: ${version}`,
    `Architecture: ${architecture}`,
    `Maintainer: ${maintainer()}`,
    `Installed-Size: ${Math.ceil(size / 1024)}`,
    `Depends: ${libraries(stage)}, adduser`,
    'Recommends: iproute2, ethtool',
    'Section: net',
    'Priority: optional',
    'Description: layer-4 load balancer that bypasses the kernel with AF_XDP',
    ' Full NAT, NAT, direct routing, tunnels and L3DSR for TCP, UDP and SCTP, with the',
    ' schedulers of IPVS, health checks, and one worker thread per core. Contains the',
    ' Node.js that it runs on.',
    '',
  ].join('\n');
  put(stage, 'DEBIAN/control', control);
  put(stage, 'DEBIAN/md5sums', sums.join(''));
  put(stage, 'DEBIAN/conffiles', '/etc/millrace/millrace.yaml\n');
  for (const name of ['postinst', 'prerm', 'postrm']) chmodSync(copy(stage, `DEBIAN/${name}`, join(here, name)), 0o755);
}

/** Debian packages, with versions, of the shared libraries that Node.js and the addon need. */
function libraries(stage) {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-shlibs-'));
  try {
    put(folder, 'debian/control', 'Source: millrace\n\nPackage: millrace\nArchitecture: any\n');
    const binaries = [`${home}/node`, `${home}/${prebuilt}/millrace.node`].map((path) => join(stage, path));
    const found = output('dpkg-shlibdeps', ['-O', ...binaries], { cwd: folder });
    const depends = /^shlibs:Depends=(.+)$/m.exec(found)?.[1];
    if (depends === undefined) throw new Problem(`dpkg-shlibdeps names no libraries: ${found}`, 'see the message.');
    return depends;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
