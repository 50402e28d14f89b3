// Whether workers move: their loops are counted (`loop_turns`), and a worker that sleeps in poll() for lack of packets is woken by the
// kernel after a second at the latest (native/worker/worker_thread.cc), so that an idle worker's count moves too.
// Guarantees: a worker is called stuck only when its count was the same at two looks that are STUCK_AFTER or more apart, however often
// one looks and however late the event loop is. Costs one load per worker.
// Thread: main.

/** Milliseconds: thrice the longest sleep of a worker, so that a busy machine is no stuck worker. */
export const STUCK_AFTER = 3000;

export class WorkerProgress {
  readonly #turns: () => readonly bigint[];
  /** Per worker the last count, and when it was first seen (monotonic milliseconds). */
  #seen: { readonly turns: bigint; readonly since: number }[] = [];

  /** `turns`: turns of the loop of each worker since the start. */
  constructor(turns: () => readonly bigint[]) {
    this.#turns = turns;
  }

  /** The workers that are stuck at `now`, in monotonic milliseconds. The first look has nothing to compare with. */
  stuck(now: number): readonly number[] {
    this.#seen = this.#turns().map((turns, worker) => {
      const before = this.#seen[worker];
      return before !== undefined && before.turns === turns ? before : { turns, since: now };
    });
    return this.#seen.flatMap(({ since }, worker) => (now - since >= STUCK_AFTER ? [worker] : []));
  }
}

/** "worker 1", "workers 0 and 2". */
export function nameWorkers(workers: readonly number[]): string {
  return `worker${workers.length === 1 ? '' : 's'} ${workers.join(' and ')}`;
}
