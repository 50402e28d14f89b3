// Captures of one packet: what explain hands to the replay and reads back from it.
// Guarantees: pure; classic pcap, little endian, microseconds or nanoseconds, Ethernet.
// Thread: any.

const HEADER = 24;
const RECORD = 16;

export function writeCapture(frame: Uint8Array): Buffer {
  const head = Buffer.alloc(HEADER + RECORD);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(65_535, 16);
  head.writeUInt32LE(1, 20); // Ethernet
  head.writeUInt32LE(1, HEADER); // one second after the beginning of time
  head.writeUInt32LE(frame.length, HEADER + 8);
  head.writeUInt32LE(frame.length, HEADER + 12);
  return Buffer.concat([head, frame]);
}

export function readCapture(capture: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = HEADER; at + RECORD <= capture.length; ) {
    const length = capture.readUInt32LE(at + 8);
    frames.push(capture.subarray(at + RECORD, at + RECORD + length));
    at += RECORD + length;
  }
  return frames;
}
