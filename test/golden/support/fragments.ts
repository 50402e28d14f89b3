// Fragments of a datagram, and what becomes of each in a flow's mode. RFC 791 3.2, RFC 8200 4.5; between the families RFC 7915 4.1 and
// 5.1.1. Guarantees: shares no code with the dataplane. Runs in tests only.

import { decodePacket, isIpv6, packet } from '../../support/packet/index.js';
import { type Flow, forwarded, frame, type PacketSpec, type Step } from './flow.js';
import { isTunnel, tunnelHeaders } from './tunnel.js';

/** One fragment: from byte `from` to byte `to` of what the IP header (IPv6: the fragment header) carries. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

export interface Cut {
  readonly id: number;
  /** Whether more follow; default: unless the range ends where the datagram ends. */
  readonly more?: boolean;
}

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

/** One fragment of a whole packet; IPv4 options are repeated in it. */
export function fragmentOf(whole: Uint8Array, { from, to }: Range, { id, more }: Cut): Uint8Array {
  const { l3, l4, l3Length, protocol, fields } = decodePacket(whole);
  const body = whole.subarray(l4, l3 + l3Length);
  const follows = more ?? to < body.length;
  const mac = { source: String(fields.get('eth.source')), destination: String(fields.get('eth.destination')) };
  const ends = { source: String(fields.get('ip.source')), destination: String(fields.get('ip.destination')) };
  const part = Uint8Array.from(body.subarray(from, to));
  const out = packet().eth(mac);
  if (!isIpv6(ends.source)) {
    const header = whole.subarray(l3, l4);
    return out
      .ipv4({
        ...ends,
        id,
        protocol,
        tos: header[1] ?? 0,
        ttl: header[8] ?? 0,
        moreFragments: follows,
        fragmentOffset: from / 8,
        options: [...header.subarray(20)],
      })
      .payload(part)
      .build();
  }
  const word = from | (follows ? 1 : 0);
  out.ipv6({
    ...ends,
    hopLimit: whole[l3 + 7] ?? 0,
    trafficClass: (u16(whole, l3) >> 4) & 0xff,
    flowLabel: ((u16(whole, l3) & 0xf) << 16) | u16(whole, l3 + 2),
  });
  const data = [0, 0, 0, 0, 0, 0].map((_, i) => (i < 2 ? (word >> (8 - 8 * i)) & 0xff : (id >>> (40 - 8 * i)) & 0xff));
  return out.extension({ kind: 44, nextHeader: protocol, data }).payload(part).build();
}

/** Ranges of equal size that cover `length` bytes; the last one is what is left. */
export function ranges(length: number, size: number): Range[] {
  return Array.from({ length: Math.ceil(length / size) }, (_, i) => ({ from: i * size, to: Math.min(length, (i + 1) * size) }));
}

/** Bytes that the IP header of a datagram carries. */
export function lengthOf(flow: Flow, payload: number): number {
  return payload + (flow.options.protocol === 'tcp' ? 20 : 8);
}

function idOnTheWay(flow: Flow, from: 'client' | 'server', id: number): number {
  const toIpv4 = flow.crossFamily && isIpv6(from === 'client' ? flow.client.address : flow.server.address);
  return toIpv4 ? id & 0xffff : id;
}

/** A fragment of the client's datagram, arriving and leaving. */
export function fragmentFromClient(flow: Flow, spec: PacketSpec, range: Range, cut: Cut): Step {
  const whole = { dontFragment: false, ...spec };
  const arriving = fragmentOf(frame(flow.options.protocol, flow.client, flow.vip, whole).build(), range, cut);
  const inner = fragmentOf(flow.inner(forwarded(whole)), range, { ...cut, id: idOnTheWay(flow, 'client', cut.id) });
  const tunnelled = isTunnel(flow.mode) ? { nested: tunnelHeaders(flow, range.from === 0 ? 'first' : 'later') } : {};
  return { arriving, leaving: flow.around(inner), ...flow.extras(), ...tunnelled };
}

/** A fragment of the server's datagram. */
export function fragmentFromServer(flow: Flow, spec: PacketSpec, range: Range, cut: Cut): Step {
  const { leaving } = flow.fromServer({ dontFragment: false, ...spec });
  const arriving = frame(flow.options.protocol, flow.server, flow.seenBy, { dontFragment: false, ...spec }).build();
  return {
    arriving: fragmentOf(arriving, range, cut),
    leaving: fragmentOf(leaving, range, { ...cut, id: idOnTheWay(flow, 'server', cut.id) }),
  };
}

/** A server's packet that is too big for the client's link and may be cut: the pieces that leave. */
export function piecesFromServer(
  flow: Flow,
  spec: PacketSpec,
  size: number,
): { readonly arriving: Uint8Array; readonly pieces: Step[] } {
  const { arriving, leaving } = flow.fromServer(spec);
  const { l3, l4, l3Length } = decodePacket(leaving);
  const cut = { id: spec.id ?? 0x1234 };
  return {
    arriving,
    pieces: ranges(l3 + l3Length - l4, size).map((range) => ({ arriving, leaving: fragmentOf(leaving, range, cut) })),
  };
}

/** A client's packet that is too big for the server's link and may be cut: the pieces that leave. */
export function piecesFromClient(
  flow: Flow,
  spec: PacketSpec,
  size: number,
): { readonly arriving: Uint8Array; readonly pieces: Step[] } {
  const arriving = frame(flow.options.protocol, flow.client, flow.vip, spec).build();
  const inner = flow.inner(forwarded(spec));
  const { l3, l4, l3Length } = decodePacket(inner);
  const pieces = ranges(l3 + l3Length - l4, size).map((range, i) => ({
    arriving,
    leaving: flow.around(fragmentOf(inner, range, { id: spec.id ?? 0x1234 })),
    ...flow.extras(),
    ...(isTunnel(flow.mode) ? { nested: tunnelHeaders(flow, i === 0 ? 'first' : 'later') } : {}),
  }));
  return { arriving, pieces };
}
