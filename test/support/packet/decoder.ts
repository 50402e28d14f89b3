// Packet decoder: a frame as named fields, as one line, and the difference of two frames field by field: what a failed golden case
// prints. Guarantees: never throws, whatever the bytes are; what it cannot name is shown as bytes. Runs in tests only.

import { crc32c, onesComplementSum, pseudoHeaderSum } from '../../oracle/checksum.js';
import { ipText, macText } from './address.js';

export type Fields = Map<string, string | number>;

export interface DecodedPacket {
  readonly fields: Fields;
  /** Byte offsets into the frame; -1 where there is no such layer. */
  readonly l3: number;
  readonly l4: number;
  /** Bytes of the IP packet that its length field announces, cut at the frame's end. */
  readonly l3Length: number;
  readonly protocol: number;
}

const FLAG_LETTERS = 'FSRPAUEC';
const OPTION_NAMES: Readonly<Record<number, string>> = {
  0: 'end',
  1: 'nop',
  2: 'mss',
  3: 'wscale',
  4: 'sackOK',
  5: 'sack',
  8: 'ts',
};
const EXTENSION_HEADERS: ReadonlySet<number> = new Set([0, 43, 44, 60]);

const hex = (bytes: Uint8Array): string => [...bytes].map((b) => b.toString(16).padStart(2, '0')).join('');
const hex16 = (v: number): string => `0x${v.toString(16).padStart(4, '0')}`;

class Cursor {
  readonly fields: Fields = new Map();
  constructor(readonly bytes: Uint8Array) {}
  u8(at: number): number {
    return this.bytes[at] ?? 0;
  }
  u16(at: number): number {
    return (this.u8(at) << 8) | this.u8(at + 1);
  }
  u32(at: number): number {
    return this.u16(at) * 65536 + this.u16(at + 2);
  }
  has(at: number, length: number): boolean {
    return at + length <= this.bytes.length;
  }
  set(name: string, value: string | number): void {
    this.fields.set(name, value);
  }
}

/** All fields of a frame, in the order of the wire. */
export function decodePacket(frame: Uint8Array): DecodedPacket {
  const c = new Cursor(frame);
  const nothing = (): DecodedPacket => ({ fields: c.fields, l3: -1, l4: -1, l3Length: 0, protocol: -1 });
  c.set('frame.length', frame.length);
  if (!c.has(0, 14)) {
    c.set('frame.bytes', hex(frame));
    return nothing();
  }
  c.set('eth.destination', macText(frame.subarray(0, 6)));
  c.set('eth.source', macText(frame.subarray(6, 12)));
  let type = c.u16(12);
  let at = 14;
  for (let tag = 1; (type === 0x8100 || type === 0x88a8) && c.has(at, 4); tag++) {
    c.set(`vlan${tag}.id`, c.u16(at) & 0xfff);
    c.set(`vlan${tag}.priority`, c.u16(at) >> 13);
    type = c.u16(at + 2);
    at += 4;
  }
  c.set('eth.type', hex16(type));
  if (type === 0x0800 && c.has(at, 20)) return decodeIpv4(c, at);
  if (type === 0x86dd && c.has(at, 40)) return decodeIpv6(c, at);
  if (type === 0x0806 && c.has(at, 28)) decodeArp(c, at);
  else c.set('frame.bytes', hex(frame.subarray(at)));
  return nothing();
}

function decodeIpv4(c: Cursor, at: number): DecodedPacket {
  const header = (c.u8(at) & 0xf) * 4;
  c.set('ip.version', c.u8(at) >> 4);
  c.set('ip.headerLength', header);
  c.set('ip.tos', c.u8(at + 1));
  c.set('ip.totalLength', c.u16(at + 2));
  c.set('ip.id', c.u16(at + 4));
  const fragment = c.u16(at + 6);
  c.set(
    'ip.flags',
    `${fragment & 0x4000 ? 'DF' : '--'} ${fragment & 0x2000 ? 'MF' : '--'}${fragment & 0x8000 ? ' reserved' : ''}`,
  );
  c.set('ip.fragmentOffset', (fragment & 0x1fff) * 8);
  c.set('ip.ttl', c.u8(at + 8));
  c.set('ip.protocol', c.u8(at + 9));
  c.set('ip.source', ipText(c.bytes.subarray(at + 12, at + 16)));
  c.set('ip.destination', ipText(c.bytes.subarray(at + 16, at + 20)));
  c.set('ip.checksum', hex16(c.u16(at + 10)));
  if (header < 20 || !c.has(at, header)) {
    c.set('ip.rest', hex(c.bytes.subarray(at + 20)));
    return { fields: c.fields, l3: at, l4: -1, l3Length: c.bytes.length - at, protocol: -1 };
  }
  c.set('ip.checksumRight', onesComplementSum(c.bytes.subarray(at, at + header)) === 0xffff ? 'yes' : 'NO');
  if (header > 20) c.set('ip.options', hex(c.bytes.subarray(at + 20, at + header)));
  const length = Math.min(c.u16(at + 2), c.bytes.length - at);
  const end = at + length;
  const decoded: DecodedPacket = { fields: c.fields, l3: at, l4: at + header, l3Length: length, protocol: c.u8(at + 9) };
  if ((fragment & 0x1fff) === 0) {
    const whole = (fragment & 0x2000) === 0;
    decodeTransport(c, decoded, c.bytes.subarray(at + 12, at + 16), c.bytes.subarray(at + 16, at + 20), end, whole);
  } else {
    c.set('payload', hex(c.bytes.subarray(at + header, end)));
  }
  decodePadding(c, end);
  return decoded;
}

function decodeIpv6(c: Cursor, at: number): DecodedPacket {
  c.set('ip.version', c.u8(at) >> 4);
  c.set('ip.trafficClass', (c.u16(at) >> 4) & 0xff);
  c.set('ip.flowLabel', c.u32(at) & 0xfffff);
  c.set('ip.payloadLength', c.u16(at + 4));
  c.set('ip.nextHeader', c.u8(at + 6));
  c.set('ip.hopLimit', c.u8(at + 7));
  c.set('ip.source', ipText(c.bytes.subarray(at + 8, at + 24)));
  c.set('ip.destination', ipText(c.bytes.subarray(at + 24, at + 40)));
  const length = Math.min(40 + c.u16(at + 4), c.bytes.length - at);
  const end = at + length;
  let next = c.u8(at + 6);
  let l4 = at + 40;
  let fragment = 0;
  for (let i = 1; EXTENSION_HEADERS.has(next) && l4 + 8 <= end; i++) {
    const size = next === 44 ? 8 : (c.u8(l4 + 1) + 1) * 8;
    if (next === 44) fragment = c.u16(l4 + 2);
    c.set(`extension${i}`, `kind ${next} ${hex(c.bytes.subarray(l4, Math.min(end, l4 + size)))}`);
    next = c.u8(l4);
    l4 += size;
  }
  const decoded: DecodedPacket = { fields: c.fields, l3: at, l4, l3Length: length, protocol: next };
  const whole = (fragment & 1) === 0;
  if (fragment >> 3 === 0) {
    decodeTransport(c, decoded, c.bytes.subarray(at + 8, at + 24), c.bytes.subarray(at + 24, at + 40), end, whole);
  } else {
    c.set('payload', hex(c.bytes.subarray(l4, end)));
  }
  decodePadding(c, end);
  return decoded;
}

function decodePadding(c: Cursor, end: number): void {
  if (end < c.bytes.length) c.set('padding', hex(c.bytes.subarray(end)));
}

/** Of a first fragment (not `whole`) the checksum covers bytes that are not here. */
function decodeTransport(
  c: Cursor,
  d: DecodedPacket,
  source: Uint8Array,
  destination: Uint8Array,
  end: number,
  whole: boolean,
): void {
  const at = d.l4;
  const sumIsRight = (protocol: number): string => {
    if (!whole) return 'unknown';
    const bytes = c.bytes.subarray(at, end);
    return onesComplementSum(bytes, pseudoHeaderSum(source, destination, protocol, bytes.length)) === 0xffff ? 'yes' : 'NO';
  };
  if (d.protocol === 6 && at + 20 <= end) {
    c.set('tcp.sourcePort', c.u16(at));
    c.set('tcp.destinationPort', c.u16(at + 2));
    c.set('tcp.seq', c.u32(at + 4));
    c.set('tcp.ack', c.u32(at + 8));
    const header = (c.u8(at + 12) >> 4) * 4;
    c.set('tcp.headerLength', header);
    c.set('tcp.flags', tcpFlags(c.u8(at + 13)));
    c.set('tcp.window', c.u16(at + 14));
    c.set('tcp.urgent', c.u16(at + 18));
    if (header > 20) c.set('tcp.options', tcpOptions(c.bytes.subarray(at + 20, Math.min(end, at + header))));
    c.set('tcp.checksum', hex16(c.u16(at + 16)));
    c.set('tcp.checksumRight', sumIsRight(6));
    c.set('payload', hex(c.bytes.subarray(at + Math.max(20, header), end)));
  } else if (d.protocol === 17 && at + 8 <= end) {
    c.set('udp.sourcePort', c.u16(at));
    c.set('udp.destinationPort', c.u16(at + 2));
    c.set('udp.length', c.u16(at + 4));
    c.set('udp.checksum', hex16(c.u16(at + 6)));
    c.set('udp.checksumRight', c.u16(at + 6) === 0 ? 'none' : sumIsRight(17));
    c.set('payload', hex(c.bytes.subarray(at + 8, end)));
  } else if (d.protocol === 132 && at + 16 <= end) {
    c.set('sctp.sourcePort', c.u16(at));
    c.set('sctp.destinationPort', c.u16(at + 2));
    c.set('sctp.tag', c.u32(at + 4));
    c.set('sctp.chunk', c.u8(at + 12));
    c.set('sctp.checksum', hex(c.bytes.subarray(at + 8, at + 12)));
    const summed = Uint8Array.from(c.bytes.subarray(at, end));
    const claimed = new DataView(summed.buffer).getUint32(8, true);
    summed.fill(0, 8, 12);
    c.set('sctp.checksumRight', !whole ? 'unknown' : crc32c(summed) === claimed ? 'yes' : 'NO');
    c.set('payload', hex(c.bytes.subarray(at + 12, end)));
  } else if ((d.protocol === 1 || d.protocol === 58) && at + 8 <= end) {
    c.set('icmp.type', c.u8(at));
    c.set('icmp.code', c.u8(at + 1));
    c.set('icmp.checksum', hex16(c.u16(at + 2)));
    const right = d.protocol === 58 ? sumIsRight(58) : onesComplementSum(c.bytes.subarray(at, end)) === 0xffff ? 'yes' : 'NO';
    c.set('icmp.checksumRight', right);
    c.set('icmp.rest', hex(c.bytes.subarray(at + 4, at + 8)));
    c.set('payload', hex(c.bytes.subarray(at + 8, end)));
  } else {
    c.set('payload', hex(c.bytes.subarray(at, end)));
  }
}

function decodeArp(c: Cursor, at: number): void {
  c.set('arp.operation', c.u16(at + 6));
  c.set('arp.senderMac', macText(c.bytes.subarray(at + 8, at + 14)));
  c.set('arp.senderIp', ipText(c.bytes.subarray(at + 14, at + 18)));
  c.set('arp.targetMac', macText(c.bytes.subarray(at + 18, at + 24)));
  c.set('arp.targetIp', ipText(c.bytes.subarray(at + 24, at + 28)));
}

function tcpFlags(bits: number): string {
  return [...FLAG_LETTERS].filter((_, i) => bits & (1 << i)).join('') || 'none';
}

function tcpOptions(bytes: Uint8Array): string {
  const out: string[] = [];
  for (let i = 0; i < bytes.length; ) {
    const kind = bytes[i] ?? 0;
    const name = OPTION_NAMES[kind] ?? `kind${kind}`;
    const length = kind < 2 ? 1 : (bytes[i + 1] ?? 0);
    if (kind >= 2 && (length < 2 || i + length > bytes.length)) {
      out.push(`${name}!${hex(bytes.subarray(i))}`);
      break;
    }
    const data = bytes.subarray(i + 2, i + length);
    out.push(
      kind === 2 && data.length === 2
        ? `mss=${((data[0] ?? 0) << 8) | (data[1] ?? 0)}`
        : length > 2
          ? `${name}=${hex(data)}`
          : name,
    );
    i += length;
  }
  return out.join(' ');
}

/** A frame in one line, such as "IPv4 198.51.100.7:40000 > 203.0.113.10:80 TCP S seq 1 ack 0, 54 bytes, ttl 64". */
export function describePacket(frame: Uint8Array): string {
  const { fields, protocol } = decodePacket(frame);
  const get = (name: string): string => String(fields.get(name) ?? '?');
  const wrong = [...fields]
    .filter(([name, value]) => name.endsWith('checksumRight') && value === 'NO')
    .map(([name]) => name.split('.')[0]);
  const tail = `, ${frame.length} bytes${wrong.length > 0 ? `, WRONG CHECKSUM: ${wrong.join(' ')}` : ''}`;
  const tag = fields.has('vlan1.id') ? `VLAN ${get('vlan1.id')} ` : '';
  if (fields.has('arp.operation'))
    return `${tag}ARP ${get('arp.operation')} ${get('arp.senderIp')} > ${get('arp.targetIp')}${tail}`;
  if (!fields.has('ip.source'))
    return `${tag}Ethernet ${get('eth.source')} > ${get('eth.destination')} type ${get('eth.type')}${tail}`;
  const ip = `${tag}IPv${get('ip.version')}`;
  const [from, to] = [get('ip.source'), get('ip.destination')];
  const hops = `, ttl ${fields.get('ip.ttl') ?? fields.get('ip.hopLimit') ?? '?'}${tail}`;
  if (fields.has('tcp.flags')) {
    const ports = `${from}:${get('tcp.sourcePort')} > ${to}:${get('tcp.destinationPort')}`;
    return `${ip} ${ports} TCP ${get('tcp.flags')} seq ${get('tcp.seq')} ack ${get('tcp.ack')}${hops}`;
  }
  if (fields.has('udp.length')) return `${ip} ${from}:${get('udp.sourcePort')} > ${to}:${get('udp.destinationPort')} UDP${hops}`;
  if (fields.has('sctp.tag'))
    return `${ip} ${from}:${get('sctp.sourcePort')} > ${to}:${get('sctp.destinationPort')} SCTP chunk ${get('sctp.chunk')}${hops}`;
  if (fields.has('icmp.type')) return `${ip} ${from} > ${to} ICMP type ${get('icmp.type')} code ${get('icmp.code')}${hops}`;
  return `${ip} ${from} > ${to} protocol ${protocol}${hops}`;
}

/** One line per field in which two frames differ; empty when they are equal byte for byte. */
export function diffPackets(expected: Uint8Array, actual: Uint8Array): string[] {
  const a = decodePacket(expected).fields;
  const b = decodePacket(actual).fields;
  const lines: string[] = [];
  for (const name of new Set([...a.keys(), ...b.keys()])) {
    const [want, got] = [a.get(name), b.get(name)];
    if (want !== got) lines.push(`${name}: expected ${want ?? '(absent)'}, got ${got ?? '(absent)'}`);
  }
  const length = Math.max(expected.length, actual.length);
  if (lines.length === 0) {
    for (let i = 0; i < length; i++) {
      if (expected[i] !== actual[i])
        lines.push(`byte ${i}: expected ${expected[i] ?? '(absent)'}, got ${actual[i] ?? '(absent)'}`);
    }
  }
  return lines;
}
