// Health checks as a whole: what the configuration asks for goes to the workers, what they find goes to the dataplane, to those who
// listen, and to the operator's commands.
// Guarantees: changes that come while the dataplane takes others in go together, in one pass; what the dataplane did not take is offered
// again until it does; a configuration that stays the same for a server does not disturb what is known of it, and for a service costs
// no more than a look; nothing is checked before start and after close.
// Thread: main.
import { isDeepStrictEqual } from 'node:util';
import type { Config, ServiceConfig } from '../config/schema.js';
import type { Availabilities, ServiceAvailability } from '../control/availability.js';
import type { Lateness } from './messages.js';
import { Notifier } from './notify.js';
import type { Checkers } from './pool.js';
import type { Change, Standing, TargetStatus } from './runner.js';
import { type HealthEvent, ServiceJudge } from './service-judge.js';
import { type CheckTarget, checksOf, targetsOfService } from './target.js';

export interface MonitorParts {
  readonly checkers: (report: (changes: readonly Change[]) => void) => Checkers;
  /** Brings the services of the map into the dataplane; undefined: as configured. */
  readonly present: (found: Availabilities) => Promise<unknown>;
  readonly event: (event: HealthEvent) => void;
  /** Something that is nobody's answer. */
  readonly complain: (message: string) => void;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** One check of one server, for people and metrics. */
export interface CheckStatus extends TargetStatus {
  readonly service: string;
  readonly server: string;
  readonly type: string;
}

export interface HealthStatus {
  readonly services: readonly { readonly name: string; readonly quorum: boolean }[];
  /** Servers that are checked. */
  readonly servers: readonly { readonly service: string; readonly server: string; readonly up: boolean }[];
  readonly checks: readonly CheckStatus[];
  /** Of each worker since the last look. */
  readonly lateness: readonly Lateness[];
}

const TICK = 250;

/** When what the dataplane did not take is offered again, milliseconds. */
const RETRY = 1000;

function isChecked(service: ServiceConfig): boolean {
  return service.servers.some((server) => checksOf(service, server).length > 0);
}

/** What a service is shown as before the first check of it: all of it, or with `alpha` nothing. */
export function initialAvailability(service: ServiceConfig): ServiceAvailability | undefined {
  return isChecked(service) ? new ServiceJudge(service).availability(0) : undefined;
}

export class HealthMonitor {
  readonly #parts: MonitorParts;
  readonly #checkers: Checkers;
  readonly #notifier: Notifier;
  /** Of services that are checked. */
  readonly #judges = new Map<string, ServiceJudge>();
  readonly #targets = new Map<string, CheckTarget>();
  /** As configured last, checked or not. */
  #services: ReadonlyMap<string, ServiceConfig> = new Map();
  readonly #dirty = new Set<string>();
  #presenting: Promise<void> | undefined;
  /** The dataplane has refused what was found last. */
  #refused = false;
  #retrying: NodeJS.Timeout | undefined;
  #ticking: NodeJS.Timeout | undefined;
  #closed = false;
  #referenced = true;

  constructor(parts: MonitorParts) {
    this.#parts = parts;
    this.#checkers = parts.checkers((changes) => this.#hear(changes));
    this.#notifier = new Notifier(parts.complain);
  }

  /** Takes over a configuration that is in force. */
  configure(config: Config): void {
    const before = this.#services;
    this.#services = new Map(config.services.map((service) => [service.name, service]));
    const gone: string[] = [];
    const changed: CheckTarget[] = [];
    for (const name of new Set([...before.keys(), ...this.#services.keys()])) {
      const [old, now] = [before.get(name), this.#services.get(name)];
      if (isDeepStrictEqual(old, now)) continue;
      this.#judge(name, now);
      const wanted = new Map(now === undefined ? [] : targetsOfService(now).map((target) => [target.id, target]));
      for (const { id } of old === undefined ? [] : targetsOfService(old)) {
        if (wanted.has(id)) continue;
        this.#targets.delete(id);
        gone.push(id);
      }
      for (const [id, target] of wanted) {
        if (isDeepStrictEqual(this.#targets.get(id), target)) continue;
        this.#targets.set(id, target);
        changed.push(target);
      }
    }
    this.#checkers.remove(gone);
    this.#checkers.set(changed, this.#standingsOf(changed));
    this.#present();
  }

  /** What a service will be shown as once it is configured so; undefined: as configured. */
  foresee(service: ServiceConfig): ServiceAvailability | undefined {
    const judge = this.#judges.get(service.name);
    return judge === undefined || !isChecked(service) ? initialAvailability(service) : judge.foresee(service, this.#parts.now());
  }

  /** What services are shown as now; undefined: as configured. */
  availability(service: string): ServiceAvailability | undefined {
    return this.#judges.get(service)?.availability(this.#parts.now());
  }

  async status(): Promise<HealthStatus> {
    const { targets, lateness } = await this.#checkers.status();
    const checks = targets.flatMap((status): CheckStatus[] => {
      const target = this.#targets.get(status.id);
      return target === undefined ? [] : [{ ...status, service: target.service, server: target.server, type: target.type }];
    });
    return { ...this.summary(), checks, lateness };
  }

  /** The part of the status that needs no worker. */
  summary(): Pick<HealthStatus, 'services' | 'servers'> {
    const keys = new Map([...this.#targets.values()].map(({ service, server }) => [`${service} ${server}`, { service, server }]));
    return {
      services: [...this.#judges.values()].map(({ name, quorum }) => ({ name, quorum })),
      servers: [...keys.values()].map(({ service, server }) => ({
        service,
        server,
        up: this.#judges.get(service)?.serverIsUp(server) ?? true,
      })),
    };
  }

  /** Stops checking. Commands of `stop`, and with `omega` those of going down, have ended when this resolves. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#ticking);
    clearTimeout(this.#retrying);
    await this.#checkers.close();
    await this.#presenting;
    for (const judge of this.#judges.values()) this.#farewell(judge);
    await this.#notifier.idle();
  }

  ref(): void {
    this.#referenced = true;
    this.#checkers.ref();
    this.#ticking?.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#checkers.unref();
    this.#ticking?.unref();
  }

  #judge(name: string, service: ServiceConfig | undefined): void {
    const judge = this.#judges.get(name);
    if (service === undefined || !isChecked(service)) {
      if (this.#judges.delete(name)) this.#dirty.add(name);
      return;
    }
    if (judge === undefined) this.#judges.set(name, new ServiceJudge(service));
    else this.#tell(judge, judge.reconfigure(service, this.#parts.now()));
    this.#dirty.add(name);
  }

  /** What is not what a target begins with by itself. */
  #standingsOf(targets: readonly CheckTarget[]): ReadonlyMap<string, Standing> {
    return new Map(
      targets.flatMap(({ id, service, server, place, alpha }): [string, Standing][] => {
        const standing = this.#judges.get(service)?.standingOf(server, place);
        const usual = standing === undefined || (standing.up === !alpha && standing.weight === undefined);
        return usual ? [] : [[id, standing]];
      }),
    );
  }

  #farewell(judge: ServiceJudge): void {
    const { notify, omega } = judge.policy;
    const about = { service: judge.name, reason: 'Millrace stops' };
    if (omega) {
      for (const server of judge.upServers()) {
        this.#notifier.run(judge.commandsOf(server).down, { kind: 'server-down', server, ...about });
      }
      if (judge.quorum) this.#notifier.run(notify.quorumDown, { kind: 'quorum-down', server: '', ...about });
    }
    this.#notifier.run(notify.stop, { kind: 'stop', server: '', ...about });
  }

  #hear(changes: readonly Change[]): void {
    if (this.#closed) return;
    const now = this.#parts.now();
    for (const change of changes) {
      const target = this.#targets.get(change.id);
      const judge = target === undefined ? undefined : this.#judges.get(target.service);
      if (target === undefined || judge === undefined) continue;
      this.#dirty.add(target.service);
      this.#tell(judge, judge.hear(target.server, target.place, change, now));
    }
    this.#present();
  }

  #tell(judge: ServiceJudge, events: readonly HealthEvent[]): void {
    const { notify } = judge.policy;
    for (const event of events) {
      const { up, down } = judge.commandsOf(event.server);
      const commands = {
        'server-up': up,
        'server-down': down,
        'server-held': undefined,
        'quorum-up': notify.quorumUp,
        'quorum-down': notify.quorumDown,
      };
      this.#parts.event(event);
      this.#notifier.run(commands[event.kind], event);
    }
  }

  #present(): void {
    this.#follow();
    if (this.#presenting !== undefined || this.#dirty.size === 0 || this.#closed) return;
    const names = [...this.#dirty];
    this.#dirty.clear();
    const found = new Map(names.map((name) => [name, this.availability(name)]));
    clearTimeout(this.#retrying);
    this.#presenting = this.#parts
      .present(found)
      .then(
        () => {
          this.#refused = false;
        },
        (error: unknown) => {
          for (const name of names) this.#dirty.add(name);
          if (!this.#refused) {
            const why = error instanceof Error ? error.message : String(error);
            this.#parts.complain(`what health checks found did not reach the dataplane and is tried again: ${why}`);
          }
          this.#refused = true;
        },
      )
      .finally(() => {
        this.#presenting = undefined;
        if (this.#refused) this.#retry();
        else this.#present();
      });
  }

  #retry(): void {
    if (this.#closed) return;
    this.#retrying = setTimeout(() => this.#present(), RETRY).unref();
  }

  /** A clock that runs only while something waits for it. */
  #follow(): void {
    const waiting = [...this.#judges.values()].some((judge) => judge.waiting);
    if (waiting === (this.#ticking !== undefined) || this.#closed) return;
    if (!waiting) {
      clearInterval(this.#ticking);
      this.#ticking = undefined;
      return;
    }
    this.#ticking = setInterval(() => this.#tick(), TICK);
    if (!this.#referenced) this.#ticking.unref();
  }

  #tick(): void {
    const now = this.#parts.now();
    for (const judge of this.#judges.values()) {
      if (!judge.waiting) continue;
      const { changed, events } = judge.tick(now);
      if (changed) this.#dirty.add(judge.name);
      this.#tell(judge, events);
    }
    this.#present();
  }
}
