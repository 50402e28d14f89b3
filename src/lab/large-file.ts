// A file whose content no cache, no copy of a packet and no reordering can fake: a stream cipher's output.
// Guarantees: the digest is of what was written; the same seed gives the same file.
// Thread: the main thread; writes in pieces of 1 MiB.
import { createCipheriv, createHash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';

export interface LargeFile {
  readonly bytes: number;
  readonly sha256: string;
}

export function writeLargeFile(path: string, bytes: number, seed = 1): LargeFile {
  const key = createHash('sha256').update(`seed ${seed}`).digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const digest = createHash('sha256');
  const zeros = Buffer.alloc(1 << 20);
  const file = openSync(path, 'w');
  try {
    for (let left = bytes; left > 0; left -= zeros.length) {
      const piece = cipher.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
      digest.update(piece);
      writeSync(file, piece);
    }
  } finally {
    closeSync(file);
  }
  return { bytes, sha256: digest.digest('hex') };
}
