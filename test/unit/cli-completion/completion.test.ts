// Completion: bash runs the script that is printed, with a daemon that answers and without one.
import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { completionTree } from '../../../src/cli/completion/tree.js';
import { buildProgram } from '../../../src/cli/program.js';
import { COMMANDS } from '../../../src/cli/registry.js';
import { run } from '../cli-remote/support.js';
import { FakeDaemon } from '../client/support/fake-daemon.js';

const directory = mkdtempSync(join(tmpdir(), 'millrace-completion-'));
const script = join(directory, 'millrace.bash');

beforeAll(async () => {
  writeFileSync(script, (await run('completion', 'bash')).out);
  // In place of the program: what it is asked, and names as a daemon would have them.
  const program = join(directory, 'millrace');
  const answer =
    'echo "$@" >> "$ASKED"; case "$*" in *servers*) echo "192.0.2.11:8080"; echo "[2001:db8::1]:80" ;; *) echo web; echo dns ;; esac';
  writeFileSync(program, `#!/bin/sh\n${answer}\n`);
  chmodSync(program, 0o755);
  writeFileSync(join(directory, 'some.yaml'), '');
});
afterAll(() => rmSync(directory, { recursive: true }));

/** What bash would offer behind this line; `breaks` are its COMP_WORDBREAKS. */
async function complete(line: string, breaks = ' \t\n'): Promise<{ words: string[]; asked: string }> {
  const asked = join(directory, 'asked');
  writeFileSync(asked, '');
  const program = `source ${script}; COMP_LINE=$1; COMP_POINT=\${#1}; COMP_WORDBREAKS=$2; _millrace; printf '%s\\n' "\${COMPREPLY[@]}"; cat "$ASKED" >&2`;
  const { stdout, stderr } = await promisify(execFile)('bash', ['--norc', '-c', program, 'bash', line, breaks], {
    cwd: directory,
    env: { ...process.env, PATH: `${directory}:${process.env['PATH']}`, ASKED: asked },
  });
  return {
    words: stdout
      .split('\n')
      .filter((word) => word !== '')
      .sort(),
    asked: stderr.trim(),
  };
}

test('commands, of the program and of a group', async () => {
  const all = (await complete('millrace ')).words;
  for (const { name, hidden } of COMMANDS) expect(all.includes(name)).toBe(hidden !== true);
  expect((await complete('millrace ser')).words).toEqual(['servers', 'services']);
  expect((await complete('millrace lab ')).words).toEqual(expect.arrayContaining(['down', 'exec', 'up']));
  expect((await complete('millrace completion ')).words).toEqual(['bash', 'help', 'zsh']);
});

test('every option of every command is offered', async () => {
  for (const { path, options } of completionTree(await buildProgram(COMMANDS))) {
    const { words } = await complete(`millrace ${[...path, '-'].join(' ')}`);
    expect(words).toEqual(options.flatMap(({ flags }) => flags).sort());
  }
}, 60_000);

test('values of options: words to choose from, files, in one word or two', async () => {
  expect((await complete('millrace services -o ')).words).toEqual(['json', 'table', 'wide', 'yaml']);
  expect((await complete('millrace services --output=y')).words).toEqual(['yaml']);
  expect((await complete('millrace services --output y')).words).toEqual(['yaml']);
  expect((await complete('millrace check so')).words).toEqual(['some.yaml']);
  expect((await complete('millrace run -c so')).words).toEqual(['some.yaml']);
  expect((await complete('millrace services --ca so')).words).toEqual(['some.yaml']);
});

test('names of services and servers come from the daemon that the line names', async () => {
  expect(await complete('millrace drain ')).toEqual({ words: ['dns', 'web'], asked: 'completion names services' });
  expect(await complete('millrace drain --socket /tmp/s w')).toEqual({
    words: ['web'],
    asked: 'completion names --socket /tmp/s services',
  });
  expect(await complete('millrace weight --url=https://lb web ')).toEqual({
    words: ['192.0.2.11:8080', '[2001:db8::1]:80'],
    asked: 'completion names --url=https://lb servers web',
  });
  expect(await complete('millrace weight web 192.0.2.11:8080 ')).toEqual({ words: [], asked: '' });
  expect((await complete('millrace drain web 192.0.2.11:80')).words).toEqual(['192.0.2.11:8080']);
});

test('where bash cuts words at colons, only what stands behind the last one is offered', async () => {
  expect((await complete('millrace drain web 192.0.2.11:', ' \t\n:=')).words).toEqual(['8080']);
  expect((await complete('millrace drain web 192', ' \t\n:=')).words).toEqual(['192.0.2.11:8080']);
});

test('nothing fits: nothing is offered', async () => {
  expect((await complete('millrace nonsense x')).words).toEqual([]);
  expect((await complete('millrace status ')).words).toEqual([]);
});

test('completion names asks a real daemon, and says nothing without one', async () => {
  await using daemon = await new FakeDaemon().start();
  expect(await run('completion', 'names', '--socket', daemon.socket, 'services')).toEqual({
    code: 0,
    out: 'web\ndns\n',
    err: '',
  });
  const servers = await run('completion', 'names', '--socket', daemon.socket, 'servers', 'web');
  expect(servers.out).toBe('192.0.2.11:8080\n192.0.2.12:8080\n');
  daemon.raw = () => undefined;
  expect(await run('completion', 'names', '--socket', daemon.socket, 'services')).toEqual({ code: 0, out: '', err: '' });
  expect(await run('completion', 'names', '--socket', '/nonexistent', 'services')).toEqual({ code: 0, out: '', err: '' });
});

const zsh = spawnSync('zsh', ['--version']).status === 0;

test('the script for zsh has the same decisions as that for bash', async () => {
  const { code, out } = await run('completion', 'zsh');
  expect(code).toBe(0);
  expect(out.startsWith('#compdef millrace\n')).toBe(true);
  const decisions = (text: string): string | undefined =>
    /_millrace_candidates\(\) \{[\s\S]*?\n(?=\n_millrace\(\) \{)/.exec(text)?.[0];
  expect(decisions(out)).toBeDefined();
  expect(decisions(out)).toBe(decisions((await run('completion', 'bash')).out));
});

test.skipIf(!zsh)('zsh reads its script', async () => {
  const { out } = await run('completion', 'zsh');
  const checked = spawnSync('zsh', ['-f', '-n'], { input: out, encoding: 'utf8' });
  expect(checked.stderr).toBe('');
  expect(checked.status).toBe(0);
});
