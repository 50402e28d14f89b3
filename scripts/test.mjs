// npm test: prepares the machine, builds, runs every suite, and ends with one line: N passed, N failed, N skipped.
//   npm test -- [--only native,unit,netns,packaging] [--full] [FILTER...]     FILTER goes to vitest
// Plain Node: nothing from node_modules. Guarantees: the exit code is 0 only if nothing failed and, where CI=true, nothing was
// skipped; end-to-end tests run where they can leave nothing behind.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { labObstacles } from './lib/host.mjs';
import { runInJail } from './lib/jail.mjs';
import { runScript, step } from './lib/output.mjs';
import { root, setup } from './setup.mjs';

const results = join(root, 'build', 'test-results');
const suites = ['native', 'unit', 'netns'];

await runScript(async () => {
  const { values, positionals } = parseArgs({
    options: { only: { type: 'string' }, full: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const chosen = values.only?.split(',') ?? suites;
  setup();
  mkdirSync(results, { recursive: true });
  const totals = [];
  if (chosen.includes('native')) totals.push(native());
  if (chosen.includes('unit')) totals.push(await typescript('unit', ['unit', 'golden'], positionals, runHere));
  if (chosen.includes('netns')) totals.push(await endToEnd('netns', positionals, values.full));
  // Minutes on a busy machine, so only when it is asked for: npm run test:deb.
  if (chosen.includes('packaging')) totals.push(await endToEnd('packaging', positionals, values.full));
  const sum = (name) => totals.reduce((total, suite) => total + suite[name], 0);
  // A skip means that something was not shown; a machine that is there to show it must not pass over that.
  const failed = sum('failed') + (process.env.CI === 'true' && sum('skipped') > 0 ? 1 : 0);
  if (failed > sum('failed')) step(`CI: ${sum('skipped')} tests were skipped here; that counts as a failure`);
  process.stdout.write(`${sum('passed')} passed, ${failed} failed, ${sum('skipped')} skipped\n`);
  return failed === 0 ? 0 : 1;
});

function native() {
  step('test: native unit tests (ctest)');
  const report = join(results, 'ctest.xml');
  rmSync(report, { force: true });
  const argv = [
    '--test-dir',
    join(root, 'build', 'native'),
    '-j2',
    '--output-on-failure',
    '--no-tests=error',
    '--output-junit',
    report,
  ];
  const run = spawnSync('ctest', argv, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (!existsSync(report)) return broken('ctest left no report');
  const [head = ''] = /<testsuite\b[^>]*>/.exec(readFileSync(report, 'utf8')) ?? [];
  const count = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const skipped = count('skipped') + count('disabled');
  const failed = count('failures');
  if (run.status !== 0 && failed === 0) return broken('ctest failed without a failed test');
  return { passed: count('tests') - failed - skipped, failed, skipped };
}

async function endToEnd(name, filters, full) {
  const obstacles = labObstacles();
  if (obstacles.length > 0) {
    step(`test: end-to-end tests are skipped: ${obstacles.join('; ')}`);
    return { passed: 0, failed: 0, skipped: 1 };
  }
  return typescript(name, [name], filters, (argv) => runInJail(argv, full ? { MILLRACE_FULL: '1' } : {}));
}

async function typescript(name, projects, filters, execute) {
  step(`test: vitest ${projects.join(' ')}`);
  const report = join(results, `${name}.json`);
  rmSync(report, { force: true });
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const selection = projects.flatMap((project) => ['--project', project]);
  const reporters = ['--reporter=verbose', '--reporter=json', `--outputFile.json=${report}`];
  const status = await execute([process.execPath, vitest, 'run', '--root', root, ...selection, ...reporters, ...filters]);
  if (!existsSync(report)) return broken(`vitest left no report for ${name}`);
  const json = JSON.parse(readFileSync(report, 'utf8'));
  const total = { passed: json.numPassedTests, failed: json.numFailedTests, skipped: json.numPendingTests + json.numTodoTests };
  // A file that does not load, or an error outside of all tests, has no failed test to its name.
  if (status !== 0 && total.failed === 0) {
    step(`test: vitest ended with ${status} without a failed test`);
    total.failed = 1;
  }
  return total;
}

function runHere(argv) {
  return spawnSync(argv[0], argv.slice(1), { cwd: root, stdio: 'inherit' }).status ?? 1;
}

function broken(reason) {
  step(`test: ${reason}`);
  return { passed: 0, failed: 1, skipped: 0 };
}
