// How reloads of the configuration went: for metrics, and for whoever shows the last one.
// Guarantees: the start counts as the first success, since nothing runs without a configuration in force.
// Thread: main.

export interface ReloadOutcome {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly ok: boolean;
  /** For people: what changed, or why it was refused. */
  readonly message: string;
}

export class ReloadRecorder {
  readonly #now: () => number;
  #last: ReloadOutcome | undefined;
  #lastSuccess: number;
  #succeeded = 0;
  #failed = 0;

  /** To be made when the load balancer has started. `now`: milliseconds since 1970. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
    this.#lastSuccess = now();
  }

  /** To be called after every reload, whoever asked for it. */
  reloaded(ok: boolean, message: string): void {
    this.#last = { at: this.#now(), ok, message };
    if (ok) {
      this.#succeeded += 1;
      this.#lastSuccess = this.#last.at;
    } else this.#failed += 1;
  }

  /** Undefined before the first reload. */
  get last(): ReloadOutcome | undefined {
    return this.#last;
  }

  /** When a configuration last came into force by a reload or the start, milliseconds since 1970. */
  get lastSuccess(): number {
    return this.#lastSuccess;
  }

  get succeeded(): number {
    return this.#succeeded;
  }

  get failed(): number {
    return this.#failed;
  }
}
