// What the checks of a service's servers mean for the service: who is up, whether there is a quorum, who is kept out for flapping,
// how far a server that came back is in its slow start.
// Guarantees: pure but for its own state; time is a parameter; the same changes at the same times give the same verdicts.
// Thread: main.
import type { HealthPolicyConfig, ServerConfig, ServiceConfig } from '../config/schema.js';
import { type ServerAvailability, type ServiceAvailability, serverKey } from '../control/availability.js';
import type { Change, Standing } from './runner.js';
import { checksOf } from './target.js';

/** Something that an operator wants to know. */
export interface HealthEvent {
  readonly kind: 'server-up' | 'server-down' | 'server-held' | 'quorum-up' | 'quorum-down';
  readonly service: string;
  /** "" where it is about the whole service. */
  readonly server: string;
  readonly reason: string;
}

interface Server {
  readonly key: string;
  readonly weight: number;
  readonly onFailure: HealthPolicyConfig['onFailure'];
  readonly notify: NonNullable<ServerConfig['notify']>;
  /** By place in the list of checks. */
  readonly checks: { up: boolean; weight: number | undefined }[];
  up: boolean;
  /** When it went down, as long as that counts. */
  downs: number[];
  /** Kept out until then. */
  heldUntil: number;
  /** How often it was kept out in a row. */
  holds: number;
  /** When it came back; undefined where its slow start is over. */
  risen: number | undefined;
}

export const DEFAULT_POLICY: HealthPolicyConfig = {
  quorum: 1,
  hysteresis: 0,
  alpha: false,
  omega: false,
  onFailure: 'remove',
  slowStart: 0,
  flaps: 5,
  flapWindow: 60,
  notify: {},
};

/** A server is held out at most this long, milliseconds. */
const MAX_HOLD = 3_600_000;

export class ServiceJudge {
  readonly name: string;
  #service: ServiceConfig;
  #policy: HealthPolicyConfig;
  #servers = new Map<string, Server>();
  #quorum: boolean;

  constructor(service: ServiceConfig) {
    this.name = service.name;
    this.#service = service;
    this.#policy = service.health ?? DEFAULT_POLICY;
    this.#servers = this.#serversOf(service);
    this.#quorum = !this.#policy.alpha;
    this.#quorum = this.#hasQuorum();
  }

  get policy(): HealthPolicyConfig {
    return this.#policy;
  }

  get quorum(): boolean {
    return this.#quorum;
  }

  /** What is known of servers and checks that stay is kept. */
  reconfigure(service: ServiceConfig, now: number): HealthEvent[] {
    const before = this.#servers;
    this.#service = service;
    this.#policy = service.health ?? DEFAULT_POLICY;
    this.#servers = this.#serversOf(service);
    // A server can come up without a word of its checks: the one that was bad is gone.
    const events = [...this.#servers.values()].flatMap((server) => {
      if (!server.up || before.get(server.key)?.up !== false) return [];
      server.up = false;
      return this.#judgeServer(server, 'the checks that were bad are no longer asked for', now);
    });
    return [...events, ...this.#judgeQuorum()];
  }

  /** What availability() will say after reconfigure(service). */
  foresee(service: ServiceConfig, now: number): ServiceAvailability | undefined {
    const later = new ServiceJudge(service);
    later.#servers = this.#servers;
    later.#quorum = this.#quorum;
    later.reconfigure(service, now);
    return later.availability(now);
  }

  /** What is held of a check before it says anything: its worker must begin with the same. */
  standingOf(server: string, place: number): Standing | undefined {
    return this.#servers.get(server)?.checks[place];
  }

  /** Servers that are checked and up. */
  upServers(): string[] {
    return [...this.#servers.values()].filter(({ up, checks }) => up && checks.length > 0).map(({ key }) => key);
  }

  /** Place of a check in its server's list, and what its worker says. */
  hear(server: string, place: number, change: Change, now: number): HealthEvent[] {
    const known = this.#servers.get(server);
    const check = known?.checks[place];
    if (known === undefined || check === undefined) return [];
    check.up = change.up;
    check.weight = change.weight;
    return [...this.#judgeServer(known, change.reason, now), ...this.#judgeQuorum()];
  }

  /** What becomes due with time: slow starts, and the end of holds. True in `changed`: the availability is another one. */
  tick(now: number): { readonly changed: boolean; readonly events: HealthEvent[] } {
    let changed = false;
    const events: HealthEvent[] = [];
    for (const server of this.#servers.values()) {
      if (server.risen !== undefined) {
        changed = true;
        if (now - server.risen >= this.#policy.slowStart * 1000) server.risen = undefined;
      }
      if (server.heldUntil !== 0 && now >= server.heldUntil) {
        changed = true;
        server.heldUntil = 0;
        events.push(...this.#judgeServer(server, 'its time of being kept out is over', now));
      }
    }
    return { changed, events: [...events, ...(changed ? this.#judgeQuorum() : [])] };
  }

  /** Whether time alone will change something. */
  get waiting(): boolean {
    return [...this.#servers.values()].some((server) => server.risen !== undefined || server.heldUntil !== 0);
  }

  /** What is run when this server comes up or goes down. */
  commandsOf(key: string): { readonly up: readonly string[] | undefined; readonly down: readonly string[] | undefined } {
    const { up = this.#policy.notify.up, down = this.#policy.notify.down } = this.#servers.get(key)?.notify ?? {};
    return { up, down };
  }

  serverIsUp(key: string): boolean | undefined {
    return this.#servers.get(key)?.up;
  }

  /** undefined: as configured. */
  availability(now: number): ServiceAvailability | undefined {
    const servers = new Map<string, ServerAvailability>();
    for (const server of this.#servers.values()) {
      const said = this.#presentation(server, now);
      if (said !== undefined) servers.set(server.key, said);
    }
    const sorry = !this.#quorum && this.#service.sorryServer !== undefined;
    return servers.size === 0 && !sorry ? undefined : { servers, sorry };
  }

  #presentation(server: Server, now: number): ServerAvailability | undefined {
    if (!server.up) return server.onFailure === 'drain' ? { present: true, weight: 0 } : { present: false };
    const asked = server.checks.map((check) => check.weight).filter((weight) => weight !== undefined);
    // What drains drains, whatever a script says.
    const full = asked.length === 0 || server.weight === 0 ? server.weight : Math.min(...asked);
    if (server.risen === undefined) return asked.length === 0 ? undefined : { present: true, weight: full };
    const share = Math.min(1, (now - server.risen) / (this.#policy.slowStart * 1000));
    return { present: true, weight: full === 0 ? 0 : Math.max(1, Math.floor(full * share)) };
  }

  #serversOf(service: ServiceConfig): Map<string, Server> {
    return new Map(
      service.servers.map((config) => {
        const key = serverKey(service, config);
        const known = this.#servers.get(key);
        const checks = checksOf(service, config).map(
          ({ alpha = this.#policy.alpha }, place) => known?.checks[place] ?? { up: known?.up ?? !alpha, weight: undefined },
        );
        const server: Server = {
          key,
          weight: config.weight,
          onFailure: config.onFailure ?? this.#policy.onFailure,
          notify: config.notify ?? {},
          checks,
          up: checks.every((check) => check.up) && (known?.heldUntil ?? 0) === 0,
          downs: known?.downs ?? [],
          heldUntil: known?.heldUntil ?? 0,
          holds: known?.holds ?? 0,
          risen: this.#policy.slowStart > 0 ? known?.risen : undefined,
        };
        return [key, server];
      }),
    );
  }

  #judgeServer(server: Server, reason: string, now: number): HealthEvent[] {
    const up = server.checks.every((check) => check.up) && server.heldUntil === 0;
    if (up === server.up) return [];
    server.up = up;
    const about = { service: this.name, server: server.key };
    if (up) {
      server.risen = this.#policy.slowStart > 0 ? now : undefined;
      return [{ kind: 'server-up', ...about, reason }];
    }
    server.risen = undefined;
    return [{ kind: 'server-down', ...about, reason }, ...this.#holdIfFlapping(server, now)];
  }

  #holdIfFlapping(server: Server, now: number): HealthEvent[] {
    const { flaps, flapWindow } = this.#policy;
    if (flaps === 0) return [];
    const window = flapWindow * 1000;
    const last = server.downs.at(-1);
    // A long quiet time, and the next hold is a first one again.
    if (last !== undefined && now - last > Math.max(window, 2 * holdTime(window, server.holds))) server.holds = 0;
    server.downs = [...server.downs.filter((at) => now - at < window), now];
    if (server.downs.length < flaps) return [];
    server.holds += 1;
    const hold = holdTime(window, server.holds);
    server.heldUntil = now + hold;
    server.downs = [now];
    const reason = `went down ${flaps} times within ${flapWindow} s: kept out for ${hold / 1000} s`;
    return [{ kind: 'server-held', service: this.name, server: server.key, reason }];
  }

  #weightUp(): number {
    return [...this.#servers.values()].reduce((sum, server) => sum + (server.up ? server.weight : 0), 0);
  }

  #hasQuorum(): boolean {
    const { quorum, hysteresis } = this.#policy;
    const up = this.#weightUp();
    return this.#quorum ? up >= Math.max(1, quorum - hysteresis) : up >= quorum + hysteresis;
  }

  #judgeQuorum(): HealthEvent[] {
    const quorum = this.#hasQuorum();
    if (quorum === this.#quorum) return [];
    this.#quorum = quorum;
    const weight = this.#weightUp();
    const kind = quorum ? 'quorum-up' : 'quorum-down';
    return [{ kind, service: this.name, server: '', reason: `weight of servers that are up: ${weight}` }];
  }
}

function holdTime(window: number, holds: number): number {
  return Math.min(MAX_HOLD, window * 2 ** Math.max(0, holds - 1));
}
