// The packet that a sentence describes, as it would arrive: Ethernet, IP and transport headers with right checksums.
// Guarantees: pure; the same sentence and options give the same bytes.
// Thread: any.
import { type Address, addressBits } from '../config/address.js';
import type { Sentence } from './sentence.js';

export interface FrameOptions {
  readonly sourceMac: string;
  readonly destinationMac: string;
  /** TCP flags byte. */
  readonly tcpFlags: number;
}

export const TCP_FLAGS = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;
export const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132, icmp: 1 } as const;
export const ICMPV6 = 58;

/** Where the checksum of a transport header stands; SCTP's is another one. */
const CHECKSUM_AT = new Map<number, number>([
  [PROTOCOL_NUMBERS.tcp, 16],
  [PROTOCOL_NUMBERS.udp, 6],
  [PROTOCOL_NUMBERS.icmp, 2],
  [ICMPV6, 2],
]);

const PAYLOAD = Buffer.from('explain\n');

export function buildFrame(sentence: Sentence, options: FrameOptions): Buffer {
  const ipv6 = sentence.source.address.family === 6;
  const protocol = sentence.protocol === 'icmp' && ipv6 ? ICMPV6 : PROTOCOL_NUMBERS[sentence.protocol];
  const l4 = transport(sentence, options, ipv6);
  const checksumAt = CHECKSUM_AT.get(protocol);
  if (checksumAt === undefined) {
    l4.writeUInt32LE(crc32c(l4), 8);
  } else {
    const pseudo = protocol === PROTOCOL_NUMBERS.icmp ? Buffer.alloc(0) : pseudoHeader(sentence, protocol, l4.length);
    l4.writeUInt16BE(checksum(Buffer.concat([pseudo, l4])) || 0xffff, checksumAt);
  }
  return Buffer.concat([
    ethernet(options, ipv6),
    ipv6 ? ipv6Header(sentence, protocol, l4.length) : ipv4Header(sentence, protocol, l4.length),
    l4,
  ]);
}

function ethernet({ sourceMac, destinationMac }: FrameOptions, ipv6: boolean): Buffer {
  const bytes = (mac: string): number[] => mac.split(':').map((byte) => Number.parseInt(byte, 16));
  return Buffer.from([...bytes(destinationMac), ...bytes(sourceMac), ...(ipv6 ? [0x86, 0xdd] : [0x08, 0x00])]);
}

function ipv4Header({ source, destination }: Sentence, protocol: number, length: number): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + length, 2);
  header.writeUInt16BE(1, 4); // identification
  header.writeUInt16BE(0x4000, 6); // don't fragment
  header[8] = 64;
  header[9] = protocol;
  addressBytes(source.address).copy(header, 12);
  addressBytes(destination.address).copy(header, 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function ipv6Header({ source, destination }: Sentence, protocol: number, length: number): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(length, 4);
  header[6] = protocol;
  header[7] = 64;
  addressBytes(source.address).copy(header, 8);
  addressBytes(destination.address).copy(header, 24);
  return header;
}

function transport(sentence: Sentence, options: FrameOptions, ipv6: boolean): Buffer {
  const { protocol, source, destination } = sentence;
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(source.port, 0);
  ports.writeUInt16BE(destination.port, 2);
  switch (protocol) {
    case 'tcp': {
      const header = Buffer.alloc(16);
      header.writeUInt32BE(1, 0); // sequence number
      header.writeUInt32BE((options.tcpFlags & TCP_FLAGS.ack) === 0 ? 0 : 1, 4);
      header[8] = 5 << 4;
      header[9] = options.tcpFlags;
      header.writeUInt16BE(64_240, 10);
      return Buffer.concat([ports, header]);
    }
    case 'udp': {
      const rest = Buffer.alloc(4);
      rest.writeUInt16BE(8 + PAYLOAD.length, 0);
      return Buffer.concat([ports, rest, PAYLOAD]);
    }
    case 'sctp': {
      // INIT (RFC 9260 3.3.2): tag, window, one stream each way, first number.
      const init = Buffer.from([1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
      return Buffer.concat([ports, Buffer.alloc(8), init]);
    }
    case 'icmp':
      return Buffer.concat([Buffer.from([ipv6 ? 128 : 8, 0, 0, 0, 0, 1, 0, 1]), PAYLOAD]);
  }
}

function pseudoHeader({ source, destination }: Sentence, protocol: number, length: number): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(length, 0);
  tail[7] = protocol;
  return Buffer.concat([addressBytes(source.address), addressBytes(destination.address), tail]);
}

function addressBytes({ value, family }: Address): Buffer {
  return Buffer.from(value.toString(16).padStart(addressBits(family) / 4, '0'), 'hex');
}

/** RFC 1071; 0 over bytes that hold a right checksum. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Castagnoli's polynomial, reflected (RFC 9260 appendix A). */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}
