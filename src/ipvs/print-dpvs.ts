// The listings that DPVS's ipvsadm has beyond those of ipvsadm: local addresses, and clients that are refused or let in.
// Guarantees: DPVS's columns; reads the table and changes nothing. CONFLICTS and CONNS of local addresses are not counted here: "-".
// Thread: the table's.
// Source: iqiyi/dpvs, tools/ipvsadm, version 1.9.8.
import { formatAddress } from './address.js';
import { formatAddressPort } from './format.js';
import type { AccessListName, Protocol, Service } from './model.js';
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
