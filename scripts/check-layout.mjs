// Checks the rules about who may use whom, which keep the tree readable; prints one line per violation and exits 1 if there is one.
//   node scripts/check-layout.mjs [ROOT]
// TypeScript and native: SRC_LEVELS and NATIVE_LEVELS below, from the lowest to the highest; a file uses its own folder and what stands
// on its level or lower. napi.h in native/addon only; the pipeline never sees a port. Lists (CLI commands, schedulers, forwarders) name exactly the files that exist.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url));
const violations = new Set();

function files(folder, endings) {
  const start = join(root, folder);
  if (!existsSync(start)) return [];
  return readdirSync(start, { recursive: true })
    .map((name) => join(start, String(name)))
    .filter((file) => endings.some((ending) => file.endsWith(ending)) && statSync(file).isFile())
    .map((file) => relative(root, file));
}

/** Folders and top-level files of src, lowest level first. */
const SRC_LEVELS = [
  ['errors', 'diagnostics', 'native-binding'],
  ['config', 'native', 'ipvs', 'keepalived'],
  ['control'],
  ['health'],
  ['doctor', 'versions', 'explain'],
  ['load-balancer', 'create-load-balancer', 'index', 'replay'],
  ['state', 'metrics', 'logs', 'door'],
  ['api', 'client'],
  ['daemon', 'lab', 'realserver', 'demo'],
  ['cli'],
];

/** Folders of native, lowest level first. */
const NATIVE_LEVELS = [
  ['core', 'net'],
  ['sessions', 'tables', 'schedulers'],
  ['pipeline', 'forwarders', 'ports'],
  ['replay', 'worker', 'control', 'lab', 'realserver'],
  ['addon'],
];

function levelOf(levels, part) {
  return levels.findIndex((names) => names.includes(part));
}

/** First part of a path below the folder, without ending: src/config/load.ts -> config, src/errors.ts -> errors. */
function partOf(file) {
  return (file.split('/')[1] ?? '').replace(/\.[a-z.]+$/, '');
}

function checkDirection(levels, from, to) {
  const [source, target] = [partOf(from), partOf(to)];
  if (source === target) return;
  const [high, low] = [levelOf(levels, source), levelOf(levels, target)];
  if (high === -1) violations.add(`${from}: "${source}" has no place in the order of scripts/check-layout.mjs`);
  else if (low === -1) violations.add(`${to}: "${target}" has no place in the order of scripts/check-layout.mjs`);
  else if (low > high) violations.add(`${from}: uses ${to}, which is above it`);
}

for (const file of files('src', ['.ts'])) {
  const text = readFileSync(join(root, file), 'utf8');
  for (const [, specifier] of text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
    checkDirection(SRC_LEVELS, file, relative(root, normalize(join(root, dirname(file), specifier))));
    if (!specifier.endsWith('.js')) violations.add(`${file}: import '${specifier}' does not end in .js`);
  }
  if (/^export default/m.test(text)) violations.add(`${file}: default export`);
}

for (const file of files('native', ['.h', '.cc', '.c'])) {
  const text = readFileSync(join(root, file), 'utf8');
  for (const [, included] of text.matchAll(/^\s*#\s*include\s*[<"]([^>"]+)[>"]/gm)) {
    if (/^(napi|node_api|uv)\.h$/.test(included) && partOf(file) !== 'addon')
      violations.add(`${file}: includes ${included}; only native/addon may`);
    if (included.startsWith('ports/') && partOf(file) === 'pipeline')
      violations.add(`${file}: the pipeline must not know ports (${included})`);
    if (existsSync(join(root, 'native', included))) checkDirection(NATIVE_LEVELS, file, join('native', included));
  }
}

for (const file of [
  ...files('src', ['.ts']),
  ...files('native', ['.h', '.cc', '.c', '.def']),
  ...files('scripts', ['.mjs', '.cjs']),
]) {
  const text = readFileSync(join(root, file), 'utf8').replace(/^#!.*\n/, '');
  if (!/^(\/\/|\/\*)/.test(text)) violations.add(`${file}: does not begin with a comment that says why it exists`);
}

/** A list in one file must name exactly the files of a folder. */
function checkRegistry(list, pattern, folder, ending, except = []) {
  if (!existsSync(join(root, list))) return;
  const listed = [...readFileSync(join(root, list), 'utf8').matchAll(pattern)].map((match) => match[1]).sort();
  const present = files(folder, [ending])
    .map((file) => file.slice(folder.length + 1, -ending.length))
    .filter((name) => !name.includes('/') && !except.includes(name))
    .sort();
  for (const name of listed)
    if (!present.includes(name)) violations.add(`${list}: lists "${name}", but ${folder}/${name}${ending} does not exist`);
  for (const name of present) if (!listed.includes(name)) violations.add(`${folder}/${name}${ending}: not listed in ${list}`);
}

checkRegistry('src/cli/registry.ts', /import\('\.\/commands\/([a-z-]+)\.js'\)/g, 'src/cli/commands', '.ts');
checkRegistry('native/schedulers/registry.h', /#include "schedulers\/([a-z_]+)\.h"/g, 'native/schedulers', '.h', [
  'registry',
  'scheduler',
]);
checkRegistry('native/forwarders/registry.h', /#include "forwarders\/([a-z0-9_]+)\.h"/g, 'native/forwarders', '.h', [
  'registry',
  'forwarder',
  'tunnel_overhead',
]);

const scripts = existsSync(join(root, 'package.json'))
  ? JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts
  : {};
for (const [name, command] of Object.entries(scripts)) {
  for (const [, script] of command.matchAll(/node (scripts\/[\w.-]+)/g)) {
    if (!existsSync(join(root, script))) violations.add(`package.json: script "${name}" runs ${script}, which does not exist`);
  }
}

for (const violation of violations) process.stdout.write(`${violation}\n`);
if (violations.size > 0) process.exitCode = 1;
