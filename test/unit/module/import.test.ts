// The built package as its users see it: import and require, no native code at import, the same module either way.
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../..', import.meta.url));
let directory = '';

// A project that has the package in its node_modules. It lies below this repository's own node_modules, so that dependencies are found.
beforeAll(async () => {
  const cache = join(root, 'node_modules', '.cache');
  await mkdir(cache, { recursive: true });
  directory = await mkdtemp(join(cache, 'millrace-import-'));
  // A package of its own, or the name 'millrace' would mean the package around it, this repository.
  await writeFile(join(directory, 'package.json'), '{"name":"user","private":true}');
  const installed = join(directory, 'node_modules', 'millrace');
  await mkdir(installed, { recursive: true });
  await cp(join(root, 'package.json'), join(installed, 'package.json'));
  await cp(join(root, 'millrace.schema.json'), join(installed, 'millrace.schema.json'));
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  await run(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json'), '--noCheck', '--outDir', join(installed, 'dist')]);
}, 120_000);

afterAll(() => rm(directory, { recursive: true, force: true }));

async function node(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return run(process.execPath, args, { cwd: directory });
}

const names = [
  'createLoadBalancer',
  'MillraceError',
  'ConfigurationError',
  'UnsupportedHostError',
  'unaccountedPackets',
  'versions',
];
const missing = `[${names.map((name) => `'${name}'`).join(',')}].filter((name) => !(name in millrace))`;

test('import works and loads nothing native', async () => {
  const program = `
    import * as millrace from 'millrace';
    const native = process.report.getReport().sharedObjects.filter((file) => file.endsWith('.node'));
    console.log(JSON.stringify({ missing: ${missing}, native, version: millrace.versions.millrace, nativeVersions: millrace.versions.native }));`;
  const { stdout, stderr } = await node('--input-type=module', '--eval', program);
  expect(JSON.parse(stdout)).toEqual({ missing: [], native: [], version: '0.1.0', nativeVersions: {} });
  expect(stderr).toBe('');
});

test('require works without a flag and without a warning, and gives the same module as import', async () => {
  const program = `
    const millrace = require('millrace');
    import('millrace').then((imported) => {
      console.log(JSON.stringify({ missing: ${missing}, same: imported.createLoadBalancer === millrace.createLoadBalancer }));
    });`;
  const { stdout, stderr } = await node('--input-type=commonjs', '--eval', program);
  expect(JSON.parse(stdout)).toEqual({ missing: [], same: true });
  expect(stderr).toBe('');
});

test('the other entries of the package resolve', async () => {
  const program = `
    const { MillraceError } = require('millrace/errors');
    const schema = require('millrace/config-schema.json');
    const { name } = require('millrace/package.json');
    console.log(JSON.stringify({ same: MillraceError === require('millrace').MillraceError, schema: typeof schema, name }));`;
  const { stdout } = await node('--input-type=commonjs', '--eval', program);
  expect(JSON.parse(stdout)).toEqual({ same: true, schema: 'object', name: 'millrace' });
});

test('a wrong configuration is an error of the package, and the process can end', async () => {
  const program = `
    import { ConfigurationError, createLoadBalancer } from 'millrace';
    await createLoadBalancer({ interfaces: [], services: [], nonsense: 1 }).catch((error) => {
      console.log(JSON.stringify([error instanceof ConfigurationError, error.code, error.problems.map((problem) => problem.path)]));
    });`;
  const { stdout } = await node('--input-type=module', '--eval', program);
  expect(JSON.parse(stdout)).toEqual([true, 'MILLRACE_E_CONFIG_INVALID', expect.arrayContaining(['interfaces', 'nonsense'])]);
});

test('the examples of docs/embedding.md compile against the types of the package', async () => {
  const text = await readFile(join(root, 'docs', 'embedding.md'), 'utf8');
  const examples = [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
  expect(examples.length).toBeGreaterThan(4);
  const files = examples.map((_, index) => `example-${index}.mts`);
  await Promise.all(files.map((file, index) => writeFile(join(directory, file), examples[index] ?? '')));
  const { compilerOptions } = JSON.parse(await readFile(join(root, 'tsconfig.json'), 'utf8'));
  await writeFile(
    join(directory, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { ...compilerOptions, noUnusedLocals: false }, files }),
  );
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { stdout } = await run(process.execPath, [tsc, '-p', directory]).catch((error: { stdout: string }) => error);
  expect(stdout).toBe('');
}, 120_000);
