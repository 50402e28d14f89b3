// The records that workers write, as native/core/log_ring.h lays them out.
// Guarantees: decoding never throws and never reads beyond the record, whatever its bytes are.
// Thread: any; no state.
import ipaddr from 'ipaddr.js';

export const RECORD_BYTES = 64;

/** Offset and size of each field; compared with the addon's own in test/golden/logs.test.ts. */
export const RECORD_LAYOUT = {
  time_ms: [0, 8],
  client: [8, 16],
  destination: [24, 16],
  value: [40, 8],
  service: [48, 4],
  server: [52, 4],
  client_port: [56, 2],
  destination_port: [58, 2],
  event: [60, 1],
  reason: [61, 1],
  protocol: [62, 1],
  worker: [63, 1],
} as const satisfies Readonly<Record<string, readonly [offset: number, bytes: number]>>;

/** In `service` and `server`: none. */
export const NO_SLOT = 0xffffffff;

/** One record. */
export interface LogRecord {
  /** Milliseconds of CLOCK_MONOTONIC. */
  readonly time: bigint;
  /** "" where the event is about no flow. */
  readonly client: string;
  readonly destination: string;
  readonly value: bigint;
  readonly service: number;
  readonly server: number;
  readonly clientPort: number;
  readonly destinationPort: number;
  /** Place in NativeLogInfo.events. */
  readonly event: number;
  /** Place among the drops of counterInfo(); beyond them: nothing was dropped. */
  readonly reason: number;
  /** IP protocol; 0 where the event is about no flow. */
  readonly protocol: number;
  readonly worker: number;
}

/** The record that begins at `offset`. Numbers are little endian: all CPUs that the addon is built for are. */
export function decodeRecord(bytes: Uint8Array, offset = 0): LogRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, RECORD_BYTES);
  const at = RECORD_LAYOUT;
  return {
    time: view.getBigUint64(at.time_ms[0], true),
    client: addressAt(bytes, offset + at.client[0]),
    destination: addressAt(bytes, offset + at.destination[0]),
    value: view.getBigUint64(at.value[0], true),
    service: view.getUint32(at.service[0], true),
    server: view.getUint32(at.server[0], true),
    clientPort: view.getUint16(at.client_port[0]),
    destinationPort: view.getUint16(at.destination_port[0]),
    event: view.getUint8(at.event[0]),
    reason: view.getUint8(at.reason[0]),
    protocol: view.getUint8(at.protocol[0]),
    worker: view.getUint8(at.worker[0]),
  };
}

/** IPv4 is kept as v4-mapped IPv6. */
function addressAt(bytes: Uint8Array, offset: number): string {
  const sixteen = bytes.subarray(offset, offset + 16);
  if (sixteen.every((byte) => byte === 0)) return '';
  const mapped = sixteen.subarray(0, 10).every((byte) => byte === 0) && sixteen[10] === 0xff && sixteen[11] === 0xff;
  if (mapped) return sixteen.subarray(12).join('.');
  return new ipaddr.IPv6([...sixteen]).toRFC5952String();
}
