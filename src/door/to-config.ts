// Writes a service and a server of an IPVS table as the configuration has them, over what the configuration says of them already.
// Guarantees: pure; what IPVS has no word for (health checks, limits, DSCP, ...) stays as it was. What cannot be written is refused
// before, by refusals.ts.
// Thread: any.
import { addressBits, parseAddress, parsePrefix } from '../config/address.js';
import type { ServerConfig, ServiceConfig } from '../config/schema.js';
import type { ServerInput, ServiceInput } from '../control/edit.js';
import { createError } from '../errors.js';
import { formatAddress, type IpAddress } from '../ipvs/address.js';
import type { Protocol, ProxyProtocol, Server, Service } from '../ipvs/model.js';
import { flagOptions, GUE_PORT, serversByOrigin } from './to-table.js';

const PROTOCOLS = { 6: 'tcp', 17: 'udp', 132: 'sctp' } as const satisfies Record<Protocol, string>;
const METHODS = { v1: 'proxy-v1', v2: 'proxy-v2' } as const satisfies Record<Exclude<ProxyProtocol, 'disable'>, string>;

/** An address as the configuration writes it. */
export function addressText(address: IpAddress): string {
  const text = formatAddress(address);
  return parseAddress(text)?.text ?? text;
}

/** How many bits of a client's address count; undefined for a mask that is no prefix. */
export function maskLength(family: 4 | 6, netmask: number): number | undefined {
  if (family === 6) return netmask;
  const ones = Math.clz32(~netmask);
  return ones === 32 || netmask << ones === 0 ? ones : undefined;
}

/** The object without keys whose value is undefined: for the configuration they are not there. */
function present<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

function modeOf(server: Server, before: ServiceConfig['mode'] | undefined): ServiceConfig['mode'] {
  if (server.forward === 'FullNat') return 'fullnat';
  if (server.forward === 'Masq') return 'nat';
  if (server.forward === 'Tunnel') return server.tunnelType;
  // For IPVS both are routing: which one it is was said in the configuration.
  return before === 'l3dsr' ? 'l3dsr' : 'direct';
}

/** `service` is what the server stands in. */
export function serverInput(service: ServiceInput, server: Server, before: ServerConfig | undefined): ServerInput {
  const serviceMode = service.mode ?? 'fullnat';
  const mode = modeOf(server, before === undefined ? undefined : (before.mode ?? serviceMode));
  const tunnelPort = mode === 'gue' && server.tunnelPort !== (service.tunnelPort ?? GUE_PORT) ? server.tunnelPort : undefined;
  const ownPort = typeof service.port === 'number' ? server.port !== service.port : server.port !== 0;
  const {
    port: _port,
    mode: _mode,
    tunnelPort: _tunnelPort,
    upperThreshold: _upper,
    lowerThreshold: _lower,
    ...kept
  } = before ?? {};
  return {
    ...kept,
    address: before?.address ?? addressText(server.address),
    weight: server.weight,
    ...present({
      port: ownPort ? server.port : undefined,
      mode: mode === serviceMode ? undefined : mode,
      tunnelPort,
      upperThreshold: server.upperThreshold === 0 ? undefined : server.upperThreshold,
      lowerThreshold: server.lowerThreshold === 0 ? undefined : server.lowerThreshold,
    }),
  } as ServerInput;
}

function schedulerOptionsOf(service: Service, before: ServiceConfig | undefined): ServiceConfig['schedulerOptions'] {
  const {
    fallback: _fallback,
    port: _port,
    ...kept
  } = (before?.scheduler === service.scheduler ? before.schedulerOptions : undefined) ?? {};
  const flags = flagOptions(service.scheduler).filter(({ flag }) => service.schedulerFlags.has(flag));
  const options = { ...kept, ...Object.fromEntries(flags.map(({ option }) => [option, true])) };
  return Object.keys(options).length === 0 ? undefined : options;
}

function persistenceOf(service: Service, before: ServiceConfig | undefined): ServiceInput['persistence'] {
  if (!service.persistent) return undefined;
  const { prefix: _prefix, ...kept } = before?.persistence ?? {};
  const length = maskLength(service.family, service.netmask);
  if (length === undefined) throw createError('MILLRACE_E_INPUT_INVALID', 'the mask of persistence is no prefix');
  return {
    ...kept,
    timeout: service.timeout,
    ...present({ prefix: length === addressBits(service.family) ? undefined : length }),
  };
}

/** Clients as prefixes; those that were there are written as they were. */
function prefixes(clients: readonly string[]): string[] {
  return clients.map((client) => {
    const address = parseAddress(client);
    return address === undefined || parsePrefix(client) !== undefined ? client : `${client}/${addressBits(address.family)}`;
  });
}

function aclOf(service: Service, before: ServiceConfig | undefined): ServiceInput['acl'] {
  const lists = { deny: prefixes(service.denied ?? []), allow: prefixes(service.allowed ?? []) };
  if (before?.acl === undefined && lists.deny.length === 0 && lists.allow.length === 0) return undefined;
  return { ...before?.acl, ...lists };
}

function clientAddressOf(service: Service, before: ServiceConfig | undefined): ServiceInput['clientAddress'] {
  const wanted = service.proxyProtocol ?? 'disable';
  const known = before?.clientAddress;
  if (wanted !== 'disable') {
    return known?.method === METHODS[wanted]
      ? known
      : ({ method: METHODS[wanted] } as NonNullable<ServiceInput['clientAddress']>);
  }
  return known?.method === 'proxy-v1' || known?.method === 'proxy-v2' ? undefined : known;
}

function timeoutsOf(service: Service, before: ServiceConfig | undefined): ServiceInput['timeouts'] {
  const wanted = service.connTimeout ?? 0;
  const { tcp = {}, udp = {}, sctp = {} } = before?.timeouts ?? {};
  const { established: _tcp, ...tcpRest } = tcp;
  const { normal: _udp, ...udpRest } = udp;
  const { established: _sctp, ...sctpRest } = sctp;
  const timeouts = {
    tcp: service.protocol === 6 ? { ...tcpRest, ...present({ established: wanted || undefined }) } : tcp,
    udp: service.protocol === 17 ? { ...udpRest, ...present({ normal: wanted || undefined }) } : udp,
    sctp: service.protocol === 132 ? { ...sctpRest, ...present({ established: wanted || undefined }) } : sctp,
  };
  return Object.values(timeouts).every((states) => Object.keys(states).length === 0) ? undefined : timeouts;
}

/** What a service is found by, for one that the configuration does not have yet. */
export type Identity = Pick<ServiceInput, 'name'> & Partial<Pick<ServiceInput, 'mark' | 'match'>>;

function found(service: Service): Partial<ServiceInput> {
  if (service.fwmark !== 0) return {};
  return {
    address: addressText(service.address),
    port: service.port === 0 ? 'any' : service.port,
    protocol: PROTOCOLS[service.protocol],
  };
}

/** The whole service. `before` is what the configuration has under its name; `identity` is for services that it does not have. */
export function serviceInput(service: Service, before: ServiceConfig | undefined, identity: Identity): ServiceInput {
  const {
    schedulerOptions: _options,
    persistence: _persistence,
    onePacket: _onePacket,
    acl: _acl,
    clientAddress: _clientAddress,
    timeouts: _timeouts,
    ...kept
  } = before ?? { ...identity, ...found(service), mode: 'direct' as const };
  const own = {
    ...kept,
    scheduler: service.scheduler as ServiceConfig['scheduler'],
    ...present({
      schedulerOptions: schedulerOptionsOf(service, before),
      persistence: persistenceOf(service, before),
      onePacket: service.onePacket ? true : before?.onePacket === false ? false : undefined,
      acl: aclOf(service, before),
      clientAddress: clientAddressOf(service, before),
      timeouts: timeoutsOf(service, before),
    }),
    servers: [],
  } as ServiceInput;
  const known = before === undefined ? undefined : serversByOrigin(before);
  const servers = [...service.servers].reverse();
  return { ...own, servers: servers.map((server) => serverInput(own, server, known?.get(server.origin ?? ''))) };
}
