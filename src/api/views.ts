// What the API shows of services and servers: the configuration, counters, what health checks found, and where each comes from.
// Guarantees: counters and verdicts are those of now; what is asked of one service costs as much as that service has servers, however many
// other services there are; a change of the configuration or of a verdict is seen at once.
// Thread: main.
import type { Config, ServerConfig, ServiceConfig } from '../config/schema.js';
import { presentService, type ServiceAvailability, serverKey } from '../control/availability.js';
import type { CounterSet, ServerStats } from '../control/stats.js';
import type { ServiceHealth } from '../health/monitor.js';
import type { Origin } from '../state/desired.js';
import type { Reply, ServerViewBody, ServiceViewBody, StatusViewBody } from './contract.js';
import type { ApiParts } from './parts.js';

const COUNTER_NAMES = ['connections', 'inPackets', 'inBytes', 'outPackets', 'outBytes', 'active', 'inactive'] as const;
type CountersBody = ServerViewBody['counters'];

export class Views {
  readonly #parts: ApiParts;
  /** How many servers are in which state, and of which configuration; kept until one of them changes. */
  #states: { readonly config: Config; readonly servers: StatusViewBody['servers'] } | undefined;
  readonly #forget = (): void => {
    this.#states = undefined;
  };

  constructor(parts: ApiParts) {
    this.#parts = parts;
    parts.balancer.events.on('applied', this.#forget);
    parts.balancer.events.on('health', this.#forget);
  }

  close(): void {
    this.#parts.balancer.events.off('applied', this.#forget);
    this.#parts.balancer.events.off('health', this.#forget);
    this.#forget();
  }

  services(): ServiceViewBody[] {
    return this.#parts.desired.config.services.map((service) => this.service(service));
  }

  service(service: ServiceConfig): ServiceViewBody {
    const { balancer } = this.#parts;
    const availability = balancer.availability(service);
    const health = balancer.healthOf(service.name);
    const of = balancer.serverStats(service.name);
    const servers = this.#servers(service, availability, health, of);
    const sorry = availability?.sorry === true && service.sorryServer !== undefined;
    return {
      name: service.name,
      ...(service.address === undefined ? {} : { address: service.address }),
      ...(service.port === undefined ? {} : { port: service.port }),
      ...(service.protocol === undefined ? {} : { protocol: service.protocol }),
      ...(service.mark === undefined ? {} : { mark: service.mark }),
      scheduler: service.scheduler,
      mode: service.mode,
      quorum: health.quorum,
      ...(sorry ? { sorry } : {}),
      origin: this.#origin(service.name),
      counters: toCounters((name) => of.reduce((sum, server) => sum + server[name], 0n)),
      servers,
    };
  }

  /** Undefined: the service has no such server, neither configured nor with sessions. */
  server(service: ServiceConfig, key: string): ServerViewBody | undefined {
    return this.service(service).servers.find((view) => view.server === key);
  }

  async status(): Promise<StatusViewBody> {
    const { desired, balancer, now, started, readiness, lastReload } = this.#parts;
    const { ready, draining } = await readiness();
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
      services: desired.config.services.length,
      servers: { ...this.#countStates(desired.config) },
      sessions: String(balancer.workerCounter('sessions').reduce((sum, count) => sum + count, 0n)),
      ...(reload === undefined ? {} : { lastReload: reload }),
    };
  }

  workers(): Reply<'workers'> {
    return this.#parts.balancer.totals().workers.map((counters: CounterSet, worker) => {
      const { drops, ...plain } = counters;
      return { worker, cpu: this.#parts.balancer.cpus[worker] ?? -1, counters: decimals(plain), drops: decimals(drops) };
    });
  }

  interfaces(): Reply<'interfaces'> {
    return this.#parts.balancer.totals().interfaces.map(({ xdp, ...status }) => ({ ...status, xdp: decimals(xdp) }));
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

  #countStates(config: Config): StatusViewBody['servers'] {
    if (this.#states?.config === config) return this.#states.servers;
    const servers = { up: 0, down: 0, unchecked: 0 };
    for (const service of config.services) {
      const verdicts = verdictsOf(this.#parts.balancer.healthOf(service.name));
      if (verdicts.size === 0) servers.unchecked += service.servers.length;
      else for (const server of service.servers) servers[stateOf(verdicts.get(serverKey(service, server)))] += 1;
    }
    this.#states = { config, servers };
    return servers;
  }

  #servers(
    service: ServiceConfig,
    availability: ServiceAvailability | undefined,
    health: ServiceHealth,
    of: readonly ServerStats[],
  ): ServerViewBody[] {
    const stats = new Map(of.map((server) => [keyOfStats(server), server]));
    const verdicts = verdictsOf(health);
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
        state: server.weight === 0 ? 'drained' : stateOf(verdicts.get(key)),
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

function verdictsOf({ servers }: ServiceHealth): ReadonlyMap<string, boolean> {
  return new Map(servers.map(({ server, up }) => [server, up]));
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
