// What the API shows of services and servers: the configuration, counters, what health checks found, and where each comes from.
// Guarantees: counters and verdicts are at most 100 ms old, so that many requests at a time cost one look at native memory; a change of
// the configuration or of a verdict is seen at once; nothing of a service is read for another one.
// Thread: main.
import type { ServerConfig, ServiceConfig } from '../config/schema.js';
import { presentService, type ServiceAvailability, serverKey } from '../control/availability.js';
import type { CounterSet, ServerStats, Stats } from '../control/stats.js';
import type { Origin } from '../state/desired.js';
import type { Reply, ServerViewBody, ServiceViewBody, StatusViewBody } from './contract.js';
import type { ApiParts } from './parts.js';

/** Milliseconds. */
const FRESH = 100;

interface Look {
  readonly at: number;
  readonly stats: Stats;
  readonly servers: ReadonlyMap<string, readonly ServerStats[]>;
  /** By service and server. */
  readonly up: ReadonlyMap<string, ReadonlyMap<string, boolean>>;
  readonly quorum: ReadonlyMap<string, boolean>;
}

const COUNTER_NAMES = ['connections', 'inPackets', 'inBytes', 'outPackets', 'outBytes', 'active', 'inactive'] as const;
type CountersBody = ServerViewBody['counters'];

export class Views {
  readonly #parts: ApiParts;
  #look: Look | undefined;
  readonly #forget = (): void => {
    this.#look = undefined;
  };

  constructor(parts: ApiParts) {
    this.#parts = parts;
    parts.balancer.events.on('applied', this.#forget);
    parts.balancer.events.on('health', this.#forget);
  }

  close(): void {
    this.#parts.balancer.events.off('applied', this.#forget);
    this.#parts.balancer.events.off('health', this.#forget);
    this.#look = undefined;
  }

  services(): ServiceViewBody[] {
    return this.#parts.desired.config.services.map((service) => this.service(service));
  }

  service(service: ServiceConfig): ServiceViewBody {
    const look = this.#fresh();
    const availability = this.#parts.balancer.availability(service);
    const servers = this.#servers(service, availability, look);
    const of = look.servers.get(service.name) ?? [];
    const sorry = availability?.sorry === true && service.sorryServer !== undefined;
    return {
      name: service.name,
      ...(service.address === undefined ? {} : { address: service.address }),
      ...(service.port === undefined ? {} : { port: service.port }),
      ...(service.protocol === undefined ? {} : { protocol: service.protocol }),
      ...(service.mark === undefined ? {} : { mark: service.mark }),
      scheduler: service.scheduler,
      mode: service.mode,
      quorum: look.quorum.get(service.name) ?? true,
      ...(sorry ? { sorry } : {}),
      origin: this.#origin(service.name),
      counters: toCounters((name) => of.reduce((sum, server) => sum + server[name], 0n)),
      servers,
    };
  }

  /** Undefined: the service has no such server, neither configured nor with sessions. */
  server(service: ServiceConfig, key: string): ServerViewBody | undefined {
    const availability = this.#parts.balancer.availability(service);
    return this.#servers(service, availability, this.#fresh()).find((view) => view.server === key);
  }

  async status(): Promise<StatusViewBody> {
    const { desired, balancer, now, started, readiness, lastReload } = this.#parts;
    const { ready, draining } = await readiness();
    const look = this.#fresh();
    const { services } = desired.config;
    const servers = { up: 0, down: 0, unchecked: 0 };
    for (const service of services) {
      const verdicts = look.up.get(service.name);
      for (const server of service.servers) servers[stateOf(verdicts?.get(serverKey(service, server)))] += 1;
    }
    const reload = lastReload();
    return {
      version: desired.version,
      generation: balancer.generation,
      pid: process.pid,
      started,
      now: now(),
      ready,
      draining: draining === true,
      workers: balancer.workers,
      services: services.length,
      servers,
      sessions: String(look.stats.totals.sessions),
      ...(reload === undefined ? {} : { lastReload: reload }),
    };
  }

  workers(): Reply<'workers'> {
    const { stats } = this.#fresh();
    return stats.workers.map((counters: CounterSet, worker) => {
      const { drops, ...plain } = counters;
      return { worker, cpu: this.#parts.balancer.cpus[worker] ?? -1, counters: decimals(plain), drops: decimals(drops) };
    });
  }

  interfaces(): Reply<'interfaces'> {
    return this.#fresh().stats.interfaces.map(({ xdp, ...status }) => ({ ...status, xdp: decimals(xdp) }));
  }

  async health(): Promise<Reply<'health'>> {
    const { services, checks } = await this.#parts.balancer.health();
    return {
      services: services.map(({ name, quorum }) => ({ name, quorum })),
      checks: checks.map((check) => ({
        service: check.service,
        server: check.server,
        type: check.type,
        up: check.up,
        streak: check.streak,
        checks: check.checks,
        failures: check.failures,
        ...(check.last === undefined ? {} : { last: check.last }),
      })),
    };
  }

  #fresh(): Look {
    const now = this.#parts.now();
    // A clock that was set back must not freeze the counters.
    if (this.#look !== undefined && now >= this.#look.at && now - this.#look.at < FRESH) return this.#look;
    const { balancer } = this.#parts;
    const stats = balancer.stats();
    const { services, servers } = balancer.healthSummary();
    const byService = new Map<string, ServerStats[]>();
    for (const server of stats.servers) gather(byService, server.service, () => [] as ServerStats[]).push(server);
    const up = new Map<string, Map<string, boolean>>();
    for (const verdict of servers) gather(up, verdict.service, () => new Map<string, boolean>()).set(verdict.server, verdict.up);
    this.#look = { at: now, stats, servers: byService, up, quorum: new Map(services.map(({ name, quorum }) => [name, quorum])) };
    return this.#look;
  }

  #servers(service: ServiceConfig, availability: ServiceAvailability | undefined, look: Look): ServerViewBody[] {
    const stats = new Map((look.servers.get(service.name) ?? []).map((server) => [keyOfStats(server), server]));
    const verdicts = look.up.get(service.name);
    const presented = presentService(service, availability);
    // With a lost quorum the sorry server is shown alone: it is none of the service's servers.
    const shown = availability?.sorry === true && service.sorryServer !== undefined ? [] : presented.servers;
    const weights = new Map(shown.map((server) => [serverKey(service, server), server.weight]));
    const configured = service.servers.map((server): ServerViewBody => {
      const key = serverKey(service, server);
      const weight = weights.get(key);
      return {
        server: key,
        ...addressOf(service, server),
        mode: server.mode ?? service.mode,
        weight: server.weight,
        ...(weight === undefined ? {} : { effectiveWeight: weight }),
        state: server.weight === 0 ? 'drained' : stateOf(verdicts?.get(key)),
        origin: this.#origin(service.name, key),
        counters: countersOf(stats.get(key)),
      };
    });
    const known = new Set(configured.map((view) => view.server));
    const sorry = service.sorryServer === undefined ? undefined : serverKey(service, service.sorryServer);
    const removed = [...stats.values()].filter((server) => {
      const key = keyOfStats(server);
      return server.removed && !known.has(key) && key !== sorry;
    });
    return [
      ...configured,
      ...removed.map(
        (server): ServerViewBody => ({
          server: keyOfStats(server),
          address: server.address,
          port: server.port,
          mode: service.mode,
          weight: 0,
          state: 'removed',
          origin: 'file',
          counters: countersOf(server),
        }),
      ),
    ];
  }

  #origin(service: string, server?: string): Origin {
    const { origins } = this.#parts.desired;
    const own = server === undefined ? undefined : origins.get(`services.${service}.servers.${server}`);
    return own ?? origins.get(`services.${service}`) ?? 'file';
  }
}

function gather<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const held = map.get(key);
  if (held !== undefined) return held;
  const made = make();
  map.set(key, made);
  return made;
}

function stateOf(up: boolean | undefined): 'up' | 'down' | 'unchecked' {
  if (up === undefined) return 'unchecked';
  return up ? 'up' : 'down';
}

function addressOf(service: ServiceConfig, server: ServerConfig): { readonly address: string; readonly port: number } {
  return { address: server.address, port: server.port ?? (typeof service.port === 'number' ? service.port : 0) };
}

function keyOfStats({ address, port }: ServerStats): string {
  return serverKey({}, { address, port });
}

function toCounters(value: (name: (typeof COUNTER_NAMES)[number]) => bigint): CountersBody {
  return Object.fromEntries(COUNTER_NAMES.map((name) => [name, String(value(name))])) as CountersBody;
}

function countersOf(server: ServerStats | undefined): CountersBody {
  return toCounters((name) => server?.[name] ?? 0n);
}

function decimals(counters: Readonly<Record<string, bigint>>): Record<string, string> {
  return Object.fromEntries(Object.entries(counters).map(([name, value]) => [name, String(value)]));
}
