// Man pages: there is one for every command, and mandoc has nothing to warn of.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { COMMANDS } from '../../../src/cli/registry.js';
import { ERROR_CATALOGUE } from '../../../src/errors.js';

const folder = fileURLToPath(new URL('../../../man', import.meta.url));
const pages = readdirSync(folder);
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

test('every command that is not hidden has a page, and no page is left over', () => {
  const commands = COMMANDS.filter(({ hidden }) => hidden !== true).map(({ name }) => `millrace-${name}.8`);
  expect(pages.sort()).toEqual([...commands, 'millrace.8', 'millrace.yaml.5'].sort());
});

test('millrace(8) has every error, and the page of drain its options and exit codes', () => {
  const main = read('millrace.8');
  for (const code of Object.keys(ERROR_CATALOGUE)) expect(main).toContain(`\\fB${code}\\fR`);
  const drain = read('millrace-drain.8');
  for (const words of ['\\-\\-dry\\-run', '\\-o, \\-\\-output <format>', 'no daemon answers']) expect(drain).toContain(words);
});

test('millrace.yaml(5) has every key of a service', () => {
  for (const key of ['scheduler', 'persistence', 'weight', 'healthChecks', 'localAddresses']) {
    expect(read('millrace.yaml.5')).toContain(`\\fB${key}\\fR`);
  }
});

const mandoc = spawnSync('mandoc', ['-T', 'lint', '/dev/null']).error === undefined;

test.skipIf(!mandoc)('mandoc has nothing to warn of', () => {
  const { stdout, stderr } = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning', ...pages.map((name) => join(folder, name))], {
    encoding: 'utf8',
  });
  expect(stdout + stderr).toBe('');
});
