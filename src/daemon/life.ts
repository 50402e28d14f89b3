// Where the daemon stands in its life, for /healthz, /readyz, the status of the API and metrics: one object that `millrace run` makes and
// everybody may ask.
// Guarantees: asking costs one load per worker and waits for nothing; not ready from the very moment on in which a stop is asked for.
// Thread: main.
import type { LoadBalancer } from '../load-balancer.js';
import { nameWorkers, WorkerProgress } from './progress.js';

export interface ReloadOutcome {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly ok: boolean;
  /** What changed, or why it was refused. */
  readonly message: string;
}

export interface ReadinessCheck {
  readonly name: 'configuration' | 'workers' | 'draining';
  readonly ok: boolean;
  /** For people. */
  readonly message: string;
}

export interface Readiness {
  readonly ready: boolean;
  readonly checks: readonly ReadinessCheck[];
}

export type Phase = 'starting' | 'running' | 'draining' | 'stopping' | 'stopped';

/** How often workers are looked at while nobody asks, milliseconds. */
const LOOK_EVERY = 1000;

export class DaemonLife {
  /** Of this process, milliseconds since 1970. */
  readonly started: number;
  readonly #monotonic: () => number;
  #phase: Phase = 'starting';
  #progress: WorkerProgress | undefined;
  #looking: NodeJS.Timeout | undefined;
  #lastReload: ReloadOutcome | undefined;

  /** `now`: milliseconds since 1970; `monotonic`: milliseconds. */
  constructor(now: () => number = Date.now, monotonic: () => number = () => performance.now()) {
    this.started = now();
    this.#monotonic = monotonic;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** A stop was asked for. */
  get draining(): boolean {
    return this.#phase === 'draining' || this.#phase === 'stopping' || this.#phase === 'stopped';
  }

  /** Of the last reload, by signal or by API; undefined: there was none. The start is no reload. */
  get lastReload(): ReloadOutcome | undefined {
    return this.#lastReload;
  }

  /** The configuration is applied and the workers run. */
  running(balancer: Pick<LoadBalancer, 'workerCounter'>): void {
    this.#progress = new WorkerProgress(() => balancer.workerCounter('loopTurns'));
    if (this.#phase === 'starting') this.#phase = 'running';
    this.#stuck();
    this.#looking = setInterval(() => this.#stuck(), LOOK_EVERY).unref();
  }

  drain(): void {
    this.#phase = 'draining';
  }

  stop(): void {
    this.#phase = 'stopping';
  }

  /** Nothing is left to look at. */
  end(): void {
    this.#phase = 'stopped';
    clearInterval(this.#looking);
  }

  reloaded(outcome: ReloadOutcome): void {
    this.#lastReload = outcome;
  }

  /** Whether traffic should be sent here. */
  readiness(): Readiness {
    const checks = [this.#configuration(), this.#workers(), this.#stay()];
    return { ready: checks.every((check) => check.ok), checks };
  }

  #configuration(): ReadinessCheck {
    const name = 'configuration';
    if (this.#progress === undefined) return { name, ok: false, message: 'not applied yet' };
    // A refused reload is no reason to send traffic elsewhere: what was in force still is.
    const refused = this.#lastReload?.ok === false ? `; the last reload was refused: ${this.#lastReload.message}` : '';
    return { name, ok: true, message: `applied${refused}` };
  }

  #workers(): ReadinessCheck {
    const name = 'workers';
    if (this.#progress === undefined) return { name, ok: false, message: 'not started yet' };
    const stuck = this.#stuck();
    if (stuck.length > 0) return { name, ok: false, message: `${nameWorkers(stuck)} stuck` };
    return { name, ok: true, message: 'all move' };
  }

  #stay(): ReadinessCheck {
    const name = 'draining';
    return this.draining ? { name, ok: false, message: this.#phase } : { name, ok: true, message: 'no stop asked for' };
  }

  #stuck(): readonly number[] {
    return this.#progress?.stuck(this.#monotonic()) ?? [];
  }
}
