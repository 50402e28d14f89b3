// ipvsadm's listings of services, servers, connections, timeouts and daemons, and the lines of -S.
// Guarantees: the bytes of ipvsadm 1.31, trailing blanks and all; reads the table and changes nothing.
// Thread: the table's.
import { dotted, formatAddress } from './address.js';
import { formatAddressPort, formatLarge } from './format.js';
import type { Connection, Counters, Daemon, Protocol, Server, Service, ServiceKey } from './model.js';
import type { Resolver } from './names.js';
import type { Dialect } from './option-table.js';
import { compareServers, compareServices, sorted } from './order.js';
import { formatSchedulerFlags } from './scheduler-flags.js';
import type { IpvsTable } from './table.js';

/** Which columns: the first of ipvsadm's options that is given, in this order. */
export type Columns = 'stats' | 'rate' | 'thresholds' | 'persistent-conn' | 'tun-info' | 'plain';

export interface ListFormat {
  readonly columns: Columns;
  /** Undefined: numbers only (-n). */
  readonly resolver: Resolver | undefined;
  readonly exact: boolean;
  /** The kernel's order instead of the sorted one. */
  readonly unsorted: boolean;
  readonly dialect: Dialect;
}

const PROTOCOL_NAMES: Record<Protocol, string> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };
const PROTOCOL_OPTIONS: Record<Protocol, string> = { 6: '-t', 17: '-u', 132: '--sctp-service' };
const FORWARD_OPTIONS = { Masq: '-m', Route: '-g', Tunnel: '-i', FullNat: '--fullnat' } as const;
const CHECKSUM_OPTIONS = { none: '--tun-nocsum', plain: '--tun-csum', remote: '--tun-remcsum' } as const;
const CHECKSUM_SIGNS = { none: '-c', plain: '+c', remote: 'r+c' } as const;
/** Width of an IPv4 server in a listing; longer names are cut, IPv6 is not. */
const SERVER_WIDTH = 28;
const SERVICE_WIDTH = 33;

const FIRST_COLUMN = 'Prot LocalAddress:Port'.padEnd(SERVICE_WIDTH);
const SERVER_LINE = '  -> RemoteAddress:Port';
const numbersTitle = (names: readonly string[]) =>
  `${FIRST_COLUMN} ${names.map((name) => name.padStart(8)).join(' ')}\n${SERVER_LINE}\n`;

const TITLES: Record<Columns, string> = {
  stats: numbersTitle(['Conns', 'InPkts', 'OutPkts', 'InBytes', 'OutBytes']),
  rate: numbersTitle(['CPS', 'InPPS', 'OutPPS', 'InBPS', 'OutBPS']),
  thresholds: `${FIRST_COLUMN} Uthreshold Lthreshold ActiveConn InActConn \n${SERVER_LINE}\n`,
  'persistent-conn': `${FIRST_COLUMN} Weight    PersistConn ActiveConn InActConn \n${SERVER_LINE}\n`,
  'tun-info': `Prot LocalAddress:Port Scheduler Flags\n${SERVER_LINE}           Forward TunnelInfo    Weight ActiveConn InActConn\n`,
  plain: `Prot LocalAddress:Port Scheduler Flags\n${SERVER_LINE}           Forward Weight ActiveConn InActConn\n`,
};

/** Left-aligned columns. */
function columns(...cells: readonly (readonly [value: string | number, width: number])[]): string {
  return cells.map(([value, width]) => String(value).padEnd(width)).join(' ');
}

/** The name of a service with a mark; marks are shown as signed numbers. */
function markName(key: ServiceKey, prefix: string, ipv6: string): string {
  return `${prefix} ${key.fwmark | 0}${key.family === 6 ? ipv6 : ''}`;
}

function listedName(service: Service, format: ListFormat): string {
  if (service.fwmark !== 0) return markName(service, 'FWM ', ' IPv6');
  const name = `${PROTOCOL_NAMES[service.protocol].padEnd(4)} ${formatAddressPort(service, service.protocol, format.resolver)}`;
  return service.family === 6 ? name : name.slice(0, SERVICE_WIDTH);
}

function totals(counters: Counters): readonly bigint[] {
  return [counters.conns, counters.inPackets, counters.outPackets, counters.inBytes, counters.outBytes];
}

function rates(counters: Counters): readonly bigint[] {
  const { connsPerSecond, inPacketsPerSecond, outPacketsPerSecond, inBytesPerSecond, outBytesPerSecond } = counters;
  return [connsPerSecond, inPacketsPerSecond, outPacketsPerSecond, inBytesPerSecond, outBytesPerSecond];
}

function mask(service: Service, word: string): string {
  if (service.family === 6) return service.netmask === 128 ? '' : ` ${word} ${service.netmask}`;
  return service.netmask === 0xffffffff ? '' : ` ${word} ${dotted(service.netmask)}`;
}

function serviceLine(table: IpvsTable, service: Service, format: ListFormat): string {
  const name = listedName(service, format);
  if (format.columns === 'stats' || format.columns === 'rate') {
    const numbers = (format.columns === 'stats' ? totals : rates)(table.counters.service(service));
    return `${name.padEnd(SERVICE_WIDTH)}${numbers.map((value) => formatLarge(value, format.exact)).join('')}\n`;
  }
  let line = `${name} ${service.scheduler}`;
  if (service.schedulerFlags.size > 0) line += ` (${formatSchedulerFlags(service.scheduler, service.schedulerFlags)})`;
  if (service.persistent) line += ` persistent ${service.timeout}${mask(service, 'mask')}`;
  if (service.persistent && service.engine !== '') line += ` pe ${service.engine}`;
  if (service.onePacket) line += ' ops';
  return `${line}${format.dialect === 'dpvs' ? dpvsFlags(service) : ''}\n`;
}

/** What DPVS shows after the flags of IPVS. */
function dpvsFlags({ connTimeout = 0, proxyProtocol = 'disable' }: Service): string {
  return `${connTimeout === 0 ? '' : ` conn-timeout ${connTimeout}`}${proxyProtocol === 'disable' ? '' : ` pp${proxyProtocol}`}`;
}

/** The same as options, for -S. */
function savedDpvs({ connTimeout = 0, proxyProtocol = 'disable' }: Service): string {
  const timeout = connTimeout === 0 ? '' : ` --conn-timeout ${connTimeout}`;
  return `${timeout}${proxyProtocol === 'disable' ? '' : ` --proxy-protocol ${proxyProtocol}`}`;
}

function tunnelInfo(server: Server): string {
  if (server.forward !== 'Tunnel') return 'n/a';
  const sign = CHECKSUM_SIGNS[server.tunnelChecksum];
  if (server.tunnelType === 'gue') return `gue:${server.tunnelPort}:${sign}`;
  return server.tunnelType === 'gre' ? `gre:${sign}` : 'ipip';
}

/** What a server's counters lose on their way to ipvsadm, where services keep 64 bits: all but bytes is cut to 32. */
function cut(value: bigint): bigint {
  return BigInt.asUintN(32, value);
}

function serverNumbers(counters: Counters, format: ListFormat): string {
  if (format.columns === 'stats') {
    return totals(counters)
      .map((value, index) => formatLarge(index < 3 ? cut(value) : value, format.exact))
      .join('');
  }
  // Rates of connections and packets are never shortened in server lines.
  return rates(counters)
    .map((value, index) => (index < 3 ? ` ${String(cut(value)).padStart(8)}` : formatLarge(cut(value), format.exact)))
    .join('');
}

/** A server's name. The kernel does not tell the protocol of a service with a mark, so its ports stay numbers. */
function serverName(service: Service, server: Server, resolver: Resolver | undefined): string {
  return formatAddressPort(server, service.fwmark === 0 ? service.protocol : undefined, resolver);
}

function serverLine(table: IpvsTable, service: Service, server: Server, format: ListFormat): string {
  const text = serverName(service, server, format.resolver);
  const name = `  -> ${(server.address.family === 6 ? text : text.slice(0, SERVER_WIDTH)).padEnd(SERVER_WIDTH)}`;
  if (format.columns === 'stats' || format.columns === 'rate')
    return `${name}${serverNumbers(table.counters.server(service, server), format)}\n`;
  const { active, inactive, persistent } = table.counters.counts(service, server);
  const { forward, weight } = server;
  const connections = [[active, 10] as const, [inactive, 10] as const];
  switch (format.columns) {
    case 'thresholds':
      return `${name} ${columns([server.upperThreshold, 10], [server.lowerThreshold, 10], ...connections)}\n`;
    case 'persistent-conn':
      return `${name} ${columns([weight, 9], [persistent, 11], ...connections)}\n`;
    case 'tun-info':
      return `${name} ${columns([forward, 7], [tunnelInfo(server), 13], [weight, 6], ...connections)}\n`;
    case 'plain':
      return `${name} ${columns([forward, 7], [weight, 6], ...connections)}\n`;
  }
}

function serversOf(service: Service, format: ListFormat): readonly Server[] {
  return format.unsorted ? service.servers : sorted(service.servers, compareServers);
}

function servicesOf(table: IpvsTable, format: ListFormat): readonly Service[] {
  return format.unsorted ? table.services() : sorted(table.services(), compareServices);
}

function block(table: IpvsTable, service: Service, format: ListFormat): string {
  const servers = serversOf(service, format).map((server) => serverLine(table, service, server, format));
  return serviceLine(table, service, format) + servers.join('');
}

/** -L of all services. */
export function listAll(table: IpvsTable, format: ListFormat): string {
  const head = `IP Virtual Server version 1.2.1 (size=${table.connectionBuckets})\n${TITLES[format.columns]}`;
  return servicesOf(table, format).reduce((text, service) => text + block(table, service, format), head);
}

/** -L of one service. */
export function listService(table: IpvsTable, service: Service, format: ListFormat): string {
  return TITLES[format.columns] + block(table, service, format);
}

function savedName(service: Service, resolver: Resolver | undefined): string {
  if (service.fwmark !== 0) return markName(service, '-f', ' -6');
  return `${PROTOCOL_OPTIONS[service.protocol]} ${formatAddressPort(service, service.protocol, resolver)}`;
}

function savedTunnel(server: Server): string {
  if (server.forward !== 'Tunnel') return '';
  const port = server.tunnelType === 'gue' ? ` --tun-port ${server.tunnelPort}` : '';
  const checksum = server.tunnelType === 'ipip' ? '' : ` ${CHECKSUM_OPTIONS[server.tunnelChecksum]}`;
  return ` --tun-type ${server.tunnelType}${port}${checksum}`;
}

/** -S: lines that -R reads. Thresholds are not part of them, and names may be cut, as in ipvsadm. */
export function saveAll(table: IpvsTable, format: ListFormat): string {
  const lines = servicesOf(table, format).flatMap((service) => {
    const name = savedName(service, format.resolver);
    let line = `-A ${name} -s ${service.scheduler}`;
    if (service.persistent) line += ` -p ${service.timeout}${mask(service, '-M')}`;
    if (service.engine !== '') line += ` --pe ${service.engine}`;
    if (service.onePacket) line += ' -o';
    if (service.schedulerFlags.size > 0)
      line += ` ${format.dialect === 'dpvs' ? '--sched-flags' : '-b'} ${formatSchedulerFlags(service.scheduler, service.schedulerFlags)}`;
    if (format.dialect === 'dpvs') line += savedDpvs(service);
    const servers = serversOf(service, format).map((server) => {
      const text = serverName(service, server, format.resolver);
      const how = format.dialect === 'dpvs' && server.forward === 'FullNat' ? '-b' : FORWARD_OPTIONS[server.forward];
      return `-a ${name} -r ${text} ${how} -w ${server.weight}${savedTunnel(server)}`;
    });
    return [line, ...servers];
  });
  return lines.map((line) => `${line}\n`).join('');
}

const CONNECTION_PROTOCOLS: Record<Connection['protocol'], Protocol | undefined> = { TCP: 6, UDP: 17, SCTP: 132, IP: undefined };

function connectionLine(connection: Connection, resolver: Resolver | undefined, withEngine: boolean): string {
  const { protocol, client, virtual, server, state, expires, engine } = connection;
  const name = (key: Connection['client']) => formatAddressPort(key, CONNECTION_PROTOCOLS[protocol], resolver);
  const time = [Math.floor(expires / 60), expires % 60].map((part) => String(part).padStart(2, '0')).join(':');
  const line = columns([protocol, 3], [time, 6], [state, 11], [name(client), 18], [name(virtual), 18]);
  if (!withEngine || engine === undefined) return `${line} ${name(server)}\n`;
  return `${line} ${columns([name(server), 16], [engine.name, 18])} ${engine.data}\n`;
}

/** -L -c, with the persistence engines' columns for --persistent-conn. */
export function listConnections(table: IpvsTable, format: ListFormat): string {
  const withEngine = format.columns === 'persistent-conn';
  const title = columns(['pro expire state', 22], ['source', 18], ['virtual', 18]);
  const last = withEngine ? columns(['destination', 18], ['pe name', 16], ['pe_data', 0]) : 'destination';
  const lines = table.counters.connections().map((entry) => connectionLine(entry, format.resolver, withEngine));
  return `IPVS connection entries\n${title} ${last}\n${lines.join('')}`;
}

/** -L --timeout */
export function listTimeouts(table: IpvsTable): string {
  const { tcp, tcpFin, udp } = table.timeouts();
  return `Timeout (tcp tcpfin udp): ${tcp} ${tcpFin} ${udp}\n`;
}

function daemonLine(daemon: Daemon): string {
  const { role, interfaceName, syncId, maxLength, group, port, ttl } = daemon;
  const where = `group=${formatAddress(group)}, port=${port}, ttl=${ttl}`;
  return `${role} sync daemon (mcast=${interfaceName}, syncid=${syncId}, maxlen=${maxLength}, ${where})\n`;
}

/** -L --daemon */
export function listDaemons(table: IpvsTable): string {
  return table.daemons().map(daemonLine).join('');
}
