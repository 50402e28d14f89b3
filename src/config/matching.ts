// What a service is found by: its addresses, ports and protocols, or its list of matches, as the configuration writes them.
// Guarantees: pure; never throws.
// Thread: any; no state.
import { type Address, addressBits, type Prefix, parseAddress, parsePortRange, parsePrefix } from './address.js';

/** First and last port; [0, 65535] is any port. */
export type Ports = readonly [number, number];

export const ANY_PORT: Ports = [0, 65_535];

/** What `protocol: tcp+udp` stands for. */
export const BOTH = 'tcp+udp';

/** An address, or a prefix of addresses. */
export function parseVips(text: string): Prefix | undefined {
  const address = parseAddress(text);
  return address === undefined ? parsePrefix(text) : hostPrefix(address);
}

export function hostPrefix(address: Address): Prefix {
  return { address, length: addressBits(address.family) };
}

export function isHost(prefix: Prefix): boolean {
  return prefix.length === addressBits(prefix.address.family);
}

/** One port, "low-high", or "any". */
export function parsePorts(held: unknown): Ports | undefined {
  if (typeof held === 'number') return Number.isInteger(held) ? [held, held] : undefined;
  if (typeof held !== 'string') return undefined;
  return held === 'any' ? ANY_PORT : parsePortRange(held);
}

export function isAnyPort(ports: Ports): boolean {
  return ports[0] === 0 && ports[1] === 65_535;
}

/** TCP and UDP apart, so that two services can be compared. */
export function protocolsOf(protocol: string): readonly string[] {
  if (protocol === 'any') return ['tcp', 'udp', 'icmp'];
  return protocol === BOTH ? ['tcp', 'udp'] : [protocol];
}

/** The address and port that clients connect to, as people write them. */
export function endpointText(address: string, port: number | string | undefined): string {
  if (port === undefined) return address;
  if (typeof port === 'string') return `${address} port${port === 'any' ? ' any' : `s ${port}`}`;
  if (address.includes('/')) return `${address} port ${port}`;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** A service as one line for people: "tcp 203.0.113.10:80", "tcp+udp 203.0.113.0/24 port any", "mark 7 (3 matches)". */
export function describeService(service: {
  readonly address?: string | undefined;
  readonly port?: number | string | undefined;
  readonly protocol?: string | undefined;
  readonly mark?: number | undefined;
  readonly match?: readonly unknown[] | undefined;
}): string {
  if (service.address !== undefined && service.protocol !== undefined) {
    return `${service.protocol} ${endpointText(service.address, service.port)}`;
  }
  const count = service.match?.length ?? 0;
  const matches = `${count} match${count === 1 ? '' : 'es'}`;
  return service.mark === undefined ? matches : `mark ${service.mark} (${matches})`;
}
