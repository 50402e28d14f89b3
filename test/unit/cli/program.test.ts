// The command line from the outside: what is printed where, and the exit code.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runCli } from '../../../src/cli/program.js';
import { catchOutput } from './support/output.js';

const file = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const wrong = file('test/unit/config/wrong/unknown-key.yaml');
const caught = catchOutput();

const examples = readdirSync(file('examples'), { recursive: true, encoding: 'utf8' });

test.each(examples.filter((name) => name.endsWith('.yaml')))('check: example %s is right', async (name) => {
  expect(await runCli(['check', file(`examples/${name}`)])).toBe(0);
  expect(caught.out).toMatch(/^ok .*: \d+ services?, \d+ servers?\n$/);
  expect(caught.err).toBe('');
});

test('check: a wrong file is explained on stderr, exit code 1', async () => {
  expect(await runCli(['check', wrong])).toBe(1);
  expect(caught.out).toBe('');
  expect(caught.err).toContain(
    `${wrong}:11:9: unknown key "weigth"\n   11 |         weigth: 3\n      |         ^^^^^^\n      = did you mean "weight"?`,
  );
  expect(caught.err).toContain('1 problem in');
});

test('check --json: a wrong file is explained on stdout as JSON, exit code 1', async () => {
  expect(await runCli(['check', wrong, '--json'])).toBe(1);
  expect(caught.err).toBe('');
  expect(JSON.parse(caught.out)).toMatchObject({
    ok: false,
    error: { code: 'MILLRACE_E_CONFIG_INVALID' },
    problems: [
      {
        file: wrong,
        line: 11,
        column: 9,
        path: 'services[0].servers[0].weigth',
        reason: 'unknown key "weigth"',
        remedy: 'did you mean "weight"?',
      },
    ],
  });
});

test('check --json: a right file has its numbers', async () => {
  expect(await runCli(['check', file('examples/two-networks.yaml'), '--json'])).toBe(0);
  expect(JSON.parse(caught.out)).toMatchObject({ ok: true, services: 3, servers: 6, problems: [] });
});

test('check --effective: defaults are there, in the order of the reference', async () => {
  expect(await runCli(['check', file('examples/first.yaml'), '--effective'])).toBe(0);
  expect(caught.out).toContain('  ringSize: 2048\n');
  expect(caught.out).toContain('      established: 900\n');
  expect(caught.out.match(/^[a-zA-Z]+/gm)).toEqual([
    'workers',
    'interfaces',
    'dataplane',
    'daemon',
    'sessions',
    'localAddresses',
    'tunnelSources',
    'echoReplies',
    'localPorts',
    'routes',
    'neighbours',
    'snat',
    'logs',
    'services',
  ]);
});

test('check: a file that is not there has exit code 1 and says so', async () => {
  expect(await runCli(['check', '/nonexistent.yaml'])).toBe(1);
  expect(caught.err).toContain('/nonexistent.yaml cannot be read');
  expect(caught.err).toContain('MILLRACE_E_CONFIG_UNREADABLE');
});

test.each([[['check']], [['chekc', 'x']], [['check', 'x', '--colour']], [[]]])('%j is wrong usage, exit code 2', async (argv) => {
  expect(await runCli(argv)).toBe(2);
  expect(caught.err).not.toBe('');
});

test('a mistyped command gets a suggestion', async () => {
  await runCli(['chekc']);
  expect(caught.err).toContain('Did you mean check?');
});

test('--help lists every command that is not hidden, and the exit codes', async () => {
  expect(await runCli(['--help'])).toBe(0);
  for (const name of ['run', 'check', 'lab', 'doctor', 'replay', 'version'])
    expect(caught.out).toMatch(new RegExp(`^  ${name} `, 'm'));
  expect(caught.out).not.toMatch(/^ {2}demo /m);
  expect(caught.out).toContain('Exit codes:');
});

test('help check shows the options of check', async () => {
  expect(await runCli(['help', 'check'])).toBe(0);
  expect(caught.out).toContain('--effective');
});

test('version --json names this package and Node', async () => {
  expect(await runCli(['version', '--json'])).toBe(0);
  expect(JSON.parse(caught.out)).toMatchObject({
    millrace: expect.stringMatching(/^\d+\.\d+\.\d+/),
    node: process.versions.node,
  });
});
