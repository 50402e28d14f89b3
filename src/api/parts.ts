// What the API is made of: the state that it changes, the balancer that it tells of, and what others plug in.
// Thread: types only.
import type { EventEmitter } from 'node:events';
import type { ServiceConfig } from '../config/schema.js';
import type { ServiceAvailability } from '../control/availability.js';
import type { SessionFilter, SessionList, SessionPaging } from '../control/sessions.js';
import type { PlainCounter, ServerStats, Totals } from '../control/stats.js';
import type { ExplainRequest, Explanation } from '../explain/explain.js';
import type { HealthStatus, ServiceHealth } from '../health/monitor.js';
import type { LoadBalancerEvents } from '../load-balancer.js';
import type { DesiredState } from '../state/desired.js';

/** The part of a LoadBalancer that the API reads. */
export interface ApiBalancer {
  readonly workers: number;
  readonly cpus: readonly number[];
  readonly generation: number;
  readonly events: Pick<EventEmitter<LoadBalancerEvents>, 'on' | 'off'>;
  totals(): Totals;
  workerCounter(counter: PlainCounter): readonly bigint[];
  serverStats(service: string): readonly ServerStats[];
  health(): Promise<HealthStatus>;
  healthOf(service: string): ServiceHealth;
  availability(service: ServiceConfig): ServiceAvailability | undefined;
  sessions(filter: SessionFilter, page: SessionPaging): Promise<SessionList>;
  countSessions(filter: SessionFilter): Promise<number>;
  endSessions(filter: SessionFilter): Promise<number>;
}

export interface ReadinessCheck {
  readonly name: string;
  readonly ok: boolean;
  /** Why not, or what was found. */
  readonly message?: string;
}

export interface Readiness {
  readonly ready: boolean;
  /** The process stops taking new connections and is about to end. */
  readonly draining?: boolean;
  readonly checks: readonly ReadinessCheck[];
}

/** What /healthz, /readyz and /metrics answer from. */
export interface ProbeParts {
  readonly readiness: () => Readiness | Promise<Readiness>;
  /** In the format that Prometheus reads. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
}

export interface ReloadOutcome {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly ok: boolean;
  readonly message: string;
}

export interface IpvsadmOutcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

export interface ApiParts extends ProbeParts {
  readonly desired: DesiredState;
  readonly balancer: ApiBalancer;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** When the process started, milliseconds since 1970. */
  readonly started: number;
  /** Of the last reload, by signal or by the API; undefined: there was none. */
  readonly lastReload: () => ReloadOutcome | undefined;
  /** Runs a command line of ipvsadm; without it the endpoint says that it is not there. */
  readonly ipvsadm?: (arguments_: readonly string[], stdin: string) => Promise<IpvsadmOutcome>;
  /** Sends a packet through the pipeline with the configuration in force; without it the endpoint says that it is not there. */
  readonly explain?: (request: ExplainRequest) => Explanation;
  /** Takes errors that are mistakes of ours, for the log. */
  readonly failed: (error: unknown) => void;
  /** Milliseconds between comments that keep a quiet stream of events open; 15,000 without it. */
  readonly heartbeat?: number;
}

/** Of the API itself, for metrics; counted since the start. */
export interface ApiCounters {
  readonly requests: number;
  /** Answers by class of status, such as "4xx". */
  readonly answers: Readonly<Record<string, number>>;
  /** Open streams of events. */
  readonly readers: number;
  readonly readersDropped: number;
}
