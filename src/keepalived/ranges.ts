// Ranges of addresses: one by one, and as prefixes.
// Guarantees: exact: no address more, none less.
// Thread: any; pure.
import { type Address, addressBits, addressOf } from '../config/address.js';

export interface Range {
  readonly first: Address;
  readonly last: Address;
}

export function sizeOf({ first, last }: Range): bigint {
  return last.value - first.value + 1n;
}

/** All addresses of a range; undefined where there are more than `most`. */
export function addressesOf(range: Range, most: number): Address[] | undefined {
  const size = sizeOf(range);
  if (size > BigInt(most)) return undefined;
  return Array.from({ length: Number(size) }, (_, i) => addressOf(range.first.value + BigInt(i), range.first.family));
}

/** The fewest prefixes that are the range, "ADDRESS/LENGTH". */
export function prefixesOf({ first, last }: Range): string[] {
  const { family } = first;
  const bits = BigInt(addressBits(family));
  const prefixes: string[] = [];
  for (let at = first.value; at <= last.value; ) {
    let host = 0n;
    while (host < bits && at % (1n << (host + 1n)) === 0n && at + (1n << (host + 1n)) - 1n <= last.value) host++;
    prefixes.push(`${addressOf(at, family).text}/${bits - host}`);
    at += 1n << host;
  }
  return prefixes;
}
