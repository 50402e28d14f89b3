// "Did you mean".
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { suggest } from '../../../src/config/suggest.js';

const keys = ['workers', 'localAddresses', 'services', 'servers', 'address', 'scheduler', 'via', 'rr', 'wrr'];

test.each([
  ['wrokers', 'workers'],
  ['local_addresses', 'localAddresses'],
  ['LocalAddresses', 'localAddresses'],
  ['server', 'servers'],
  ['service', 'services'],
  ['backends', 'servers'],
  ['real_servers', 'servers'],
  ['vip', 'address'],
  ['gateway', 'via'],
  ['round-robin', 'rr'],
])('%s was meant as %s', (word, meant) => {
  expect(suggest(word, keys)).toBe(meant);
});

test.each(['', 'x', 'zz', 'colour', 'constructor', '__proto__', 'toString'])('nothing is near to "%s"', (word) => {
  expect(suggest(word, keys)).toBeUndefined();
});

test('a suggestion is always one of the candidates', () => {
  fc.assert(
    fc.property(fc.string(), (word) => {
      expect([...keys, undefined]).toContain(suggest(word, keys));
    }),
  );
});
