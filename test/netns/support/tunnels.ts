// Tunnels as a balancer wraps them, written from the standards: IP in IP (RFC 2003, RFC 2473), GRE (RFC 2784), GUE
// (draft-ietf-intarea-gue-09), on top of the packet builder.
// Guarantees: pure. Runs in tests only.
import { internetChecksum } from '../../oracle/checksum.js';
import { type Ipv4Fields, type Ipv6Fields, isIpv6, packet } from '../../support/packet/index.js';

export interface Outer {
  readonly sourceMac: string;
  readonly destinationMac: string;
  readonly source: string;
  readonly destination: string;
  /** TOS or traffic class. */
  readonly tos?: number;
  /** Fields of the outer header that differ from the usual ones. */
  readonly ipv4?: Partial<Ipv4Fields>;
  readonly ipv6?: Partial<Ipv6Fields>;
  /** An IPv6 destination option header in between, as Linux tunnel ends send it (RFC 2473 5.1). */
  readonly encapsulationLimit?: true;
}

const etherLength = 14;

export interface Carrier {
  readonly protocol: number;
  readonly bytes: Uint8Array;
}

/** The IP packet in a frame. */
function inner(frame: Uint8Array): Uint8Array {
  return frame.subarray(etherLength);
}

function innerIsIpv6(frame: Uint8Array): boolean {
  return (frame[etherLength] ?? 0) >> 4 === 6;
}

export function ipip(frame: Uint8Array): Carrier {
  return { protocol: innerIsIpv6(frame) ? 41 : 4, bytes: inner(frame) };
}

export function gre(frame: Uint8Array, options: { checksum?: true; checksumError?: number; flags?: number } = {}): Carrier {
  const type = innerIsIpv6(frame) ? [0x86, 0xdd] : [0x08, 0x00];
  const flags = (options.flags ?? 0) | (options.checksum ? 0x8000 : 0);
  const head = [flags >> 8, flags & 0xff, ...type, ...(options.checksum ? [0, 0, 0, 0] : [])];
  const bytes = Uint8Array.from([...head, ...inner(frame)]);
  if (options.checksum) {
    const sum = internetChecksum(bytes) ^ (options.checksumError ?? 0);
    bytes.set([sum >> 8, sum & 0xff], 4);
  }
  return { protocol: 47, bytes };
}

/** The bytes behind the UDP header. */
export function gueBody(frame: Uint8Array, variant: 0 | 1, first = 0, flags = 0, extra: readonly number[] = []): Uint8Array {
  if (variant === 1) return inner(frame);
  return Uint8Array.from([first, innerIsIpv6(frame) ? 41 : 4, flags >> 8, flags & 0xff, ...extra, ...inner(frame)]);
}

/** Ethernet and outer IP header around a carrier. */
export function encapsulate(outer: Outer, carrier: Carrier): Uint8Array {
  const start = packet().eth({ source: outer.sourceMac, destination: outer.destinationMac });
  const { source, destination, tos = 0 } = outer;
  if (!isIpv6(source)) {
    const fields = { source, destination, tos, dontFragment: true, protocol: carrier.protocol, ...outer.ipv4 };
    return start.ipv4(fields).payload(carrier.bytes).build();
  }
  const limited = outer.encapsulationLimit === true;
  const bytes = limited ? Uint8Array.from([carrier.protocol, 0, 4, 1, 4, 1, 0, 0, ...carrier.bytes]) : carrier.bytes;
  const nextHeader = limited ? 60 : carrier.protocol;
  return start
    .ipv6({ source, destination, trafficClass: tos, nextHeader, ...outer.ipv6 })
    .payload(bytes)
    .build();
}

/** GUE: with the checksum of UDP, wrong by `checksumError`, or without one. */
export function encapsulateInUdp(
  outer: Outer,
  body: Uint8Array,
  options: { port?: number; checksum?: true; checksumError?: number } = {},
): Uint8Array {
  const start = packet().eth({ source: outer.sourceMac, destination: outer.destinationMac });
  const { source, destination, tos = 0 } = outer;
  const ip = isIpv6(source)
    ? start.ipv6({ source, destination, trafficClass: tos, ...outer.ipv6 })
    : start.ipv4({ source, destination, tos, dontFragment: true, ...outer.ipv4 });
  const sum = options.checksum ? { checksumError: options.checksumError ?? 0 } : { checksum: 0 };
  return ip
    .udp({ sourcePort: 49_152, destinationPort: options.port ?? 6080, ...sum })
    .payload(body)
    .build();
}
