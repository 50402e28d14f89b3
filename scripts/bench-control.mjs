// npm run bench -- control: the control plane at 10,000 services with 10 servers each, and 10,000 health checks, in a network namespace of its
// own; prints what was measured beside a baseline from the same run. Parts: bench/control/.
// Plain Node: nothing from node_modules. Guarantees: nothing is left behind, however it ends; a part that fails is an exit code.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInJail } from './lib/jail.mjs';
import { Problem, step } from './lib/output.mjs';
import { table } from './lib/table.mjs';
import { root } from './setup.mjs';

/** `quiet`: whether nothing else used the machine before the run. Resolves with the exit code. */
export async function control({ short, file, quiet }) {
  if (process.getuid() !== 0) throw new Problem('Network namespaces need root.', 'run it as root.', 3);
  if (!existsSync(join(root, 'build', 'Release', 'millrace.node'))) {
    throw new Problem('The addon is not built.', 'run "npm run build:native" first.', 4);
  }
  compile();
  const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-control-'));
  try {
    const result = join(directory, 'result.json');
    const main = join(root, 'bench', 'control', 'main.mjs');
    const code = await runInJail([process.execPath, main, result, short ? 'short' : 'normal']);
    if (code !== 0) throw new Problem(`The benchmark ended with ${code}.`, 'its last lines above say why.', 1);
    const found = JSON.parse(readFileSync(result, 'utf8'));
    print(found, quiet);
    if (file !== undefined) {
      const conditions = {
        cpuModel: cpus()[0]?.model ?? 'unknown',
        cpus: cpus().length,
        kernel: release(),
        node: process.version,
        quiet,
      };
      writeFileSync(file, `${JSON.stringify({ conditions, ...found }, null, 2)}\n`);
      step(`bench: written to ${file}`);
    }
    return 0;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What is measured is dist: it is made where a source is newer. */
function compile() {
  const output = join(root, 'dist', 'index.js');
  const sources = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const newest = Math.max(...sources.map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs));
  if (existsSync(output) && statSync(output).mtimeMs > newest) return;
  step('bench: compiling');
  const compiler = join(root, 'node_modules', '.bin', 'tsc');
  const compiled = spawnSync(compiler, ['-p', 'tsconfig.build.json'], { cwd: root, stdio: ['ignore', 2, 2] });
  if (compiled.status !== 0) throw new Problem('The sources do not compile.', 'correct what the compiler has said above.', 4);
}

const ms = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
const percent = (share) => `${(share * 100).toFixed(1)} %`;

function ratio(value, baseline) {
  const times = value / baseline;
  return times >= 10 ? times.toFixed(0) : times.toPrecision(2);
}

function print({ sizes, load, changes, api, health }, quiet) {
  const out = (text) => process.stdout.write(text);
  const { services, servers, rounds } = sizes;
  out(
    `\nControl plane, ${services} services with ${servers} servers each, 2 workers, ${cpus().length} CPUs: ${cpus()[0]?.model}\n`,
  );
  out('\nLoading: text to checked configuration; baseline: JSON.parse of the JSON file\n');
  out(
    table(
      ['', 'MB', 'ms', 'baseline ms', 'ratio'],
      Object.entries(load).map(([name, { bytes, milliseconds, baseline }]) => [
        name,
        (bytes / 1e6).toFixed(1),
        ms(milliseconds),
        ms(baseline),
        ratio(milliseconds, baseline),
      ]),
    ),
  );
  const whole = changes.wholeTable.milliseconds;
  out(`\nChanges, until all workers have them, ${rounds} of each; baseline: handing over the whole table, ${ms(whole)} ms\n`);
  const rows = { 'one weight': changes.weight, 'a server added': changes.putServer, 'a service drained': changes.drain };
  out(
    table(
      ['', 'first ms', 'least ms', 'median ms', 'p99 ms', 'of the median in the dataplane', 'ratio', 'answered, on disk: ms'],
      Object.entries(rows).map(([name, row]) => [
        name,
        ms(row.first),
        ms(row.least),
        ms(row.median),
        ms(row.p99),
        ms(row.dataplane),
        ratio(row.median, whole),
        ms(row.answered),
      ]),
    ),
  );
  out(
    `  start with file and store: ${ms(changes.started)} ms; reload of the JSON file with one other server: ${ms(changes.reload.milliseconds)} ms, ` +
      `services handed over: ${changes.reload.services}\n`,
  );
  out('\nAPI over the unix socket, 8 kept-alive connections; baseline: a bare node:http server with the same bytes\n');
  out(
    table(
      ['', 'bytes', 'requests/s', 'p99 ms', 'baseline', 'ratio'],
      Object.entries(api).map(([path, row]) => [
        path,
        String(row.bytes),
        row.perSecond.toFixed(0),
        ms(row.p99),
        row.bare.perSecond.toFixed(0),
        ratio(row.perSecond, row.bare.perSecond),
      ]),
    ),
  );
  const { bare, failure, lateness } = health;
  out(
    `\nHealth: ${health.targets} TCP checks every ${health.interval} s, for ${health.seconds.toFixed(0)} s, ${lateness.threads} threads; ` +
      'baseline: a bare loop of connections at the same rate\n',
  );
  out(
    table(
      ['', 'checks/s', 'CPU share of one core', 'late, mean ms', 'worst ms'],
      [
        ['checks', health.perSecond.toFixed(0), percent(health.cpuShare), ms(lateness.mean), ms(lateness.worst)],
        ['bare loop', bare.perSecond.toFixed(0), percent(bare.cpuShare), ms(bare.mean), ms(bare.worst)],
        ['ratio', '', ratio(health.cpuShare / health.perSecond, bare.cpuShare / bare.perSecond), '', ''],
      ],
    ),
  );
  out(
    `  all servers fail: the last is known to be down after ${ms(failure.judged)} ms and out after ${ms(failure.out)} ms, in ${failure.passes} ` +
      `passes (slowest: ${ms(failure.slowestPass)} ms)\n`,
  );
  if (!quiet) out('\nOthers used the machine meanwhile: the ratios count, the absolute figures do not.\n');
}
