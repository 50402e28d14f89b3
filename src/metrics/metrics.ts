// The metrics of a load balancer in Prometheus' text format.
// Guarantees: a scrape reads native counters and stops nothing; scrapes at the same time share one; section `metrics` of the
// configuration in force decides about labels and families at every scrape; metrics() rejects only with what stats() throws.
// Thread: main; where there are thousands of real servers a scrape takes it for a few tenths of a second, and packets do not wait.
import { Registry } from 'prom-client';
import type { Config } from '../config/schema.js';
import type { LoadBalancer } from '../load-balancer.js';
import type { NativeCounterInfo } from '../native-binding.js';
import type { Versions } from '../versions.js';
import { Exposition, labelText } from './exposition.js';
import { HealthMetrics } from './health-metrics.js';
import { type NodeMoment, registerNodeMetrics } from './node-metrics.js';
import type { ReloadRecorder } from './reload-recorder.js';
import { Sampler } from './samples.js';
import { writeIpvs, writeServices } from './service-text.js';

/** What is read at a scrape; each of it can be replaced in tests. */
export interface MetricsSources {
  readonly balancer: Pick<LoadBalancer, 'stats' | 'config' | 'presentedServices' | 'cpus' | 'health' | 'healthSummary'> & {
    readonly events: Pick<LoadBalancer['events'], 'on' | 'off'>;
  };
  /** The native list: loadNative().counterInfo(). */
  readonly counterInfo: readonly NativeCounterInfo[];
  readonly versions: Versions;
  readonly reloads: Pick<ReloadRecorder, 'succeeded' | 'failed' | 'last' | 'lastSuccess'>;
  /** Version of the configuration in force (DesiredState.version); without it there is no millrace_config_hash_info. */
  readonly configVersion?: () => string;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface MetricsText {
  /** For the header Content-Type. */
  readonly contentType: string;
  readonly body: string;
}

export interface Metrics {
  /** All metrics of now. */
  metrics(): Promise<MetricsText>;
  /** Stops listening to the balancer's events. */
  close(): void;
}

/**
 * Metrics of a load balancer that runs; to be made when it has started, once in a process.
 *
 * @example
 * ```ts
 * const reloads = new ReloadRecorder();
 * const metrics = createMetrics({ balancer: lb, counterInfo: loadNative().counterInfo(), versions, reloads });
 * const { contentType, body } = await metrics.metrics();
 * ```
 */
export function createMetrics(sources: MetricsSources): Metrics {
  return new BalancerMetrics(sources);
}

class BalancerMetrics implements Metrics {
  readonly #sources: MetricsSources;
  readonly #now: () => number;
  readonly #registry = new Registry();
  readonly #sampler = new Sampler();
  readonly #health: HealthMetrics;
  #changes: { count: number; at: number };
  #config: Config | undefined;
  #moment: NodeMoment | undefined;
  #scrape: Promise<MetricsText> | undefined;

  constructor(sources: MetricsSources) {
    this.#sources = sources;
    this.#now = sources.now ?? Date.now;
    this.#changes = { count: 0, at: this.#now() };
    this.#health = new HealthMetrics({ health: () => sources.balancer.health(), now: () => performance.now() });
    const { counterInfo, versions, reloads, balancer } = sources;
    registerNodeMetrics({ registry: this.#registry, counterInfo, versions, reloads, moment: () => this.#current() });
    balancer.events.on('applied', this.#applied);
    balancer.events.on('health', this.#health.count);
  }

  metrics(): Promise<MetricsText> {
    this.#scrape ??= this.#write().finally(() => {
      this.#scrape = undefined;
    });
    return this.#scrape;
  }

  close(): void {
    this.#sources.balancer.events.off('applied', this.#applied);
    this.#sources.balancer.events.off('health', this.#health.count);
  }

  readonly #applied = (): void => {
    this.#changes = { count: this.#changes.count + 1, at: this.#now() };
    this.#config = undefined;
  };

  #current(): NodeMoment {
    if (this.#moment === undefined) throw new Error('collect() outside of a scrape');
    return this.#moment;
  }

  async #write(): Promise<MetricsText> {
    const asked = performance.now();
    await this.#health.refresh();
    const { balancer, configVersion } = this.#sources;
    // The balancer hands out copies, which are not for free.
    this.#config ??= balancer.config;
    const config = this.#config;
    const stats = balancer.stats();
    const health = balancer.healthSummary();
    const services = this.#sampler.sample({ stats, config, presented: balancer.presentedServices(), health });
    const { cluster = '', node = '', perServer = true, ipvsNames = false } = config.metrics ?? {};
    const text = new Exposition(labelText({ cluster, node }));
    writeServices(text, services, perServer);
    this.#health.write(
      text,
      health.services.map(({ name }) => name),
      perServer,
    );
    if (ipvsNames) writeIpvs(text, services, this.#sampler.grandTotals());
    const changes = this.#changes;
    const version = configVersion?.() ?? '';
    const healthAge = this.#health.age(asked);
    this.#moment = { stats, config, services, cpus: balancer.cpus, version, changes, healthAge };
    this.#registry.setDefaultLabels({ ...(cluster === '' ? {} : { cluster }), ...(node === '' ? {} : { node }) });
    const own = await this.#registry.metrics();
    return { contentType: this.#registry.contentType, body: `${own}\n${text}` };
  }
}
