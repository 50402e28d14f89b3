// npm run test:schedulers: every sequence and every mapping recorded from a live IPVS, played again and compared connection by connection;
// then the whole pipeline with one and with two workers. Prints a table and one last line.
//   MILLRACE_IPVS_RECORDINGS=DIR npm run test:schedulers     also compares the recordings in the tree with the original files in DIR
// Plain Node. Guarantees: the exit code is 0 only if everything recorded was compared and equal.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Problem, runScript, step } from './lib/output.mjs';
import { missingSets, readOriginal, readSets } from './lib/recordings.mjs';
import { root } from './setup.mjs';

const RECORDINGS = join(root, 'test', 'native', 'schedulers', 'recordings');
const FILES = ['sequences', 'mappings', 'thresholds'];
/** Of the originals: which extract holds their sets. Thresholds are a list in a report and were taken out by hand. */
const ORIGINALS = { '05-scheduler-sequences.txt': 'sequences', '06-hash-schedulers.txt': 'mappings' };

await runScript(async () => {
  const sets = FILES.flatMap((file) => readSets(readFileSync(join(RECORDINGS, `${file}.txt`), 'utf8'), file));
  const results = play();
  if (results.length !== sets.length) {
    throw new Problem(`${sets.length} sets are recorded, ${results.length} were compared.`, 'see the output above.', 1);
  }
  print(sets, results);
  const failures = results.filter((result) => !result.equal).length + missingOriginals(sets) + (pipeline() ? 0 : 1);
  const connections = sets.reduce((sum, set) => sum + set.servers.length, 0);
  process.stdout.write(
    failures === 0
      ? `schedulers: passed: ${sets.length} recorded sets with ${connections} connections, all equal\n`
      : `schedulers: failed: ${failures} differences, see above\n`,
  );
  return failures === 0 ? 0 : 1;
});

/** The native test says one line per set. */
function play() {
  const build = join(root, 'build', 'native');
  if (!existsSync(join(build, 'build.ninja')))
    throw new Problem('There is no native build.', 'run "npm run build:native" first.', 4);
  step('schedulers: building the native test');
  const made = spawnSync('cmake', ['--build', build, '--target', 'millrace_schedulers_test'], { encoding: 'utf8' });
  if (made.status !== 0) throw new Problem(`The build failed:\n${made.stdout}${made.stderr}`, 'correct it first.', 4);
  step('schedulers: recordings, changes of the servers, thresholds, several workers (native)');
  const run = spawnSync(join(build, 'millrace_schedulers_test'), [], { cwd: build, encoding: 'utf8', maxBuffer: 1 << 26 });
  const results = [...run.stdout.matchAll(/^recording (equal|differs) +(\w+) ([\w-]+)/gm)].map(
    ([, verdict, file, scheduler]) => ({
      equal: verdict === 'equal',
      file,
      scheduler,
    }),
  );
  const counts = /\[ {2}PASSED {2}\] (\d+) tests/.exec(run.stdout)?.[1] ?? '0';
  process.stdout.write(`${counts} native tests of schedulers passed\n`);
  if (run.status !== 0) {
    process.stdout.write(run.stdout);
    throw new Problem('A native test of the schedulers failed.', 'see above.', 1);
  }
  return results;
}

function print(sets, results) {
  const names = [...new Set(sets.map((set) => set.scheduler))];
  const rows = names.map((name) => {
    const mine = sets.filter((set) => set.scheduler === name);
    const played = results.filter((result) => result.scheduler === name);
    const of = (file) => String(mine.filter((set) => set.file === file).length || '');
    const connections = mine.reduce((sum, set) => sum + set.servers.length, 0);
    return [name, ...FILES.map(of), String(connections), `${played.filter((result) => result.equal).length} of ${mine.length}`];
  });
  const head = ['scheduler', ...FILES, 'connections', 'equal'];
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)));
  process.stdout.write('\nRecorded sets of a live IPVS, one worker, connection by connection\n');
  for (const row of [head, ...rows]) {
    process.stdout.write(`  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ')}\n`);
  }
}

/** Sets of the original recordings that the tree lacks or has otherwise. */
function missingOriginals(sets) {
  const directory = process.env.MILLRACE_IPVS_RECORDINGS;
  if (directory === undefined) return 0;
  let missing = 0;
  for (const [original, file] of Object.entries(ORIGINALS)) {
    const recorded = readOriginal(readFileSync(join(directory, original), 'utf8'));
    const faults = missingSets(
      recorded,
      sets.filter((set) => set.file === file),
    );
    for (const fault of faults) process.stdout.write(`${original}: ${fault}\n`);
    process.stdout.write(`${original}: ${recorded.length} sets, ${recorded.length - faults.length} of them as in ${file}.txt\n`);
    missing += faults.length;
  }
  return missing;
}

function pipeline() {
  step('schedulers: the whole pipeline with one and with two workers');
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const argv = [vitest, 'run', '--root', root, '--project', 'golden', 'schedulers', '--reporter=verbose'];
  return spawnSync(process.execPath, argv, { cwd: root, stdio: 'inherit' }).status === 0;
}
