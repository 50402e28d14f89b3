// What the listings show of traffic: the dataplane's counters since the last -Z, and rates that a tick of two seconds estimates.
// Guarantees: the dataplane's counters are only read; a service's totals never go down when one of its servers is removed; what has left
// the dataplane is forgotten. Totals are those of the last observe(), while IPVS shows those of the last tick.
// Thread: main.
import type { ServerStats, Stats } from '../control/stats.js';
import { RateEstimator, type Totals } from '../ipvs/estimator.js';
import type { ConnectionCounts, CounterSource, Counters, Server, Service } from '../ipvs/model.js';
import { NO_COUNTS } from '../ipvs/model.js';
import { originOf } from './to-table.js';

const ZERO: Totals = { conns: 0n, inPackets: 0n, outPackets: 0n, inBytes: 0n, outBytes: 0n };

function combine(left: Totals, right: Totals, how: (a: bigint, b: bigint) => bigint): Totals {
  return {
    conns: how(left.conns, right.conns),
    inPackets: how(left.inPackets, right.inPackets),
    outPackets: how(left.outPackets, right.outPackets),
    inBytes: how(left.inBytes, right.inBytes),
    outBytes: how(left.outBytes, right.outBytes),
  };
}

const plus = (left: Totals, right: Totals): Totals => combine(left, right, (a, b) => a + b);

function serverName({ service, address, port }: ServerStats): string {
  return `${service} ${originOf(address, port)}`;
}

function pick({ connections, inPackets, outPackets, inBytes, outBytes }: ServerStats): typeof NOTHING {
  return { connections, inPackets, outPackets, inBytes, outBytes };
}

/** Templates of persistence are not counted by server. */
function countsOf(rows: readonly Row[]): ConnectionCounts {
  const sum = (field: 'active' | 'inactive') => rows.reduce((total, { stats }) => total + Number(stats[field]), 0);
  return { active: sum('active'), inactive: sum('inactive'), persistent: 0 };
}

/** Ticks without growth after which the largest average of 64 bits has decayed to nothing. */
const QUIET_TICKS = 256;

/** Of one service or server. */
class Meter {
  #total = ZERO;
  #zeroed = ZERO;
  #rates = new RateEstimator();
  #quiet = QUIET_TICKS;

  add(growth: Totals): void {
    this.#total = plus(this.#total, growth);
    this.#quiet = 0;
  }

  tick(): void {
    if (this.#quiet >= QUIET_TICKS) return;
    this.#quiet += 1;
    this.#rates.tick(this.#shown());
  }

  zero(): void {
    this.#zeroed = this.#total;
    this.#rates = new RateEstimator();
    this.#quiet = QUIET_TICKS;
  }

  counters(): Counters {
    return { ...this.#rates.counters(), ...this.#shown() };
  }

  #shown(): Totals {
    return combine(this.#total, this.#zeroed, (total, zeroed) => total - zeroed);
  }
}

/** One line of the dataplane's statistics. A server that was removed and is back has two. */
interface Row {
  /** As the dataplane said last. */
  stats: ServerStats;
  readonly server: Meter;
  readonly service: Meter;
}

interface Known {
  readonly meter: Meter;
  readonly rows: readonly Row[];
}

function totalsOf({ connections, inPackets, outPackets, inBytes, outBytes }: ServerStats): Totals {
  return { conns: connections, inPackets, outPackets, inBytes, outBytes };
}

function isSameLine(left: ServerStats, right: ServerStats): boolean {
  return (
    left.service === right.service && left.address === right.address && left.port === right.port && left.removed === right.removed
  );
}

const COUNTED = ['connections', 'inPackets', 'outPackets', 'inBytes', 'outBytes'] as const;

/** What came since; undefined for nothing. Less than before: the slot was given back and taken again, which begins at nothing. */
function growthOf(before: ServerStats, now: ServerStats): Totals | undefined {
  if (COUNTED.every((field) => now[field] === before[field])) return undefined;
  if (COUNTED.some((field) => now[field] < before[field])) return totalsOf(now);
  return combine(totalsOf(now), totalsOf(before), (a, b) => a - b);
}

const NOTHING = { connections: 0n, inPackets: 0n, outPackets: 0n, inBytes: 0n, outBytes: 0n };

export class Traffic {
  /** In the order of the dataplane, which changes only with the configuration. */
  #rows: readonly Row[] = [];
  #servers: ReadonlyMap<string, Known> = new Map();
  #services: ReadonlyMap<string, Meter> = new Map();
  readonly #all = new Meter();

  /** Takes what the dataplane has counted until now. */
  observe(stats: Pick<Stats, 'services' | 'servers'>): void {
    const { servers } = stats;
    const isSame =
      servers.length === this.#rows.length && this.#rows.every((row, i) => isSameLine(row.stats, servers[i] ?? row.stats));
    if (!isSame) this.#arrange(stats);
    for (const [index, row] of this.#rows.entries()) {
      const now = servers[index] ?? row.stats;
      const growth = growthOf(row.stats, now);
      row.stats = now;
      if (growth !== undefined) for (const meter of [row.server, row.service, this.#all]) meter.add(growth);
    }
  }

  /** Takes over what is still there, and forgets the rest. */
  #arrange(stats: Pick<Stats, 'services' | 'servers'>): void {
    const services = new Map<string, Meter>();
    for (const { service } of [...stats.services, ...stats.servers])
      if (!services.has(service)) services.set(service, this.#services.get(service) ?? new Meter());
    const before = new Map(this.#rows.map((row) => [`${row.stats.removed} ${serverName(row.stats)}`, row.stats]));
    const servers = new Map<string, { meter: Meter; rows: Row[] }>();
    this.#rows = stats.servers.map((line) => {
      const name = serverName(line);
      const known = servers.get(name) ?? { meter: this.#servers.get(name)?.meter ?? new Meter(), rows: [] };
      servers.set(name, known);
      // A line that was removed just now is the one that was there.
      const last = before.get(`${line.removed} ${name}`) ?? (line.removed ? before.get(`false ${name}`) : undefined);
      const row: Row = {
        stats: last === undefined ? { ...line, ...NOTHING } : { ...line, ...pick(last) },
        server: known.meter,
        service: services.get(line.service) ?? this.#all,
      };
      known.rows.push(row);
      return row;
    });
    this.#servers = servers;
    this.#services = services;
  }

  /** To be called every TICK_S seconds, after observe(). */
  tick(): void {
    for (const { meter } of this.#servers.values()) meter.tick();
    for (const meter of this.#services.values()) meter.tick();
    this.#all.tick();
  }

  /** Sums over everything, for /proc/net/ip_vs_stats. */
  all(): Counters {
    return this.#all.counters();
  }

  /** The numbers of a table's listings, found by the `origin` of services and servers. */
  source(connections: CounterSource['connections']): CounterSource {
    return {
      service: ({ origin }) => this.#services.get(origin ?? '')?.counters() ?? NO_COUNTS,
      server: (service, server) => this.#of(service, server)?.meter.counters() ?? NO_COUNTS,
      counts: (service, server) => countsOf(this.#of(service, server)?.rows ?? []),
      zero: (service) => this.#zero(service),
      connections,
    };
  }

  #of(service: Service, server: Server): Known | undefined {
    return this.#servers.get(`${service.origin} ${server.origin}`);
  }

  #zero(service: Service | undefined): void {
    if (service === undefined) {
      for (const { meter } of this.#servers.values()) meter.zero();
      for (const meter of this.#services.values()) meter.zero();
      this.#all.zero();
      return;
    }
    this.#services.get(service.origin ?? '')?.zero();
    for (const [key, { meter }] of this.#servers) if (key.startsWith(`${service.origin} `)) meter.zero();
  }
}
