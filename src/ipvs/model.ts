// The nouns of an IPVS table: services, servers, their counters, connections, and what the table has to be told from outside.
// Guarantees: types and constants only.
// Thread: any.
// Source: the behaviour of Linux 6.1 in the recordings in test/ipvsadm/recordings; limits from linux/ip_vs.h.
import type { IpAddress } from './address.js';
import type { TunnelType } from './option-table.js';

/** IP protocol numbers that IPVS balances. */
export type Protocol = 6 | 17 | 132;

/** FullNat is DPVS's; the kernel has the others. */
export type Forward = 'Masq' | 'Route' | 'Tunnel' | 'FullNat';

/** What DPVS tells servers of clients in front of the connection's bytes. */
export type ProxyProtocol = 'disable' | 'v1' | 'v2';

/** What names a service: a mark, or protocol, address and port. */
export interface ServiceKey {
  /** 0 when the service has an address. */
  readonly fwmark: number;
  readonly family: 4 | 6;
  readonly protocol: Protocol;
  readonly address: IpAddress;
  readonly port: number;
}

/** What a service is configured to do. */
export interface ServiceSettings {
  readonly scheduler: string;
  /** Scheduler flags 1 to 3; their names depend on the scheduler. */
  readonly schedulerFlags: ReadonlySet<1 | 2 | 3>;
  readonly persistent: boolean;
  /** Seconds; 0 when not persistent. */
  readonly timeout: number;
  /** IPv4: the mask as a number, most significant byte first. IPv6: prefix length. */
  readonly netmask: number;
  /** One-packet scheduling. */
  readonly onePacket: boolean;
  /** Persistence engine; empty for none. */
  readonly engine: string;
  /** DPVS: seconds that an idle connection is kept; 0: as all services. Absent: an edit leaves it as it is. */
  readonly connTimeout?: number;
  /** DPVS: which PROXY header servers get. Absent: an edit leaves it as it is. */
  readonly proxyProtocol?: ProxyProtocol;
}

/** What names a server within a service. */
export interface ServerKey {
  readonly address: IpAddress;
  readonly port: number;
}

export interface ServerSettings {
  readonly forward: Forward;
  readonly weight: number;
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
  readonly tunnelType: TunnelType;
  /** 0 for none. */
  readonly tunnelPort: number;
  readonly tunnelChecksum: 'none' | 'plain' | 'remote';
}

export interface Server extends ServerKey, ServerSettings {
  /** What the table's owner knows the server by; stays through edits, and goes when the server is deleted. */
  readonly origin?: string;
}

/** DPVS's two lists of client addresses. */
export type AccessListName = 'denied' | 'allowed';

export interface Service extends ServiceKey, ServiceSettings {
  /** Newest first, as the kernel keeps them. */
  readonly servers: readonly Server[];
  /** What the table's owner knows the service by; stays through edits, and goes when the service is deleted. */
  readonly origin?: string;
  /** DPVS: clients' addresses or prefixes. */
  readonly denied?: readonly string[];
  readonly allowed?: readonly string[];
}

/** Totals since the last -Z, and averages per second. */
export interface Counters {
  readonly conns: bigint;
  readonly inPackets: bigint;
  readonly outPackets: bigint;
  readonly inBytes: bigint;
  readonly outBytes: bigint;
  readonly connsPerSecond: bigint;
  readonly inPacketsPerSecond: bigint;
  readonly outPacketsPerSecond: bigint;
  readonly inBytesPerSecond: bigint;
  readonly outBytesPerSecond: bigint;
}

export interface ConnectionCounts {
  readonly active: number;
  readonly inactive: number;
  readonly persistent: number;
}

/** One connection or persistence template. */
export interface Connection {
  /** "IP" is a template of a fwmark service. */
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'IP';
  readonly client: ServerKey;
  readonly virtual: ServerKey;
  readonly server: ServerKey;
  /** As the kernel names it: ESTABLISHED, TIME_WAIT, ASSURED. */
  readonly state: string;
  /** Seconds until it expires. */
  readonly expires: number;
  /** Persistence engine and what it knows, both without white space. */
  readonly engine?: { readonly name: string; readonly data: string };
  /** What DPVS shows beside: the worker, and where the server's answers go. */
  readonly dpvs?: { readonly worker: number; readonly local: ServerKey };
}

/** Where the numbers of the listings come from. */
export interface CounterSource {
  /** A service's own counters, 64 bits each. */
  readonly service: (service: Service) => Counters;
  readonly server: (service: Service, server: Server) => Counters;
  readonly counts: (service: Service, server: Server) => ConnectionCounts;
  /** -Z: of one service, or of all. */
  readonly zero: (service: Service | undefined) => void;
  /** In the order in which they are to be listed. */
  readonly connections: () => readonly Connection[];
}

export const NO_COUNTS: Counters = {
  conns: 0n,
  inPackets: 0n,
  outPackets: 0n,
  inBytes: 0n,
  outBytes: 0n,
  connsPerSecond: 0n,
  inPacketsPerSecond: 0n,
  outPacketsPerSecond: 0n,
  inBytesPerSecond: 0n,
  outBytesPerSecond: 0n,
};

/** A table that no packet has met. */
export const NO_TRAFFIC: CounterSource = {
  service: () => NO_COUNTS,
  server: () => NO_COUNTS,
  counts: () => ({ active: 0, inactive: 0, persistent: 0 }),
  zero: () => {},
  connections: () => [],
};

/** Seconds, as `ipvsadm --set` takes them; 0 keeps what is set. */
export interface Timeouts {
  readonly tcp: number;
  readonly tcpFin: number;
  readonly udp: number;
}

export type DaemonRole = 'master' | 'backup';

export interface DaemonRequest {
  readonly role: DaemonRole;
  readonly interfaceName: string;
  readonly syncId: number;
  /** 0: from the MTU. */
  readonly maxLength: number;
  /** Undefined: 224.0.0.81. */
  readonly group: IpAddress | undefined;
  /** 0: 8848. */
  readonly port: number;
  /** 0: 1. */
  readonly ttl: number;
}

export interface Daemon extends DaemonRequest {
  readonly group: IpAddress;
}

/** What the kernel would ask its own network about. */
export interface HostFacts {
  /** MTU of an interface; undefined when there is none of that name. */
  readonly mtuOf: (interfaceName: string) => number | undefined;
  /** Whether an address is one of the host's own; a link-local server is accepted only then. */
  readonly isLocal: (address: IpAddress) => boolean;
  /** Whether an IPv4 address is the broadcast address of an interface. */
  readonly isBroadcast: (address: IpAddress) => boolean;
}

/** A host without interfaces. */
export const NO_HOST: HostFacts = { mtuOf: () => undefined, isLocal: () => false, isBroadcast: () => false };
