// Runs asynchronous operations one after the other: the dataplane has a single writer.
// Guarantees: first in, first out; a failure of one does not touch the next; an operation whose signal fires while it waits never runs,
// one that has begun tells its real outcome.
// Thread: one JavaScript thread.

export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();

  /** Rejects with the signal's reason if it fires before the operation's turn. */
  run<T>(operation: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    let begun = false;
    const result = this.#tail.then(() => {
      signal?.throwIfAborted();
      begun = true;
      return operation();
    });
    this.#tail = result.catch(() => undefined);
    return signal === undefined ? result : abortable(result, signal, () => !begun);
  }
}

/** The promise, or a rejection with the signal's reason if that fires first and `mayAbort` agrees. What the promise stands for goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal, mayAbort: () => boolean = () => true): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => {
      if (mayAbort()) reject(signal.reason);
    };
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
