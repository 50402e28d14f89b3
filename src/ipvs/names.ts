// Names of hosts and ports, both ways, from the text of /etc/hosts and /etc/services.
// Guarantees: pure; never throws; lines that cannot be read are left out, as the C library does.
// Thread: any.
import { formatAddress, type IpAddress, parseDotted, parseIpv6 } from './address.js';
import type { Protocol } from './model.js';

/** What ipvsadm asks the C library. Undefined: unknown. */
export interface Resolver {
  /** IPv4 address of a host; ipvsadm never asks for IPv6. */
  readonly addressOf: (name: string) => IpAddress | undefined;
  /** First name of an address. */
  readonly nameOf: (address: IpAddress) => string | undefined;
  readonly portOf: (name: string, protocol: Protocol) => number | undefined;
  readonly serviceOf: (port: number, protocol: Protocol) => string | undefined;
}

const PROTOCOL_NAMES: Record<Protocol, string> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };

function words(text: string): string[][] {
  const lines = text.split('\n').map((line) => line.replace(/#.*/, '').trim());
  return lines.filter((line) => line !== '').map((line) => line.split(/\s+/));
}

function setOnce<V>(map: Map<string, V>, key: string, value: V): void {
  if (!map.has(key)) map.set(key, value);
}

/** A resolver over the contents of /etc/hosts and /etc/services; the first line that fits wins. */
export function resolverFromFiles(files: { readonly hosts: string; readonly services: string }): Resolver {
  const addresses = new Map<string, IpAddress>();
  const names = new Map<string, string>();
  for (const [text = '', ...hostNames] of words(files.hosts)) {
    const address = parseDotted(text) ?? parseIpv6(text);
    if (address === undefined || hostNames[0] === undefined) continue;
    setOnce(names, formatAddress(address), hostNames[0]);
    if (address.family === 4) for (const name of hostNames) setOnce(addresses, name.toLowerCase(), address);
  }
  const ports = new Map<string, number>();
  const services = new Map<string, string>();
  for (const [name = '', portText = '', ...aliases] of words(files.services)) {
    const match = /^([0-9]{1,5})\/([a-z]+)$/.exec(portText);
    if (match === null) continue;
    setOnce(services, portText, name);
    for (const alias of [name, ...aliases]) setOnce(ports, `${alias}/${match[2]}`, Number(match[1]));
  }
  return {
    addressOf: (name) => addresses.get(name.toLowerCase()),
    nameOf: (address) => names.get(formatAddress(address)),
    portOf: (name, protocol) => ports.get(`${name}/${PROTOCOL_NAMES[protocol]}`),
    serviceOf: (port, protocol) => services.get(`${port}/${PROTOCOL_NAMES[protocol]}`),
  };
}
