// Numbers as strtol(3) reads them in base 10: ipvsadm takes " 5", "+5" and "010" (ten) and refuses "0x10" and "5 ".
// Guarantees: pure; never throws.
// Thread: any.

const LONG_MAX = 2n ** 63n - 1n;

/** The number that the whole text is, if it fits 64 bits. */
export function parseLong(text: string): bigint | undefined {
  const match = /^[ \t\n\v\f\r]*([+-]?)([0-9]+)$/.exec(text);
  if (match?.[2] === undefined) return undefined;
  const value = match[1] === '-' ? -BigInt(match[2]) : BigInt(match[2]);
  return value > LONG_MAX || value < -LONG_MAX - 1n ? undefined : value;
}

/** The number that the whole text is, if it lies in [low, high]; both ends are part of it. */
export function parseInRange(text: string, low: number, high: number): number | undefined {
  const value = parseLong(text);
  return value === undefined || value < BigInt(low) || value > BigInt(high) ? undefined : Number(value);
}

/** What atoi(3) makes of a text: the number at its beginning, or 0. */
export function leadingNumber(text: string): number {
  return Number.parseInt(/^[ \t\n\v\f\r]*([+-]?[0-9]+)/.exec(text)?.[1] ?? '0', 10) | 0;
}
