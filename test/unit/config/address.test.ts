// Addresses and prefixes as text.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressFault, networkOf, parseAddress, parsePrefix, prefixContains } from '../../../src/config/address.js';

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
  ['::', '::'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
])('%s is written %s', (text, canonical) => {
  expect(parseAddress(text)?.text).toBe(canonical);
});

test.each([
  '',
  '1',
  '192.0.2',
  '192.0.2.256',
  '192.0.2.01',
  '0x7f.1',
  'fe80::1%eth0',
  '::ffff:192.0.2.1',
  '::ffff:c000:201',
  'web',
  '192.0.2.1/24',
])('"%s" is no address', (text) => {
  expect(parseAddress(text)).toBeUndefined();
});

test.each([
  ['0.0.0.1', 'unspecified'],
  ['127.255.0.1', 'loopback'],
  ['239.1.2.3', 'multicast'],
  ['240.0.0.1', 'reserved'],
  ['255.255.255.255', 'broadcast'],
  ['::', 'unspecified'],
  ['::1', 'loopback'],
  ['ff02::1', 'multicast'],
  ['fe80::1', 'link-local'],
  ['febf::1', 'link-local'],
  ['fec0::1', undefined],
  ['223.255.255.255', undefined],
  ['2001:db8::1', undefined],
])('%s is %s', (text, fault) => {
  const address = parseAddress(text);
  expect(address && addressFault(address)).toBe(fault);
});

describe('prefixes', () => {
  test.each([
    ['198.51.100.77/24', '198.51.100.0'],
    ['198.51.100.77/32', '198.51.100.77'],
    ['198.51.100.77/0', '0.0.0.0'],
    ['2001:db8:ffff::1/33', '2001:db8:8000::'],
    ['2001:db8::1/128', '2001:db8::1'],
  ])('the network of %s is %s', (text, network) => {
    const prefix = parsePrefix(text);
    expect(prefix && networkOf(prefix).text).toBe(network);
  });

  test.each(['192.0.2.0', '192.0.2.0/33', '192.0.2.0/', '192.0.2.0/-1', '192.0.2.0/024', '2001:db8::/129', '/24'])(
    '"%s" is no prefix',
    (text) => {
      expect(parsePrefix(text)).toBeUndefined();
    },
  );

  test('a prefix contains exactly the addresses that have its network', () => {
    const family4 = fc.ipV4();
    fc.assert(
      fc.property(family4, family4, fc.integer({ min: 0, max: 32 }), (a, b, length) => {
        const [prefix, address, other] = [parsePrefix(`${a}/${length}`), parseAddress(b), parsePrefix(`${b}/${length}`)];
        if (!prefix || !address || !other) throw new Error('not parsed');
        expect(prefixContains(prefix, address)).toBe(networkOf(prefix).text === networkOf(other).text);
      }),
    );
  });
});
