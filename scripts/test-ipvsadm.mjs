// npm run test:ipvsadm: every ipvsadm command of the recordings of a live IPVS, run again and compared byte for byte: standard output,
// standard error, exit status. Prints a table, the deliberate differences with their reasons, and one last line.
//   MILLRACE_IPVS_RECORDINGS=DIR npm run test:ipvsadm     also compares the commands of the original files in DIR with those in the tree
// Plain Node. Guarantees: the exit code is 0 only if every recorded command was compared, and is equal or listed as a difference.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Problem, runScript, step } from './lib/output.mjs';
import { root } from './setup.mjs';

/** Commands of 04 once more, against the configuration of a running balancer. */
const AGAIN = 'against a configuration';
const RECORDINGS = join(root, 'test', 'ipvsadm', 'recordings');

await runScript(async () => {
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  if (!existsSync(vitest)) throw new Problem('Node packages are missing.', 'run "npm ci" first.', 4);
  const files = readdirSync(RECORDINGS).sort();
  const recorded = new Map(files.map((file) => [file, commandsOf(join(RECORDINGS, file))]));
  const { passed, results } = replay(vitest);
  const again = [...results.values()].filter(({ file }) => file === AGAIN);
  print(new Map([...recorded, [AGAIN, again]]), results);
  const all = [...recorded].flatMap(([file, commands]) => commands.map(({ line, command }) => ({ file, line, command })));
  const missing = all.filter(({ file, line }) => !results.has(`${file}:${line}`));
  for (const { file, line, command } of missing) process.stdout.write(`not compared: ${file}:${line}: ${command}\n`);
  const different = [...results.values()].filter(({ verdict }) => verdict === 'differs');
  for (const { file, line, command } of different) process.stdout.write(`differs: ${file}:${line}: ${command}\n`);
  const faults = missing.length + different.length + missingOriginals(recorded);
  const counts = `${all.length} recorded commands and ${again.length} of them against a configuration, ${count(results, 'equal')} equal, ${count(results, 'deliberate')} different on purpose`;
  if (faults === 0 && passed) {
    process.stdout.write(`ipvsadm: passed: ${counts}\n`);
    return 0;
  }
  process.stdout.write(`ipvsadm: failed: ${counts}, ${faults} faults, tests ${passed ? 'passed' : 'failed'}; see above\n`);
  return 1;
});

/** Lines and texts of the commands that run ipvsadm. */
function commandsOf(path) {
  const lines = readFileSync(path, 'latin1').split('\n');
  return lines.flatMap((text, index) =>
    /^### \$ .*\bipvsadm( |$)/.test(text) ? [{ line: index + 1, command: text.slice('### $ '.length) }] : [],
  );
}

/** Runs the tests, which say of each command what became of it. */
function replay(vitest) {
  step('ipvsadm: replaying the recordings');
  const folder = mkdtempSync(join(tmpdir(), 'millrace-ipvsadm-'));
  try {
    const file = join(folder, 'results');
    const argv = [vitest, 'run', '--root', root, '--project', 'unit', 'test/ipvsadm/', '--reporter=dot'];
    const env = { ...process.env, MILLRACE_IPVSADM_RESULTS: file };
    const run = spawnSync(process.execPath, argv, { cwd: root, env, encoding: 'utf8', maxBuffer: 1 << 26 });
    if (run.status !== 0) process.stdout.write(`${run.stdout}${run.stderr}`);
    const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
    // The last word about a command counts: each is "differs" until it has been compared.
    const results = new Map(lines.map((line) => JSON.parse(line)).map((result) => [`${result.file}:${result.line}`, result]));
    return { passed: run.status === 0, results };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function count(results, verdict, file) {
  return [...results.values()].filter((result) => result.verdict === verdict && (file ?? result.file) === result.file).length;
}

function print(recorded, results) {
  const verdicts = ['equal', 'deliberate', 'differs'];
  const rows = [...recorded].map(([file, commands]) => [
    file,
    String(commands.length),
    ...verdicts.map((verdict) => String(count(results, verdict, file))),
  ]);
  const sum = (column) => String(rows.reduce((total, row) => total + Number(row[column]), 0));
  const table = [['recording', 'commands', 'equal', 'on purpose', 'different'], ...rows, ['all', ...[1, 2, 3, 4].map(sum)]];
  const widths = table[0].map((_, i) => Math.max(...table.map((row) => row[i].length)));
  process.stdout.write('\nCommands of a live IPVS: stdout, stderr and exit status, byte for byte\n');
  for (const row of table) {
    process.stdout.write(`  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ')}\n`);
  }
  const deliberate = [...results.values()].filter(({ verdict }) => verdict === 'deliberate');
  if (deliberate.length > 0) process.stdout.write('\nDifferent on purpose\n');
  for (const { file, line, command, reason } of deliberate)
    process.stdout.write(`  ${file}:${line}: ${command}\n      ${reason}\n`);
  process.stdout.write('\n');
}

/** Commands of the original recordings that the tree lacks or has in another order. */
function missingOriginals(recorded) {
  const directory = process.env.MILLRACE_IPVS_RECORDINGS;
  if (directory === undefined) return 0;
  let missing = 0;
  for (const file of readdirSync(directory).filter((name) => name.endsWith('.txt'))) {
    const original = blocksOf(join(directory, file));
    if (original.length === 0) continue;
    const here = recorded.has(file) ? blocksOf(join(RECORDINGS, file)) : [];
    const faults = original.filter((block, index) => block !== here[index]).length;
    process.stdout.write(
      `${file}: ${original.length} commands in the original, ${original.length - faults} of them as in the tree\n`,
    );
    missing += faults;
  }
  return missing;
}

/** Commands with what they printed. */
function blocksOf(path) {
  const text = readFileSync(path, 'latin1');
  return [...text.matchAll(/^### \$ .*\bipvsadm(?: .*)?\n### rc=\d+ stdout=(\d+) stderr=(\d+)\n/gm)].map((match) => {
    const end = match.index + match[0].length;
    const tail = Number(match[2]) === 0 ? 0 : '### stderr\n'.length + Number(match[2]);
    return text.slice(match.index, end + Number(match[1]) + tail);
  });
}
