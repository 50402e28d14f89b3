// The network that golden cases play in, and the configuration that describes it to Millrace:
//
//   client 198.51.100.7 --+                                              +-- servers 192.0.2.11, .12, .13
//                         +-- wan 02:..:01:01 [ Millrace ] lan 02:..:01:02 --+
//   gateway .254 ---------+      local addresses 192.0.2.101, .102
//
// Guarantees: plain data; every address comes from the ranges for documentation and tests (RFC 5737, RFC 3849, RFC 2544). Runs in tests only.

import type { ForwardMode } from '../../../src/config/forward-mode.js';
import type { SchedulerName } from '../../../src/config/scheduler-names.js';

export const WAN_MAC = '02:00:00:00:01:01';
export const LAN_MAC = '02:00:00:00:01:02';

export interface Host {
  readonly address: string;
  readonly mac: string;
}

export const CLIENT: Host = { address: '198.51.100.7', mac: '02:00:00:00:0c:07' };
export const OTHER_CLIENT: Host = { address: '198.51.100.8', mac: '02:00:00:00:0c:08' };
export const CLIENT6: Host = { address: '2001:db8:1::7', mac: '02:00:00:00:0c:07' };
export const GATEWAY: Host = { address: '198.51.100.254', mac: '02:00:00:00:0c:fe' };
export const GATEWAY6: Host = { address: '2001:db8:1::fe', mac: '02:00:00:00:0c:fe' };
/** Clients on the far side of the gateways: their frames carry the gateway's Ethernet address. */
export const REMOTE_CLIENT: Host = { address: '198.18.0.9', mac: GATEWAY.mac };
export const REMOTE_CLIENT6: Host = { address: '2001:db8:99::9', mac: GATEWAY6.mac };

export const SERVER1: Host = { address: '192.0.2.11', mac: '02:00:00:00:0a:11' };
export const SERVER2: Host = { address: '192.0.2.12', mac: '02:00:00:00:0a:12' };
export const SERVER3: Host = { address: '192.0.2.13', mac: '02:00:00:00:0a:13' };
/** On the servers' link, but nobody has its Ethernet address. */
export const SILENT_SERVER = '192.0.2.99';
export const SERVER1_V6: Host = { address: '2001:db8:2::11', mac: '02:00:00:00:0a:11' };
export const SERVER2_V6: Host = { address: '2001:db8:2::12', mac: '02:00:00:00:0a:12' };

export const VIP = '203.0.113.10';
export const VIP6 = '2001:db8:f::10';
export const LOCAL = '192.0.2.101';
export const LOCAL_B = '192.0.2.102';
export const LOCAL6 = '2001:db8:2::101';
export const LOCAL6_B = '2001:db8:2::102';
/** The only local port of the shared configuration: so each expected packet is known byte for byte. */
export const LOCAL_PORT = 61000;

export interface InterfaceConfig {
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly addresses: readonly string[];
}
export interface RateLimit {
  readonly packetsPerSecond?: number;
  readonly bitsPerSecond?: number;
}
export interface ServerConfig {
  readonly address: string;
  readonly port?: number;
  readonly weight?: number;
  readonly id?: number;
  readonly mode?: ForwardMode;
  readonly tunnelPort?: number;
  readonly upperThreshold?: number;
  readonly lowerThreshold?: number;
  readonly rateLimit?: RateLimit;
}
export interface ServiceConfig {
  readonly name: string;
  readonly address?: string;
  readonly port?: number | string;
  readonly protocol?: 'tcp' | 'udp' | 'sctp' | 'esp' | 'ah' | 'tcp+udp';
  readonly match?: readonly Readonly<Record<string, string>>[];
  readonly mark?: number;
  readonly mode?: ForwardMode;
  readonly tunnelPort?: number;
  readonly dscp?: number;
  readonly scheduler?: SchedulerName;
  readonly schedulerOptions?: Readonly<Record<string, unknown>>;
  readonly persistence?: { readonly timeout?: number; readonly prefix?: number; readonly group?: string };
  readonly onePacket?: boolean;
  readonly sloppyTcp?: boolean;
  readonly connReuseMode?: 0 | 1 | 2;
  readonly maxConnections?: number;
  readonly rateLimit?: RateLimit;
  readonly acl?: { readonly default?: 'allow' | 'deny'; readonly allow?: readonly string[]; readonly deny?: readonly string[] };
  readonly timeouts?: { readonly tcp?: Readonly<Record<string, number>>; readonly udp?: Readonly<Record<string, number>> };
  readonly clientAddress?: Readonly<Record<string, unknown>> & { readonly method: string };
  readonly acceptProxy?: { readonly from: readonly string[] };
  readonly servers: readonly ServerConfig[];
}
export interface SnatConfig {
  readonly name: string;
  readonly match: readonly Readonly<Record<string, string>>[];
  readonly pool: readonly string[];
}
export interface SessionsConfig {
  readonly maxPerWorker?: number;
  readonly timeouts?:
    | 'ipvs'
    | 'dpvs'
    | {
        readonly profile?: 'ipvs' | 'dpvs';
        readonly tcp?: Readonly<Record<string, number>>;
        readonly udp?: Readonly<Record<string, number>>;
      };
}
/** The part of millrace.yaml that golden cases use. */
export interface CaseConfig {
  readonly workers: number;
  readonly interfaces: readonly InterfaceConfig[];
  readonly dataplane: { readonly seed: string };
  readonly sessions?: SessionsConfig;
  readonly localAddresses: readonly string[];
  readonly localPorts: string;
  readonly tunnelSources?: readonly string[];
  readonly echoReplies?: boolean;
  readonly routes: readonly { readonly prefix: string; readonly via?: string; readonly interface: string }[];
  readonly neighbours: readonly { readonly address: string; readonly mac: string; readonly interface: string }[];
  readonly services: readonly ServiceConfig[];
  readonly snat?: readonly SnatConfig[];
}

export const WEB: ServiceConfig = {
  name: 'web',
  address: VIP,
  port: 80,
  protocol: 'tcp',
  servers: [{ address: SERVER1.address, port: 8080 }],
};
export const DNS: ServiceConfig = {
  name: 'dns',
  address: VIP,
  port: 53,
  protocol: 'udp',
  servers: [{ address: SERVER2.address, port: 5353 }],
};
export const WEB6: ServiceConfig = {
  name: 'web6',
  address: VIP6,
  port: 80,
  protocol: 'tcp',
  servers: [{ address: SERVER1_V6.address, port: 8080 }],
};
export const DNS6: ServiceConfig = {
  name: 'dns6',
  address: VIP6,
  port: 53,
  protocol: 'udp',
  servers: [{ address: SERVER2_V6.address, port: 5353 }],
};

const on = (iface: string, ...hosts: readonly Host[]) => hosts.map(({ address, mac }) => ({ address, mac, interface: iface }));

/** What every case uses unless it says otherwise. */
export const SHARED_CONFIG: CaseConfig = {
  workers: 1,
  interfaces: [
    { name: 'wan', mac: WAN_MAC, mtu: 1500, addresses: ['198.51.100.1/24', '2001:db8:1::1/64'] },
    { name: 'lan', mac: LAN_MAC, mtu: 1500, addresses: ['192.0.2.1/24', '2001:db8:2::1/64'] },
  ],
  dataplane: { seed: '1' },
  localAddresses: [LOCAL, LOCAL6],
  localPorts: `${LOCAL_PORT}-${LOCAL_PORT}`,
  routes: [
    { prefix: '0.0.0.0/0', via: GATEWAY.address, interface: 'wan' },
    { prefix: '::/0', via: GATEWAY6.address, interface: 'wan' },
  ],
  neighbours: [
    ...on('wan', CLIENT, OTHER_CLIENT, CLIENT6, GATEWAY, GATEWAY6),
    ...on('lan', SERVER1, SERVER2, SERVER3, SERVER1_V6, SERVER2_V6),
  ],
  services: [WEB, DNS, WEB6, DNS6],
};

/** The shared configuration with some parts replaced. */
export function configWith(changes: Partial<CaseConfig>): CaseConfig {
  return { ...SHARED_CONFIG, ...changes };
}
