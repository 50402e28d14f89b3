// Runs the checks of many targets: when each is due, how many at a time, and when a server has been good or bad often enough.
// Guarantees: one check of a target at a time; a target that was removed reports nothing any more; changes of one turn of the event loop
// are reported together; a check that came late does not make the next ones late.
// Thread: a health worker.
import type { Outcome } from './outcome.js';
import type { Probe } from './probe.js';
import type { CheckTarget } from './target.js';

/** A target came up, went down, or asks for another weight. */
export interface Change {
  readonly id: string;
  readonly up: boolean;
  readonly reason: string;
  readonly weight?: number;
}

/** What is held of a target before it is checked here. */
export interface Standing {
  readonly up: boolean;
  readonly weight: number | undefined;
}

export interface TargetStatus {
  readonly id: string;
  readonly up: boolean;
  /** Checks in a row with the last one's verdict. */
  readonly streak: number;
  readonly checks: number;
  readonly failures: number;
  /** That all of them took together, milliseconds. */
  readonly spent: number;
  /** Of the last check; undefined before the first. Milliseconds since 1970, and how long it took. */
  readonly last?: { readonly at: number; readonly milliseconds: number; readonly good: boolean; readonly reason: string };
}

export interface RunnerParts {
  readonly probe: Probe;
  readonly report: (changes: readonly Change[]) => void;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Checks at a time; the others wait. */
  readonly limit: number;
}

interface Entry {
  target: CheckTarget;
  due: number;
  removed: boolean;
  up: boolean;
  weight: number | undefined;
  good: boolean;
  streak: number;
  checks: number;
  failures: number;
  spent: number;
  last: TargetStatus['last'];
}

/** Checks that are due within this time begin together: timers are not that exact anyway. */
const TOGETHER = 1;

export class Runner {
  readonly #parts: RunnerParts;
  readonly #entries = new Map<string, Entry>();
  /** A binary heap by `due`. */
  readonly #heap: Entry[] = [];
  #timer: NodeJS.Timeout | undefined;
  #running = 0;
  #changes: Change[] = [];
  #lateness = { checks: 0, total: 0, worst: 0 };

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#entries.size;
  }

  /**
   * Adds targets, or replaces those of the same id: these are checked as new ones, but are what they were until then. Others are what
   * `standings` says: reports are of changes alone, so both sides must begin with the same.
   */
  set(targets: readonly CheckTarget[], standings: ReadonlyMap<string, Standing> = new Map()): void {
    for (const target of targets) {
      const old = this.#entries.get(target.id);
      if (old !== undefined) old.removed = true;
      const known = old ?? standings.get(target.id);
      const entry: Entry = {
        target,
        due: this.#parts.now() + this.#parts.random() * target.warmup,
        removed: false,
        up: known?.up ?? !target.alpha,
        weight: known?.weight,
        good: true,
        streak: 0,
        checks: 0,
        failures: 0,
        spent: 0,
        last: undefined,
      };
      this.#entries.set(target.id, entry);
      this.#push(entry);
    }
    this.#arm();
  }

  remove(ids: readonly string[]): void {
    for (const id of ids) {
      const entry = this.#entries.get(id);
      if (entry === undefined) continue;
      entry.removed = true;
      this.#entries.delete(id);
    }
  }

  status(): TargetStatus[] {
    return [...this.#entries.values()].map(({ target, up, streak, checks, failures, spent, last }) => ({
      id: target.id,
      up,
      streak,
      checks,
      failures,
      spent,
      ...(last === undefined ? {} : { last }),
    }));
  }

  /** How late checks began since the last call: their number, the mean and the worst, milliseconds. */
  lateness(): { readonly checks: number; readonly mean: number; readonly worst: number } {
    const { checks, total, worst } = this.#lateness;
    this.#lateness = { checks: 0, total: 0, worst: 0 };
    return { checks, mean: checks === 0 ? 0 : total / checks, worst };
  }

  close(): void {
    clearTimeout(this.#timer);
    this.remove([...this.#entries.keys()]);
    this.#heap.length = 0;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const first = this.#heap[0];
    if (first === undefined || this.#running >= this.#parts.limit) return;
    this.#timer = setTimeout(() => this.#begin(), Math.max(0, first.due - this.#parts.now()));
  }

  #begin(): void {
    const now = this.#parts.now();
    for (let first = this.#heap[0]; first !== undefined && first.due <= now + TOGETHER; first = this.#heap[0]) {
      if (this.#running >= this.#parts.limit) break;
      this.#pop();
      if (!first.removed) void this.#check(first, now);
    }
    this.#arm();
  }

  async #check(entry: Entry, now: number): Promise<void> {
    const late = Math.max(0, now - entry.due);
    this.#lateness.checks += 1;
    this.#lateness.total += late;
    this.#lateness.worst = Math.max(this.#lateness.worst, late);
    this.#running += 1;
    const outcome = await this.#parts.probe(entry.target);
    const wasFull = this.#running >= this.#parts.limit;
    this.#running -= 1;
    if (!entry.removed) {
      this.#judge(entry, outcome, this.#parts.now() - now);
      this.#again(entry);
    }
    if (wasFull || this.#heap[0] === entry) this.#arm();
  }

  #judge(entry: Entry, { good, reason, weight }: Outcome, milliseconds: number): void {
    entry.streak = entry.good === good ? entry.streak + 1 : 1;
    entry.good = good;
    entry.checks += 1;
    if (!good) entry.failures += 1;
    entry.spent += milliseconds;
    entry.last = { at: Date.now(), milliseconds, good, reason };
    const { id, rise, fall } = entry.target;
    const up = entry.up ? good || entry.streak < fall : good && entry.streak >= rise;
    const reweighed = up && good && weight !== entry.weight;
    if (up === entry.up && !reweighed) return;
    entry.up = up;
    if (good) entry.weight = weight;
    if (this.#changes.length === 0) setImmediate(() => this.#flush());
    this.#changes.push({ id, up, reason, ...(entry.weight === undefined ? {} : { weight: entry.weight }) });
  }

  #flush(): void {
    const changes = this.#changes;
    this.#changes = [];
    this.#parts.report(changes.filter(({ id }) => this.#entries.has(id)));
  }

  #again(entry: Entry): void {
    const { interval, retryInterval, jitter } = entry.target;
    const now = this.#parts.now();
    if (!entry.good && entry.up) {
      entry.due = now + retryInterval;
    } else {
      const next = entry.due + interval * (1 + jitter * (2 * this.#parts.random() - 1));
      entry.due = Math.max(next, now);
    }
    this.#push(entry);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let place = heap.length;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || parent.due <= entry.due) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let place = 0;
    for (;;) {
      const left = 2 * place + 1;
      const first = heap[left];
      if (first === undefined) break;
      const second = heap[left + 1];
      const [child, at] = second !== undefined && second.due < first.due ? [second, left + 1] : [first, left];
      if (child.due >= last.due) break;
      heap[place] = child;
      place = at;
    }
    heap[place] = last;
  }
}
