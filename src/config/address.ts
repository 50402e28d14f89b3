// Addresses, prefixes, port ranges and MAC addresses as they stand in a configuration: strict text in, comparable values out.
// Guarantees: pure; one canonical text per address (RFC 5952), so that equal addresses are equal strings; never throws.
// Thread: any.
import { isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';

export interface Address {
  /** Canonical text: dotted IPv4, or IPv6 as RFC 5952 writes it. */
  readonly text: string;
  readonly family: 4 | 6;
  /** The address as a number, most significant byte first. */
  readonly value: bigint;
}

export interface Prefix {
  readonly address: Address;
  /** Bits of the network part. */
  readonly length: number;
}

/** Why an address cannot be given to a service, a server, a local address or a gateway; undefined when it can. */
export type AddressFault = 'unspecified' | 'loopback' | 'multicast' | 'broadcast' | 'link-local' | 'reserved';

/** Parses an address; undefined for anything else, also for zones (fe80::1%eth0) and IPv4 inside IPv6 (::ffff:192.0.2.1). */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return fromDotted(text);
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const parsed = ipaddr.IPv6.parse(text);
  return parsed.isIPv4MappedAddress() ? undefined : fromParsed(parsed, 6);
}

/** Four numbers without leading zeros have one spelling, which is the canonical one. */
function fromDotted(text: string): Address {
  let value = 0;
  for (const part of text.split('.')) value = value * 256 + Number(part);
  return { text, family: 4, value: BigInt(value) };
}

function fromParsed(parsed: ipaddr.IPv4 | ipaddr.IPv6, family: 4 | 6): Address {
  const text = parsed instanceof ipaddr.IPv6 ? parsed.toRFC5952String() : parsed.toString();
  const value = parsed.toByteArray().reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return { text, family, value };
}

/** Bits of an address of the family. */
export function addressBits(family: 4 | 6): number {
  return family === 4 ? 32 : 128;
}

/** Parses "address/length". Host bits may be set; see `networkOf`. */
export function parsePrefix(text: string): Prefix | undefined {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  const address = match?.[1] === undefined ? undefined : parseAddress(match[1]);
  const length = Number(match?.[2]);
  return address === undefined || length > addressBits(address.family) ? undefined : { address, length };
}

/** The first address of the prefix's network: the address with its host bits cleared. */
export function networkOf(prefix: Prefix): Address {
  const { family, value } = prefix.address;
  const host = BigInt(addressBits(family) - prefix.length);
  return addressOf((value >> host) << host, family);
}

/** The address with this number. */
export function addressOf(value: bigint, family: 4 | 6): Address {
  const bytes = Array.from({ length: family === 4 ? 4 : 16 }, (_, i, n = family === 4 ? 3 : 15) =>
    Number((value >> BigInt(8 * (n - i))) & 0xffn),
  );
  return fromParsed(ipaddr.fromByteArray(bytes), family);
}

export function prefixContains(prefix: Prefix, address: Address): boolean {
  if (prefix.address.family !== address.family) return false;
  const host = BigInt(addressBits(address.family) - prefix.length);
  return prefix.address.value >> host === address.value >> host;
}

/** What kind of address this is, if no packet may have it as the destination of a connection (RFC 6890, RFC 4291). */
export function addressFault(address: Address): AddressFault | undefined {
  const { family, value } = address;
  if (family === 4) {
    const first = Number(value >> 24n);
    if (first === 0) return 'unspecified';
    if (first === 127) return 'loopback';
    if (first >= 224 && first < 240) return 'multicast';
    if (value === 0xffffffffn) return 'broadcast';
    return first >= 240 ? 'reserved' : undefined;
  }
  if (value === 0n) return 'unspecified';
  if (value === 1n) return 'loopback';
  if (value >> 120n === 0xffn) return 'multicast';
  return value >> 118n === 0xfe80n >> 6n ? 'link-local' : undefined;
}

/** Parses "low-high"; the ports may be in the wrong order or out of range, which the semantic rules explain. */
export function parsePortRange(text: string): readonly [number, number] | undefined {
  const match = /^([0-9]{1,5})-([0-9]{1,5})$/.exec(text);
  return match === null ? undefined : [Number(match[1]), Number(match[2])];
}

/** Parses six hexadecimal bytes separated by colons into lower case; undefined for anything else. */
export function parseMac(text: string): string | undefined {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text) ? text.toLowerCase() : undefined;
}
