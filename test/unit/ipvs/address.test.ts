// Addresses and numbers as the C library reads and writes them; expectations from inet_aton(3), inet_pton(3), inet_ntop(3) and strtol(3).
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress, parseAton, parseDotted, parseIpv6 } from '../../../src/ipvs/address.js';
import { resolverFromFiles } from '../../../src/ipvs/names.js';
import { leadingNumber, parseInRange, parseLong } from '../../../src/ipvs/numbers.js';
import { parseHostPort } from '../../../src/ipvs/service-address.js';

const aton = (text: string) => {
  const address = parseAton(text);
  return address === undefined ? undefined : formatAddress(address);
};

describe('inet_aton', () => {
  it.each([
    ['10.0.9.1', '10.0.9.1'],
    ['10.0.9', '10.0.0.9'],
    ['10.777', '10.0.3.9'],
    ['24', '0.0.0.24'],
    ['0x7f.1', '127.0.0.1'],
    ['010.0.0.1', '8.0.0.1'],
    ['4294967295', '255.255.255.255'],
    ['10.0.0.1 and more', '10.0.0.1'],
    ['300.0.0.1', undefined],
    ['10.0.0.256', undefined],
    ['10.65536.1', undefined],
    ['10.0.16777216', undefined],
    ['4294967296', undefined],
    ['1.2.3.4.5', undefined],
    ['1.2.3.', undefined],
    ['08.0.0.1', undefined],
    ['', undefined],
    [' 10.0.0.1', undefined],
  ])('%s', (text, expected) => expect(aton(text)).toBe(expected));
});

describe('inet_pton and inet_ntop', () => {
  it.each([
    ['fd00:9:0:0:0:0:0:1', 'fd00:9::1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['0:0:1:0:0:0:0:0', '0:0:1::'],
    ['1:0:2:0:3:0:4:0', '1:0:2:0:3:0:4:0'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['::a00:1', '::10.0.0.1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
    ['FD00::ABCD', 'fd00::abcd'],
  ])('%s', (text, expected) => {
    const address = parseIpv6(text);
    expect(address === undefined ? undefined : formatAddress(address)).toBe(expected);
  });
  it.each(['fe80::1%eth0', '[::1]', '1::2::3', '10.0.0.1', 'g::'])('%s is none', (text) =>
    expect(parseIpv6(text)).toBeUndefined(),
  );
  it('what is written is read again', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }), (value) => {
        expect(parseIpv6(formatAddress({ family: 6, value }))?.value).toBe(value);
      }),
    );
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }), (value) => {
        expect(parseDotted(formatAddress({ family: 4, value }))?.value).toBe(value);
      }),
    );
  });
});

describe('strtol', () => {
  it.each([
    ['010', 10],
    [' 5', 5],
    ['+5', 5],
    ['-0', 0],
    ['0x10', undefined],
    ['5 ', undefined],
    ['', undefined],
    ['-', undefined],
    ['101', undefined],
    ['-1', undefined],
  ])('"%s" in 0 to 100', (text, expected) => expect(parseInRange(text, 0, 100) ?? undefined).toBe(expected));
  it('64 bits and no more', () => {
    expect(parseLong('9223372036854775807')).toBe(2n ** 63n - 1n);
    expect(parseLong('9223372036854775808')).toBeUndefined();
    expect(parseLong('-9223372036854775808')).toBe(-(2n ** 63n));
    expect(parseLong('-9223372036854775809')).toBeUndefined();
  });
  it('atoi takes what stands at the beginning', () => {
    expect([leadingNumber('64x'), leadingNumber(' 7'), leadingNumber('x'), leadingNumber('-3')]).toEqual([64, 7, 0, -3]);
  });
});

describe('HOST:PORT', () => {
  const resolver = resolverFromFiles({
    hosts: '10.0.9.1 www.example.test www # a comment\nnot-an-address name\nfd00:9::1 www6\n10.0.9.2 WWW',
    services: 'http 80/tcp www\ndomain 53/udp\nbroken\nbad x/tcp',
  });
  const parse = (text: string, protocol: 6 | 17 | undefined = 6) => {
    const parsed = parseHostPort(text, protocol, resolver);
    return parsed === undefined ? undefined : `${formatAddress(parsed.address)} ${parsed.port}`;
  };
  it.each([
    ['10.0.9.1:80', '10.0.9.1 80'],
    ['10.0.9.1:http', '10.0.9.1 80'],
    ['WWW:www', '10.0.9.1 80'],
    ['10.0.9.1', '10.0.9.1 undefined'],
    ['[fd00:9::1]:80', 'fd00:9::1 80'],
    ['fd00:9::1', 'fd00:9::1 undefined'],
    // What stands in brackets and is not IPv6 loses its port.
    ['[10.0.9.1]:80', '10.0.9.1 undefined'],
    ['[www]:80', '10.0.9.1 undefined'],
    ['[www6]:80', undefined],
    ['[fd00:9::1]', undefined],
    ['[fd00:9::1]80', undefined],
    ['[fd00:9::1', undefined],
    ['10.0.9.1:domain', undefined],
    ['10.0.9.1:', undefined],
    ['10.0.9.1:65536', undefined],
    ['80', undefined],
    ['', undefined],
  ])('%s', (text, expected) => expect(parse(text)).toBe(expected));
  it('names of ports need a protocol', () => {
    expect(parse('10.0.9.1:domain', 17)).toBe('10.0.9.1 53');
    expect(parseHostPort('10.0.9.1:http', undefined, resolver)).toBeUndefined();
  });
  it('random text never throws', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()), (text) => void parse(text)));
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        resolverFromFiles({ hosts: text, services: text });
      }),
    );
  });
});
