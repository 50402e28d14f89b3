// Builds the native part by CMake: the addon and its tests. `npm run build:native`, `node-gyp rebuild` and `npm rebuild` all end here.
// Plain Node; needs node_modules (cmake-js, node-addon-api) and the Debian packages that scripts/setup.mjs installs.
//   node scripts/build-native.mjs [--no-tests]
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(join(root, 'package.json'));
// An installed package comes without the tests.
const tests = process.argv.includes('--no-tests') || !existsSync(join(root, 'test', 'native')) ? 'OFF' : 'ON';

let cmakeJs;
try {
  cmakeJs = join(dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js');
} catch {
  console.error(
    'cmake-js is not installed: run `npm ci` in a clone, `npm install --no-save cmake-js` beside an installed package',
  );
  process.exit(1);
}

const out = join(root, 'build', 'native');
mkdirSync(out, { recursive: true });
const result = spawnSync(
  process.execPath,
  [
    cmakeJs,
    'compile',
    '--generator',
    'Ninja',
    '--out',
    out,
    '--config',
    'Release',
    '--parallel',
    String(availableParallelism()),
    `--CDMILLRACE_TESTS=${tests}`,
    `--CDMILLRACE_NODE_ADDON_API=${dirname(require.resolve('node-addon-api/package.json'))}`,
    '--CDCMAKE_CXX_FLAGS_RELEASE=-O2 -g -DNDEBUG',
  ],
  { cwd: root, stdio: 'inherit' },
);
if (result.status !== 0) process.exit(result.status ?? 1);

const built = join(out, 'Release', 'millrace.node');
if (!existsSync(built)) {
  console.error(`the build ended without ${built}`);
  process.exit(1);
}
mkdirSync(join(root, 'build', 'Release'), { recursive: true });
// By rename: a balancer that runs has the old file mapped, and writing into that one would end it.
const installed = join(root, 'build', 'Release', 'millrace.node');
copyFileSync(built, `${installed}.new`);
renameSync(`${installed}.new`, installed);
const tool = join(root, 'build', 'Release', 'millrace-realserver');
copyFileSync(join(out, 'tool', 'millrace-realserver'), `${tool}.new`);
renameSync(`${tool}.new`, tool);
