// What is wanted, and bringing it about: changes of the API and reloads of the file, one after the other, into the balancer and the store.
// Guarantees: a change that is refused, that the dataplane does not take or that cannot be written to disk changes nothing; what is answered
// has reached all workers and is on disk; services that a change does not concern are not handed to the dataplane anew; a change that
// changes nothing is no change, also for the version.
// Thread: main.
import { loadConfig } from '../config/load.js';
import { markChecked } from '../config/recheck.js';
import type { Config } from '../config/schema.js';
import { type ConfigChanges, diffConfigs, shareUnchanged } from '../control/diff.js';
import type { WeightChange } from '../control/edit.js';
import { SerialQueue } from '../control/serial-queue.js';
import { createError, MillraceError } from '../errors.js';
import type { WarningEvent } from '../load-balancer.js';
import type { ChangeOptions, ChangeResult, DesiredState, Operation, Origin } from './desired.js';
import { type Desired, effectiveOf, type OverlayStore, readDesired, sameConfig, versionOf } from './effective.js';
import { applyOperations, changesWeightsOnly } from './operations.js';
import { applyOverlay, deriveService, type Overlay, prune, servicesByName, staleEntries } from './overlay.js';

/** What is needed of a LoadBalancer. Nobody else may change the configuration of this one. */
export interface Balancer {
  apply(config: Config, options?: { readonly dryRun?: boolean }): Promise<unknown>;
  setWeights(changes: readonly WeightChange[]): Promise<unknown>;
  readonly events: { emit(event: 'warning', warning: WarningEvent): unknown };
}

export interface ReconcilerParts<B extends Balancer> {
  /** Path of the configuration file. */
  readonly configFile: string;
  readonly store: OverlayStore;
  /** Starts the balancer with the effective configuration, such as createLoadBalancer. */
  readonly create: (config: Config) => Promise<B>;
  /** Reads the file; loadConfig unless a test has another. */
  readonly load?: (file: string, options: { readonly signal?: AbortSignal }) => Promise<Config>;
}

/** A weight that is another one than before. */
interface Reweighed {
  readonly service: string;
  readonly server: { readonly address: string; readonly port: number };
  readonly before: number;
  readonly now: number;
}

interface Next extends Desired {
  readonly changes: ConfigChanges;
  /** Where nothing but weights changes: which. */
  readonly weights?: readonly Reweighed[];
}

const STALE_REMEDY =
  'Nothing, if it comes back; else let the API forget it: undrain it, or reset the service. See docs/desired-state.md.';

export class Reconciler<B extends Balancer> implements DesiredState {
  readonly balancer: B;
  readonly #parts: ReconcilerParts<B>;
  readonly #queue = new SerialQueue();
  #now: Desired;
  #origins: ReadonlyMap<string, Origin> | undefined;

  private constructor(parts: ReconcilerParts<B>, balancer: B, now: Desired) {
    this.#parts = parts;
    this.balancer = balancer;
    this.#now = now;
  }

  /**
   * Reads file and store, and starts the balancer with both together.
   * @throws errors of loadConfig, of the store and of `create`; MILLRACE_E_CONFIG_INVALID where file and API do not go together. Nothing is
   * left running then.
   */
  static async start<B extends Balancer>(parts: ReconcilerParts<B>): Promise<Reconciler<B>> {
    const found = await readDesired(parts.configFile, parts.store, (file) => (parts.load ?? loadConfig)(file, {}));
    const balancer = await parts.create(found.config);
    const state = new Reconciler(parts, balancer, found);
    // One turn later, as the balancer's own warnings of the start: listeners can be attached then.
    setImmediate(() => state.#warn([...found.dropped, ...state.stale]));
    if (found.dropped.length > 0) await state.#rememberPruned(found.overlay);
    return state;
  }

  get version(): string {
    return this.#now.version;
  }

  /** Not to be changed: it is the one that is in force, not a copy. */
  get config(): Config {
    return this.#now.config;
  }

  get origins(): ReadonlyMap<string, Origin> {
    this.#origins ??= applyOverlay(this.#now.file, this.#now.overlay).origins;
    return this.#origins;
  }

  /** Changes of the API that have nothing to hold on to at the moment, one sentence each. */
  get stale(): readonly string[] {
    return staleEntries(this.#now.file, this.#now.overlay);
  }

  /**
   * Makes the changes, all or none.
   * @throws MILLRACE_E_VERSION_CONFLICT, MILLRACE_E_INPUT_INVALID, MILLRACE_E_CONFIG_INVALID, MILLRACE_E_CHANGE_NEEDS_RESTART,
   * MILLRACE_E_STATE_UNWRITABLE, MILLRACE_E_STATE_INVALID, and what the dataplane refuses.
   */
  change(operations: readonly Operation[], options: ChangeOptions = {}): Promise<ChangeResult> {
    return this.#inTurn(options, () => {
      const overlay = applyOperations(this.#now.overlay, operations, this.#now.file);
      return this.#enter(this.#next(overlay, operations), [], options);
    });
  }

  /** @throws as change(), and errors of loadConfig. */
  reload(options: ChangeOptions = {}): Promise<ChangeResult> {
    return this.#inTurn(options, async () => {
      const load = this.#parts.load ?? loadConfig;
      const found = await load(this.#parts.configFile, options.signal === undefined ? {} : { signal: options.signal });
      const file = markChecked(shareUnchanged(this.#now.file, found));
      const { overlay, dropped } = prune(this.#now.overlay, file);
      const result = await this.#enter(this.#whole(file, overlay, file), dropped, options);
      if (!result.dryRun) this.#warn(result.stale);
      return result;
    });
  }

  #inTurn(options: ChangeOptions, work: () => Promise<ChangeResult>): Promise<ChangeResult> {
    return this.#queue.run(async () => {
      const { expected } = options;
      if (expected !== undefined && expected !== this.#now.version) {
        const message = `the change was made for version ${expected}, in force is ${this.#now.version}`;
        throw createError('MILLRACE_E_VERSION_CONFLICT', message);
      }
      return work();
    }, options.signal);
  }

  #next(overlay: Overlay, operations: readonly Operation[]): Next {
    const { file } = this.#now;
    if (overlay === this.#now.overlay) return { ...this.#now, changes: changesOf([]) };
    if (!operations.every(changesWeightsOnly)) return this.#whole(file, overlay, this.#now.config);
    const names = operations.flatMap((operation) => (changesWeightsOnly(operation) ? [operation.service] : []));
    return this.#reweighed(overlay, new Set(names));
  }

  #whole(file: Config, overlay: Overlay, from: Config): Next {
    const config = effectiveOf(file, overlay, from);
    return { file, overlay, config, version: versionOf(config, overlay), changes: diffConfigs(this.#now.config, config) };
  }

  /** No rule of the configuration looks at weights: the one in force with other weights needs no further check. */
  #reweighed(overlay: Overlay, names: ReadonlySet<string>): Next {
    const { file, config: before } = this.#now;
    const ofFile = servicesByName(file);
    const weights: Reweighed[] = [];
    const services = before.services.map((service) => {
      const { name } = service;
      if (!names.has(name)) return service;
      const entry = overlay.services.get(name);
      const wanted = entry === undefined ? ofFile.get(name) : deriveService(name, ofFile.get(name), entry).service;
      if (wanted === undefined) return service;
      const changed = service.servers.flatMap((server, i): Reweighed[] => {
        const now = wanted.servers[i]?.weight ?? server.weight;
        if (now === server.weight) return [];
        const port = server.port ?? (typeof service.port === 'number' ? service.port : 0);
        return [{ service: name, server: { address: server.address, port }, before: server.weight, now }];
      });
      weights.push(...changed);
      return changed.length === 0 ? service : wanted;
    });
    const config = weights.length === 0 ? before : markChecked({ ...before, services });
    const changes = changesOf([...new Set(weights.map((weight) => weight.service))]);
    return { file, overlay, config, version: versionOf(config, overlay), changes, weights };
  }

  async #enter(next: Next, dropped: readonly string[], options: ChangeOptions): Promise<ChangeResult> {
    const before = this.#now;
    const { changes } = next;
    const stale = [...dropped, ...staleEntries(next.file, next.overlay)];
    const concerns = !sameConfig(before.config, next.config);
    if (options.dryRun) {
      if (concerns) await this.balancer.apply(next.config, { dryRun: true });
      return { version: before.version, changes, dryRun: true, stale };
    }
    if (concerns) await this.#present(next.config, next.weights, (weight) => weight.now);
    if (next.overlay !== before.overlay) {
      try {
        await this.#parts.store.write(next.overlay);
      } catch (error) {
        if (concerns) await this.#undo(next, error);
        throw error;
      }
    }
    this.#take(next);
    return { version: next.version, changes, dryRun: false, stale };
  }

  /** Weights reach the workers without a look at the other services, together or not at all. */
  #present(config: Config, weights: Next['weights'], which: (weight: Reweighed) => number): Promise<unknown> {
    if (weights === undefined) return this.balancer.apply(config);
    return this.balancer.setWeights(weights.map((change) => ({ ...change, weight: which(change) })));
  }

  /** The dataplane has `next`, and the store has not. */
  async #undo(next: Next, reason: unknown): Promise<void> {
    try {
      await this.#present(this.#now.config, next.weights, (weight) => weight.before);
    } catch (error) {
      // What the workers have is what is in force; a restart will not find it.
      this.#take(next);
      const remedy = reason instanceof MillraceError ? { remedy: reason.remedy } : {};
      const message = `${textOf(reason)}; the change could not be taken back (${textOf(error)}) and is in force until the next restart`;
      throw createError('MILLRACE_E_STATE_UNWRITABLE', message, { cause: reason, ...remedy });
    }
  }

  #take({ file, overlay, config, version }: Desired): void {
    this.#now = { file, overlay, config, version };
    this.#origins = undefined;
  }

  /** At the start the file has made itself what the API had deleted. That it cannot be written is no reason not to serve. */
  async #rememberPruned(overlay: Overlay): Promise<void> {
    try {
      await this.#parts.store.write(overlay);
    } catch (error) {
      const remedy = error instanceof MillraceError ? error.remedy : 'See the message.';
      setImmediate(() => this.balancer.events.emit('warning', { message: textOf(error), remedy }));
    }
  }

  #warn(sentences: readonly string[]): void {
    for (const message of sentences) this.balancer.events.emit('warning', { message, remedy: STALE_REMEDY });
  }
}

function changesOf(servicesChanged: readonly string[]): ConfigChanges {
  return { servicesAdded: [], servicesRemoved: [], servicesChanged, otherChanged: false };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
