// The listings that DPVS's ipvsadm has beyond those of ipvsadm, or its own way: local addresses, clients that are refused or let in,
// connections with their local addresses.
// Guarantees: DPVS's columns; reads the table and changes nothing. CONFLICTS and CONNS of local addresses are not counted here: "-".
// Thread: the table's.
// Source: iqiyi/dpvs, tools/ipvsadm, version 1.9.8.
import { formatAddress } from './address.js';
import { formatAddressPort } from './format.js';
import type { AccessListName, Connection, Protocol, Service } from './model.js';
import type { Resolver } from './names.js';
import { compareServices, sorted } from './order.js';
import type { IpvsTable } from './table.js';

const PROTOCOL_NAMES: Record<Protocol, string> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };
const LIST_TITLES: Record<AccessListName, string> = { denied: 'BLACKLIST', allowed: 'WHITELIST' };

function columns(cells: readonly string[], widths: readonly number[]): string {
  return `${cells.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(' ')}\n`;
}

/** -G; `service` undefined: of all services. */
export function listLocalAddresses(table: IpvsTable, service: Service | undefined): string {
  const widths = [20, 8, 20, 10, 10];
  const addresses = table.localAddresses();
  const services = service === undefined ? sorted(table.services(), compareServices) : [service];
  const blocks = services.map((each) => {
    const name = columns(
      [formatAddressPort(each, each.protocol, undefined), String(addresses.length)],
      widths.slice(0, 1).concat(8),
    );
    return [
      name.replace('\n', ' \n'),
      ...addresses.map((address) => columns(['', '', formatAddress(address), '-', '-'], widths)),
    ];
  });
  if (blocks.length === 0) return '';
  return [columns(['VIP:VPORT', 'TOTAL', 'SNAT_IP', 'CONFLICTS', 'CONNS'], widths), ...blocks.flat()].join('');
}

const CONNECTION_PROTOCOLS: Record<Connection['protocol'], Protocol | undefined> = { TCP: 6, UDP: 17, SCTP: 132, IP: undefined };

/** Modes that keep the client's address have it for their local one. */
function connectionLine(connection: Connection, resolver: Resolver | undefined): string {
  const { protocol, client, virtual, server, state, expires, dpvs } = connection;
  const ends = [client, virtual, dpvs?.local ?? client, server].map((end) =>
    formatAddressPort(end, CONNECTION_PROTOCOLS[protocol], resolver),
  );
  const head = `[${dpvs?.worker ?? 0}]${protocol.toLowerCase().padEnd(3)}`;
  return columns([head, `${expires}s`, state, ...ends], [0, 6, 11, 18, 18, 18]);
}

/** -L -c: without a title. `resolver` undefined: numbers only. */
export function listDpvsConnections(table: IpvsTable, resolver: Resolver | undefined): string {
  return table.counters
    .connections()
    .map((connection) => connectionLine(connection, resolver))
    .join('');
}

/** -B and -W; `service` undefined: of all services. */
export function listClients(table: IpvsTable, list: AccessListName, service: Service | undefined): string {
  const widths = [8, 30, 30];
  const services = service === undefined ? sorted(table.services(), compareServices) : [service];
  const lines = services.flatMap((each) =>
    (each[list] ?? []).map((client) =>
      columns([PROTOCOL_NAMES[each.protocol], formatAddressPort(each, each.protocol, undefined), client], widths),
    ),
  );
  return [columns(['PROTO', 'VIP:VPORT', LIST_TITLES[list]], widths), ...lines].join('');
}
