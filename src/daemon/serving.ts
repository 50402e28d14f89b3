// What `millrace run` serves: the balancer with its desired state, and every door to it: the API with its probes and metrics, and the
// command line of ipvsadm.
// Guarantees: all of it is there, or nothing; reloads of the signal and of the API are one thing, recorded once; a door that a reload
// cannot open is told of and hinders nothing else.
// Thread: main.
import { isDeepStrictEqual } from 'node:util';
import { type RunningApi, serveApi } from '../api/listen.js';
import type { Config } from '../config/schema.js';
import { type ConfigChanges, describeChanges } from '../control/diff.js';
import { SerialQueue } from '../control/serial-queue.js';
import { type CreateOptions, createLoadBalancer } from '../create-load-balancer.js';
import { IpvsDoor } from '../door/ipvs-door.js';
import { createError, MillraceError } from '../errors.js';
import { explain } from '../explain/explain.js';
import type { LoadBalancer } from '../load-balancer.js';
import { LogDrain } from '../logs/log-drain.js';
import { createMetrics, type Metrics } from '../metrics/metrics.js';
import { ReloadRecorder } from '../metrics/reload-recorder.js';
import { loadNative } from '../native.js';
import type { ChangeOptions, ChangeResult, DesiredState } from '../state/desired.js';
import { Reconciler } from '../state/desired-state.js';
import { type OverlayStore, overlayStore } from '../state/effective.js';
import { EMPTY_OVERLAY, type Overlay } from '../state/overlay.js';
import { versions } from '../versions.js';
import type { FileSource } from './file-source.js';
import type { DaemonLife } from './life.js';

/** A balancer that runs, as the daemon sees it. */
export interface Serving {
  readonly balancer: LoadBalancer;
  /** Reads the file again, as SIGHUP asks. */
  reload(): Promise<{ readonly changes: ConfigChanges }>;
  /** After the balancer has stopped. */
  close(): Promise<void>;
}

export interface ServingOptions {
  readonly configFile: string;
  readonly source: FileSource;
  /** Where changes of the API live between two runs; undefined: they end with the process. */
  readonly stateFile: string | undefined;
  readonly life: DaemonLife;
  readonly warn: (message: string, remedy: string) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly signal: AbortSignal;
  /** createLoadBalancer unless a test has another. */
  readonly create?: (config: Parameters<typeof createLoadBalancer>[0], options: CreateOptions) => Promise<LoadBalancer>;
}

/**
 * @throws errors of the source, of the store, of createLoadBalancer, and those of serveApi, or the signal's reason once it has fired;
 * nothing is left running then.
 */
export async function startServing(options: ServingOptions): Promise<Serving> {
  const { source, signal, stateFile } = options;
  try {
    const state = await Reconciler.start({
      configFile: options.configFile,
      store: stateFile === undefined ? inMemory() : overlayStore(stateFile),
      create: (config) => (options.create ?? createLoadBalancer)(config, { signal }),
      load: (file, within) => source.load(file, within),
    });
    source.accepted();
    let serving: Doors | undefined;
    try {
      serving = new Doors(options, state);
      await serving.open();
      return serving;
    } catch (error) {
      await state.balancer.close();
      await serving?.close();
      throw error;
    }
  } catch (error) {
    source.close();
    // What fails because a stop came in between is no failure of the start.
    signal.throwIfAborted();
    throw error;
  }
}

/** Holds changes of the API as long as the process lives. */
function inMemory(): OverlayStore {
  let held: Overlay = EMPTY_OVERLAY;
  return {
    read: async () => held,
    write: async (overlay) => {
      held = overlay;
    },
  };
}

class Doors implements Serving {
  readonly balancer: LoadBalancer;
  readonly #options: ServingOptions;
  readonly #state: Reconciler<LoadBalancer>;
  readonly #turns = new SerialQueue();
  readonly #reloads: ReloadRecorder;
  readonly #door: IpvsDoor;
  readonly #metrics: Metrics;
  #logs: LogDrain;
  #logsAsked: Config['logs'];
  /** The drain that was asked for last did not start. */
  #logsFailed = false;
  readonly #desired: DesiredState;
  #api: RunningApi | undefined;

  constructor(options: ServingOptions, state: Reconciler<LoadBalancer>) {
    this.#options = options;
    this.#state = state;
    this.balancer = state.balancer;
    this.#logsAsked = state.config.logs;
    this.#reloads = new ReloadRecorder(options.now);
    this.#desired = recorded(state, (within = {}) => this.#reload(within));
    this.#door = new IpvsDoor({ state, balancer: state.balancer }).start();
    this.#logs = this.#newDrain();
    this.#metrics = createMetrics({
      balancer: state.balancer,
      counterInfo: loadNative().counterInfo(),
      versions,
      reloads: this.#reloads,
      configVersion: () => state.version,
      now: options.now,
    });
    options.source.follow(() => void this.#follow());
  }

  async open(): Promise<void> {
    const { life, now, warn } = this.#options;
    await this.#logs.start(this.balancer.logSource());
    this.#api = await serveApi(this.#state.config.api, {
      desired: this.#desired,
      balancer: this.balancer,
      now,
      started: life.started,
      readiness: () => ({ ...life.readiness(), draining: life.draining }),
      metrics: () => this.#metrics.metrics(),
      lastReload: () => life.lastReload,
      ipvsadm: (words, stdin) => this.#door.run(words, stdin),
      explain: (request) => explain(loadNative(), this.#state.config, request),
      failed: (error) => warn(`a request to the API failed: ${textOf(error)}`, 'Please report it, with the request.'),
    });
  }

  reload(): Promise<{ readonly changes: ConfigChanges }> {
    return this.#reload({});
  }

  /** In its turn: a reload that is under way must not open again what this has closed. */
  close(): Promise<void> {
    this.#options.source.close();
    this.#door.close();
    return this.#turns.run(async () => {
      await this.#api?.close();
      this.#metrics.close();
      await this.#logs.stop();
    });
  }

  #reload(options: ChangeOptions): Promise<ChangeResult> {
    return this.#turns.run(async () => {
      try {
        if (this.balancer.closed) throw createError('MILLRACE_E_NOT_RUNNING', 'the load balancer is closed');
        const result = await this.#state.reload(options);
        if (!result.dryRun) {
          this.#options.source.accepted();
          this.#record(true, describeChanges(result.changes));
          await this.#reopen();
          await this.#redirectLogs();
        }
        return result;
      } catch (error) {
        if (options.dryRun !== true && !this.balancer.closed) this.#record(false, textOf(error));
        throw error;
      }
    });
  }

  /** Something beside the file has changed, such as the state of a VRRP instance: no reload that somebody asked for. */
  #follow(): Promise<void> {
    return this.#turns.run(async () => {
      if (this.balancer.closed) return;
      try {
        this.#options.source.beside();
        await this.#state.reload();
      } catch (error) {
        const remedy = error instanceof MillraceError ? error.remedy : 'Send SIGHUP to try again.';
        this.#options.warn(`what has changed beside the configuration was not taken over: ${textOf(error)}`, remedy);
      }
    });
  }

  #record(ok: boolean, message: string): void {
    this.#options.life.reloaded({ at: this.#options.now(), ok, message });
    this.#reloads.reloaded(ok, message);
  }

  #newDrain(): LogDrain {
    const { warn } = this.#options;
    const failed = (error: unknown): void => warn(`logs of workers: ${textOf(error)}`, 'Correct the section logs and reload.');
    return new LogDrain({ config: this.#state.config.logs, failed });
  }

  /** One reader at a time: the old one ends before the new one begins. */
  async #redirectLogs(): Promise<void> {
    const wanted = this.#state.config.logs;
    // One that did not start is tried again: what was in its way may be gone, though the section is the same.
    if (!this.#logsFailed && isDeepStrictEqual(wanted, this.#logsAsked)) return;
    this.#logsAsked = wanted;
    try {
      await this.#logs.stop();
      this.#logs = this.#newDrain();
      await this.#logs.start(this.balancer.logSource());
      this.#logsFailed = false;
    } catch (error) {
      this.#logsFailed = true;
      const remedy = error instanceof MillraceError ? error.remedy : 'Correct the section logs and reload.';
      this.#options.warn(`workers' logs are not written: ${textOf(error)}`, remedy);
    }
  }

  async #reopen(): Promise<void> {
    try {
      await this.#api?.configure(this.#state.config.api);
    } catch (error) {
      const remedy = error instanceof MillraceError ? error.remedy : 'Correct the section api and reload.';
      this.#options.warn(`the API stays where it was: ${textOf(error)}`, remedy);
    }
  }
}

/** The desired state with reloads that are recorded. */
function recorded(state: DesiredState, reload: DesiredState['reload']): DesiredState {
  return {
    get version() {
      return state.version;
    },
    get config() {
      return state.config;
    },
    get origins() {
      return state.origins;
    },
    change: (operations, options) => state.change(operations, options),
    reload,
  };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
