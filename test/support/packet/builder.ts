// Packet builder: frames for captures, layer by layer, in the order of the wire:
//
//   packet().eth({...}).ipv4({...}).tcp({...}).payload('hello').build()
//
// Lengths, protocol numbers and checksums are computed unless a field says otherwise, so that one wrong thing can be built at a time.
// Guarantees: build() is pure and may be called again; nothing is shared with native/. Runs in tests only.

import { crc32c, internetChecksum, onesComplementAdd, pseudoHeaderSum } from '../../oracle/checksum.js';
import { ipBytes, ipv4Bytes, ipv6Bytes, macBytes } from './address.js';
import type { TcpOption } from './tcp-options.js';

export interface EthFields {
  readonly source: string;
  readonly destination: string;
  /** Default: that of the next layer. */
  readonly type?: number;
}

/** How a checksum field is filled: `checksum` is written as it is; `checksumError` is added to the right one (one's complement). */
export interface ChecksumFields {
  readonly checksum?: number;
  readonly checksumError?: number;
}

export interface Ipv4Fields extends ChecksumFields {
  readonly source: string;
  readonly destination: string;
  readonly version?: number;
  /** Header length in 32-bit words. */
  readonly ihl?: number;
  readonly tos?: number;
  /** Bytes. */
  readonly totalLength?: number;
  readonly id?: number;
  readonly dontFragment?: boolean;
  readonly moreFragments?: boolean;
  /** In units of 8 bytes. */
  readonly fragmentOffset?: number;
  readonly ttl?: number;
  readonly protocol?: number;
  /** Padded with zeros to a multiple of 4. */
  readonly options?: readonly number[];
}

export interface Ipv6Fields {
  readonly source: string;
  readonly destination: string;
  readonly version?: number;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
  /** Bytes after the fixed header. */
  readonly payloadLength?: number;
  readonly nextHeader?: number;
  readonly hopLimit?: number;
}

/** An IPv6 extension header of the common shape (RFC 8200 4.3, 4.4, 4.6): next header, length in 8-byte units beyond the first, data. */
export interface ExtensionFields {
  /** 0 hop-by-hop, 43 routing, 60 destination options, 44 fragment (whose second byte is reserved). */
  readonly kind: number;
  readonly length?: number;
  readonly nextHeader?: number;
  /** Bytes after the first two; padded with zeros to fill 8-byte units. */
  readonly data?: readonly number[];
}

export interface TcpFields extends ChecksumFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq?: number;
  readonly ack?: number;
  /** Letters of F S R P A U E C, any order; '' for none. */
  readonly flags?: string;
  readonly window?: number;
  readonly urgent?: number;
  /** Header length in 32-bit words. */
  readonly dataOffset?: number;
  /** Padded with end-of-options to a multiple of 4. */
  readonly options?: readonly TcpOption[];
}

export interface UdpFields extends ChecksumFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Bytes with header. */
  readonly length?: number;
}

/** A chunk: type, flags, and what follows its length; padded with zeros behind that length. */
export interface SctpChunkFields {
  readonly type: number;
  readonly flags?: number;
  readonly length?: number;
  readonly value?: Uint8Array;
}

export interface SctpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly tag?: number;
  readonly chunks?: readonly SctpChunkFields[];
  /** Bits by which the CRC32c is wrong. */
  readonly checksumError?: number;
}

export interface IcmpFields extends ChecksumFields {
  readonly type: number;
  readonly code?: number;
  /** Bytes 4 to 7. */
  readonly rest?: readonly number[];
}

export interface ArpFields {
  /** 1 request, 2 reply. */
  readonly operation: number;
  readonly senderMac: string;
  readonly senderIp: string;
  readonly targetMac: string;
  readonly targetIp: string;
}

type Layer =
  | { readonly kind: 'eth'; readonly fields: EthFields }
  | { readonly kind: 'vlan'; readonly fields: { readonly id: number; readonly priority?: number; readonly type?: number } }
  | { readonly kind: 'ipv4'; readonly fields: Ipv4Fields }
  | { readonly kind: 'ipv6'; readonly fields: Ipv6Fields }
  | { readonly kind: 'extension'; readonly fields: ExtensionFields }
  | { readonly kind: 'tcp'; readonly fields: TcpFields }
  | { readonly kind: 'udp'; readonly fields: UdpFields }
  | { readonly kind: 'sctp'; readonly fields: SctpFields }
  | { readonly kind: 'icmp' | 'icmpv6'; readonly fields: IcmpFields }
  | { readonly kind: 'arp'; readonly fields: ArpFields }
  | { readonly kind: 'payload'; readonly fields: Uint8Array };

interface Pseudo {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

const ETHERTYPE: Partial<Record<Layer['kind'], number>> = { vlan: 0x8100, ipv4: 0x0800, ipv6: 0x86dd, arp: 0x0806 };
const PROTOCOL: Partial<Record<Layer['kind'], number>> = { tcp: 6, udp: 17, sctp: 132, icmp: 1, icmpv6: 58 };
const TCP_FLAGS = 'FSRPAUEC';
const NO_NEXT_HEADER = 59;

const concat = (...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((p) => [...p]));
const u16 = (v: number): number[] => [(v >>> 8) & 0xff, v & 0xff];
const u32 = (v: number): number[] => [...u16(v >>> 16), ...u16(v & 0xffff)];
const padded = (bytes: readonly number[], unit: number): number[] => [
  ...bytes,
  ...new Array<number>((unit - (bytes.length % unit)) % unit).fill(0),
];

function withChecksum(
  bytes: Uint8Array,
  offset: number,
  fields: ChecksumFields,
  start: number,
  zeroMeansNone = false,
): Uint8Array {
  const right = internetChecksum(bytes, start);
  let value = fields.checksum ?? onesComplementAdd(right, fields.checksumError ?? 0);
  // RFC 768: a computed zero is sent as all ones, since zero says "no checksum".
  if (zeroMeansNone && fields.checksum === undefined && value === 0) value = 0xffff;
  bytes.set(u16(value), offset);
  return bytes;
}

export class PacketBuilder {
  readonly #layers: Layer[] = [];
  #minimum = 0;
  #trailer: Uint8Array = new Uint8Array(0);
  #limit = Number.POSITIVE_INFINITY;

  eth(fields: EthFields): this {
    return this.#add({ kind: 'eth', fields });
  }
  /** An 802.1Q tag. */
  vlan(fields: { readonly id: number; readonly priority?: number; readonly type?: number }): this {
    return this.#add({ kind: 'vlan', fields });
  }
  ipv4(fields: Ipv4Fields): this {
    return this.#add({ kind: 'ipv4', fields });
  }
  ipv6(fields: Ipv6Fields): this {
    return this.#add({ kind: 'ipv6', fields });
  }
  /** May be called several times: a chain in this order. */
  extension(fields: ExtensionFields): this {
    return this.#add({ kind: 'extension', fields });
  }
  tcp(fields: TcpFields): this {
    return this.#add({ kind: 'tcp', fields });
  }
  udp(fields: UdpFields): this {
    return this.#add({ kind: 'udp', fields });
  }
  sctp(fields: SctpFields): this {
    return this.#add({ kind: 'sctp', fields });
  }
  icmp(fields: IcmpFields): this {
    return this.#add({ kind: 'icmp', fields });
  }
  icmpv6(fields: IcmpFields): this {
    return this.#add({ kind: 'icmpv6', fields });
  }
  arp(fields: ArpFields): this {
    return this.#add({ kind: 'arp', fields });
  }
  /** Text, bytes, or a number: so many bytes of a recognisable pattern. */
  payload(content: string | Uint8Array | number): this {
    if (typeof content === 'number')
      return this.#add({ kind: 'payload', fields: Uint8Array.from({ length: content }, (_, i) => i & 0xff) });
    return this.#add({ kind: 'payload', fields: typeof content === 'string' ? new TextEncoder().encode(content) : content });
  }
  /** Ethernet padding behind the packet up to `length` bytes of frame; filled with `fill` so that it is seen if it leaks. */
  padTo(length: number, fill = 0): this {
    this.#minimum = length;
    this.#trailer = Uint8Array.of(fill);
    return this;
  }
  /** Cuts the finished frame to `length` bytes. */
  truncate(length: number): this {
    this.#limit = length;
    return this;
  }

  build(): Uint8Array {
    let frame: Uint8Array = this.#encode(0, undefined);
    if (frame.length < this.#minimum) {
      frame = concat(frame, new Uint8Array(this.#minimum - frame.length).fill(this.#trailer[0] ?? 0));
    }
    return frame.length > this.#limit ? frame.slice(0, this.#limit) : frame;
  }

  #add(layer: Layer): this {
    this.#layers.push(layer);
    return this;
  }

  #encode(index: number, pseudo: Pseudo | undefined): Uint8Array {
    const layer = this.#layers[index];
    if (layer === undefined) return new Uint8Array(0);
    const rest = this.#encode(index + 1, this.#pseudoOf(layer) ?? pseudo);
    const next = this.#layers[index + 1]?.kind;
    switch (layer.kind) {
      case 'eth':
        return concat(
          macBytes(layer.fields.destination),
          macBytes(layer.fields.source),
          u16(layer.fields.type ?? ethertype(next)),
          rest,
        );
      case 'vlan':
        return concat(
          u16(((layer.fields.priority ?? 0) << 13) | layer.fields.id),
          u16(layer.fields.type ?? ethertype(next)),
          rest,
        );
      case 'ipv4':
        return encodeIpv4(layer.fields, next === undefined ? 0 : (PROTOCOL[next] ?? 0), rest);
      case 'ipv6':
        return encodeIpv6(layer.fields, this.#nextHeader(index + 1), rest);
      case 'extension':
        return encodeExtension(layer.fields, this.#nextHeader(index + 1), rest);
      case 'tcp':
        return encodeTcp(layer.fields, pseudo, rest);
      case 'udp':
        return encodeUdp(layer.fields, pseudo, rest);
      case 'sctp':
        return encodeSctp(layer.fields, rest);
      case 'icmp':
        return encodeIcmp(layer.fields, 0, rest);
      case 'icmpv6':
        return encodeIcmp(
          layer.fields,
          pseudo ? pseudoHeaderSum(pseudo.source, pseudo.destination, 58, 8 + rest.length) : 0,
          rest,
        );
      case 'arp':
        return encodeArp(layer.fields, rest);
      case 'payload':
        return concat(layer.fields, rest);
    }
  }

  #pseudoOf(layer: Layer): Pseudo | undefined {
    if (layer.kind !== 'ipv4' && layer.kind !== 'ipv6') return undefined;
    return { source: ipBytes(layer.fields.source), destination: ipBytes(layer.fields.destination) };
  }

  #nextHeader(index: number): number {
    const next = this.#layers[index];
    if (next === undefined) return NO_NEXT_HEADER;
    return next.kind === 'extension' ? next.fields.kind : (PROTOCOL[next.kind] ?? NO_NEXT_HEADER);
  }
}

/** A new, empty packet. */
export function packet(): PacketBuilder {
  return new PacketBuilder();
}

function ethertype(next: Layer['kind'] | undefined): number {
  return next === undefined ? 0xffff : (ETHERTYPE[next] ?? 0xffff);
}

function encodeIpv4(f: Ipv4Fields, protocol: number, rest: Uint8Array): Uint8Array {
  const options = padded(f.options ?? [], 4);
  const length = 20 + options.length;
  const fragment = (f.dontFragment ? 0x4000 : 0) | (f.moreFragments ? 0x2000 : 0) | (f.fragmentOffset ?? 0);
  const header = concat(
    [((f.version ?? 4) << 4) | (f.ihl ?? length / 4), f.tos ?? 0],
    u16(f.totalLength ?? length + rest.length),
    u16(f.id ?? 0),
    u16(fragment),
    [f.ttl ?? 64, f.protocol ?? protocol, 0, 0],
    ipv4Bytes(f.source),
    ipv4Bytes(f.destination),
    options,
  );
  return concat(withChecksum(header, 10, f, 0), rest);
}

function encodeIpv6(f: Ipv6Fields, nextHeader: number, rest: Uint8Array): Uint8Array {
  return concat(
    u32((((f.version ?? 6) << 28) | ((f.trafficClass ?? 0) << 20) | (f.flowLabel ?? 0)) >>> 0),
    u16(f.payloadLength ?? rest.length),
    [f.nextHeader ?? nextHeader, f.hopLimit ?? 64],
    ipv6Bytes(f.source),
    ipv6Bytes(f.destination),
    rest,
  );
}

function encodeExtension(f: ExtensionFields, nextHeader: number, rest: Uint8Array): Uint8Array {
  const body = padded([f.nextHeader ?? nextHeader, 0, ...(f.data ?? [])], 8);
  body[1] = f.length ?? (f.kind === 44 ? 0 : body.length / 8 - 1);
  return concat(body, rest);
}

function encodeTcp(f: TcpFields, pseudo: Pseudo | undefined, rest: Uint8Array): Uint8Array {
  const options = padded(
    (f.options ?? []).flatMap((o) => [...o]),
    4,
  );
  const length = 20 + options.length;
  const flags = [...(f.flags ?? 'A')].reduce((bits, letter) => {
    const bit = TCP_FLAGS.indexOf(letter);
    if (bit < 0) throw new Error(`no TCP flag is called ${letter}`);
    return bits | (1 << bit);
  }, 0);
  const segment = concat(
    u16(f.sourcePort),
    u16(f.destinationPort),
    u32(f.seq ?? 0),
    u32(f.ack ?? 0),
    [((f.dataOffset ?? length / 4) & 0xf) << 4, flags],
    u16(f.window ?? 64240),
    [0, 0],
    u16(f.urgent ?? 0),
    options,
    rest,
  );
  return withChecksum(segment, 16, f, pseudo ? pseudoHeaderSum(pseudo.source, pseudo.destination, 6, segment.length) : 0);
}

function encodeUdp(f: UdpFields, pseudo: Pseudo | undefined, rest: Uint8Array): Uint8Array {
  const datagram = concat(u16(f.sourcePort), u16(f.destinationPort), u16(f.length ?? 8 + rest.length), [0, 0], rest);
  const start = pseudo ? pseudoHeaderSum(pseudo.source, pseudo.destination, 17, datagram.length) : 0;
  return withChecksum(datagram, 6, f, start, true);
}

function encodeSctp(f: SctpFields, rest: Uint8Array): Uint8Array {
  const chunks = (f.chunks ?? []).flatMap((chunk) => {
    const value = [...(chunk.value ?? [])];
    return padded([chunk.type, chunk.flags ?? 0, ...u16(chunk.length ?? 4 + value.length), ...value], 4);
  });
  const bytes = concat(u16(f.sourcePort), u16(f.destinationPort), u32(f.tag ?? 0x01020304), u32(0), chunks, rest);
  const crc = (crc32c(bytes) ^ (f.checksumError ?? 0)) >>> 0;
  // The least significant byte goes first (RFC 9260 appendix A).
  bytes.set([crc & 0xff, (crc >>> 8) & 0xff, (crc >>> 16) & 0xff, crc >>> 24], 8);
  return bytes;
}

function encodeIcmp(f: IcmpFields, start: number, rest: Uint8Array): Uint8Array {
  return withChecksum(concat([f.type, f.code ?? 0, 0, 0], padded(f.rest ?? [0, 0, 0, 0], 4), rest), 2, f, start);
}

function encodeArp(f: ArpFields, rest: Uint8Array): Uint8Array {
  return concat(
    [0, 1, 8, 0, 6, 4],
    u16(f.operation),
    macBytes(f.senderMac),
    ipv4Bytes(f.senderIp),
    macBytes(f.targetMac),
    ipv4Bytes(f.targetIp),
    rest,
  );
}
