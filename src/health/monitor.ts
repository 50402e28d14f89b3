// Health checks as a whole: what the configuration asks for goes to the workers, what they find goes to the dataplane, to those who
// listen, and to the operator's commands.
// Guarantees: a service that is the same object as in the configuration before costs nothing; changes that come within 10 ms, or while
// the dataplane takes others in, go together in one pass; what the dataplane did not take is offered again until it does; a configuration
// that stays the same for a server does not disturb what is known of it; nothing is checked before start and after close.
// Thread: main.
import { isDeepStrictEqual } from 'node:util';
import type { Config, ServiceConfig } from '../config/schema.js';
import type { Availabilities, ServiceAvailability } from '../control/availability.js';
import { sameNames } from '../control/diff.js';
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

/** What is known of one service. */
export interface ServiceHealth {
  readonly quorum: boolean;
  /** Servers that are checked. */
  readonly servers: HealthStatus['servers'];
}

const TICK = 250;
/** What checks find within this time goes to the dataplane together, milliseconds. */
const GATHER = 10;
/** From the beginning of one pass to that of the next: many failures are few passes, whatever each costs. */
const SPACING = 50;
/** When what the dataplane did not take is offered again, milliseconds. */
const RETRY = 1000;

/** Services without checks, which never change: nobody looks at their servers again. */
const unchecked = new WeakSet<ServiceConfig>();

function isChecked(service: ServiceConfig): boolean {
  if (unchecked.has(service)) return false;
  if (service.servers.some((server) => checksOf(service, server).length > 0)) return true;
  unchecked.add(service);
  return false;
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
  /** Of the configuration in force, in its order; the same by name. */
  #list: readonly ServiceConfig[] = [];
  #services = new Map<string, ServiceConfig>();
  readonly #targetsOf = new Map<string, readonly CheckTarget[]>();
  readonly #dirty = new Set<string>();
  /** Judges for which time alone will change something. */
  readonly #waiting = new Set<ServiceJudge>();
  #presenting: Promise<void> | undefined;
  /** The dataplane has refused what was found last. */
  #refused = false;
  #retrying: NodeJS.Timeout | undefined;
  /** Runs while a pass is about to begin. */
  #gathering: NodeJS.Timeout | undefined;
  /** When the last pass began. */
  #passed = Number.NEGATIVE_INFINITY;
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
    const [before, now] = [this.#list, config.services];
    this.#list = now;
    const gone: string[] = [];
    const changed: CheckTarget[] = [];
    if (!sameNames(before, now)) {
      const known = this.#services;
      this.#services = new Map(now.map((service) => [service.name, service]));
      for (const name of known.keys()) if (!this.#services.has(name)) this.#configureService(name, undefined, gone, changed);
      for (const service of now) {
        if (known.get(service.name) !== service) this.#configureService(service.name, service, gone, changed);
      }
    } else {
      now.forEach((service, i) => {
        if (service === before[i]) return;
        this.#services.set(service.name, service);
        this.#configureService(service.name, service, gone, changed);
      });
    }
    this.#checkers.remove(gone);
    this.#checkers.set(changed, this.#standingsOf(changed));
    this.#present();
  }

  /** A service that is new, another one than before, or gone. */
  #configureService(name: string, service: ServiceConfig | undefined, gone: string[], changed: CheckTarget[]): void {
    const wanted = service === undefined ? [] : targetsOfService(service);
    const known = this.#targetsOf.get(name) ?? [];
    if (wanted.length === 0 && known.length === 0) return;
    const ids = new Set(wanted.map((target) => target.id));
    for (const { id } of known) {
      if (ids.has(id)) continue;
      gone.push(id);
      this.#targets.delete(id);
    }
    for (const target of wanted) {
      if (!isDeepStrictEqual(this.#targets.get(target.id), target)) changed.push(target);
      this.#targets.set(target.id, target);
    }
    this.#dirty.add(name);
    const judge = this.#judges.get(name);
    if (service === undefined || wanted.length === 0) {
      this.#targetsOf.delete(name);
      this.#judges.delete(name);
      if (judge !== undefined) this.#waiting.delete(judge);
      return;
    }
    this.#targetsOf.set(name, wanted);
    if (judge === undefined) this.#judges.set(name, new ServiceJudge(service));
    else this.#tell(judge, judge.reconfigure(service, this.#parts.now()));
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

  /** What a service will be shown as once it is configured so; undefined: as configured. */
  foresee(service: ServiceConfig): ServiceAvailability | undefined {
    if (this.#services.get(service.name) === service) return this.availability(service.name);
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
    const names = [...this.#services.keys()].filter((name) => this.#judges.has(name));
    return {
      services: names.map((name) => ({ name, quorum: this.#judges.get(name)?.quorum ?? true })),
      servers: names.flatMap((name) => this.#serversOf(name)),
    };
  }

  /** The same of one service; no servers: it is not checked. */
  summaryOf(service: string): ServiceHealth {
    return { quorum: this.#judges.get(service)?.quorum ?? true, servers: this.#serversOf(service) };
  }

  #serversOf(service: string): HealthStatus['servers'] {
    const judge = this.#judges.get(service);
    const servers = new Set((this.#targetsOf.get(service) ?? []).map((target) => target.server));
    return [...servers].map((server) => ({ service, server, up: judge?.serverIsUp(server) ?? true }));
  }

  /** Stops checking. Commands of `stop`, and with `omega` those of going down, have ended when this resolves. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#ticking);
    clearTimeout(this.#gathering);
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
    this.#presentSoon();
  }

  /** After each word to a judge. */
  #tell(judge: ServiceJudge, events: readonly HealthEvent[]): void {
    if (judge.waiting) this.#waiting.add(judge);
    else this.#waiting.delete(judge);
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

  #presentSoon(): void {
    this.#follow();
    if (this.#gathering !== undefined || this.#presenting !== undefined || this.#dirty.size === 0 || this.#closed) return;
    const wait = Math.min(SPACING, Math.max(GATHER, this.#passed + SPACING - this.#parts.now()));
    this.#gathering = setTimeout(() => this.#present(), wait);
    if (!this.#referenced) this.#gathering.unref();
  }

  #present(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    this.#follow();
    if (this.#presenting !== undefined || this.#dirty.size === 0 || this.#closed) return;
    const names = [...this.#dirty];
    this.#dirty.clear();
    this.#passed = this.#parts.now();
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
        else this.#presentSoon();
      });
  }

  #retry(): void {
    if (this.#closed) return;
    this.#retrying = setTimeout(() => this.#present(), RETRY).unref();
  }

  /** A clock that runs only while something waits for it. */
  #follow(): void {
    const waiting = this.#waiting.size > 0;
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
    for (const judge of [...this.#waiting]) {
      const { changed, events } = judge.tick(now);
      if (changed) this.#dirty.add(judge.name);
      this.#tell(judge, events);
    }
    this.#presentSoon();
  }
}
