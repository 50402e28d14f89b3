// npm run bench: builds the native benchmarks, waits for a quiet machine, runs them, prints a table.
//   npm run bench [-- core] [--full | --short] [--json FILE] [--cpu N]
//   npm run bench -- maglev
//   npm run bench -- control [--short] [--json FILE]
//   core      the pipeline in memory beside a bare loop (bench/native/pipeline_bench.cc); the default
//   maglev    balance, disruption and building time of Maglev tables (bench/native/maglev_bench.cc)
//   control   configuration, changes, health checks and the API at 10,000 services (scripts/bench-control.mjs); needs root
//   --full    10 million sessions too: 3 GB of memory, some minutes     --short   a look that everything runs, in half a minute
// Plain Node: nothing from node_modules. Guarantees: the wait is bounded, and a table made on a noisy machine says so.
// bench/README.md tells how to read the numbers.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { control } from './bench-control.mjs';
import { Problem, runScript, step } from './lib/output.mjs';
import { table } from './lib/table.mjs';
import { root } from './setup.mjs';

/** Share of a second that every CPU must be idle before the run, and how long to wait for that second. */
const quietIdle = 0.93;
const quietWaitSeconds = { short: 5, normal: 120 };
/** More of others' CPU time than this, in CPUs, while a result was measured: the result is marked. */
const noisyShare = 0.05;

/** What others have published, network card included, which ours are not: for orientation, not for a ranking. */
const published = [
  ['DPVS 1.9.2, full NAT, UDP', '2.9 Mpps in and out, one worker', 'Xeon E5-2650v4, X540 10G, 3k-9k connections'],
  ['DPVS 1.9.2, new TCP connections', '0.2 M/s, one worker', 'the same'],
  ['Intel HDSLB-VPP, full NAT, UDP 64 B', '10.3 Mpps, one core, 10M sessions', 'Xeon gen 3/4, E810 100G'],
  ['Intel HDSLB-VPP, new connections', '1.0 M/s, one core', 'Xeon Platinum 8380'],
  ['Katran, encapsulation in XDP', '5.2 Mpps, one core', 'Xeon E5-1650v4, mlx5 (XDP paper)'],
  ['Linux IPVS, tunnel', '1.2 Mpps, one core', 'the same'],
];

await runScript(async () => {
  const { values, positionals } = parseArgs({
    options: {
      full: { type: 'boolean', default: false },
      short: { type: 'boolean', default: false },
      json: { type: 'string' },
      cpu: { type: 'string', default: String(availableParallelism() - 1) },
    },
    allowPositionals: true,
  });
  if (positionals.length === 1 && positionals[0] === 'maglev') return maglev(values.json);
  if (positionals.length === 1 && positionals[0] === 'control') {
    const quiet = await waitForQuiet(values.short ? quietWaitSeconds.short : quietWaitSeconds.normal);
    return control({ short: values.short, file: values.json, quiet });
  }
  const unknown = positionals.filter((name) => name !== 'core');
  if (unknown.length > 0 || !/^\d+$/.test(values.cpu) || (values.full && values.short)) {
    throw new Problem(
      unknown.length > 0 ? `There is no benchmark "${unknown[0]}".` : 'The options do not fit together.',
      'npm run bench [-- core | -- maglev | -- control] [--full | --short] [--json FILE] [--cpu N].',
      2,
    );
  }
  const program = build('pipeline_bench');
  const quiet = await waitForQuiet(values.short ? quietWaitSeconds.short : quietWaitSeconds.normal);
  const argv = ['--cpu', values.cpu];
  if (values.full) argv.push('--full');
  if (values.short) argv.push('--short');
  const lines = await run(program, argv);
  const results = lines.filter((line) => line.kind !== 'machine');
  const machine = lines.find((line) => line.kind === 'machine');
  if (machine === undefined || results.length === 0)
    throw new Problem('The benchmark printed no result.', 'run it by hand to see why.', 1);
  print(machine, results, quiet);
  if (values.json !== undefined) {
    const conditions = {
      cpuModel: cpus()[0]?.model ?? 'unknown',
      cpus: cpus().length,
      kernel: release(),
      node: process.version,
      quiet,
    };
    writeFileSync(values.json, `${JSON.stringify({ conditions, machine, results }, null, 2)}\n`);
    step(`bench: written to ${values.json}`);
  }
  return 0;
});

/** Builds in the tree of `npm run build:native` where that has the benchmarks: little is compiled then, with the same flags. */
function build(name) {
  const native = join(root, 'build', 'native');
  const cache = join(native, 'CMakeCache.txt');
  const shared = existsSync(cache) && /^MILLRACE_BENCHES:BOOL=ON$/m.test(readFileSync(cache, 'utf8'));
  const directory = shared ? native : join(root, 'build', 'bench');
  step(`bench: building in ${directory.slice(root.length + 1)}`);
  if (!shared) cmake(['--preset', 'bench']);
  cmake(['--build', directory, '--target', name, '--parallel', String(availableParallelism())]);
  return join(directory, name);
}

function cmake(argv) {
  const result = spawnSync('cmake', argv, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
  if (result.status === 0) return;
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trimEnd().split('\n').slice(-30).join('\n');
  throw new Problem(
    `cmake ${argv.join(' ')} failed:\n${output || result.error?.message}`,
    'run "npm run build:native" first.',
    4,
  );
}

function idleShares(before) {
  const now = readFileSync('/proc/stat', 'utf8')
    .split('\n')
    .filter((line) => /^cpu\d/.test(line))
    .map((line) => {
      const fields = line.split(/\s+/).slice(1, 9).map(Number);
      return { idle: (fields[3] ?? 0) + (fields[4] ?? 0), all: fields.reduce((sum, field) => sum + field, 0) };
    });
  const shares = now.map((cpu, i) => {
    const last = before?.[i];
    return last === undefined || cpu.all === last.all ? 0 : (cpu.idle - last.idle) / (cpu.all - last.all);
  });
  return { now, shares };
}

/** Waits until every CPU was idle for a second. False: it did not happen in time. */
async function waitForQuiet(seconds) {
  let { now } = idleShares();
  for (let waited = 0; waited < seconds; waited++) {
    await delay(1000);
    const look = idleShares(now);
    now = look.now;
    if (Math.min(...look.shares) >= quietIdle) return true;
    if (waited === 0) step(`bench: other work runs on this machine; waiting up to ${seconds} s for a quiet second`);
  }
  step('bench: the machine did not become quiet; measuring all the same (ratios still count, absolute figures do not)');
  return false;
}

async function run(program, argv) {
  step(`bench: running pipeline_bench ${argv.join(' ')}`);
  const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const lines = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const parsed = JSON.parse(line);
    lines.push(parsed);
    if (parsed.contender === 'worker' || parsed.kind === 'told')
      step(`bench: ${parsed.kind} ${parsed.case}, ${count(parsed.sessions)} sessions: done`);
  }
  const status = await ended;
  if (status !== 0) throw new Problem(`The benchmark ended with ${status}.`, 'its last line above says why.', 1);
  return lines;
}

function count(n) {
  if (n >= 1e6) return `${n / 1e6}M`;
  return n >= 1e3 ? `${n / 1e3}k` : String(n);
}

/** No quiet machine needed: all but the building times is arithmetic. */
function maglev(file) {
  const result = spawnSync(build('maglev_bench'), [], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (result.status !== 0) throw new Problem(`maglev_bench ended with ${result.status}.`, 'its last line above says why.', 1);
  const results = result.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const units = {
    balance: 'slots over average',
    disruption: '% of slots moved',
    build_ms: 'ms to build',
    packets: 'time per packet while building, ratio',
  };
  const rows = results.map((r) => [
    units[r.kind],
    String(r.slots),
    String(r.servers),
    String(r.leavers || ''),
    r.weighted ? 'mixed' : 'equal',
    ...[r.median, r.min, r.max].map((value) => value.toFixed(3)),
  ]);
  process.stdout.write('\nMaglev tables. Slots that change hands although their server stayed count as moved.\n');
  process.stdout.write(table(['', 'slots', 'servers', 'leave', 'weights', 'median', 'least', 'most'], rows));
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
  return 0;
}

function ratioText(ratio) {
  return ratio === undefined ? '' : `${ratio.median.toFixed(2)} [${ratio.low.toFixed(2)}..${ratio.high.toFixed(2)}]`;
}

function rowsOf(results, kind) {
  const workers = results.filter((result) => result.kind === kind && result.contender === 'worker');
  const of = (worker, contender) =>
    results.find((r) => r.kind === kind && r.case === worker.case && r.sessions === worker.sessions && r.contender === contender);
  return workers.map((worker) => ({
    worker,
    bare: of(worker, 'bare'),
    single: of(worker, 'worker_one_at_a_time'),
    generator: of(worker, 'generator'),
  }));
}

function print(machine, results, quiet) {
  const out = (text) => process.stdout.write(text);
  const noisy = (r) => (r.neighbours > noisyShare ? ' *' : '');
  const ns = (result) => (result === undefined ? '' : result.net_ns.median.toFixed(1));
  out(
    `\nMillrace in memory, one core at ${machine.core_ghz.toFixed(2)} GHz, batches of ${machine.batch}, g++ ${machine.compiler}\n`,
  );
  out('The worker loop without a network card; the cost of making the packets is measured and subtracted.\n');
  out('\nPackets of sessions that exist, flows in random order\n');
  out(
    table(
      [
        'case',
        'sessions',
        'ns/packet',
        'Mpps',
        'cycles',
        'bare loop ns',
        'ratio [quartiles]',
        'with generator',
        'one at a time ns',
      ],
      rowsOf(results, 'forward').map(({ worker, bare, single }) => [
        worker.case + noisy(worker),
        count(worker.sessions),
        ns(worker),
        worker.million_per_second.toFixed(1),
        worker.cycles.toFixed(0),
        ns(bare),
        ratioText(worker.ratio_to_bare),
        worker.gross_ratio_to_bare?.median.toFixed(2) ?? '',
        ns(single),
      ]),
    ),
  );
  out('\nNew sessions: each packet begins one, and one ends\n');
  out(
    table(
      ['case', 'alive', 'ns/session', 'M/s', 'cycles', 'bare loop ns', 'ratio [quartiles]'],
      rowsOf(results, 'new_session').map(({ worker, bare }) => [
        worker.case + noisy(worker),
        count(worker.sessions),
        ns(worker),
        worker.million_per_second.toFixed(2),
        worker.cycles.toFixed(0),
        ns(bare),
        ratioText(worker.ratio_to_bare),
      ]),
    ),
  );
  const told = results.filter((result) => result.kind === 'told');
  if (told.length > 0) {
    out('\nFull NAT whose servers are told of their clients: packets of sessions that exist, ratio to full NAT without\n');
    out(
      table(
        ['', 'sessions', 'ns/packet', 'ratio [quartiles]'],
        told.map((r) => [r.contender + noisy(r), count(r.sessions), ns(r), ratioText(r.ratio_to_bare) || '1']),
      ),
    );
  }
  if (!quiet || results.some((r) => r.neighbours > noisyShare)) {
    out('\n* Others used the machine meanwhile. Their time is not counted, but they share the caches: trust the ratios only.\n');
  }
  out('\nPublished by others, with a network card (about 25-35 ns per packet more), for information\n');
  out(
    table(
      ['', 'figure', 'conditions'],
      published.map(([name, figure, conditions]) => [name, figure, conditions]),
      3,
    ),
  );
}
