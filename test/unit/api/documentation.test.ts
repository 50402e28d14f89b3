// The examples of docs/api.md, run by a shell against a real socket: they work as they stand.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { parseConfig } from '../../../src/config/load.js';
import { startApi } from './support/api.js';

const page = readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8');

function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, text]) => text ?? '');
}

test('every shell example succeeds', async () => {
  await using api = await startApi();
  const script = blocks('sh')
    .join('\n')
    .replace(/^export SOCKET=.*$/m, `export SOCKET=${api.socketPath}`);
  expect(script.match(/^curl /gm)?.length).toBeGreaterThanOrEqual(15);
  const { stdout } = await promisify(execFile)('sh', ['-euc', script]);
  expect(stdout).toContain('"servicesAdded":["shop"]');
  expect(stdout).toContain('"dryRun":true');
  expect(stdout).toContain('[+] workers: 2 turn');
  expect(stdout).not.toContain('"error"');
  expect(api.desired.operations.map((operation) => operation.op)).toEqual([
    'put-service',
    'put-server',
    'set-weight',
    'drain',
    'undrain',
    'set-section',
    'delete-server',
    'delete-service',
  ]);
});

test('the example of the section is a right one', () => {
  const rest = 'interfaces: [{ name: wan }]\nlocalAddresses: [192.0.2.101]\nservices: []\n';
  expect(blocks('yaml').map((text) => parseConfig(rest + text, 'docs/api.md').problems)).toEqual([[]]);
});
