// From a checked configuration and a description of the host to what the addon takes: worker count and CPUs decided, defaults that
// depend on other keys filled in, every address in its canonical text.
// Guarantees: pure; the same input gives the same output on every host.
// Thread: any.
import type {
  NativeAccessRules,
  NativeClientAddress,
  NativeInterfaceConfig,
  NativeMatch,
  NativeOptions,
  NativePersistence,
  NativeRateLimit,
  NativeSchedulerOptions,
  NativeServiceConfig,
  NativeServiceIdentity,
  NativeTables,
  NativeTimeouts,
} from '../native-binding.js';
import { networkOf, parseAddress, parseMac, parsePortRange, parsePrefix } from './address.js';
import type { Finding } from './finding.js';
import { usesLocalAddress } from './forward-mode.js';
import { ANY_PORT, parsePorts, parseVips } from './matching.js';
import type { Config, ServiceConfig } from './schema.js';
import { resolveTimeouts } from './timeout-profiles.js';
import { findingsError } from './validate.js';

/** UDP port of generic UDP encapsulation (IANA "gue"). */
const GUE_PORT = 6080;

const NO_OPTIONS: NativeSchedulerOptions = {
  fallback: false,
  port: false,
  key: 'source',
  tableSize: 4093,
  serverPorts: true,
  connectionId: 'dpvs',
};

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

/** What the dataplane is shown of a service: servers that health checks have taken out are not there. */
export type Presentation = (service: ServiceConfig) => ServiceConfig;

const asConfigured: Presentation = (service) => service;

/** Throws ConfigurationError when the configuration asks for CPUs that the host does not give. */
export function toNative(config: Config, host: HostDescription, present: Presentation = asConfigured): NativeConfig {
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
  return { options, tables: toNativeTables(config, present), notes };
}

/** The part that can change while traffic runs. */
export function toNativeTables(config: Config, present: Presentation = asConfigured): NativeTables {
  return {
    services: [
      ...config.snat.map((rule) => outboundToNative(rule, config)),
      ...config.services.map((service) => serviceToNative(present(service), config)),
    ],
    localAddresses: config.localAddresses.map(canonical),
    tunnelSources: config.tunnelSources.map(canonicalNetwork),
    echoReplies: config.echoReplies,
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

const NO_RATE_LIMIT: NativeRateLimit = { packetsPerSecond: 0, bitsPerSecond: 0 };

function rateLimit({ rateLimit: limit }: { readonly rateLimit?: Partial<NativeRateLimit> }): NativeRateLimit {
  return { ...NO_RATE_LIMIT, ...limit };
}

/** Native forms that were made already, with the shared settings that they were made with. */
const known = new WeakMap<ServiceConfig, Pick<Config, 'interfaces' | 'sessions'> & { readonly native: NativeServiceConfig }>();

/** One service; `config` has what all share. The same object for the same service, which nobody changes. */
export function serviceToNative(service: ServiceConfig, config: Config): NativeServiceConfig {
  const { interfaces, sessions } = config;
  const made = known.get(service);
  if (made !== undefined && made.interfaces === interfaces && made.sessions === sessions) return made.native;
  const native = convertService(service, config);
  known.set(service, { interfaces, sessions, native });
  return native;
}

function convertService(service: ServiceConfig, config: Config): NativeServiceConfig {
  return {
    name: service.name,
    ...identityToNative(service, config),
    announced: service.announce ?? true,
    dscp: service.dscp ?? 0,
    scheduler: service.scheduler,
    schedulerOptions: schedulerOptions(service),
    onePacket: service.onePacket ?? false,
    sloppyTcp: service.sloppyTcp ?? false,
    connReuseMode: service.connReuseMode ?? 1,
    ...(service.persistence === undefined ? {} : { persistence: persistence(service, service.persistence) }),
    maxConnections: service.maxConnections ?? 0,
    rateLimit: rateLimit(service),
    onRemoval: service.onRemoval ?? 'keep',
    ...(service.timeouts === undefined ? {} : { timeouts: serviceTimeouts(config, service.timeouts) }),
    ...(service.acl === undefined ? {} : { access: accessRules(service.acl) }),
    ...(service.clientAddress === undefined && service.acceptProxy === undefined
      ? {}
      : { clientAddress: clientAddress(service) }),
    servers: service.servers.map((server) => ({
      address: canonical(server.address),
      // 0: the port that the client asked for.
      port: server.port ?? (typeof service.port === 'number' ? service.port : 0),
      weight: server.weight,
      id: server.id ?? 0,
      mode: server.mode ?? service.mode,
      upperThreshold: server.upperThreshold ?? 0,
      lowerThreshold: server.lowerThreshold ?? 0,
      rateLimit: rateLimit(server),
      tunnelPort: server.tunnelPort ?? service.tunnelPort ?? GUE_PORT,
    })),
  };
}

/** What a service is found by. */
function identityToNative(service: Config['services'][number], config: Config): NativeServiceIdentity {
  if (service.match !== undefined) {
    return { port: 0, protocol: 'tcp+udp', matches: service.match.map((match) => matchToNative(match, config)) };
  }
  const { port } = service;
  return {
    address: canonicalVips(service.address ?? ''),
    port: typeof port === 'number' ? port : 0,
    ...(typeof port === 'string' ? { ports: parsePorts(port) ?? ANY_PORT } : {}),
    protocol: service.protocol ?? 'tcp',
    matches: [],
  };
}

/** A rule of the outbound gateway is a service whose one server stands for every destination. */
function outboundToNative(rule: Config['snat'][number], config: Config): NativeServiceConfig {
  return {
    name: rule.name,
    port: 0,
    protocol: 'tcp+udp',
    matches: rule.match.flatMap((match) => outboundMatches(match, config)),
    outbound: true,
    pool: rule.pool.map(canonical),
    announced: true,
    dscp: 0,
    scheduler: 'rr',
    schedulerOptions: NO_OPTIONS,
    onePacket: false,
    sloppyTcp: false,
    connReuseMode: 1,
    maxConnections: 0,
    rateLimit: NO_RATE_LIMIT,
    onRemoval: 'keep',
    servers: [
      {
        address: '0.0.0.0',
        port: 0,
        weight: 1,
        id: 0,
        mode: 'snat',
        upperThreshold: 0,
        lowerThreshold: 0,
        rateLimit: NO_RATE_LIMIT,
        tunnelPort: GUE_PORT,
      },
    ],
  };
}

function outboundMatches(match: Config['snat'][number]['match'][number], config: Config): NativeMatch[] {
  const ipv6 = parseVips(match.source)?.address.family === 6;
  const protocols = match.protocol === 'tcp+udp' ? (['tcp', 'udp'] as const) : [match.protocol];
  return protocols.map((protocol) => ({
    protocol: protocol === 'icmp' && ipv6 ? 'icmpv6' : protocol,
    source: canonicalVips(match.source),
    destination: canonicalVips(match.destination ?? (ipv6 ? '::/0' : '0.0.0.0/0')),
    ports: parsePorts(match.ports ?? 'any') ?? ANY_PORT,
    ...interfaceNumber(match.interface, config),
  }));
}

function interfaceNumber(name: string | undefined, config: Config): { readonly interface?: number } {
  return name === undefined ? {} : { interface: config.interfaces.findIndex((item) => item.name === name) };
}

function matchToNative(match: NonNullable<Config['services'][number]['match']>[number], config: Config): NativeMatch {
  const everybody = parseVips(match.destination)?.address.family === 6 ? '::/0' : '0.0.0.0/0';
  return {
    protocol: match.protocol,
    source: canonicalVips(match.source ?? everybody),
    destination: canonicalVips(match.destination),
    ports: parsePorts(match.ports ?? 'any') ?? ANY_PORT,
    ...interfaceNumber(match.interface, config),
  };
}

/** "address" or "address/length". */
function canonicalVips(text: string): string {
  return text.includes('/') ? canonicalPrefix(text) : canonical(text);
}

function serviceTimeouts(config: Config, own: NonNullable<Config['services'][number]['timeouts']>): NativeTimeouts {
  const base = resolveTimeouts(config.sessions.timeouts);
  return {
    ...base,
    tcp: { ...base.tcp, ...own.tcp },
    udp: { ...base.udp, ...own.udp },
    sctp: { ...base.sctp, ...own.sctp },
  };
}

/** As kEveryDatagram in native/tables/client_address.h. */
const EVERY_DATAGRAM = 255;

function clientAddress({ clientAddress: told, acceptProxy }: ServiceConfig): NativeClientAddress {
  const datagrams = told?.datagrams ?? 'all';
  return {
    method: told?.method ?? 'none',
    kindIpv4: told?.kinds?.ipv4 ?? 254,
    kindIpv6: told?.kinds?.ipv6 ?? 254,
    onSyn: told?.onSyn ?? false,
    carrier: told?.carrier ?? 'protocol',
    serverFirst: told?.serverFirst ?? false,
    datagrams: datagrams === 'all' ? EVERY_DATAGRAM : datagrams,
    whenTooBig: told?.whenTooBig ?? 'fragment',
    uniqueId: told?.tlvs?.uniqueId ?? false,
    crc32c: told?.tlvs?.crc32c ?? false,
    tlvs: (told?.tlvs?.custom ?? []).map((tlv) => ({
      type: tlv.type,
      value: tlv.hex?.toLowerCase() ?? Buffer.from(tlv.text ?? '').toString('hex'),
    })),
    acceptFrom: (acceptProxy?.from ?? []).map(canonicalVips),
  };
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
  return { ...NO_OPTIONS, ...service.schedulerOptions };
}

/** Addresses have 16 bytes there, IPv4 ones at the end. */
function persistence(service: ServiceConfig, configured: NonNullable<ServiceConfig['persistence']>): NativePersistence {
  const vips = parseVips(service.address ?? service.match?.[0]?.destination ?? '');
  const unused = vips?.address.family === 4 ? 96 : 0;
  return {
    timeout: configured.timeout,
    prefix: configured.prefix === undefined ? 128 : configured.prefix + unused,
    expireQuiescent: configured.expireQuiescent,
    group: configured.group ?? '',
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
  for (const { rule, family, count } of config.snat.flatMap(poolSizes)) {
    limits.push({ count, why: `IPv${family} addresses in the pool of ${rule}` });
  }
  const smallest = limits.reduce((a, b) => (b.count < a.count ? b : a));
  const workers = Math.min(64, smallest.count);
  notes.push(`workers: ${workers} (auto: limited by the number of ${smallest.why})`);
  return workers;
}

/** Addresses of each family that a rule of the outbound gateway needs. */
function poolSizes(rule: Config['snat'][number]): { readonly rule: string; readonly family: 4 | 6; readonly count: number }[] {
  return ([4, 6] as const)
    .filter((family) => rule.match.some((match) => parseVips(match.source)?.address.family === family))
    .map((family) => ({
      rule: rule.name,
      family,
      count: rule.pool.filter((text) => parseAddress(text)?.family === family).length,
    }));
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
