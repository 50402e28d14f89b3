// Addresses as text and as bytes, for packet builders and decoders in tests.
// Guarantees: every function throws on text that is no address; bytes are in network order. Runs in tests only.

/** "02:00:00:00:00:01" as six bytes. */
export function macBytes(text: string): Uint8Array {
  const parts = text.split(':');
  if (parts.length !== 6 || parts.some((p) => !/^[0-9a-f]{2}$/i.test(p))) throw new Error(`not an Ethernet address: ${text}`);
  return Uint8Array.from(parts, (p) => Number.parseInt(p, 16));
}

export function macText(bytes: Uint8Array): string {
  return [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(':');
}

export function isIpv6(text: string): boolean {
  return text.includes(':');
}

/** Dotted IPv4 as 4 bytes. */
export function ipv4Bytes(text: string): Uint8Array {
  const parts = text.split('.');
  const numbers = parts.map(Number);
  if (parts.length !== 4 || parts.some((p) => !/^\d{1,3}$/.test(p)) || numbers.some((n) => n > 255)) {
    throw new Error(`not an IPv4 address: ${text}`);
  }
  return Uint8Array.from(numbers);
}

/** IPv6 text (RFC 4291 2.2, with "::" and a dotted tail) as 16 bytes. */
export function ipv6Bytes(text: string): Uint8Array {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted) {
    const [a = 0, b = 0, c = 0, d = 0] = ipv4Bytes(dotted[2] ?? '');
    return ipv6Bytes(`${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`);
  }
  const halves = text.split('::');
  if (halves.length > 2) throw new Error(`not an IPv6 address: ${text}`);
  const groups = (half: string | undefined): number[] =>
    half === undefined || half === ''
      ? []
      : half.split(':').map((g) => {
          if (!/^[0-9a-f]{1,4}$/i.test(g)) throw new Error(`not an IPv6 address: ${text}`);
          return Number.parseInt(g, 16);
        });
  const head = groups(halves[0]);
  const tail = groups(halves[1]);
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) throw new Error(`not an IPv6 address: ${text}`);
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(all.flatMap((g) => [g >> 8, g & 0xff]));
}

/** Either family. */
export function ipBytes(text: string): Uint8Array {
  return isIpv6(text) ? ipv6Bytes(text) : ipv4Bytes(text);
}

/** 4 or 16 bytes as text; IPv6 in the form of RFC 5952 (longest run of zero groups, two at least, becomes "::"). */
export function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return [...bytes].join('.');
  if (bytes.length !== 16) throw new Error(`an address has 4 or 16 bytes, not ${bytes.length}`);
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  let bestStart = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > bestLength) [bestStart, bestLength] = [i, length];
  }
  const hex = groups.map((g) => g.toString(16));
  if (bestStart < 0) return hex.join(':');
  return `${hex.slice(0, bestStart).join(':')}::${hex.slice(bestStart + bestLength).join(':')}`;
}
