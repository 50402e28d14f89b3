// One moment of the load balancer, arranged as metrics need it: per service and real server, from statistics, configuration and health.
// Guarantees: stops nothing; every real server of a service appears once, by "ADDRESS:PORT"; one that is out keeps its totals.
// Thread: main.

import type { Config, ServerConfig, ServiceConfig } from '../config/schema.js';
import { serverKey } from '../control/availability.js';
import { endpoint } from '../control/endpoint.js';
import type { ServerStats, Stats } from '../control/stats.js';
import type { HealthStatus } from '../health/monitor.js';
import { RunningTotals } from './running-totals.js';

/** What RunningTotals holds of a real server, in this order. */
export const TOTALS = [
  'connections',
  'inPackets',
  'inBytes',
  'outPackets',
  'outBytes',
  'rateLimitedIn',
  'rateLimitedOut',
] as const;
export type TotalName = (typeof TOTALS)[number];
export type Totals = Readonly<Record<TotalName, number>>;

export interface PerDirection {
  readonly in: number;
  readonly out: number;
}

export interface RealSample {
  /** "ADDRESS:PORT". */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** Undefined: not part of the configuration, a sorry server or one that was removed. */
  readonly configured: ServerConfig | undefined;
  /** Undefined: the dataplane is not shown it. */
  readonly presented: ServerConfig | undefined;
  readonly up: boolean;
  readonly active: number;
  readonly inactive: number;
  readonly totals: Totals;
  /** Only where there is a limit, or something was dropped by one. */
  readonly rateLimited: PerDirection | undefined;
}

export interface ServiceSample {
  readonly name: string;
  /** Undefined: a rule of the outbound gateway, or a service that was removed and still has sessions. */
  readonly config: ServiceConfig | undefined;
  /** False for a rule of the outbound gateway, whose servers are all of the internet. */
  readonly hasReals: boolean;
  readonly reals: readonly RealSample[];
  readonly totals: Totals;
  /** Undefined: no health checks. */
  readonly quorum: boolean | undefined;
  /** By the limit of the service itself, not those of its real servers. */
  readonly rateLimited: PerDirection | undefined;
  /** Undefined: real servers are not told of clients. */
  readonly noRoom: number | undefined;
}

/** What a moment is made of. */
export interface Moment {
  readonly stats: Stats;
  readonly config: Config;
  readonly presented: readonly ServiceConfig[];
  readonly health: Pick<HealthStatus, 'services' | 'servers'>;
}

function grouped<T>(items: readonly T[], key: (item: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** Makes samples, one moment after the other. */
export class Sampler {
  /** Services, and apart from them rules of the outbound gateway, which are no IPVS services. */
  readonly #totals = new RunningTotals(TOTALS.length);
  readonly #outbound = new RunningTotals(TOTALS.length);

  sample(moment: Moment): readonly ServiceSample[] {
    const { stats, config, health } = moment;
    const configured = new Map(config.services.map((service) => [service.name, service]));
    const presented = new Map(moment.presented.map((service) => [service.name, service]));
    const outbound = new Set(config.snat.map(({ name }) => name));
    const servers = grouped(stats.servers, ({ service }) => service);
    const own = new Map(stats.services.map((service) => [service.service, service]));
    const up = grouped(health.servers, ({ service }) => service);
    const quorum = new Map(health.services.map((service) => [service.name, service.quorum]));
    const names = new Set([...configured.keys(), ...outbound, ...own.keys(), ...servers.keys()]);
    const unfinished = [...names].map((name): Omit<ServiceSample, 'totals'> => {
      const service = configured.get(name);
      const counters = own.get(name);
      const limited =
        counters === undefined ? undefined : { in: Number(counters.rateLimitedIn), out: Number(counters.rateLimitedOut) };
      const told = service?.clientAddress !== undefined;
      return {
        name,
        config: service,
        hasReals: !outbound.has(name),
        reals: this.#reals(name, outbound.has(name), service, presented.get(name), servers.get(name) ?? [], up.get(name) ?? []),
        quorum: quorum.get(name),
        rateLimited: shown(limited, service?.rateLimit !== undefined),
        noRoom: told && counters !== undefined ? Number(counters.clientAddressNoRoom) : undefined,
      };
    });
    this.#totals.finish();
    this.#outbound.finish();
    return unfinished.map((service) => ({ ...service, totals: named(this.#of(!service.hasReals).group(service.name)) }));
  }

  /** Over all services that there have been, without the outbound gateway; as of the last sample. */
  grandTotals(): Totals {
    return named(this.#totals.grand());
  }

  #of(outbound: boolean): RunningTotals {
    return outbound ? this.#outbound : this.#totals;
  }

  #reals(
    name: string,
    outbound: boolean,
    service: ServiceConfig | undefined,
    presented: ServiceConfig | undefined,
    stats: readonly ServerStats[],
    health: HealthStatus['servers'],
  ): readonly RealSample[] {
    const keyed = (side: ServiceConfig | undefined): Map<string, ServerConfig> =>
      new Map(side?.servers.map((server) => [serverKey(side, server), server]));
    const configured = keyed(service);
    const shownServers = presented === service ? configured : keyed(presented);
    const counted = grouped(stats, (server) => endpoint(server.address, server.port));
    const up = new Map(health.map((server) => [server.server, server.up]));
    return [...new Set([...configured.keys(), ...shownServers.keys(), ...counted.keys()])].map((key) => {
      const lives = counted.get(key) ?? [];
      const config = configured.get(key);
      const at = key.lastIndexOf(':');
      const totals = this.#note(name, outbound, key, lives);
      return {
        key,
        address: key.slice(0, at).replace(/^\[|\]$/g, ''),
        port: Number(key.slice(at + 1)),
        configured: config,
        presented: shownServers.get(key),
        up: up.get(key) ?? true,
        active: sum(lives, ({ active }) => active),
        inactive: sum(lives, ({ inactive }) => inactive),
        totals,
        rateLimited: shown({ in: totals.rateLimitedIn, out: totals.rateLimitedOut }, config?.rateLimit !== undefined),
      };
    });
  }

  /** A server that was removed and came back in another mode is there twice until its old sessions have ended. */
  #note(service: string, outbound: boolean, key: string, lives: readonly ServerStats[]): Totals {
    const totals = this.#of(outbound);
    if (lives.length === 0) return named(totals.keep(service, key));
    const present = lives.filter(({ removed }) => !removed);
    if (present.length === 0 || present.length === lives.length) return named(totals.note(service, key, values(lives)));
    return named(totals.note(service, key, values(present), values(lives.filter(({ removed }) => removed))));
  }
}

function sum(lives: readonly ServerStats[], field: (server: ServerStats) => bigint): number {
  return lives.reduce((total, server) => total + Number(field(server)), 0);
}

function values(lives: readonly ServerStats[]): readonly number[] {
  return TOTALS.map((name) => sum(lives, (server) => server[name]));
}

function named(numbers: readonly number[]): Totals {
  const [connections = 0, inPackets = 0, inBytes = 0, outPackets = 0, outBytes = 0, rateLimitedIn = 0, rateLimitedOut = 0] =
    numbers;
  return { connections, inPackets, inBytes, outPackets, outBytes, rateLimitedIn, rateLimitedOut };
}

function shown(dropped: PerDirection | undefined, limited: boolean): PerDirection | undefined {
  return dropped !== undefined && (limited || dropped.in > 0 || dropped.out > 0) ? dropped : undefined;
}
