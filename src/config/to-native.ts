// From a checked configuration and a description of the host to what the addon takes: worker count and CPUs decided, defaults that
// depend on other keys filled in, every address in its canonical text.
// Guarantees: pure; the same input gives the same output on every host.
// Thread: any.
import type {
  NativeAccessRules,
  NativeInterfaceConfig,
  NativeOptions,
  NativeSchedulerOptions,
  NativeTables,
  NativeTimeouts,
} from '../native-binding.js';
import { networkOf, parseAddress, parseMac, parsePortRange, parsePrefix } from './address.js';
import type { Finding } from './finding.js';
import { usesLocalAddress } from './forward-mode.js';
import type { Config } from './schema.js';
import { resolveTimeouts } from './timeout-profiles.js';
import { findingsError } from './validate.js';

/** UDP port of generic UDP encapsulation (IANA "gue"). */
const GUE_PORT = 6080;

/** What the resolution must know of the host. */
export interface HostDescription {
  /** CPUs that the process may run on, ascending. */
  readonly allowedCpus: readonly number[];
  /** Receive queues per interface; an interface that is not here puts no limit on `workers: auto`. */
  readonly interfaces: readonly { readonly name: string; readonly rxQueues: number }[];
}

export interface NativeConfig {
  readonly options: NativeOptions;
  readonly tables: NativeTables;
  /** Decisions that a person may want to know of, one sentence each. */
  readonly notes: readonly string[];
}

/** Throws ConfigurationError when the configuration asks for CPUs that the host does not give. */
export function toNative(config: Config, host: HostDescription): NativeConfig {
  const notes: string[] = [];
  const workers = resolveWorkers(config, host, notes);
  const [low, high] = parsePortRange(config.localPorts) ?? [1024, 65_535];
  const { dataplane } = config;
  const options: NativeOptions = {
    workers,
    cpus: resolveCpus(config, workers, host, notes),
    interfaces: config.interfaces.map(interfaceToNative),
    attachMode: dataplane.attachMode,
    zeroCopy: dataplane.zeroCopy,
    polling: dataplane.polling,
    busyPollBudget: dataplane.busyPollBudget,
    framesPerWorker: dataplane.framesPerWorker,
    frameSize: dataplane.frameSize === 'auto' ? 0 : dataplane.frameSize,
    ringSize: dataplane.ringSize,
    hugePages: dataplane.hugePages,
    maxSessionsPerWorker: config.sessions.maxPerWorker,
    localPortRange: [low, high],
    seed: dataplane.seed,
  };
  return { options, tables: toNativeTables(config), notes };
}

/** The part that can change while traffic runs. */
export function toNativeTables(config: Config): NativeTables {
  return {
    services: config.services.map((service) => ({
      name: service.name,
      address: canonical(service.address),
      port: service.port ?? 0,
      protocol: service.protocol,
      dscp: service.dscp ?? 0,
      scheduler: service.scheduler,
      schedulerOptions: schedulerOptions(service),
      maxConnections: service.maxConnections ?? 0,
      onRemoval: service.onRemoval ?? 'keep',
      ...(service.timeouts === undefined ? {} : { timeouts: serviceTimeouts(config, service.timeouts) }),
      ...(service.acl === undefined ? {} : { access: accessRules(service.acl) }),
      servers: service.servers.map((server) => ({
        address: canonical(server.address),
        port: server.port ?? service.port ?? 0,
        weight: server.weight,
        id: server.id ?? 0,
        mode: server.mode ?? service.mode,
        upperThreshold: server.upperThreshold ?? 0,
        lowerThreshold: server.lowerThreshold ?? 0,
        tunnelPort: server.tunnelPort ?? service.tunnelPort ?? GUE_PORT,
      })),
    })),
    localAddresses: config.localAddresses.map(canonical),
    tunnelSources: config.tunnelSources.map(canonicalNetwork),
    routes: config.routes.map((route) => ({
      prefix: canonicalPrefix(route.prefix),
      ...(route.via === undefined ? {} : { via: canonical(route.via) }),
      interface: route.interface,
    })),
    neighbours: config.neighbours.map((neighbour) => ({
      address: canonical(neighbour.address),
      mac: parseMac(neighbour.mac) ?? neighbour.mac,
      interface: neighbour.interface,
    })),
    timeouts: resolveTimeouts(config.sessions.timeouts),
  };
}

function serviceTimeouts(config: Config, own: NonNullable<Config['services'][number]['timeouts']>): NativeTimeouts {
  const base = resolveTimeouts(config.sessions.timeouts);
  return { ...base, tcp: { ...base.tcp, ...own.tcp }, udp: { ...base.udp, ...own.udp } };
}

function accessRules(acl: NonNullable<Config['services'][number]['acl']>): NativeAccessRules {
  return {
    allowOthers: (acl.default ?? (acl.allow.length > 0 ? 'deny' : 'allow')) === 'allow',
    allow: acl.allow.map(canonicalNetwork),
    deny: acl.deny.map(canonicalNetwork),
  };
}

/** Options that a scheduler does not take are refused before this; here they only have to have a value. */
function schedulerOptions(service: Config['services'][number]): NativeSchedulerOptions {
  return {
    fallback: false,
    port: false,
    key: 'source',
    tableSize: 4093,
    serverPorts: true,
    connectionId: 'dpvs',
    ...service.schedulerOptions,
  };
}

function interfaceToNative(item: Config['interfaces'][number]): NativeInterfaceConfig {
  return {
    name: item.name,
    ...(item.mac === undefined ? {} : { mac: parseMac(item.mac) ?? item.mac }),
    ...(item.mtu === undefined ? {} : { mtu: item.mtu }),
    ...(item.addresses === undefined ? {} : { addresses: item.addresses.map(canonicalPrefix) }),
  };
}

function canonical(text: string): string {
  return parseAddress(text)?.text ?? text;
}

function canonicalPrefix(text: string): string {
  const prefix = parsePrefix(text);
  return prefix === undefined ? text : `${prefix.address.text}/${prefix.length}`;
}

function canonicalNetwork(text: string): string {
  const prefix = parsePrefix(text);
  return prefix === undefined ? text : `${networkOf(prefix).text}/${prefix.length}`;
}

function resolveWorkers(config: Config, host: HostDescription, notes: string[]): number {
  if (config.workers !== 'auto') return config.workers;
  const limits: { readonly count: number; readonly why: string }[] = [
    { count: Math.max(1, config.cpus?.length ?? host.allowedCpus.length), why: 'CPUs' },
  ];
  for (const { name, rxQueues } of host.interfaces) {
    if (config.interfaces.some((item) => item.name === name))
      limits.push({ count: Math.max(1, rxQueues), why: `receive queues of ${name}` });
  }
  for (const family of [4, 6] as const) {
    const used = config.services.some((service) =>
      service.servers.some(
        (server) => usesLocalAddress(server.mode ?? service.mode) && parseAddress(server.address)?.family === family,
      ),
    );
    if (!used) continue;
    const count = config.localAddresses.filter((address) => parseAddress(address)?.family === family).length;
    limits.push({ count, why: `IPv${family} local addresses` });
  }
  const smallest = limits.reduce((a, b) => (b.count < a.count ? b : a));
  const workers = Math.min(64, smallest.count);
  notes.push(`workers: ${workers} (auto: limited by the number of ${smallest.why})`);
  return workers;
}

function resolveCpus(config: Config, workers: number, host: HostDescription, notes: string[]): number[] {
  if (config.cpus !== undefined) {
    const findings: Finding[] = config.cpus.slice(0, workers).flatMap((cpu, i) => {
      if (host.allowedCpus.includes(cpu)) return [];
      const remedy = `use CPUs out of ${host.allowedCpus.join(', ')}, or leave cpus out`;
      return [{ path: ['cpus', i], at: 'value' as const, reason: `this process may not run on CPU ${cpu}`, remedy }];
    });
    if (findings.length > 0) throw findingsError(findings);
    return config.cpus.slice(0, workers);
  }
  if (workers <= host.allowedCpus.length) return host.allowedCpus.slice(0, workers);
  notes.push(
    `${workers} workers share ${host.allowedCpus.length} CPUs, so none is pinned; expect less throughput than with one CPU each`,
  );
  return Array.from({ length: workers }, () => -1);
}
