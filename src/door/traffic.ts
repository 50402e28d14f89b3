// What the listings show of traffic: the dataplane's counters since the last -Z, and rates that a tick of two seconds estimates.
// Guarantees: the dataplane's counters are only read; a service's totals never go down when one of its servers is removed; what has left
// the dataplane is forgotten. Totals are those of the last observe(), while IPVS shows those of the last tick.
// Thread: main.
import { serverKey } from '../control/availability.js';
import type { ServerStats, Stats } from '../control/stats.js';
import { RateEstimator, type Totals } from '../ipvs/estimator.js';
import type { ConnectionCounts, CounterSource, Counters, Server, Service } from '../ipvs/model.js';
import { NO_COUNTS } from '../ipvs/model.js';

const FIELDS = ['conns', 'inPackets', 'outPackets', 'inBytes', 'outBytes'] as const;
const ZERO: Totals = { conns: 0n, inPackets: 0n, outPackets: 0n, inBytes: 0n, outBytes: 0n };
const NO_CONNECTIONS: ConnectionCounts = { active: 0, inactive: 0, persistent: 0 };

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

/** Of one service or server. */
class Meter {
  #total = ZERO;
  #zeroed = ZERO;
  #rates = new RateEstimator();

  add(growth: Totals): void {
    this.#total = plus(this.#total, growth);
  }

  tick(): void {
    this.#rates.tick(this.#shown());
  }

  zero(): void {
    this.#zeroed = this.#total;
    this.#rates = new RateEstimator();
  }

  counters(): Counters {
    return { ...this.#rates.counters(), ...this.#shown() };
  }

  #shown(): Totals {
    return combine(this.#total, this.#zeroed, (total, zeroed) => total - zeroed);
  }
}

interface Known {
  readonly meter: Meter;
  /** As the dataplane said last. */
  readonly last: Totals;
  readonly counts: ConnectionCounts;
}

function totalsOf(stats: ServerStats): Totals {
  const { connections, inPackets, outPackets, inBytes, outBytes } = stats;
  return { conns: connections, inPackets, outPackets, inBytes, outBytes };
}

/** Sums of several lines of one server: the one that is there, and the same one removed earlier with sessions left. */
function byServer(servers: readonly ServerStats[]): Map<string, { service: string; totals: Totals; counts: ConnectionCounts }> {
  const sums = new Map<string, { service: string; totals: Totals; counts: ConnectionCounts }>();
  for (const stats of servers) {
    const { service, active, inactive } = stats;
    const key = `${service} ${serverKey({}, stats)}`;
    const other = sums.get(key);
    sums.set(key, {
      service,
      totals: other === undefined ? totalsOf(stats) : plus(other.totals, totalsOf(stats)),
      counts: {
        active: Number(active) + (other?.counts.active ?? 0),
        inactive: Number(inactive) + (other?.counts.inactive ?? 0),
        // Templates of persistence are not counted by server.
        persistent: 0,
      },
    });
  }
  return sums;
}

export class Traffic {
  #servers = new Map<string, Known>();
  #services = new Map<string, Meter>();
  readonly #all = new Meter();

  /** Takes what the dataplane has counted until now. */
  observe(stats: Pick<Stats, 'services' | 'servers'>): void {
    const servers = new Map<string, Known>();
    const services = new Map<string, Meter>();
    for (const { service } of [...stats.services, ...stats.servers])
      if (!services.has(service)) services.set(service, this.#services.get(service) ?? new Meter());
    for (const [key, { service, totals, counts }] of byServer(stats.servers)) {
      const known = this.#servers.get(key);
      const meter = known?.meter ?? new Meter();
      const last = known?.last ?? ZERO;
      servers.set(key, { meter, last: totals, counts });
      if (FIELDS.every((field) => totals[field] === last[field])) continue;
      // Less than before: its slot was given back and taken again, which begins at nothing.
      const growth = FIELDS.some((field) => totals[field] < last[field])
        ? totals
        : combine(totals, last, (now, then) => now - then);
      for (const counted of [meter, services.get(service), this.#all]) counted?.add(growth);
    }
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
      counts: (service, server) => this.#of(service, server)?.counts ?? NO_CONNECTIONS,
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
