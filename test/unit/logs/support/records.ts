// Records as workers write them, for tests: what is not given is 0.
export interface RecordFields {
  readonly time?: bigint;
  /** 4 or 16 bytes. */
  readonly client?: readonly number[];
  readonly destination?: readonly number[];
  readonly value?: bigint;
  readonly service?: number;
  readonly server?: number;
  readonly clientPort?: number;
  readonly destinationPort?: number;
  readonly event?: number;
  readonly reason?: number;
  readonly protocol?: number;
  readonly worker?: number;
}

/** Written by hand from the picture in native/core/log_ring.h, so that the decoder is not tested against itself. */
export function recordBytes(fields: RecordFields): Uint8Array {
  const bytes = Buffer.alloc(64);
  bytes.writeBigUInt64LE(fields.time ?? 0n, 0);
  putAddress(bytes, 8, fields.client);
  putAddress(bytes, 24, fields.destination);
  bytes.writeBigUInt64LE(fields.value ?? 0n, 40);
  bytes.writeUInt32LE(fields.service ?? 0, 48);
  bytes.writeUInt32LE(fields.server ?? 0, 52);
  bytes.writeUInt16BE(fields.clientPort ?? 0, 56);
  bytes.writeUInt16BE(fields.destinationPort ?? 0, 58);
  bytes[60] = fields.event ?? 0;
  bytes[61] = fields.reason ?? 0;
  bytes[62] = fields.protocol ?? 0;
  bytes[63] = fields.worker ?? 0;
  return bytes;
}

function putAddress(bytes: Buffer, at: number, address: readonly number[] | undefined): void {
  if (address === undefined) return;
  if (address.length === 4) bytes.writeUInt16BE(0xffff, at + 10);
  bytes.set(address, at + 16 - address.length);
}
