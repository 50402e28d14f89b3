// Internet checksum, written from the standards and not from the dataplane: what packets that Millrace sends are checked against.
// Guarantees: pure functions over bytes; no code shared with native/. Runs in tests only.

/** One's complement sum of 16-bit big-endian words (RFC 1071 1); an odd last byte is the high half of a word. */
export function onesComplementSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
    // Folding at each step keeps the sum small however long the input is.
    if (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return sum;
}

/** The checksum field that makes `bytes` (field itself zero) verify: the complement of the sum. */
export function internetChecksum(bytes: Uint8Array, start = 0): number {
  return ~onesComplementSum(bytes, start) & 0xffff;
}

/** One's complement addition of two 16-bit values. */
export function onesComplementAdd(a: number, b: number): number {
  const sum = a + b;
  return sum > 0xffff ? (sum & 0xffff) + 1 : sum;
}

/** Sum of the pseudo header of TCP, UDP (RFC 9293 3.1, RFC 768) and of IPv6 (RFC 8200 8.1). Addresses in network order. */
export function pseudoHeaderSum(source: Uint8Array, destination: Uint8Array, protocol: number, length: number): number {
  let sum = onesComplementSum(source);
  sum = onesComplementSum(destination, sum);
  sum = onesComplementAdd(sum, length >>> 16);
  sum = onesComplementAdd(sum, length & 0xffff);
  return onesComplementAdd(sum, protocol);
}

/**
 * RFC 1624 equation 3: the checksum after the bytes `before` became `after`. A field that was wrong stays wrong by the same amount,
 * which a computation from scratch would hide.
 */
export function updatedChecksum(checksum: number, before: Uint8Array, after: Uint8Array): number {
  let sum = ~checksum & 0xffff;
  const negated = before.map((byte) => ~byte & 0xff);
  sum = onesComplementSum(negated, sum);
  sum = onesComplementSum(after, sum);
  return ~sum & 0xffff;
}

/** CRC32c, bit by bit (RFC 9260 appendix A): the checksum of SCTP. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) crc = ((crc >>> 1) ^ (((crc ^ (byte >>> bit)) & 1) === 1 ? 0x82f63b78 : 0)) >>> 0;
  }
  return ~crc >>> 0;
}
