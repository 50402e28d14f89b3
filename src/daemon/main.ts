// The life of `millrace run`: start, say that it is ready, reload on SIGHUP, statistics at an interval, drain and stop on SIGTERM.
// Guarantees: a reload that is refused changes nothing but what is said of the last reload; an orderly stop ends with exit code 0 and the
// interfaces given back to the kernel; the packet path does not depend on anything here being on time.
// Thread: main.
import type { Config } from '../config/schema.js';
import { MillraceError } from '../errors.js';
import type { LoadBalancer } from '../load-balancer.js';
import { drainSessions, sessionsOf } from './drain.js';
import { DaemonLife } from './life.js';
import type { DaemonEvent } from './output.js';
import { WorkerProgress } from './progress.js';
import { type NotifySettings, ServiceManager } from './service-manager.js';
import type { Serving } from './serving.js';
import { listenToSignals, type SignalSource } from './signals.js';

export interface DaemonOptions {
  readonly configFile: string;
  /** Milliseconds between statistics events; 0: none. */
  readonly statsInterval: number;
  /** Takes each event, in order. */
  readonly emit: (event: DaemonEvent) => void;
  readonly signals: SignalSource;
  /** Starts what is served; on failure nothing is left running. */
  readonly start: (configFile: string, options: StartOptions) => Promise<Serving>;
  /** Ends the process at once, as the signal does by default. */
  readonly die: (signal: NodeJS.Signals) => void;
  /** Fires when nobody can read the output any more; stops as SIGINT does. */
  readonly outputClosed: AbortSignal;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Absent: nobody is told. */
  readonly notify?: { readonly settings: NotifySettings; readonly send: (socket: string, text: string) => void };
}

export interface StartOptions {
  /** Fired: stop, also in the middle of the start. */
  readonly signal: AbortSignal;
  /** What is asked about readiness, and told of reloads. */
  readonly life: DaemonLife;
  readonly warn: (message: string, remedy: string) => void;
}

/** Seconds that an orderly stop may take beyond the drain: commands of `omega`, each ended after a minute. */
const STOP_SECONDS = 90;

/** Runs until a signal stops it. Rejects when the start or the stop fails. */
export function runDaemon(options: DaemonOptions): Promise<void> {
  return new Daemon(options).run();
}

class Daemon {
  readonly #options: DaemonOptions;
  readonly #life: DaemonLife;
  readonly #service: ServiceManager;
  readonly #stop = new AbortController();
  #serving: Serving | undefined;
  /** Ends a drain that is under way. */
  #drain: AbortController | undefined;

  constructor(options: DaemonOptions) {
    const { now } = options;
    this.#options = options;
    this.#life = new DaemonLife(now);
    this.#service = new ServiceManager({
      settings: options.notify?.settings,
      send: options.notify?.send ?? (() => undefined),
      complain: (message, remedy) => this.#warn(message, remedy),
      monotonic: process.hrtime.bigint,
    });
  }

  async run(): Promise<void> {
    const { configFile, start, die, emit, now, outputClosed, signals } = this.#options;
    const unlisten = listenToSignals(signals, {
      reload: () => this.#reload(),
      stop: (signal) => void this.#stopBy(signal),
      stopSooner: (signal) => {
        if (this.#drain === undefined) die(signal);
        else this.#drain.abort();
      },
    });
    const hangUp = (): void => this.#stopNow();
    outputClosed.addEventListener('abort', hangUp, { once: true });
    try {
      this.#serving = await start(configFile, {
        signal: this.#stop.signal,
        life: this.#life,
        warn: (...words) => this.#warn(...words),
      });
      await this.#serve(this.#serving.balancer);
    } catch (error) {
      // Stopped before it had started: that is what was asked for.
      if (!(this.#stop.signal.aborted && error === this.#stop.signal.reason)) throw error;
    } finally {
      outputClosed.removeEventListener('abort', hangUp);
      this.#service.close();
      this.#life.end();
      try {
        await this.#serving?.close();
      } finally {
        // Not before: a SIGHUP in between would end the process, and log lines with it.
        unlisten();
      }
    }
    emit({ event: 'stopped', time: now() });
  }

  async #serve(balancer: LoadBalancer): Promise<void> {
    if (balancer.closed) return balancer.close();
    const { emit, now, statsInterval } = this.#options;
    balancer.events.on('warning', (warning) => emit({ event: 'warning', time: now(), ...warning }));
    balancer.events.on('applied', (applied) => emit({ event: 'applied', time: now(), ...applied }));
    balancer.events.on('health', (event) => emit({ event: 'health', time: now(), ...event }));
    // The balancer closes itself when the signal fires; this waits for its end, and for its failure.
    const ended = new Promise<void>((resolve, reject) => {
      balancer.events.once('stopped', resolve);
      balancer.events.once('error', reject);
    });
    const stats = (): void => emit({ event: 'stats', stats: balancer.stats() });
    const timer = statsInterval > 0 ? setInterval(stats, statsInterval) : undefined;
    try {
      this.#life.running(balancer);
      this.#service.ready(describeStatus(balancer));
      this.#service.watch(new WorkerProgress(() => balancer.workerCounter('loopTurns')));
      emit({ event: 'ready', time: now(), ...describe(balancer) });
      await ended;
      if (timer !== undefined) stats();
    } finally {
      clearInterval(timer);
    }
  }

  /** TERM waits for sessions if it may; everything else stops at once. */
  async #stopBy(signal: NodeJS.Signals): Promise<void> {
    const { emit, now } = this.#options;
    const balancer = this.#serving?.balancer;
    const seconds = signal === 'SIGTERM' && balancer !== undefined ? balancer.config.daemon.drainTimeout : 0;
    if (balancer === undefined || seconds === 0) {
      emit({ event: 'stopping', time: now(), signal });
      return this.#stopNow();
    }
    this.#life.drain();
    const drain = new AbortController();
    this.#drain = drain;
    const sessions = sessionsOf(balancer);
    this.#service.stopping(`draining: ${sessions} sessions left`, seconds + STOP_SECONDS);
    emit({ event: 'draining', time: now(), signal, sessions, seconds });
    const left = await drainSessions(balancer, {
      timeout: seconds * 1000,
      signal: drain.signal,
      progress: (count) => this.#service.status(`draining: ${count} sessions left`),
    });
    this.#drain = undefined;
    if (balancer.closed) return;
    emit({ event: 'stopping', time: now(), signal, sessions: left });
    this.#stopNow();
  }

  #warn(message: string, remedy: string): void {
    this.#options.emit({ event: 'warning', time: this.#options.now(), message, remedy });
  }

  #stopNow(): void {
    this.#life.stop();
    this.#service.stopping('stopping', STOP_SECONDS);
    this.#stop.abort();
  }

  /** A reload that is asked for while the start is under way would read the same file again: the start has it. */
  #reload(): void {
    if (this.#serving !== undefined && !this.#stop.signal.aborted) void this.#reloadInto(this.#serving);
  }

  async #reloadInto(serving: Serving): Promise<void> {
    const { emit, now } = this.#options;
    const { balancer } = serving;
    this.#service.reloading();
    try {
      const { changes } = await serving.reload();
      this.#service.reloaded(describeStatus(balancer));
      emit({ event: 'reloaded', time: now(), changes });
    } catch (error) {
      if (balancer.closed) return;
      const known = error instanceof MillraceError;
      const message = error instanceof Error ? error.message : String(error);
      this.#service.reloaded(`the last reload was refused, ${describeStatus(balancer)}: ${message}`);
      emit({
        event: 'reload-failed',
        time: now(),
        code: known ? error.code : 'MILLRACE_E_NATIVE_FAILED',
        message,
        remedy: known ? error.remedy : 'Correct the configuration and send SIGHUP again.',
      });
    }
  }
}

/** One line for `systemctl status`. */
function describeStatus(balancer: LoadBalancer): string {
  const services = balancer.config.services.length;
  const { workers } = balancer;
  return `serving ${services} service${services === 1 ? '' : 's'} with ${workers} worker${workers === 1 ? '' : 's'}`;
}

function describe(balancer: LoadBalancer): Omit<DaemonEvent & { readonly event: 'ready' }, 'event' | 'time'> {
  const config: Config = balancer.config;
  return {
    workers: balancer.workers,
    cpus: balancer.cpus,
    interfaces: balancer.stats().interfaces,
    services: config.services.map(({ name, address, port, protocol, mark, match, servers }) => ({
      name,
      address,
      port,
      protocol,
      mark,
      match,
      servers: servers.length,
    })),
  };
}
