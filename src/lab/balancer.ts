// The balancer under test or on show: `millrace run` in the lab's lb namespace, watched through its event lines.
// Guarantees: `start` returns when traffic can flow, or throws with the process's own words; `stats` never reads a stale value as new.
// Thread: the main thread; the balancer is a process of its own.
import { type BalancerEvent, type BalancerInterface, type BalancerStats, parseBalancerLine } from './balancer-events.js';
import { LabError } from './lab-error.js';
import type { ManagedProcess } from './managed-process.js';
import { millraceProgram } from './programs.js';
import type { LabTopology } from './topology.js';

export interface BalancerOptions {
  readonly topology: LabTopology;
  readonly configFile: string;
  /** Options of `millrace run` that say where the configuration comes from; `-c` with the file unless told. */
  readonly words?: readonly string[];
  /** Milliseconds between statistics; 250 unless told. */
  readonly statsInterval?: number;
}

export class Balancer implements AsyncDisposable {
  readonly process: ManagedProcess;
  #interfaces: readonly BalancerInterface[] = [];
  #latest: BalancerStats | undefined;
  readonly #listeners = new Set<(stats: BalancerStats) => void>();
  readonly #eventListeners = new Set<(event: BalancerEvent) => void>();

  private constructor(process: ManagedProcess) {
    this.process = process;
    process.onLine((line) => {
      const event = parseBalancerLine(line);
      if (event === undefined) return;
      for (const listener of this.#eventListeners) listener(event);
      if (event.event !== 'stats') return;
      this.#latest = event.stats;
      for (const listener of this.#listeners) listener(event.stats);
    });
  }

  /** Starts the balancer without waiting; for tests of refusals. */
  static launch(options: BalancerOptions): Balancer {
    const interval = String(options.statsInterval ?? 250);
    const argv = [
      ...millraceProgram(),
      'run',
      ...(options.words ?? ['-c', options.configFile]),
      '--json',
      '--stats-interval',
      interval,
    ];
    return new Balancer(options.topology.start('millrace run', 'lb', argv));
  }

  static async start(options: BalancerOptions): Promise<Balancer> {
    const balancer = Balancer.launch(options);
    try {
      const line = await balancer.process.waitForLine((text) => parseBalancerLine(text)?.event === 'ready', 30_000);
      const ready = parseBalancerLine(line);
      if (ready?.event === 'ready') balancer.#interfaces = ready.interfaces;
      return balancer;
    } catch (error) {
      await balancer.process.stop();
      throw refusalOf(balancer.process.output()) ?? error;
    }
  }

  get interfaces(): readonly BalancerInterface[] {
    return this.#interfaces;
  }

  /** The last statistics that arrived. */
  get latest(): BalancerStats | undefined {
    return this.#latest;
  }

  onStats(listener: (stats: BalancerStats) => void): void {
    this.#listeners.add(listener);
  }

  /** Resolves with the first statistics from now on that `accept` takes; any, if none is given. */
  async stats(accept: (stats: BalancerStats) => boolean = () => true, timeout = 10_000): Promise<BalancerStats> {
    const { promise, resolve, reject } = withResolvers<BalancerStats>();
    // The line under way was measured before the call: skip it.
    let skipped = false;
    const listener = (stats: BalancerStats) => {
      if (skipped && accept(stats)) resolve(stats);
      skipped = true;
    };
    const timer = setTimeout(() => {
      const last = JSON.stringify(this.#latest?.totals);
      reject(
        new LabError(`the expected statistics did not come within ${timeout / 1000} s; last: ${last}`, 'see the counters above'),
      );
    }, timeout);
    this.#listeners.add(listener);
    void this.process.exited.then((how) =>
      reject(new LabError(`millrace run ended (${how}):\n${this.process.tail()}`, 'see above')),
    );
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(listener);
    }
  }

  /** Makes it read its configuration file again and waits until it says that it did. */
  async reload(timeout = 10_000): Promise<void> {
    const { promise, resolve, reject } = withResolvers<void>();
    const listener = (event: BalancerEvent) => {
      if (event.event !== 'other') return;
      if (event.name === 'reloaded') resolve();
      if (event.name.includes('error') || event.name.includes('fail')) {
        reject(new LabError(`the reload was refused:\n${this.process.tail()}`, 'see above'));
      }
    };
    const timer = setTimeout(
      () => reject(new LabError(`no answer to the reload within ${timeout / 1000} s:\n${this.process.tail()}`, 'see above')),
      timeout,
    );
    this.#eventListeners.add(listener);
    this.process.signal('SIGHUP');
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#eventListeners.delete(listener);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.stop();
  }
}

/** The error that `millrace run --json` printed before it ended, with its own remedy; undefined if it printed none. */
function refusalOf(output: string): LabError | undefined {
  try {
    const { error } = JSON.parse(output) as { error?: { message?: string; remedy?: string } };
    if (error?.message === undefined) return undefined;
    return new LabError(`Millrace refuses to start: ${error.message}`, error.remedy ?? 'run "millrace doctor"');
  } catch {
    return undefined;
  }
}

function withResolvers<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((accept, refuse) => {
    resolve = accept;
    reject = refuse;
  });
  // A rejection that comes after the caller has its answer is nobody's.
  promise.catch(() => {});
  return { promise, resolve, reject };
}
