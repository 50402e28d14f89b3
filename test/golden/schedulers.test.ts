// Schedulers through the whole pipeline: what a live IPVS was recorded to do (test/native/schedulers/recordings), played as captures with
// one worker, equal connection by connection; and with two workers, within the spread of docs/schedulers.md. The native tests play all
// recordings against the schedulers alone; here are those that do not depend on how long a connection lasts.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SchedulerName } from '../../src/config/scheduler-names.js';
import { validateConfig } from '../../src/config/validate.js';
import { runReplay } from '../../src/control/replay.js';
import { loadNative } from '../../src/native.js';
import { ipText, packet, readPcap, writePcap } from '../support/packet/index.js';

interface Connection {
  readonly source: string;
  readonly port: number;
  readonly destination: string;
  /** Number of the server, or "-" for a refused connection. */
  readonly server: string;
}

interface RecordedSet {
  readonly title: string;
  readonly scheduler: SchedulerName;
  readonly options: readonly string[];
  readonly weights: readonly number[];
  readonly port: number;
  readonly connections: readonly Connection[];
}

const CLIENT = '10.0.1.2';
const VIP = '10.0.9.10';
const WAN = '02:00:00:00:01:01';
const ROUTER = '02:00:00:00:0c:fe';
/** These look at addresses only, or take turns; the others look at sessions, which here never become established. */
const WITHOUT_COUNTS = ['rr', 'wrr', 'sh', 'dh', 'mh'];

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-schedulers-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function readSets(file: 'sequences' | 'mappings'): RecordedSet[] {
  const text = readFileSync(new URL(`../native/schedulers/recordings/${file}.txt`, import.meta.url), 'utf8');
  const blocks = text.split(/^set /m).slice(1);
  return blocks.flatMap((block) => {
    const [head = '', ...lines] = block.trim().split('\n');
    const [scheduler = '', options = '', weights = '', mode = '', family = '', port = ''] = head.split(' ');
    if (!WITHOUT_COUNTS.includes(scheduler) || family !== 'ipv4') return [];
    const rows = file === 'mappings' ? lines : lines.flatMap((line) => line.trim().split(' '));
    return {
      title: `${scheduler}${options === 'none' ? '' : ` (${options})`}, weights ${weights}, ${mode}, port ${port}`,
      scheduler: scheduler as SchedulerName,
      options: options === 'none' ? [] : options.split(','),
      weights: weights.split(',').map(Number),
      port: Number(port),
      connections: rows.map((row, i) => connectionOf(file === 'mappings' ? row : `- ${VIP} ${row}`, 20_000 + i)),
    };
  });
}

function connectionOf(row: string, port: number): Connection {
  const [source = '', destination = VIP, server = ''] = row.split(' ');
  const [address = '', named] = (source === '-' ? CLIENT : source).split(':');
  return { source: address, port: named === undefined ? port : Number(named), destination, server };
}

function configOf(set: RecordedSet, workers: number) {
  const options = Object.fromEntries(set.options.map((option) => [option, true]));
  return validateConfig({
    workers,
    interfaces: [
      { name: 'wan', mac: WAN, addresses: ['10.0.1.1/24'] },
      { name: 'lan', mac: '02:00:00:00:01:02', addresses: ['10.0.2.1/24'] },
    ],
    dataplane: { seed: '1' },
    localAddresses: workers === 1 ? ['10.0.2.101'] : ['10.0.2.101', '10.0.2.102'],
    routes: [{ prefix: '0.0.0.0/0', via: '10.0.1.254', interface: 'wan' }],
    neighbours: [
      ...set.weights.map((_, i) => ({ address: `10.0.2.${11 + i}`, mac: `02:00:00:00:0a:${11 + i}`, interface: 'lan' })),
      { address: CLIENT, mac: ROUTER, interface: 'wan' },
      { address: '10.0.1.254', mac: ROUTER, interface: 'wan' },
    ],
    services: [...new Set(set.connections.map((connection) => connection.destination))].map((address, i) => ({
      name: `service${i}`,
      address,
      port: set.port,
      protocol: 'tcp' as const,
      mode: 'nat' as const,
      scheduler: set.scheduler,
      ...(set.options.length === 0 ? {} : { schedulerOptions: options }),
      servers: set.weights.map((weight, number) => ({ address: `10.0.2.${11 + number}`, port: set.port, weight })),
    })),
  });
}

/** The server of each connection, in the order of the connections. */
function play(set: RecordedSet, workers: number): string[] {
  const [input, output] = [join(directory, 'in.pcap'), join(directory, 'out.pcap')];
  const time = (i: number): bigint => 1_000_000_000n + BigInt(i) * 1_000_000n;
  const packets = set.connections.map((connection, i) => ({
    time: time(i),
    bytes: packet()
      .eth({ source: ROUTER, destination: WAN })
      .ipv4({ source: connection.source, destination: connection.destination })
      .tcp({ sourcePort: connection.port, destinationPort: set.port, flags: 'S' })
      .build(),
  }));
  writePcap(input, packets);
  const result = runReplay(loadNative(), configOf(set, workers), { input, output, steering: 'flow' });
  if (workers > 1) {
    for (const [worker, counters] of result.perWorker.entries()) {
      expect(counters.rx_packets, `worker ${worker} gets some connections`).toBeGreaterThan(0n);
    }
  }
  const servers = new Map(
    readPcap(output).map(({ time: at, bytes }): [bigint, string] => {
      const destination = ipText(bytes.subarray(30, 34));
      const number = /^10\.0\.2\.1(\d)$/.exec(destination)?.[1];
      return [at, number ?? '-'];
    }),
  );
  return set.connections.map((_, i) => servers.get(time(i)) ?? '-');
}

describe.each(['sequences', 'mappings'] as const)('recorded %s, one worker, the whole pipeline', (file) => {
  const sets = readSets(file);
  it('are many', () => expect(sets.length).toBeGreaterThan(20));
  it.each(sets.map((set) => [set.title, set] as const))('%s', (_, set) => {
    expect(play(set, 1)).toEqual(set.connections.map((connection) => connection.server));
  });
});

describe('two workers', () => {
  it('give every client of a hashing scheduler the server that one worker gives it', () => {
    for (const set of readSets('mappings')) expect(play(set, 2), set.title).toEqual(set.connections.map(({ server }) => server));
  });

  it.each(['rr', 'wrr'])('%s: no server is further from its share than the documented spread', (scheduler) => {
    const sets = readSets('sequences').filter((set) => set.scheduler === scheduler);
    for (const set of sets) {
      const weights = scheduler === 'rr' ? set.weights.map((weight) => Number(weight > 0)) : set.weights;
      const divisor = weights.reduce((a, b) => gcd(a, b));
      const total = weights.reduce((a, b) => a + b);
      const servers = play(set, 2);
      for (const [i, weight] of weights.entries()) {
        const taken = servers.filter((server) => server === String(i + 1)).length;
        const share = (servers.length * weight) / total;
        // Each worker is within one round of its own: at most the weight too many or too few.
        expect(Math.abs(taken - share), `${set.title}, server ${i + 1}: ${taken} instead of ${share}`).toBeLessThanOrEqual(
          (2 * weight) / divisor,
        );
      }
    }
  });
});

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
