// `millrace replay -c FILE in.pcap --out out.pcap`: sends a capture through the production pipeline, without privileges and without a network.
// Time is the capture's, neighbours and routes are the configuration's, and random choices follow the seed: the same input gives the same
// output, byte for byte.
// Thread: main; the pipeline runs synchronously on it.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { loadConfig } from '../../config/load.js';
import { toJson } from '../../control/json.js';
import { runReplay } from '../../control/replay.js';
import { loadNative } from '../../native.js';
import type { NativeReplayResult } from '../../native-binding.js';
import { formatTable } from '../table.js';

interface ReplayOptions {
  readonly config: string;
  readonly out: string;
  readonly json?: true;
  readonly seed?: string;
  readonly workers?: number;
  readonly steering: 'flow' | 'wrong';
}

export function register(program: Command): void {
  program
    .command('replay')
    .description('send a capture through the pipeline, without privileges')
    .argument('<capture>', 'packets to receive (classic pcap, Ethernet)')
    .requiredOption('-c, --config <file>', 'the configuration (YAML)')
    .requiredOption('--out <file>', 'where sent packets go (pcap)')
    .option('--json', 'print the counters as JSON')
    .option('--seed <number>', "seed of hashes and random starts; default: the configuration's, or 1", parseSeed)
    .option('--workers <number>', "number of workers instead of the configuration's", parseWorkers)
    .addOption(
      new Option('--steering <how>', 'how packets find a worker: as a network card would, or always one too far')
        .choices(['flow', 'wrong'])
        .default('flow'),
    )
    .action(replay);
}

async function replay(capture: string, options: ReplayOptions): Promise<void> {
  const config = await loadConfig(options.config);
  const result = runReplay(loadNative(), config, {
    input: capture,
    output: options.out,
    steering: options.steering,
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...(options.workers === undefined ? {} : { workers: options.workers }),
  });
  process.stdout.write(`${options.json ? toJson(result, 2) : describeReplay(result)}\n`);
}

/** What a replay counted, as a table: what happened, then why packets were dropped; zeros left out. */
export function describeReplay(result: NativeReplayResult): string {
  const rows = Object.entries(result.counters)
    .filter(([, value]) => value !== 0n)
    .map(([name, value]) => ({ name, total: value, each: result.perWorker.map((worker) => worker[name] ?? 0n) }));
  const workers = result.perWorker.map((_, worker) => ({
    title: `worker ${worker}`,
    value: (row: (typeof rows)[number]) => String(row.each[worker] ?? 0n),
    align: 'right' as const,
  }));
  const counters = formatTable(
    [
      { title: 'counter', value: (row) => row.name },
      { title: 'total', value: (row) => String(row.total), align: 'right' },
      ...(workers.length > 1 ? workers : []),
    ],
    rows,
  );
  const servers = formatTable(
    [
      { title: 'service', value: (row) => row.service },
      { title: 'server', value: (row) => row.server },
      { title: 'connections', value: (row) => String(row.stats.connections ?? 0n), align: 'right' },
      { title: 'in packets', value: (row) => String(row.stats.inPackets ?? 0n), align: 'right' },
      { title: 'out packets', value: (row) => String(row.stats.outPackets ?? 0n), align: 'right' },
    ],
    result.servers,
  );
  const head = `${result.packets} packets read, ${result.sent} sent, ${result.passedToKernel} left to the kernel`;
  return [head, '', ...counters, ...(result.servers.length === 0 ? [] : ['', ...servers])].join('\n');
}

function parseSeed(text: string): string {
  if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 1n << 64n)
    throw new InvalidArgumentError('expected a number from 0 to 2^64 - 1.');
  return text;
}

function parseWorkers(text: string): number {
  const workers = Number(text);
  if (!Number.isInteger(workers) || workers < 1 || workers > 64)
    throw new InvalidArgumentError('expected a number from 1 to 64.');
  return workers;
}
