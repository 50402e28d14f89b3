// A running load balancer: the object that createLoadBalancer resolves with.
// Guarantees: changes are made one after the other, each checked as a whole before any of it reaches the dataplane; a change that is
// refused leaves everything as it was; reading statistics stops nothing; close() can be called at any time and any number of times.
// Thread: the JavaScript thread that made it. Packets are handled by native threads, also while this thread is busy.
import { EventEmitter } from 'node:events';
import { recheck } from './config/recheck.js';
import type { Config, ConfigInput, ServiceConfig } from './config/schema.js';
import { type NativeConfig, type Presentation, serviceToNative } from './config/to-native.js';
import { findingsError } from './config/validate.js';
import { type Availabilities, keepKnown, presentService, type ServiceAvailability } from './control/availability.js';
import { CrowdedServices } from './control/crowded-services.js';
import { type ConfigChanges, diffConfigs, shareUnchanged } from './control/diff.js';
import * as edit from './control/edit.js';
import { fixedChanges } from './control/fixed.js';
import { type LogSource, logSourceOf } from './control/log-source.js';
import { abortable, SerialQueue } from './control/serial-queue.js';
import {
  pageRequest,
  type SessionFilter,
  type SessionList,
  type SessionPaging,
  sessionList,
  sessionRequest,
} from './control/sessions.js';
import { type PlainCounter, type ServerStats, type Stats, StatsReader, type Totals } from './control/stats.js';
import { TableWriter } from './control/table-writer.js';
import { dataplaneStartChannel, dataplaneStopChannel, healthTransitionChannel } from './diagnostics.js';
import type { Finding } from './doctor/facts.js';
import { createError, fromNativeError } from './errors.js';
import {
  type HealthMonitor,
  type HealthStatus,
  initialAvailability,
  type MonitorParts,
  type ServiceHealth,
} from './health/monitor.js';
import type { HealthEvent } from './health/service-judge.js';
import type {
  NativeBinding,
  NativeDataplane,
  NativeInterfaceStatus,
  NativeSessionPage,
  NativeSessionRequest,
  NativeSlotMap,
} from './native-binding.js';

export interface OperationOptions {
  /** Before the operation's turn it cancels; what has begun is finished. Rejections carry the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface ApplyOptions extends OperationOptions {
  /** Says what would change, and refuses what would be refused; changes nothing. */
  readonly dryRun?: boolean;
}

export interface StartedEvent {
  readonly workers: number;
  readonly interfaces: readonly NativeInterfaceStatus[];
  readonly services: readonly string[];
}

export interface AppliedEvent {
  /** Number of the published snapshot; counts up. */
  readonly generation: number;
  readonly changes: ConfigChanges;
}

export interface WarningEvent {
  readonly message: string;
  readonly remedy: string;
}

/** What `events` emits. 'started' and the warnings of the start come one turn after creation, so that listeners can be attached. */
export interface LoadBalancerEvents {
  started: [StartedEvent];
  applied: [AppliedEvent];
  warning: [WarningEvent];
  /** A server was taken out or brought back by health checks; a service won or lost its quorum. */
  health: [HealthEvent];
  /** A failure that no call could report, such as that of closing because a signal fired. */
  error: [Error];
  stopped: [];
}

/** What a load balancer takes from outside; all of it can be replaced in tests. */
export interface LoadBalancerParts {
  readonly binding: NativeBinding;
  readonly config: Config;
  /** Reads a path, a URL or an object into a checked configuration. */
  readonly resolveConfig: (source: ConfigSource, signal: AbortSignal | undefined) => Promise<Config>;
  /** What the dataplane gets for a configuration, given what it runs with (undefined at the start). */
  readonly plan: (config: Config, running: NativeConfig | undefined, present: Presentation) => NativeConfig;
  /** Makes what checks servers. */
  readonly monitor: (parts: Omit<MonitorParts, 'checkers'>) => HealthMonitor;
  readonly warnings: readonly Finding[];
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** A configuration: an object as the file has it, or the path or file: URL of a file. */
export type ConfigSource = ConfigInput | Config | string | URL;

export class LoadBalancer {
  /** Typed events; `events.on(lb.events, 'applied')` of node:events iterates over them. */
  readonly events = new EventEmitter<LoadBalancerEvents>();
  readonly #parts: LoadBalancerParts;
  readonly #plan: NativeConfig;
  readonly #dataplane: NativeDataplane;
  readonly #queue = new SerialQueue();
  /** Each of them holds a thread of Node's pool while workers answer: more at a time would keep changes and files waiting. */
  readonly #queries = new SerialQueue();
  readonly #crowded = new CrowdedServices();
  readonly #watching: NodeJS.Timeout;
  readonly #reader: StatsReader;
  #config: Config;
  readonly #tables: TableWriter;
  readonly #health: HealthMonitor;
  #availability: Availabilities = new Map();
  #closing: Promise<void> | undefined;
  #lastStats: Stats | undefined;

  private constructor(parts: LoadBalancerParts, plan: NativeConfig, dataplane: NativeDataplane, tables: TableWriter) {
    this.#parts = parts;
    this.#plan = plan;
    this.#dataplane = dataplane;
    this.#config = parts.config;
    this.#tables = tables;
    this.#reader = new StatsReader({
      dataplane,
      counterInfo: parts.binding.counterInfo(),
      workers: plan.options.workers,
      now: parts.now,
    });
    this.#health = parts.monitor({
      present: (found) => this.#present(found),
      event: (event) => this.#tellHealth(event),
      complain: (message) => this.events.emit('warning', { message, remedy: 'See docs/health-checks.md.' }),
      now: () => performance.now(),
    });
    this.#watching = setInterval(() => this.#watch(), 1000).unref();
  }

  /** Starts a dataplane and applies the configuration; on failure nothing is left running. Use createLoadBalancer. */
  static async start(parts: LoadBalancerParts, options: OperationOptions = {}): Promise<LoadBalancer> {
    const { signal } = options;
    const plan = parts.plan(parts.config, undefined, (service) => presentService(service, initialAvailability(service)));
    const dataplane = native(() => parts.binding.createDataplane(plan.options));
    try {
      await dataplane.start();
      signal?.throwIfAborted();
      const tables = new TableWriter(dataplane);
      await tables.write(plan.tables);
      signal?.throwIfAborted();
      const balancer = new LoadBalancer(parts, plan, dataplane, tables);
      balancer.#announce(signal);
      balancer.#health.configure(parts.config);
      return balancer;
    } catch (error) {
      // The first error is the one to report; stopping what did not start has nothing to add to it.
      await dataplane.stop().catch(() => undefined);
      throw fromNativeError(error);
    }
  }

  #announce(signal: AbortSignal | undefined): void {
    const interfaces = this.#dataplane.interfaces();
    const { workers } = this.#plan.options;
    if (dataplaneStartChannel.hasSubscribers) {
      dataplaneStartChannel.publish({ workers, interfaces: interfaces.map((status) => status.name) });
    }
    const started = { workers, interfaces, services: this.#config.services.map((service) => service.name) };
    setImmediate(() => {
      this.events.emit('started', started);
      for (const warning of startWarnings(this.#parts.warnings, interfaces)) this.events.emit('warning', warning);
    });
    if (signal === undefined) return;
    const stop = (): void => {
      this.close().catch((error: unknown) =>
        this.events.emit('error', error instanceof Error ? error : new Error(String(error))),
      );
    };
    signal.addEventListener('abort', stop, { once: true });
    this.events.once('stopped', () => signal.removeEventListener('abort', stop));
  }

  /** The configuration in force, defaults filled in. A copy: changing it changes nothing. */
  get config(): Config {
    return structuredClone(this.#config);
  }

  /** Number of workers. */
  get workers(): number {
    return this.#plan.options.workers;
  }

  /** CPU of each worker; -1 where it is not pinned. */
  get cpus(): readonly number[] {
    return this.#plan.options.cpus;
  }

  /** Number of the published snapshot; counts up. */
  get generation(): number {
    return this.#tables.slots.generation;
  }

  /** True from the first call of close() on. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /**
   * Replaces the configuration. Sessions of services and servers that stay are kept; others' traffic is not touched.
   * @throws ConfigurationError MILLRACE_E_CONFIG_INVALID with all problems; MILLRACE_E_CHANGE_NEEDS_RESTART when something changes that
   * is fixed while a dataplane runs; MILLRACE_E_NOT_RUNNING after close(). In each case the old configuration stays in force.
   */
  apply(config: ConfigSource, options: ApplyOptions = {}): Promise<AppliedEvent> {
    return this.#change(() => this.#parts.resolveConfig(config, options.signal), options);
  }

  addService(service: edit.ServiceInput, options: OperationOptions = {}): Promise<AppliedEvent> {
    return this.#edit((config) => edit.addService(config, service), options);
  }

  /** Ends the service: new connections are refused, sessions end with it. */
  removeService(name: string, options: OperationOptions = {}): Promise<AppliedEvent> {
    return this.#edit((config) => edit.removeService(config, name), options);
  }

  addServer(service: string, server: edit.ServerInput, options: OperationOptions = {}): Promise<AppliedEvent> {
    return this.#edit((config) => edit.addServer(config, service, server), options);
  }

  removeServer(service: string, server: edit.ServerRef, options: OperationOptions = {}): Promise<AppliedEvent> {
    return this.#edit((config) => edit.removeServer(config, service, server), options);
  }

  /** Weight 0 drains: sessions stay, new connections go elsewhere. */
  setWeight(service: string, server: edit.ServerRef, weight: number, options: OperationOptions = {}): Promise<AppliedEvent> {
    return this.setWeights([{ service, server, weight }], options);
  }

  /** Several weights in one step: all of them, or none where one is not possible. */
  setWeights(changes: readonly edit.WeightChange[], options: OperationOptions = {}): Promise<AppliedEvent> {
    return this.#inTurn(async () => {
      const config = edit.setWeights(this.#config, changes);
      const servicesChanged = [...new Set(changes.map(({ service }) => service))];
      await this.#writeServices(config, this.#foreseen(config.services));
      return this.#enter(config, { servicesAdded: [], servicesRemoved: [], servicesChanged, otherChanged: false });
    }, options);
  }

  /** Which servers are up, and every check with its last verdict. */
  health(): Promise<HealthStatus> {
    return this.#health.status();
  }

  /** The part of it that is there at once. */
  healthSummary(): Pick<HealthStatus, 'services' | 'servers'> {
    return this.#health.summary();
  }

  /** The same of one service. Little work, however many there are. */
  healthOf(service: string): ServiceHealth {
    return this.#health.summaryOf(service);
  }

  /** What the dataplane is shown of a service of the configuration in place of what is configured; undefined: that. */
  availability(service: ServiceConfig): ServiceAvailability | undefined {
    const known = this.#availability;
    return known.has(service.name) ? known.get(service.name) : initialAvailability(service);
  }

  /** The services as the dataplane has them now: without servers that health checks took out, with weights of now. To be read only. */
  presentedServices(): readonly ServiceConfig[] {
    return this.#config.services.map((service) => presentService(service, this.availability(service)));
  }

  #tellHealth(event: HealthEvent): void {
    if (healthTransitionChannel.hasSubscribers) healthTransitionChannel.publish(event);
    this.events.emit('health', event);
  }

  /**
   * What health checks have found goes to the dataplane; the configuration stays as it is. All of it changes at once; a service that is
   * not part of the configuration is passed over.
   */
  #present(found: Availabilities): Promise<void> {
    // Behind the end in the queue it would wait for the end, which waits for it.
    if (this.closed) return Promise.resolve();
    return this.#queue.run(async () => {
      if (!this.closed) await this.#writeServices(this.#config, found);
    });
  }

  /**
   * Sessions of now, page by page. A page costs what it walks over, so a filter that few sessions meet makes long walks; packets wait for
   * none of it.
   * @throws MILLRACE_E_INPUT_INVALID for a service, server, prefix or cursor that is none.
   */
  async sessions(filter: SessionFilter = {}, page: SessionPaging = {}): Promise<SessionList> {
    return this.#askSessions(
      (slots) => pageRequest(slots, filter, page),
      (answer, slots) => sessionList(slots, answer),
    );
  }

  /** How many there are. */
  async countSessions(filter: SessionFilter = {}): Promise<number> {
    return this.#askSessions(
      (slots) => sessionRequest(slots, filter),
      ({ matched }) => matched,
    );
  }

  /** Ends sessions and tells how many: of TCP both sides are reset with the next packet of either, others are gone at once. */
  async endSessions(filter: SessionFilter): Promise<number> {
    return this.#askSessions(
      (slots) => ({ ...sessionRequest(slots, filter), end: true }),
      ({ matched }) => matched,
    );
  }

  #askSessions<T>(
    request: (slots: NativeSlotMap) => NativeSessionRequest,
    read: (answer: NativeSessionPage, slots: NativeSlotMap) => T,
  ): Promise<T> {
    return this.#queries.run(async () => {
      this.#refuseWhenClosed();
      const { slots } = this.#tables;
      const wanted = request(slots);
      try {
        return read(await this.#dataplane.sessions(wanted), slots);
      } catch (error) {
        throw fromNativeError(error);
      }
    });
  }

  /** All counters of now; after close() those of the end. Reads native memory, stops nothing. */
  stats(): Stats {
    if (this.#lastStats !== undefined) return this.#lastStats;
    return this.#reader.read(this.#tables.slots);
  }

  /** Counters of the servers of one service, those of now as in stats(). Little work, however many services there are. */
  serverStats(service: string): readonly ServerStats[] {
    if (this.#lastStats !== undefined) return this.#lastStats.servers.filter((server) => server.service === service);
    return this.#reader.readService(this.#tables.slots, service);
  }

  /** stats() without services and servers. Little work, however many there are. */
  totals(): Totals {
    return this.#lastStats ?? this.#reader.readTotals();
  }

  /** One counter of each worker; after close() those of the end. Little work, however many services there are. */
  workerCounter(counter: PlainCounter): readonly bigint[] {
    if (this.#lastStats !== undefined) return this.#lastStats.workers.map((worker) => worker[counter]);
    return this.#reader.perWorker(counter);
  }

  /** What a LogDrain needs; it may read on after close(). @throws MILLRACE_E_NOT_RUNNING after close(). */
  logSource(): LogSource {
    this.#refuseWhenClosed();
    return native(() => logSourceOf(this.#dataplane, this.#plan.options.interfaces, this.#tables));
  }

  /** Lets the balancer keep the process alive, as it does from the start. */
  ref(): this {
    if (!this.closed) {
      this.#dataplane.ref();
      this.#health.ref();
    }
    return this;
  }

  /** Lets the process end although the balancer runs; it is then stopped in an orderly way at exit. */
  unref(): this {
    if (!this.closed) {
      this.#dataplane.unref();
      this.#health.unref();
    }
    return this;
  }

  /**
   * Stops: workers end, XDP programs go, memory is freed. Waits for a change that is under way; those that wait are refused.
   * A signal only ends the waiting, not the closing.
   */
  close(options: OperationOptions = {}): Promise<void> {
    this.#closing ??= this.#queue.run(() => this.#stop());
    return options.signal === undefined ? this.#closing : abortable(this.#closing, options.signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #watch(): void {
    if (this.#reader.total('client_address_no_room') === 0n) return;
    for (const message of this.#crowded.look(this.stats().services, this.#parts.now())) {
      this.events.emit('warning', {
        message,
        remedy: 'Let the links to the servers carry larger packets than those to the clients.',
      });
    }
  }

  async #stop(): Promise<void> {
    clearInterval(this.#watching);
    await this.#health.close();
    this.#lastStats = this.#reader.read(this.#tables.slots);
    try {
      await this.#dataplane.stop();
    } catch (error) {
      throw fromNativeError(error);
    }
    const { options } = this.#plan;
    if (dataplaneStopChannel.hasSubscribers) {
      dataplaneStopChannel.publish({ workers: options.workers, interfaces: options.interfaces.map((entry) => entry.name) });
    }
    this.events.emit('stopped');
  }

  #edit(change: (config: Config) => ConfigInput, options: OperationOptions): Promise<AppliedEvent> {
    return this.#change(async () => {
      const result = recheck(change(this.#config), this.#config);
      if ('config' in result) return result.config;
      throw findingsError(result.findings);
    }, options);
  }

  #change(next: () => Promise<Config>, options: ApplyOptions): Promise<AppliedEvent> {
    return this.#inTurn(async () => {
      const config = shareUnchanged(this.#config, await next());
      const foreseen = this.#foreseen(config.services);
      const plan = this.#parts.plan(config, this.#plan, (service) =>
        presentService(service, foreseen.has(service.name) ? foreseen.get(service.name) : this.availability(service)),
      );
      refuseFixedChanges(this.#plan, plan);
      // Reading a file takes a while, and closing or aborting may have come in between: nothing has reached the dataplane yet.
      this.#refuseWhenClosed();
      options.signal?.throwIfAborted();
      const changes = diffConfigs(this.#config, config);
      if (options.dryRun) return { generation: this.#tables.slots.generation, changes };
      await this.#tables.write(plan.tables);
      this.#availability = new Map([...this.#availability, ...foreseen]);
      return this.#enter(config, changes);
    }, options);
  }

  #inTurn<T>(operation: () => Promise<T>, { signal }: OperationOptions): Promise<T> {
    return this.#queue.run(() => {
      this.#refuseWhenClosed();
      return operation();
    }, signal);
  }

  /**
   * What services that are about to be configured so will be shown as: a drain or `alpha` counts from the first moment on. One that is the
   * same object in the same place stays as it is shown, and is not part of the result.
   */
  #foreseen(services: readonly ServiceConfig[]): Availabilities {
    const before = this.#config.services;
    const others = services.filter((service, i) => service !== before[i]);
    return new Map(others.map((service) => [service.name, this.#health.foresee(service)]));
  }

  /** Shows the services of `config` that `said` speaks of as it says; only those that are found by what they were found by. */
  async #writeServices(config: Config, said: Availabilities): Promise<void> {
    const services = config.services.filter((service) => said.has(service.name));
    await this.#tables.writeServices(
      services.map((service) => serviceToNative(presentService(service, said.get(service.name)), config)),
    );
    const shown = services.map(({ name }): [string, ServiceAvailability | undefined] => [name, said.get(name)]);
    this.#availability = new Map([...this.#availability, ...shown]);
  }

  #enter(config: Config, changes: ConfigChanges): AppliedEvent {
    const event = { generation: this.#tables.slots.generation, changes };
    this.#config = config;
    if (changes.servicesRemoved.length > 0) this.#availability = keepKnown(this.#availability, config);
    this.events.emit('applied', event);
    this.#health.configure(config);
    return event;
  }

  #refuseWhenClosed(): void {
    if (this.closed) throw createError('MILLRACE_E_NOT_RUNNING', 'the load balancer is closed');
  }
}

function native<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fromNativeError(error);
  }
}

function refuseFixedChanges(running: NativeConfig, next: NativeConfig): void {
  const changes = fixedChanges(running.options, next.options);
  if (changes.length === 0) return;
  const list = changes.map((change) => `${change.path} (running with ${change.from}, asked for ${change.to})`).join(', ');
  throw createError('MILLRACE_E_CHANGE_NEEDS_RESTART', `fixed while a dataplane runs: ${list}`);
}

function startWarnings(findings: readonly Finding[], interfaces: readonly NativeInterfaceStatus[]): readonly WarningEvent[] {
  const warnings = findings.map((finding) => ({
    message: `${finding.check}: ${finding.found}; needed: ${finding.needed}`,
    remedy: finding.remedy,
  }));
  for (const status of interfaces) {
    if (status.attachMode !== 'skb') continue;
    warnings.push({
      message: `${status.name}: XDP runs in generic (skb) mode, several times slower than in the driver${because(status.fallbackReason)}`,
      remedy: 'Use a card whose driver has native XDP; millrace doctor shows what each interface can do.',
    });
  }
  return warnings;
}

function because(reason: string): string {
  return reason === '' ? '' : ` (${reason})`;
}
