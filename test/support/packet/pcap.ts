// Captures: reads and writes the classic pcap file (magic a1b2c3d4 microseconds, a1b23c4d nanoseconds, either byte order) of Ethernet
// frames. Format: draft-ietf-opsawg-pcap. Guarantees: a file that breaks the format is an Error that says where. Runs in tests only.

import { readFileSync, writeFileSync } from 'node:fs';

const MAGIC_MICRO = 0xa1b2c3d4;
const MAGIC_NANO = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;

export interface CapturedPacket {
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  readonly bytes: Uint8Array;
  /** Length on the wire; longer than `bytes` when the capture cut the packet. */
  readonly originalLength?: number;
}

export interface PcapFormat {
  readonly nanoseconds: boolean;
  readonly bigEndian: boolean;
}

/** The file's bytes. Snap length 262144, so nothing is cut. */
export function encodePcap(
  packets: readonly CapturedPacket[],
  format: PcapFormat = { nanoseconds: true, bigEndian: false },
): Uint8Array {
  const little = !format.bigEndian;
  const size = packets.reduce((sum, p) => sum + RECORD_HEADER + p.bytes.length, FILE_HEADER);
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  view.setUint32(0, format.nanoseconds ? MAGIC_NANO : MAGIC_MICRO, little);
  view.setUint16(4, 2, little);
  view.setUint16(6, 4, little);
  view.setUint32(16, 262144, little);
  view.setUint32(20, LINKTYPE_ETHERNET, little);
  let at = FILE_HEADER;
  for (const packet of packets) {
    const fraction = packet.time % 1_000_000_000n;
    view.setUint32(at, Number(packet.time / 1_000_000_000n), little);
    view.setUint32(at + 4, Number(format.nanoseconds ? fraction : fraction / 1000n), little);
    view.setUint32(at + 8, packet.bytes.length, little);
    view.setUint32(at + 12, packet.originalLength ?? packet.bytes.length, little);
    out.set(packet.bytes, at + RECORD_HEADER);
    at += RECORD_HEADER + packet.bytes.length;
  }
  return out;
}

function formatOf(view: DataView): PcapFormat {
  for (const bigEndian of [false, true]) {
    const magic = view.getUint32(0, !bigEndian);
    if (magic === MAGIC_MICRO || magic === MAGIC_NANO) return { nanoseconds: magic === MAGIC_NANO, bigEndian };
  }
  throw new Error('not a pcap file: unknown magic number');
}

/** All packets of a file's bytes. */
export function decodePcap(bytes: Uint8Array): CapturedPacket[] {
  if (bytes.length < FILE_HEADER) throw new Error(`not a pcap file: ${bytes.length} bytes, a header has ${FILE_HEADER}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const format = formatOf(view);
  const little = !format.bigEndian;
  const linkType = view.getUint32(20, little) & 0x0fffffff;
  if (linkType !== LINKTYPE_ETHERNET) throw new Error(`link type ${linkType} is not Ethernet`);
  const packets: CapturedPacket[] = [];
  let at = FILE_HEADER;
  while (at < bytes.length) {
    if (at + RECORD_HEADER > bytes.length) throw new Error(`record header cut at byte ${at}`);
    const seconds = view.getUint32(at, little);
    const fraction = view.getUint32(at + 4, little);
    const length = view.getUint32(at + 8, little);
    const start = at + RECORD_HEADER;
    if (start + length > bytes.length)
      throw new Error(`packet ${packets.length + 1} cut: ${length} bytes announced at byte ${at}`);
    packets.push({
      time: BigInt(seconds) * 1_000_000_000n + BigInt(fraction) * (format.nanoseconds ? 1n : 1000n),
      bytes: bytes.slice(start, start + length),
      originalLength: view.getUint32(at + 12, little),
    });
    at = start + length;
  }
  return packets;
}

export function readPcap(path: string): CapturedPacket[] {
  return decodePcap(readFileSync(path));
}

export function writePcap(path: string, packets: readonly CapturedPacket[]): void {
  writeFileSync(path, encodePcap(packets));
}
