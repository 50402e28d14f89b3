// An IPVS table in memory that answers changes as the kernel does: what it accepts, what it refuses and why, and in which order it keeps
// things. It holds rules only; counters and connections come from a CounterSource.
// Guarantees: a refused change changes nothing; services and servers handed out are never written again.
// Thread: one; it has no locks.
import { formatAddress, type IpAddress, parseDotted } from './address.js';
import type { Refusal } from './messages.js';
import type {
  AccessListName,
  CounterSource,
  Daemon,
  DaemonRequest,
  DaemonRole,
  Forward,
  HostFacts,
  Server,
  ServerKey,
  ServiceSettings,
  Timeouts,
} from './model.js';
import { NO_HOST, NO_TRAFFIC, type ServerSettings, type Service, type ServiceKey } from './model.js';
import { bucketOf } from './order.js';
import { isServerAddress } from './unicast.js';

/** Schedulers of Linux 6.1; "none" is one without, which forwards nothing. */
export const KERNEL_SCHEDULERS = ['rr', 'wrr', 'lc', 'wlc', 'fo', 'ovf', 'lblc', 'lblcr', 'dh', 'sh', 'mh', 'sed', 'nq', 'none'];

/** Ticks per second, in which the kernel keeps times. */
export const HZ = 250;

const DEFAULT_GROUP = parseDotted('224.0.0.81') as IpAddress;

export interface TableOptions {
  readonly counters?: CounterSource;
  readonly host?: HostFacts;
  /** See `bucketOf`. */
  readonly salt?: number;
  readonly schedulers?: readonly string[];
  readonly engines?: readonly string[];
  /** Buckets of the connection table, shown in the first line of listings. */
  readonly connectionBuckets?: number;
  /** What the table begins with, the oldest first; taken as it is. */
  readonly services?: readonly Service[];
  readonly timeouts?: Timeouts;
  /** DPVS: source addresses towards servers. */
  readonly localAddresses?: readonly IpAddress[];
}

interface Entry {
  readonly service: Service;
  /** Grows with every service added. */
  readonly age: number;
}

/** Names a service among others. */
export function keyText(key: ServiceKey): string {
  return key.fwmark === 0 ? `${key.protocol} ${formatAddress(key.address)} ${key.port}` : `fwmark ${key.family} ${key.fwmark}`;
}

function sameAddress(left: IpAddress, right: IpAddress): boolean {
  return left.family === right.family && left.value === right.value;
}

export function sameServer(left: ServerKey, right: ServerKey): boolean {
  return sameAddress(left.address, right.address) && left.port === right.port;
}

/** Client and server may be of different families: the packet gets new addresses of its own. */
export function crossesFamilies(forward: Forward): boolean {
  return forward === 'Tunnel' || forward === 'FullNat';
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

export class IpvsTable {
  readonly counters: CounterSource;
  readonly connectionBuckets: number;
  readonly #host: HostFacts;
  readonly #salt: number;
  readonly #schedulers: ReadonlySet<string>;
  readonly #engines: ReadonlySet<string>;
  readonly #entries = new Map<string, Entry>();
  readonly #daemons = new Map<DaemonRole, Daemon>();
  #timeouts: Timeouts;
  #localAddresses: readonly IpAddress[];
  #age = 0;

  constructor(options: TableOptions = {}) {
    this.counters = options.counters ?? NO_TRAFFIC;
    this.connectionBuckets = options.connectionBuckets ?? 4096;
    this.#host = options.host ?? NO_HOST;
    this.#salt = options.salt ?? 0;
    this.#schedulers = new Set(options.schedulers ?? KERNEL_SCHEDULERS);
    this.#engines = new Set(options.engines ?? ['sip']);
    this.#timeouts = options.timeouts ?? { tcp: 900, tcpFin: 120, udp: 300 };
    this.#localAddresses = options.localAddresses ?? [];
    for (const service of options.services ?? []) this.#enter(service);
  }

  /** Services in the kernel's order: those with an address by bucket, newest first in each, then those with a mark. */
  services(): Service[] {
    const place = ({ service }: Entry) => bucketOf(service, this.#salt) + (service.fwmark === 0 ? 0 : 256);
    return [...this.#entries.values()]
      .sort((left, right) => place(left) - place(right) || right.age - left.age)
      .map(({ service }) => service);
  }

  service(key: ServiceKey): Service | undefined {
    return this.#entries.get(keyText(key))?.service;
  }

  /** Refuses with EEXIST, ENOENT (scheduler or engine), EINVAL (IPv6 prefix length). */
  addService(key: ServiceKey, settings: ServiceSettings): Refusal | undefined {
    if (this.service(key) !== undefined) return 'EEXIST';
    const refusal = this.#refuseSettings(key, settings);
    if (refusal !== undefined) return refusal;
    this.#enter({ ...key, ...settings, servers: [] });
    return undefined;
  }

  /** Replaces all settings. Refuses with ESRCH, ENOENT, EINVAL. */
  editService(key: ServiceKey, settings: ServiceSettings): Refusal | undefined {
    const service = this.service(key);
    if (service === undefined) return 'ESRCH';
    const refusal = this.#refuseSettings(key, settings);
    if (refusal === undefined) this.#replace({ ...service, ...settings });
    return refusal;
  }

  /** Refuses with ESRCH. */
  deleteService(key: ServiceKey): Refusal | undefined {
    return this.#entries.delete(keyText(key)) ? undefined : 'ESRCH';
  }

  /** Deletes all services. Timeouts and daemons stay. */
  flush(): void {
    this.#entries.clear();
  }

  /** Zeroes the counters of one service and its servers, or of everything. Refuses with ESRCH. */
  zero(key: ServiceKey | undefined): Refusal | undefined {
    const service = key === undefined ? undefined : this.service(key);
    if (key !== undefined && service === undefined) return 'ESRCH';
    this.counters.zero(service);
    return undefined;
  }

  /** Refuses with ESRCH, ERANGE (weight, thresholds), EEXIST, EINVAL (address, mixed families). */
  addServer(key: ServiceKey, server: Server): Refusal | undefined {
    const service = this.service(key);
    if (service === undefined) return 'ESRCH';
    const refusal = this.#refuseServer(service, server);
    if (refusal !== undefined) return refusal;
    if (service.servers.some((other) => sameServer(other, server))) return 'EEXIST';
    if (!isServerAddress(server.address, this.#host)) return 'EINVAL';
    this.#replace({ ...service, servers: [server, ...service.servers] });
    return undefined;
  }

  /** Replaces all settings; the server keeps its place. Refuses with ESRCH, ERANGE, EINVAL, ENOENT. */
  editServer(key: ServiceKey, server: Server): Refusal | undefined {
    const service = this.service(key);
    if (service === undefined) return 'ESRCH';
    const refusal = this.#refuseServer(service, server);
    if (refusal !== undefined) return refusal;
    if (!service.servers.some((other) => sameServer(other, server))) return 'ENOENT';
    this.#replace({
      ...service,
      servers: service.servers.map((other) => (sameServer(other, server) ? { ...other, ...server } : other)),
    });
    return undefined;
  }

  /** Refuses with ESRCH, ENOENT. */
  deleteServer(key: ServiceKey, server: ServerKey): Refusal | undefined {
    const service = this.service(key);
    if (service === undefined) return 'ESRCH';
    const servers = service.servers.filter((other) => !sameServer(other, server));
    if (servers.length === service.servers.length) return 'ENOENT';
    this.#replace({ ...service, servers });
    return undefined;
  }

  /** Seconds. */
  timeouts(): Timeouts {
    return this.#timeouts;
  }

  /** A timeout of 0 stays as it is. Refuses with EINVAL what does not fit the kernel's ticks. */
  setTimeouts(wanted: Timeouts): Refusal | undefined {
    const limit = Math.floor((2 ** 31 - 1) / HZ);
    if ([wanted.tcp, wanted.tcpFin, wanted.udp].some((seconds) => seconds < 0 || seconds > limit)) return 'EINVAL';
    this.#timeouts = {
      tcp: wanted.tcp || this.#timeouts.tcp,
      tcpFin: wanted.tcpFin || this.#timeouts.tcpFin,
      udp: wanted.udp || this.#timeouts.udp,
    };
    return undefined;
  }

  /** DPVS: all services have the same ones. */
  localAddresses(): readonly IpAddress[] {
    return this.#localAddresses;
  }

  /** Refuses with ESRCH, EEXIST. */
  addLocalAddress(key: ServiceKey, address: IpAddress): Refusal | undefined {
    if (this.service(key) === undefined) return 'ESRCH';
    if (this.#localAddresses.some((other) => sameAddress(other, address))) return 'EEXIST';
    this.#localAddresses = [...this.#localAddresses, address];
    return undefined;
  }

  /** Refuses with ESRCH, ENOENT. */
  deleteLocalAddress(key: ServiceKey, address: IpAddress): Refusal | undefined {
    if (this.service(key) === undefined) return 'ESRCH';
    const rest = this.#localAddresses.filter((other) => !sameAddress(other, address));
    if (rest.length === this.#localAddresses.length) return 'ENOENT';
    this.#localAddresses = rest;
    return undefined;
  }

  /** DPVS: `subject` is an address, as formatAddress writes it. Refuses with ESRCH, EEXIST. */
  addClient(key: ServiceKey, list: AccessListName, subject: string): Refusal | undefined {
    const service = this.service(key);
    if (service === undefined) return 'ESRCH';
    const known = service[list] ?? [];
    if (known.includes(subject)) return 'EEXIST';
    this.#replace({ ...service, [list]: [...known, subject] });
    return undefined;
  }

  /** Refuses with ESRCH, ENOENT. */
  deleteClient(key: ServiceKey, list: AccessListName, subject: string): Refusal | undefined {
    const service = this.service(key);
    if (service === undefined) return 'ESRCH';
    const known = service[list] ?? [];
    if (!known.includes(subject)) return 'ENOENT';
    this.#replace({ ...service, [list]: known.filter((other) => other !== subject) });
    return undefined;
  }

  /** Running synchronisation daemons, master first. */
  daemons(): Daemon[] {
    return (['master', 'backup'] as const).flatMap((role) => this.#daemons.get(role) ?? []);
  }

  /** Refuses with EINVAL (a service with servers of the other family), ENODEV, EEXIST. */
  startDaemon(request: DaemonRequest): Refusal | undefined {
    if (this.services().some(({ family, servers }) => servers.some(({ address }) => address.family !== family))) return 'EINVAL';
    const mtu = this.#host.mtuOf(request.interfaceName);
    if (mtu === undefined) return 'ENODEV';
    if (this.#daemons.has(request.role)) return 'EEXIST';
    const group = request.group ?? DEFAULT_GROUP;
    const headers = (group.family === 4 ? 20 : 40) + 8;
    const isBackup = request.role === 'backup';
    const maxLength =
      request.maxLength === 0
        ? (isBackup ? clamp(mtu, 1500, 65535) : 1500) - headers
        : clamp(request.maxLength, isBackup ? 1024 : 1, 65535 - headers);
    this.#daemons.set(request.role, { ...request, group, maxLength, port: request.port || 8848, ttl: request.ttl || 1 });
    return undefined;
  }

  /** Refuses with ESRCH. */
  stopDaemon(role: DaemonRole): Refusal | undefined {
    return this.#daemons.delete(role) ? undefined : 'ESRCH';
  }

  #enter(service: Service): void {
    this.#age += 1;
    this.#entries.set(keyText(service), { service, age: this.#age });
  }

  #replace(service: Service): void {
    const entry = this.#entries.get(keyText(service));
    if (entry !== undefined) this.#entries.set(keyText(service), { ...entry, service });
  }

  #refuseSettings(key: ServiceKey, settings: ServiceSettings): Refusal | undefined {
    if (!this.#schedulers.has(settings.scheduler)) return 'ENOENT';
    if (settings.engine !== '' && !this.#engines.has(settings.engine)) return 'ENOENT';
    return key.family === 6 && (settings.netmask < 1 || settings.netmask > 128) ? 'EINVAL' : undefined;
  }

  #refuseServer(service: Service, server: ServerKey & ServerSettings): Refusal | undefined {
    const isMixed = server.address.family !== service.family;
    if (isMixed && (this.#daemons.size > 0 || !crossesFamilies(server.forward))) return 'EINVAL';
    if (server.weight < 0 || server.lowerThreshold > server.upperThreshold) return 'ERANGE';
    return server.tunnelType === 'gue' && server.tunnelPort === 0 ? 'EINVAL' : undefined;
  }
}
