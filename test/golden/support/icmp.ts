// ICMP errors: as routers and hosts send them, as the balancer must translate them, and as it sends them itself. RFC 792, RFC 1812
// 4.3, RFC 4443. Guarantees: shares no code with the dataplane. Runs in tests only.

import { decodePacket, isIpv6, packet } from '../../support/packet/index.js';
import type { Timeline } from './case.js';
import type { Endpoint } from './flow.js';
import type { Nested } from './tunnel.js';

export interface IcmpKind {
  readonly type: number;
  readonly code: number;
  /** Bytes 4 to 7, such as an MTU. */
  readonly rest?: number;
}

/** The errors by name, for both families. */
export const errors4 = {
  noNet: { type: 3, code: 0 },
  noHost: { type: 3, code: 1 },
  noProtocol: { type: 3, code: 2 },
  noPort: { type: 3, code: 3 },
  tooBig: (mtu: number): IcmpKind => ({ type: 3, code: 4, rest: mtu }),
  filtered: { type: 3, code: 13 },
  timeExceeded: { type: 11, code: 0 },
  reassembly: { type: 11, code: 1 },
  parameter: (pointer: number): IcmpKind => ({ type: 12, code: 0, rest: pointer * 0x1000000 }),
} as const;
export const errors6 = {
  noRoute: { type: 1, code: 0 },
  filtered: { type: 1, code: 1 },
  noAddress: { type: 1, code: 3 },
  noPort: { type: 1, code: 4 },
  tooBig: (mtu: number): IcmpKind => ({ type: 2, code: 0, rest: mtu }),
  timeExceeded: { type: 3, code: 0 },
  parameter: (pointer: number): IcmpKind => ({ type: 4, code: 0, rest: pointer }),
  nextHeader: (pointer: number): IcmpKind => ({ type: 4, code: 1, rest: pointer }),
} as const;

export interface IcmpHeader {
  readonly ttl?: number;
  readonly tos?: number;
  readonly id?: number;
  readonly dontFragment?: boolean;
  readonly checksumError?: number;
}

/** An error from one host to another about a packet, of which `quote` bytes of the frame behind its Ethernet header are repeated. */
export function icmpError(
  from: { readonly mac: string; readonly address: string },
  to: { readonly mac: string; readonly address: string },
  kind: IcmpKind,
  about: Uint8Array,
  { ttl = 64, tos = 0, id = 0x7777, dontFragment = false, checksumError = 0 }: IcmpHeader = {},
): Uint8Array {
  const out = packet().eth({ source: from.mac, destination: to.mac });
  const ends = { source: from.address, destination: to.address };
  const rest = kind.rest ?? 0;
  const fields = {
    type: kind.type,
    code: kind.code,
    rest: [24, 16, 8, 0].map((shift) => Math.floor(rest / 2 ** shift) & 0xff),
    ...(checksumError === 0 ? {} : { checksumError }),
  };
  if (isIpv6(from.address)) out.ipv6({ ...ends, hopLimit: ttl, trafficClass: tos }).icmpv6(fields);
  else out.ipv4({ ...ends, ttl, tos, id, dontFragment }).icmp(fields);
  return out.payload(Uint8Array.from(about)).build();
}

/** What a frame carries, up to `bytes` of the transport packet: what an error quotes. */
export function quoteOf(frame: Uint8Array, bytes = Number.POSITIVE_INFINITY): Uint8Array {
  const { l3, l4, l3Length } = decodePacket(frame);
  return frame.slice(l3, Math.min(l4 + bytes, l3 + l3Length));
}

/** What a decoder must see in an error that goes from one address to another about a packet between two endpoints. */
export function quoting(
  source: string,
  destination: string,
  from: Pick<Endpoint, 'address' | 'port'>,
  to: Pick<Endpoint, 'address' | 'port'>,
): Nested {
  return {
    kind: 'icmp',
    outer: { source, destination },
    inner: { source: from.address, destination: to.address, ports: `${from.port}>${to.port}` },
    whole: false,
  };
}

/** What the balancer sends itself: RFC 1812 4.3.2 (TTL, class, at most 576 bytes), RFC 4443 2.4 (at most 1280 bytes). */
export function tell(t: Timeline, reason: string, frame: Uint8Array, kind: IcmpKind): void {
  const { fields, l3, l3Length } = decodePacket(frame);
  const text = (...names: string[]): string => String(names.map((n) => fields.get(n)).find((v) => v !== undefined) ?? '');
  const [source, destination] = [text('ip.source'), text('ip.destination')];
  const ipv6 = isIpv6(source);
  const about = frame.slice(l3, l3 + Math.min(l3Length, ipv6 ? 1280 - 48 : 576 - 28));
  const error = icmpError(
    { mac: text('eth.destination'), address: destination },
    { mac: text('eth.source'), address: source },
    kind,
    about,
    { tos: ipv6 ? 0 : 0xc0, id: t.now & 0xffff },
  );
  const ports = `${text('tcp.sourcePort', 'udp.sourcePort')}>${text('tcp.destinationPort', 'udp.destinationPort')}`;
  const quoted = { source, destination, ports };
  t.refuse(reason, frame, error, {
    kind: 'icmp',
    outer: { source: destination, destination: source },
    inner: quoted,
    whole: false,
  });
}
