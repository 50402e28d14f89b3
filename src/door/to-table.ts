// Shows a configuration as an IPVS table: services with one address and one port or any, services with a mark, and their servers.
// Guarantees: pure; services and servers carry their names in `origin`, by which to-operations.ts finds them again; what IPVS has no form
// for is left out with the reason. docs/ipvsadm.md lists it.
// Thread: any.
import { addressBits, parseAddress } from '../config/address.js';
import { isAnyPort, isHost, parsePorts, parseVips } from '../config/matching.js';
import { SCHEDULERS } from '../config/scheduler-names.js';
import type { Config, ServerConfig, ServiceConfig } from '../config/schema.js';
import { resolveTimeouts } from '../config/timeout-profiles.js';
import { type IpAddress, NO_ADDRESS } from '../ipvs/address.js';
import type { Forward, Protocol, ProxyProtocol, Server, Service, ServiceKey, Timeouts } from '../ipvs/model.js';

export interface LeftOut {
  readonly service: string;
  readonly reason: string;
}

export interface TableContent {
  /** The oldest first. */
  readonly services: readonly Service[];
  readonly leftOut: readonly LeftOut[];
  readonly timeouts: Timeouts;
  readonly localAddresses: readonly IpAddress[];
}

/** UDP port of GUE where the configuration names none. */
export const GUE_PORT = 6080;

const PROTOCOLS: Readonly<Record<string, Protocol>> = { tcp: 6, udp: 17, sctp: 132 };

const FORWARDS: Readonly<Record<ServiceConfig['mode'], Forward>> = {
  fullnat: 'FullNat',
  nat: 'Masq',
  direct: 'Route',
  l3dsr: 'Route',
  ipip: 'Tunnel',
  gre: 'Tunnel',
  gue: 'Tunnel',
};

const PROXY: Readonly<Record<string, ProxyProtocol>> = { 'proxy-v1': 'v1', 'proxy-v2': 'v2' };

/** What a server is known by within its service. IPv6 must be in its canonical text, as the dataplane and the configuration's check write it. */
export function originOf(address: string, port: number): string {
  return `${address} ${port}`;
}

/** Servers of a service by their `origin`. */
export function serversByOrigin(service: ServiceConfig): Map<string, ServerConfig> {
  return new Map(
    service.servers.map((server) => {
      const port = server.port ?? (typeof service.port === 'number' ? service.port : 0);
      return [originOf(parseAddress(server.address)?.text ?? server.address, port), server];
    }),
  );
}

/** Which of the scheduler's options has which flag of IPVS. */
export function flagOptions(scheduler: string): readonly { readonly flag: 1 | 2; readonly option: 'fallback' | 'port' }[] {
  const options: readonly string[] = SCHEDULERS.find(({ name }) => name === scheduler)?.options ?? [];
  return ([{ flag: 1, option: 'fallback' } as const, { flag: 2, option: 'port' } as const] as const).filter(({ option }) =>
    options.includes(option),
  );
}

/** The family of a service with a mark is that of its first match. */
export function familyOfMatches(match: readonly { readonly destination: string }[]): 4 | 6 {
  return parseVips(match[0]?.destination ?? '')?.address.family ?? 4;
}

function keyOf(service: ServiceConfig): ServiceKey | string {
  if (service.match !== undefined) {
    if (service.mark === undefined) return 'it has a list of matches and no mark';
    return { fwmark: service.mark, family: familyOfMatches(service.match), protocol: 6, address: NO_ADDRESS, port: 0 };
  }
  const protocol = PROTOCOLS[service.protocol ?? ''];
  if (protocol === undefined) return `its protocol is ${service.protocol}`;
  const vips = parseVips(service.address ?? '');
  if (vips === undefined || !isHost(vips)) return 'its address is a prefix';
  const ports = parsePorts(service.port);
  if (ports === undefined || (ports[0] !== ports[1] && !isAnyPort(ports))) return 'it has a range of ports';
  const { family, value } = vips.address;
  return { fwmark: 0, family, protocol, address: { family, value }, port: isAnyPort(ports) ? 0 : ports[0] };
}

function netmaskOf(service: ServiceConfig, family: 4 | 6): number {
  const length = service.persistence?.prefix ?? addressBits(family);
  return family === 6 ? length : (0xffffffff << (32 - Math.min(length, 32))) >>> 0;
}

function connTimeoutOf({ timeouts }: ServiceConfig, protocol: Protocol): number {
  if (protocol === 17) return timeouts?.udp.normal ?? 0;
  return (protocol === 132 ? timeouts?.sctp.established : timeouts?.tcp.established) ?? 0;
}

function serverOf(service: ServiceConfig, server: ServerConfig): Server | undefined {
  const address = parseAddress(server.address);
  if (address === undefined) return undefined;
  const mode = server.mode ?? service.mode;
  return {
    address: { family: address.family, value: address.value },
    port: server.port ?? (typeof service.port === 'number' ? service.port : 0),
    forward: FORWARDS[mode],
    weight: server.weight,
    upperThreshold: server.upperThreshold ?? 0,
    lowerThreshold: server.lowerThreshold ?? 0,
    tunnelType: mode === 'gre' || mode === 'gue' ? mode : 'ipip',
    tunnelPort: mode === 'gue' ? (server.tunnelPort ?? service.tunnelPort ?? GUE_PORT) : 0,
    tunnelChecksum: 'none',
    origin: originOf(address.text, server.port ?? (typeof service.port === 'number' ? service.port : 0)),
  };
}

function serviceOf(service: ServiceConfig, key: ServiceKey): Service {
  const { persistence, schedulerOptions, acl } = service;
  return {
    ...key,
    scheduler: service.scheduler,
    schedulerFlags: new Set(
      flagOptions(service.scheduler).flatMap(({ flag, option }) => (schedulerOptions?.[option] === true ? [flag] : [])),
    ),
    persistent: persistence !== undefined,
    timeout: persistence?.timeout ?? 0,
    netmask: netmaskOf(service, key.family),
    onePacket: service.onePacket ?? false,
    engine: '',
    connTimeout: connTimeoutOf(service, key.protocol),
    proxyProtocol: PROXY[service.clientAddress?.method ?? ''] ?? 'disable',
    // The last of the file is the newest.
    servers: service.servers.flatMap((server) => serverOf(service, server) ?? []).reverse(),
    origin: service.name,
    denied: (acl?.deny ?? []).map(clientText),
    allowed: (acl?.allow ?? []).map(clientText),
  };
}

/** A prefix as DPVS shows it: an address where it is one. */
function clientText(prefix: string): string {
  const vips = parseVips(prefix);
  return vips !== undefined && isHost(vips) ? vips.address.text : prefix;
}

/** The table of a checked configuration. */
export function contentOf(config: Config): TableContent {
  const services: Service[] = [];
  const leftOut: LeftOut[] = [];
  for (const service of config.services) {
    const key = keyOf(service);
    if (typeof key === 'string') leftOut.push({ service: service.name, reason: key });
    else services.push(serviceOf(service, key));
  }
  const { tcp, udp } = resolveTimeouts(config.sessions.timeouts);
  return {
    services,
    leftOut,
    timeouts: { tcp: tcp.established, tcpFin: tcp.finWait, udp: udp.normal },
    localAddresses: config.localAddresses.flatMap((text) => {
      const address = parseAddress(text);
      return address === undefined ? [] : [{ family: address.family, value: address.value }];
    }),
  };
}
