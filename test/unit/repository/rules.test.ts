// Rules about the repository itself: generated files are up to date, and nobody uses what stands above.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const layout = join(root, 'scripts/check-layout.mjs');

test('generated files are what the generator writes', () => {
  const run = spawnSync(process.execPath, [join(root, 'scripts/generate.mjs'), '--check'], { encoding: 'utf8' });
  expect(run.stderr + run.stdout).toBe('');
  expect(run.status).toBe(0);
});

test('the tree keeps to its layout', () => {
  const run = spawnSync(process.execPath, [layout], { encoding: 'utf8' });
  expect(run.stdout).toBe('');
  expect(run.status).toBe(0);
});

let tree = '';
beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), 'millrace-layout-'));
});
afterEach(() => {
  rmSync(tree, { recursive: true });
});

function violations(files: Readonly<Record<string, string>>): string {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(tree, name, '..'), { recursive: true });
    writeFileSync(join(tree, name), `// Why.\n${text}\n`);
  }
  return spawnSync(process.execPath, [layout, tree], { encoding: 'utf8' }).stdout;
}

test('an import from below to above is a violation', () => {
  expect(violations({ 'src/config/load.ts': "import { run } from '../cli/main.js';" })).toContain(
    'src/config/load.ts: uses src/cli/main.js, which is above it',
  );
  expect(violations({ 'src/config/load.ts': "import { run } from '../errors.js';" })).toBe('');
});

test('napi.h outside the addon and ports inside the pipeline are violations', () => {
  expect(violations({ 'native/worker/worker.h': '#include <napi.h>' })).toContain('only native/addon may');
  expect(violations({ 'native/pipeline/parse.h': '#include "ports/port.h"', 'native/ports/port.h': '' })).toContain(
    'must not know ports',
  );
});

test('a command without a file and a file without a command are violations', () => {
  const found = violations({
    'src/cli/registry.ts': "const list = [() => import('./commands/run.js')];",
    'src/cli/commands/check.ts': '',
  });
  expect(found).toContain('lists "run", but src/cli/commands/run.ts does not exist');
  expect(found).toContain('src/cli/commands/check.ts: not listed');
});

test('a file without an opening comment is a violation', () => {
  mkdirSync(join(tree, 'src'));
  writeFileSync(join(tree, 'src/errors.ts'), 'export const a = 1;\n');
  expect(violations({})).toContain('does not begin with a comment');
});

test('the lock file names no registry', () => {
  expect(readFileSync(join(root, 'package-lock.json'), 'utf8')).not.toContain('"resolved"');
});
