// Metrics of health checks: durations and failures, asked of the threads that check, and transitions, counted as they are told.
// Guarantees: a scrape waits at most PATIENCE for those threads, and then has what they said last, with its age; totals do not fall
// when a check is replaced.
// Thread: main.
import type { HealthStatus } from '../health/monitor.js';
import type { HealthEvent } from '../health/service-judge.js';
import { type Exposition, escapeLabelValue } from './exposition.js';
import { HEALTH_FAMILIES, REAL_FAMILIES } from './families.js';
import { RunningTotals } from './running-totals.js';

/** Milliseconds. */
const PATIENCE = 1000;

type Check = HealthStatus['checks'][number];

export interface HealthMetricsParts {
  readonly health: () => Promise<Pick<HealthStatus, 'checks'>>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

export class HealthMetrics {
  readonly #parts: HealthMetricsParts;
  /** By type and by service. */
  readonly #durations = new RunningTotals(2);
  readonly #failures = new RunningTotals(1);
  readonly #transitions = new Map<string, Map<HealthEvent['kind'], number>>();
  #asking: Promise<void> | undefined;
  #checks: readonly Check[] = [];
  #heard: number;

  constructor(parts: HealthMetricsParts) {
    this.#parts = parts;
    this.#heard = parts.now();
  }

  /** A listener for the balancer's event 'health'. */
  readonly count = ({ kind, service }: HealthEvent): void => {
    const counts = this.#transitions.get(service) ?? new Map<HealthEvent['kind'], number>();
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    this.#transitions.set(service, counts);
  };

  /** Asks the threads of health checks. Never rejects: what they do not say now, they say at a later scrape. */
  async refresh(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, PATIENCE);
    });
    await Promise.race([this.#asking, late]);
    clearTimeout(timer);
  }

  async #ask(): Promise<void> {
    const answer = await this.#parts.health().catch(() => undefined);
    if (answer === undefined) return;
    this.#checks = answer.checks;
    this.#heard = this.#parts.now();
    for (const { id, type, service, spent, checks, failures } of answer.checks) {
      this.#durations.note(type, id, [spent, checks]);
      this.#failures.note(service, id, [failures]);
    }
    this.#durations.finish();
    this.#failures.finish();
  }

  /** How old what write() writes is, seconds. */
  age(asked: number): number {
    return Math.max(0, asked - this.#heard) / 1000;
  }

  /** `checked`: services with health checks; what is known of others is forgotten. */
  write(text: Exposition, checked: readonly string[], perServer: boolean): void {
    const duration = text.family(HEALTH_FAMILIES.duration);
    for (const type of new Set(this.#checks.map((check) => check.type))) {
      const [spent = 0, checks = 0] = this.#durations.group(type);
      const labels = `type="${escapeLabelValue(type)}"`;
      duration(labels, spent / 1000, '_sum');
      duration(labels, checks, '_count');
    }
    const failures = text.family(HEALTH_FAMILIES.failures);
    for (const service of checked) failures(serviceLabel(service), this.#failures.group(service)[0] ?? 0);
    this.#writeTransitions(text, checked);
    if (perServer) this.#writeLast(text);
  }

  #writeTransitions(text: Exposition, checked: readonly string[]): void {
    const known = new Set(checked);
    for (const name of this.#transitions.keys()) if (!known.has(name)) this.#transitions.delete(name);
    const transitions = text.family(HEALTH_FAMILIES.transitions);
    const of = (service: string, kind: HealthEvent['kind']): number => this.#transitions.get(service)?.get(kind) ?? 0;
    for (const service of checked) {
      const label = serviceLabel(service);
      transitions(`${label},to="up"`, of(service, 'server-up'));
      transitions(`${label},to="down"`, of(service, 'server-down'));
      const held = of(service, 'server-held');
      // Rare enough to do without a first 0.
      if (held > 0) transitions(`${label},to="held"`, held);
    }
  }

  #writeLast(text: Exposition): void {
    const last = text.family(REAL_FAMILIES.lastDuration);
    for (const check of this.#checks) {
      if (check.last === undefined) continue;
      const place = check.id.slice(check.id.lastIndexOf(' ') + 1);
      const real = escapeLabelValue(check.server);
      const labels = `${serviceLabel(check.service)},real="${real}",check="${escapeLabelValue(place)}",type="${escapeLabelValue(check.type)}"`;
      last(labels, check.last.milliseconds / 1000);
    }
  }
}

function serviceLabel(service: string): string {
  return `service="${escapeLabelValue(service)}"`;
}
