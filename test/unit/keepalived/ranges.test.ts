// Ranges as prefixes are exact: nothing missing, nothing twice, nothing more.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressBits, addressOf, networkOf, parsePrefix } from '../../../src/config/address.js';
import { addressesOf, prefixesOf, sizeOf } from '../../../src/keepalived/ranges.js';

const range = fc.constantFrom<4 | 6>(4, 6).chain((family) => {
  const value = fc.bigInt(0n, (1n << BigInt(addressBits(family))) - 1n);
  return fc.uniqueArray(value, { minLength: 2, maxLength: 2 }).map((ends) => {
    const [first = 0n, last = 0n] = ends.sort((a, b) => (a < b ? -1 : 1));
    return { first: addressOf(first, family), last: addressOf(last, family) };
  });
});

test('prefixes follow each other from the first to the last address', () => {
  fc.assert(
    fc.property(range, (given) => {
      let next = given.first.value;
      for (const text of prefixesOf(given)) {
        const prefix = parsePrefix(text);
        if (prefix === undefined) throw new Error(text);
        expect(networkOf(prefix).value).toBe(next);
        next += 1n << BigInt(addressBits(prefix.address.family) - prefix.length);
      }
      expect(next).toBe(given.last.value + 1n);
    }),
  );
});

test('addresses one by one, up to a limit', () => {
  const [first, last] = [addressOf(0x0a0000fen, 4), addressOf(0x0a000101n, 4)];
  expect(addressesOf({ first, last }, 4)?.map(({ text }) => text)).toEqual(['10.0.0.254', '10.0.0.255', '10.0.1.0', '10.0.1.1']);
  expect(addressesOf({ first, last }, 3)).toBeUndefined();
  expect(sizeOf({ first, last })).toBe(4n);
});
