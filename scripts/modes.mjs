// npm run test:modes: the end-to-end tests of all forwarding modes in their full form, and a table of what they found.
//   npm run test:modes -- [--short]
// Plain Node: nothing from node_modules. Guarantees: a row has only what its tests have shown; the exit code is that of the tests.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runScript } from './lib/output.mjs';
import { root } from './setup.mjs';

const file = join(root, 'build', 'test-results', 'modes.json');

await runScript(async () => {
  const { values } = parseArgs({ options: { short: { type: 'boolean', default: false } } });
  mkdirSync(join(root, 'build', 'test-results'), { recursive: true });
  rmSync(file, { force: true });
  const argv = [join(root, 'scripts', 'test.mjs'), '--only', 'netns', ...(values.short ? [] : ['--full']), 'test/netns/modes'];
  const env = { ...process.env, MILLRACE_MODES_FILE: file };
  const run = spawnSync(process.execPath, argv, { cwd: root, stdio: 'inherit', env });
  if (existsSync(file)) process.stdout.write(table(JSON.parse(readFileSync(file, 'utf8'))));
  return run.status ?? 1;
});

/** Full NAT first, the outbound gateway last. */
function orderOf({ mode, families, protocol }) {
  const place = ['fullnat', 'nat', 'direct', 'ipip', 'gre', 'gue', 'l3dsr', 'snat'].indexOf(mode);
  return `${place} ${families} ${protocol}`;
}

/** In the order in which checks first were noted. */
function table(rows) {
  rows.sort((a, b) => orderOf(a).localeCompare(orderOf(b)));
  const checks = [...new Set(rows.flatMap((row) => Object.keys(row.checks)))];
  const lines = [
    ['mode', 'families', 'protocol', ...checks],
    ...rows.map((row) => [row.mode, row.families, row.protocol, ...checks.map((check) => row.checks[check] ?? '-')]),
  ];
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  const text = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  );
  return `\nfamilies: of the client and of the real server; snat: of the host inside and of the one outside\n\n${text.join('\n')}\n`;
}
