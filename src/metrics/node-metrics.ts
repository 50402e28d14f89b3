// The families that prom-client keeps: workers, drops, interfaces, the configuration, the process. Their number does not depend on how
// many services there are.
// Guarantees: each is filled in collect(), from one moment; a counter has the native value, not a difference.
// Thread: main.
import { Counter, collectDefaultMetrics, Gauge, type Registry } from 'prom-client';
import { parseAddress, parsePortRange } from '../config/address.js';
import type { Config } from '../config/schema.js';
import { type CounterSet, camelCase, type Stats } from '../control/stats.js';
import type { NativeCounterInfo } from '../native-binding.js';
import type { Versions } from '../versions.js';
import { counterFamily, type Family, INTERFACE_FAMILIES, NODE_FAMILIES, TRAFFIC_COUNTERS, WORKER_FAMILIES } from './families.js';
import type { ReloadRecorder } from './reload-recorder.js';
import type { ServiceSample } from './samples.js';

/** What these families are filled from. */
export interface NodeMoment {
  readonly stats: Stats;
  readonly config: Config;
  readonly services: readonly ServiceSample[];
  /** By worker; -1: not pinned. */
  readonly cpus: readonly number[];
  /** "" where there is none. */
  readonly version: string;
  readonly changes: { readonly count: number; readonly at: number };
  /** Seconds. */
  readonly healthAge: number;
}

export interface NodeMetricsParts {
  readonly registry: Registry;
  readonly counterInfo: readonly NativeCounterInfo[];
  readonly versions: Versions;
  readonly reloads: Pick<ReloadRecorder, 'succeeded' | 'failed' | 'last' | 'lastSuccess'>;
  /** The moment of the scrape that is under way. */
  readonly moment: () => NodeMoment;
}

type Labels = Record<string, string>;
type Put = (labels: Labels, value: number) => void;

/** Names that prom-client gives to gauges although they end like counters. */
const MISNAMED = ['handles', 'requests', 'resources'].map((what) => `millrace_nodejs_active_${what}_total`);

export function registerNodeMetrics(parts: NodeMetricsParts): void {
  const { registry } = parts;
  const add = (family: Family, fill: (set: Put, moment: NodeMoment) => void): void =>
    register(registry, family, (set) => fill(set, parts.moment()));
  registerWorkers(add, parts.counterInfo);
  registerInterfaces(add);
  registerConfiguration(add, parts);
  collectDefaultMetrics({ register: registry, prefix: 'millrace_' });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
}

type Add = (family: Family, fill: (set: Put, moment: NodeMoment) => void) => void;

function register(registry: Registry, family: Family, fill: (set: Put) => void): void {
  const { name, help, labels } = family;
  const common = { name, help, labelNames: [...labels], registers: [registry] };
  if (family.type === 'counter') {
    // Its only way to an absolute value.
    const counter: Counter = new Counter({
      ...common,
      collect: () => {
        counter.reset();
        fill((of, value) => counter.inc(present(of), value));
      },
    });
  } else {
    const gauge: Gauge = new Gauge({
      ...common,
      collect: () => {
        gauge.reset();
        fill((of, value) => gauge.set(present(of), value));
      },
    });
  }
}

/** A label of "" is none. */
function present(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ''));
}

function registerWorkers(add: Add, counterInfo: readonly NativeCounterInfo[]): void {
  const byWorker = (family: Family, fill: (set: Put, counters: CounterSet, moment: NodeMoment) => void): void =>
    add(family, (set, moment) => {
      moment.stats.workers.forEach((counters, worker) => {
        const cpu = moment.cpus[worker] ?? -1;
        const own = { worker: String(worker), core: cpu < 0 ? '' : String(cpu) };
        fill((labels, value) => set({ ...labels, ...own }, value), counters, moment);
      });
    });
  for (const family of [WORKER_FAMILIES.packets, WORKER_FAMILIES.bytes]) {
    const own = Object.entries(TRAFFIC_COUNTERS).filter(([, traffic]) => traffic.family === family);
    byWorker(family, (set, counters) => {
      for (const [name, { direction }] of own) set({ direction }, counterValue(counters, name));
    });
  }
  const drops = counterInfo.filter(({ kind }) => kind === 'drop');
  byWorker(WORKER_FAMILIES.drops, (set, counters) => {
    // Those that never happened as well: a rate needs a first 0.
    for (const { name, unit } of drops) set({ reason: name, stage: unit }, Number(counters.drops[name] ?? 0n));
  });
  byWorker(WORKER_FAMILIES.sessionsLimit, (set, _, { config }) => set({}, config.sessions.maxPerWorker));
  for (const counter of counterInfo) {
    const family = counterFamily(counter);
    if (family !== undefined) byWorker(family, (set, counters) => set({}, counterValue(counters, counter.name)));
  }
}

function counterValue(counters: CounterSet, name: string): number {
  const value: unknown = Reflect.get(counters, camelCase(name));
  return typeof value === 'bigint' ? Number(value) : 0;
}

function registerInterfaces(add: Add): void {
  const byInterface = (family: Family, fill: (set: Put, status: Stats['interfaces'][number]) => void): void =>
    add(family, (set, { stats }) => {
      for (const status of stats.interfaces) fill((labels, value) => set({ interface: status.name, ...labels }, value), status);
    });
  byInterface(INTERFACE_FAMILIES.info, (set, { attachMode, zeroCopy }) =>
    set({ attach_mode: attachMode, zero_copy: String(zeroCopy) }, 1),
  );
  byInterface(INTERFACE_FAMILIES.queues, (set, { queues }) => set({}, queues));
  byInterface(INTERFACE_FAMILIES.received, (set, { xdp }) => set({}, Number(xdp.received)));
  byInterface(INTERFACE_FAMILIES.passed, (set, { xdp }) => {
    set({ to: 'workers' }, Number(xdp.toWorkers));
    set({ to: 'kernel' }, Number(xdp.toKernel));
  });
  byInterface(INTERFACE_FAMILIES.refused, (set, { xdp }) => {
    set({ reason: 'rx_dropped' }, Number(xdp.rxDropped));
    set({ reason: 'rx_ring_full' }, Number(xdp.rxRingFull));
    set({ reason: 'fill_ring_empty' }, Number(xdp.fillRingEmpty));
    set({ reason: 'rx_invalid' }, Number(xdp.rxInvalid));
    set({ reason: 'tx_invalid' }, Number(xdp.txInvalid));
  });
}

function registerConfiguration(add: Add, { versions, reloads }: NodeMetricsParts): void {
  add(NODE_FAMILIES.build, (set) => {
    const { addon = '', libxdp = '', libbpf = '', kernel = '', compiler = '' } = versions.native;
    set({ version: versions.millrace, nodejs: versions.node, addon, libxdp, libbpf, kernel, compiler }, 1);
  });
  add(NODE_FAMILIES.workers, (set, { stats }) => set({}, stats.workers.length));
  add(NODE_FAMILIES.localPorts, (set, { config }) => {
    for (const { family, pairs } of localPorts(config)) set({ family }, pairs);
  });
  add(NODE_FAMILIES.localPortUse, (set, { config, services }) => {
    for (const { family, pairs } of localPorts(config)) set({ family }, mostUsed(services, family) / pairs);
  });
  add(NODE_FAMILIES.reloads, (set) => {
    set({ outcome: 'success' }, reloads.succeeded);
    set({ outcome: 'failure' }, reloads.failed);
  });
  add(NODE_FAMILIES.reloadOk, (set) => set({}, (reloads.last?.ok ?? true) ? 1 : 0));
  add(NODE_FAMILIES.reloadTime, (set) => set({}, reloads.lastSuccess / 1000));
  add(NODE_FAMILIES.changes, (set, { changes }) => set({}, changes.count));
  add(NODE_FAMILIES.changeTime, (set, { changes }) => set({}, changes.at / 1000));
  add(NODE_FAMILIES.hash, (set, { version }) => {
    if (version !== '') set({ hash: version }, 1);
  });
  add(NODE_FAMILIES.healthAge, (set, { healthAge }) => set({}, healthAge));
}

/** Of each family that has local addresses. */
function localPorts(config: Config): readonly { readonly family: 'ipv4' | 'ipv6'; readonly pairs: number }[] {
  const [low = 0, high = 0] = parsePortRange(config.localPorts) ?? [];
  const families = config.localAddresses.map((address) => (parseAddress(address)?.family === 6 ? 'ipv6' : 'ipv4'));
  return (['ipv4', 'ipv6'] as const)
    .map((family) => ({ family, pairs: families.filter((known) => known === family).length * (high - low + 1) }))
    .filter(({ pairs }) => pairs > 0);
}

/** Sessions of the real server (address, port, protocol) that has most of those that hold a local port: services share its ports. */
function mostUsed(services: readonly ServiceSample[], family: 'ipv4' | 'ipv6'): number {
  const sessions = new Map<string, number>();
  for (const { config, reals } of services) {
    for (const real of reals) {
      const ours = (real.configured?.mode ?? real.presented?.mode ?? config?.mode) === 'fullnat';
      if (!ours || real.port === 0 || real.address.includes(':') !== (family === 'ipv6')) continue;
      const key = `${real.key} ${config?.protocol ?? ''}`;
      sessions.set(key, (sessions.get(key) ?? 0) + real.active + real.inactive);
    }
  }
  return [...sessions.values()].reduce((most, count) => Math.max(most, count), 0);
}
