// The files of /proc/net that IPVS has, for scripts that read those instead of running ipvsadm.
// Guarantees: the bytes of Linux 6.1, trailing blanks and all, in the kernel's order; changes nothing.
// Thread: the table's.
import { formatFullIpv6 } from './address.js';
import type { Connection, Counters, Protocol, Server, ServerKey, Service } from './model.js';
import { HZ, type IpvsTable } from './table.js';

const PROTOCOL_NAMES: Record<Protocol, string> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };

function hex(value: number | bigint, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}

function addressPort(key: ServerKey): string {
  const address = key.address.family === 4 ? hex(key.address.value, 8) : `[${formatFullIpv6(key.address)}]`;
  return `${address}:${hex(key.port, 4)}`;
}

/** An IPv6 prefix length stands in the file as the bytes of a number of the other byte order. */
function maskText(service: Service): string {
  return service.family === 4 ? hex(service.netmask, 8) : hex(service.netmask, 2).padEnd(8, '0');
}

function serviceLine(service: Service): string {
  const ops = service.onePacket ? 'ops ' : '';
  let line: string;
  if (service.fwmark !== 0) line = `FWM  ${hex(service.fwmark, 8)} ${service.scheduler} ${ops}`;
  else {
    const name = `${PROTOCOL_NAMES[service.protocol]}  ${addressPort(service)} ${service.scheduler} `;
    line = service.family === 4 ? `${name}${ops} ` : name;
  }
  return service.persistent ? `${line}persistent ${service.timeout * HZ} ${maskText(service)}\n` : `${line}\n`;
}

function serverLine(table: IpvsTable, service: Service, server: Server): string {
  const { active, inactive } = table.counters.counts(service, server);
  const numbers = `${String(server.weight).padEnd(6)} ${String(active).padEnd(10)} ${String(inactive).padEnd(10)}`;
  return `  -> ${addressPort(server)}      ${server.forward.padEnd(7)} ${numbers}\n`;
}

/** /proc/net/ip_vs */
export function procTable(table: IpvsTable): string {
  const blocks = table
    .services()
    .map((service) => serviceLine(service) + service.servers.map((server) => serverLine(table, service, server)).join(''));
  const title = 'Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n';
  return `IP Virtual Server version 1.2.1 (size=${table.connectionBuckets})\n${title}${blocks.join('')}`;
}

function connectionEnd(key: ServerKey): string {
  return `${key.address.family === 4 ? hex(key.address.value, 8) : formatFullIpv6(key.address)} ${hex(key.port, 4)}`;
}

function connectionLine({ protocol, client, virtual, server, state, expires, engine }: Connection): string {
  const ends = [client, virtual, server].map(connectionEnd).join(' ');
  const extra = engine === undefined ? '' : ` ${engine.name} ${engine.data}`;
  return `${protocol.padEnd(3)} ${ends} ${state.padEnd(11)} ${String(expires).padStart(7)}${extra}\n`;
}

/** /proc/net/ip_vs_conn */
export function procConnections(table: IpvsTable): string {
  const title = 'Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n';
  return title + table.counters.connections().map(connectionLine).join('');
}

function hexColumns(values: readonly bigint[]): string {
  return values.map((value, index) => hex(value, 1).padStart(index < 3 ? 8 : 16)).join(' ');
}

/** /proc/net/ip_vs_stats, of the sums over all services */
export function procStats(all: Counters): string {
  const totals = hexColumns([all.conns, all.inPackets, all.outPackets, all.inBytes, all.outBytes]);
  const { connsPerSecond, inPacketsPerSecond, outPacketsPerSecond, inBytesPerSecond, outBytesPerSecond } = all;
  const rates = [connsPerSecond, inPacketsPerSecond, outPacketsPerSecond, inBytesPerSecond, outBytesPerSecond];
  return [
    '   Total Incoming Outgoing         Incoming         Outgoing',
    '   Conns  Packets  Packets            Bytes            Bytes',
    totals,
    '',
    ' Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s',
    hexColumns(rates),
    '',
  ].join('\n');
}
