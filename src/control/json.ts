// JSON with 64-bit counters in it: a number where JavaScript's numbers are exact, a string of digits beyond 2^53.
// Guarantees: pure; anything without a bigint comes out as JSON.stringify would write it.
// Thread: any.

export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, (_key, entry: unknown) => (typeof entry === 'bigint' ? exact(entry) : entry), indent);
}

function exact(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}
