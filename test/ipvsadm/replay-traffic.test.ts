// Replays the parts of the recordings that had traffic, with what was counted then: 03 (counters up to 2^64-1 and rates), 08 (persistence,
// timeouts), 12 (synchronisation daemons) and 13 (mixed families).
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { formatAddress } from '../../src/ipvs/address.js';
import { RateEstimator } from '../../src/ipvs/estimator.js';
import { type Connection, type CounterSource, NO_COUNTS, NO_TRAFFIC, type Server, type Service } from '../../src/ipvs/model.js';
import { procConnections, procStats, procTable } from '../../src/ipvs/print-proc.js';
import { type IpvsTable, KERNEL_SCHEDULERS } from '../../src/ipvs/table.js';
import { directorTable, must } from './director.js';
import { connectionsOf } from './proc-text.js';
import { type Block, invocationOf, readRecording } from './recordings.js';
import { replay, SALT } from './replay.js';

function blockAt(blocks: readonly Block[], line: number): Block {
  const block = blocks.find((candidate) => candidate.line === line);
  if (block === undefined) throw new Error(`no block at line ${line}`);
  return block;
}

/** Sums of 64 bits, as the kernel has them. */
const u64 = (values: readonly bigint[]) =>
  BigInt.asUintN(
    64,
    values.reduce((sum, value) => sum + value, 0n),
  );

describe('03 large counters', () => {
  const blocks = readRecording('03-listings-large-counters.txt');
  const VALUES = [
    ...[99_999n, 999_999n, 9_999_999n, 99_999_999n, 100_000_000n, 999_999_999n, 1_000_000_000n, 9_999_999_999n],
    ...[99_999_999_999n, 100_000_000_000n, 99_999_999_999_999n, 100_000_000_000_000n, 999_999_999_999_999_999n],
    2n ** 64n - 1n,
  ];
  const estimators = VALUES.map(() => new RateEstimator());
  const wantedFor = (service: Service) => VALUES[service.port - 1000] ?? 0n;
  const least = (left: bigint, right: bigint) => Number(left < right ? left : right);
  const countersOf = (service: Service) => estimators[service.port - 1000]?.counters() ?? NO_COUNTS;
  const counters: CounterSource = {
    ...NO_TRAFFIC,
    service: countersOf,
    server: countersOf,
    counts: (service) => ({
      active: least(wantedFor(service), 2n ** 30n - 1n),
      inactive: least(wantedFor(service) / 10n, 715_827_882n),
      persistent: 0,
    }),
  };
  const totalsOf = (value: bigint) => {
    const outBytes = (value / 3n) * 2n + ((value % 3n) * 2n) / 3n;
    return { conns: value, inPackets: value, outPackets: value / 2n, inBytes: value, outBytes };
  };
  const everything = new RateEstimator();
  /** One tick of two seconds, at which the first `present` services had been counted. */
  const tick = (present = VALUES.length) => {
    const totals = VALUES.slice(0, present).map(totalsOf);
    for (const [index, each] of totals.entries()) estimators[index]?.tick(each);
    everything.tick({
      conns: u64(totals.map((each) => each.conns)),
      inPackets: u64(totals.map((each) => each.inPackets)),
      outPackets: u64(totals.map((each) => each.outPackets)),
      inBytes: u64(totals.map((each) => each.inBytes)),
      outBytes: u64(totals.map((each) => each.outBytes)),
    });
  };
  const table = directorTable({ counters, salt: SALT, schedulers: [...KERNEL_SCHEDULERS, 'poke'] });
  const setScheduler = (name: string) => {
    for (const { port } of table.services()) must(table, `ipvsadm -E -t 10.0.9.1:${port} -s ${name}`);
  };
  for (const index of VALUES.keys()) {
    must(table, `ipvsadm -A -t 10.0.9.1:${1000 + index} -s poke`);
    for (const server of index % 3 === 0 ? [11, 12] : [11])
      must(table, `ipvsadm -a -t 10.0.9.1:${1000 + index} -r 10.0.2.${server}:80 -m`);
  }

  it('the values are those that the recording names', () => {
    const text = readFileSync(new URL('recordings/03-listings-large-counters.txt', import.meta.url), 'latin1');
    const named = [...text.matchAll(/^port ([0-9]+): conns=inpkts=inbytes=([0-9]+) /gm)].map((match) => BigInt(match[2] ?? ''));
    expect(named).toEqual(VALUES);
  });
  it('rates are as recorded at every tick, totals do not change between them', () => {
    replay(blockAt(blocks, 20), table);
    setScheduler('rr');
    // The last two services were counted after the first tick: their rates are one tick younger in the recording.
    tick(VALUES.length - 2);
    tick();
    for (const line of [60, 100, 140, 180, 220, 260]) replay(blockAt(blocks, line), table);
    tick();
    for (const line of [300, 340, 380, 420]) replay(blockAt(blocks, line), table);
    expect(procTable(table)).toBe(blockAt(blocks, 428).stdout);
    expect(procStats(everything.counters())).toBe(blockAt(blocks, 468).stdout);
    const decay = blocks.filter((block) => block.command.startsWith('ipvsadm -Ln --rate -t'));
    expect(decay).toHaveLength(16);
    for (const [index, block] of decay.entries()) {
      if (index % 2 === 0) tick();
      replay(block, table);
    }
  });
  it('thresholds', () => {
    const fresh = directorTable({ salt: SALT });
    const rest = blocks.filter((block) => block.section === 'thresholds with big numbers');
    expect(rest).toHaveLength(16);
    for (const block of rest) replay(block, fresh);
  });
});

/** Connections as a server's listing counts them: templates apart, established ones active. */
function countsFrom(connections: () => readonly Connection[]): CounterSource['counts'] {
  return (_, server: Server) => {
    const own = connections().filter((entry) => formatAddress(entry.server.address) === formatAddress(server.address));
    const count = (test: (entry: Connection) => boolean) => own.filter(test).length;
    return {
      active: count(({ state }) => state === 'ESTABLISHED'),
      inactive: count(({ state }) => state !== 'ESTABLISHED' && state !== 'ASSURED'),
      persistent: count(({ state }) => state === 'ASSURED'),
    };
  };
}

function tableWith(file: string, ...rules: readonly string[]): IpvsTable {
  const connections = connectionsOf(file);
  const table = directorTable({
    salt: SALT,
    counters: { ...NO_TRAFFIC, connections: () => connections, counts: countsFrom(() => connections) },
  });
  for (const rule of rules) must(table, rule);
  return table;
}

const withServers = (service: string, port: number, options: string) => [
  `ipvsadm -A ${service} -s rr ${options}`,
  ...[11, 12, 13].map((server) => `ipvsadm -a ${service} -r 10.0.2.${server}:${port} -m`),
];

describe('08 persistence', () => {
  const blocks = readRecording('08-persistence-thresholds-sysctls.txt');

  it('clients that stick: connections, templates and what is counted of them', () => {
    const file = blockAt(blocks, 62);
    const table = tableWith(file.stdout, ...withServers('-t 10.0.9.10:8001', 8001, '-p 20'));
    for (const line of [9, 29, 40, 51]) replay(blockAt(blocks, line), table);
    expect(procConnections(table)).toBe(file.stdout);
  });
  it('templates of a mark have protocol IP and the mark as their address', () => {
    const file = blockAt(blocks, 487);
    const table = tableWith(file.stdout, ...withServers('-f 7', 0, '-p 20'));
    for (const line of [451, 465, 476]) replay(blockAt(blocks, line), table);
    expect(procConnections(table)).toBe(file.stdout);
  });
  it('timeouts', () => {
    const table = directorTable();
    const rest = blocks.filter((block) => block.section.startsWith('M. '));
    expect(rest).toHaveLength(16);
    for (const block of rest) replay(block, table);
  });
});

describe('12 synchronisation daemons', () => {
  const blocks = readRecording('12-sync-daemon.txt');
  const PREFIX = 'ip netns exec d2 ';
  const file = blocks.find((block) => block.command === 'cat /proc/net/ip_vs_conn_sync')?.stdout ?? '';
  const copies = blocks.map((block) => block.after).find((text) => text.includes('SYNC')) ?? '';

  it('on two directors', () => {
    const director = tableWith(file);
    const second = directorTable({
      counters: { ...NO_TRAFFIC, connections: () => connectionsOf(copies.trim()) },
      host: { mtuOf: (name) => (name === 'eth0' ? 1500 : undefined), isLocal: () => false, isBroadcast: () => false },
    });
    // After this file was shown, the connections ended and were listed once more; that needs the live kernel.
    const end = blocks.findIndex((block) => block.command === 'cat /proc/net/ip_vs_conn_sync');
    const isLater = (block: Block) => blocks.indexOf(block) > end && block.command.endsWith('-Lnc');
    const replayed = blocks.filter((block) => !block.command.startsWith('cat ') && !isLater(block));
    expect(replayed).toHaveLength(blocks.length - 3);
    for (const block of replayed) {
      if (block.command.startsWith(PREFIX)) replay(block, second, block.command.slice(PREFIX.length));
      else replay(block, director);
    }
    expect(second.services()).toEqual([]);
  });
});

describe('13 mixed families', () => {
  const blocks = readRecording('13-mixed-family-tunnel.txt');

  it('connections and totals', () => {
    const connections = connectionsOf(
      [
        'TCP fd00:0001::0002 BB8C fd00:0009::0020 1F4D 0A00020D 1F4D FIN_WAIT 119',
        'TCP 0A080001 0258 0A000914 2332 fd00:0002::0099 2332 SYN_RECV 59',
        'TCP 0A000102 B63A 0A000914 1F4D fd00:0002::0013 1F4D FIN_WAIT 119',
      ].join('\n'),
    );
    const totals = (conns: bigint, inPackets: bigint, inBytes: bigint) => ({ ...NO_COUNTS, conns, inPackets, inBytes });
    const service = ({ family, port }: Service) => {
      if (family === 6) return totals(1n, 5n, 368n);
      return port === 9010 ? totals(1n, 1n, 40n) : totals(1n, 5n, 268n);
    };
    const table = directorTable({ counters: { ...NO_TRAFFIC, connections: () => connections, service, server: service } });
    for (const [virtual, server] of [
      ['10.0.9.20:8013', '[fd00:2::13]:8013'],
      ['10.0.9.20:9010', '[fd00:2::99]:9010'],
      ['[fd00:9::20]:8013', '10.0.2.13:8013'],
    ]) {
      must(table, `ipvsadm -A -t ${virtual} -s rr`);
      must(table, `ipvsadm -a -t ${virtual} -r ${server} -i`);
    }
    const own = blocks.filter((block) => invocationOf(block.command) !== undefined);
    expect(own.map((block) => block.command)).toEqual(['ipvsadm -Lnc', 'ipvsadm -Ln --stats']);
    for (const block of own) replay(block, table);
  });
});
