// A frame's headers in words, one line per header, tunnels included: what an operator compares before and after.
// Guarantees: pure; never throws: bytes that are no header end the list.
// Thread: any.
import ipaddr from 'ipaddr.js';
import { ICMPV6, PROTOCOL_NUMBERS, TCP_FLAGS } from './frame.js';

export interface Header {
  /** ethernet, ipv4, ipv6, tcp, udp, sctp, icmp, icmpv6, gre, gue. */
  readonly layer: string;
  /** Names and values in the order of the header. */
  readonly fields: Readonly<Record<string, string | number>>;
}

/** UDP port of generic UDP encapsulation where the configuration names no other one. */
const GUE_PORT = 6080;
const IP_IN_IP = 4;
const IPV6_IN_IP = 41;
const GRE = 47;
/** Requests and replies of ICMP and ICMPv6. */
const ECHO_TYPES = [0, 8, 128, 129];

export function readHeaders(frame: Buffer, guePorts: readonly number[] = [GUE_PORT]): Header[] {
  const headers: Header[] = [];
  if (frame.length < 14) return headers;
  headers.push({ layer: 'ethernet', fields: { source: mac(frame, 6), destination: mac(frame, 0) } });
  const type = frame.readUInt16BE(12);
  if (type === 0x0800) readIpv4(frame.subarray(14), headers, guePorts);
  else if (type === 0x86dd) readIpv6(frame.subarray(14), headers, guePorts);
  return headers;
}

function readIpv4(bytes: Buffer, headers: Header[], guePorts: readonly number[]): void {
  const length = ((bytes[0] ?? 0) & 15) * 4;
  if (bytes.length < 20 || length < 20) return;
  const tos = bytes.readUInt8(1);
  headers.push({
    layer: 'ipv4',
    fields: {
      source: bytes.subarray(12, 16).join('.'),
      destination: bytes.subarray(16, 20).join('.'),
      ttl: bytes.readUInt8(8),
      id: bytes.readUInt16BE(4),
      ...((bytes.readUInt8(6) & 0x40) === 0 ? {} : { df: 1 }),
      ...dscp(tos),
    },
  });
  readTransport(bytes.readUInt8(9), bytes.subarray(length), headers, guePorts);
}

function readIpv6(bytes: Buffer, headers: Header[], guePorts: readonly number[]): void {
  if (bytes.length < 40) return;
  headers.push({
    layer: 'ipv6',
    fields: {
      source: ipv6(bytes.subarray(8, 24)),
      destination: ipv6(bytes.subarray(24, 40)),
      'hop limit': bytes.readUInt8(7),
      ...dscp((bytes.readUInt16BE(0) >> 4) & 0xff),
    },
  });
  readTransport(bytes.readUInt8(6), bytes.subarray(40), headers, guePorts);
}

function readTransport(protocol: number, bytes: Buffer, headers: Header[], guePorts: readonly number[]): void {
  if (protocol === IP_IN_IP) readIpv4(bytes, headers, guePorts);
  else if (protocol === IPV6_IN_IP) readIpv6(bytes, headers, guePorts);
  else if (bytes.length >= 4) readPorts(protocol, bytes, headers, guePorts);
}

function readPorts(protocol: number, bytes: Buffer, headers: Header[], guePorts: readonly number[]): void {
  const ports = { source: bytes.readUInt16BE(0), destination: bytes.readUInt16BE(2) };
  switch (protocol) {
    case PROTOCOL_NUMBERS.tcp:
      headers.push({ layer: 'tcp', fields: { ...ports, flags: flagNames(bytes[13] ?? 0) } });
      return;
    case PROTOCOL_NUMBERS.udp:
      headers.push({ layer: 'udp', fields: ports });
      if (guePorts.includes(ports.destination) && bytes.length >= 12) {
        headers.push({ layer: 'gue', fields: { protocol: bytes.readUInt8(9) } });
        readTransport(bytes.readUInt8(9), bytes.subarray(12), headers, guePorts);
      }
      return;
    case PROTOCOL_NUMBERS.sctp:
      headers.push({ layer: 'sctp', fields: ports });
      return;
    case PROTOCOL_NUMBERS.icmp:
    case ICMPV6:
      headers.push({
        layer: protocol === ICMPV6 ? 'icmpv6' : 'icmp',
        fields: {
          type: bytes.readUInt8(0),
          code: bytes.readUInt8(1),
          ...(ECHO_TYPES.includes(bytes.readUInt8(0)) && bytes.length >= 6 ? { id: bytes.readUInt16BE(4) } : {}),
        },
      });
      return;
    case GRE:
      headers.push({ layer: 'gre', fields: { protocol: `0x${bytes.readUInt16BE(2).toString(16).padStart(4, '0')}` } });
      if (bytes.readUInt16BE(2) === 0x0800) readIpv4(bytes.subarray(4), headers, guePorts);
      else if (bytes.readUInt16BE(2) === 0x86dd) readIpv6(bytes.subarray(4), headers, guePorts);
      return;
    default:
  }
}

/** One line: addresses and ports with an arrow, then the rest as name and value. */
export function formatHeader({ layer, fields }: Header): string {
  const { source, destination, ...rest } = fields;
  const words = Object.entries(rest).map(([name, value]) => (name === 'df' ? 'DF' : `${name} ${value}`));
  return [layer.padEnd(8), ...(source === undefined ? [] : [`${source} -> ${destination}`]), ...words]
    .join('  ')
    .replace('  ', ' ');
}

export function flagNames(flags: number): string {
  const names = Object.entries(TCP_FLAGS).filter(([, bit]) => (flags & bit) !== 0);
  return names.map(([name]) => name.toUpperCase()).join(',') || 'none';
}

function dscp(tos: number): Readonly<Record<string, number>> {
  return { ...(tos >> 2 === 0 ? {} : { dscp: tos >> 2 }), ...((tos & 3) === 0 ? {} : { ecn: tos & 3 }) };
}

function mac(bytes: Buffer, at: number): string {
  return [...bytes.subarray(at, at + 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function ipv6(bytes: Buffer): string {
  const address = ipaddr.fromByteArray([...bytes]);
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}
