// Words of the command line for a real server's setup, and what they come to.
import { expect, test } from 'vitest';
import { adviseMtu } from '../../../src/realserver/mtu-advice.js';
import { parseFrom, parseMarks, parseTypes, parseVips, type TunnelSetup } from '../../../src/realserver/setup.js';
import { rightValue } from '../../../src/realserver/wanted.js';

test('VIPs come out once each and in canonical text', () => {
  expect(parseVips('203.0.113.10, 2001:DB8:0::10,203.0.113.10')).toEqual(['203.0.113.10', '2001:db8::10']);
});

test.each([
  ['203.0.113', 'not an IPv4 or IPv6 address'],
  ['127.0.0.1', 'loopback'],
  ['ff02::1', 'multicast'],
  ['0.0.0.0', 'unspecified'],
  ['fe80::1', 'link-local'],
  ['203.0.113.10,', 'empty place'],
])('the VIP %s is refused: %s', (words, reason) => {
  expect(() => parseVips(words)).toThrow(reason);
});

test('a balancer may be an address or a prefix', () => {
  expect(parseFrom('192.0.2.1')).toBe('192.0.2.1/32');
  expect(parseFrom('2001:DB8::/32')).toBe('2001:db8::/32');
});

test('a prefix with bits behind its length is refused with the one that was meant', () => {
  expect(() => parseFrom('192.0.2.1/24')).toThrow('write 192.0.2.0/24');
  expect(() => parseFrom('192.0.2.0/33')).toThrow('neither an address nor a prefix');
});

test('types of tunnels are known ones, in one order', () => {
  expect(parseTypes('gue,ipip')).toEqual(['ipip', 'gue']);
  expect(() => parseTypes('vxlan')).toThrow('there are ipip, gre, gue');
});

test('one DSCP stands for a VIP of each family, several for one VIP each', () => {
  expect(parseMarks('203.0.113.10,2001:db8::10', '12')).toEqual([
    { dscp: 12, vip: '203.0.113.10' },
    { dscp: 12, vip: '2001:db8::10' },
  ]);
  expect(parseMarks('203.0.113.10,203.0.113.11', '1,63').map((mark) => mark.dscp)).toEqual([1, 63]);
});

test.each([
  ['203.0.113.10,203.0.113.11', '12', 'DSCP 12 cannot stand for 203.0.113.10 and 203.0.113.11'],
  ['203.0.113.10', '0', 'no DSCP from 1 to 63'],
  ['203.0.113.10', '64', 'no DSCP from 1 to 63'],
  ['203.0.113.10,203.0.113.11,203.0.113.12', '1,2', 'do not pair up'],
])('VIPs %s with DSCP %s are refused', (vips, dscps, reason) => {
  expect(() => parseMarks(vips, dscps)).toThrow(reason);
});

test.each([
  ['arp_ignore', '0', '0', '1'],
  ['arp_ignore', '2', '0', '2'],
  ['arp_ignore', '8', '0', '8'],
  ['arp_ignore', '3', '0', '1'],
  ['arp_announce', '0', '0', '2'],
  ['arp_announce', '1', '0', '2'],
  ['rp_filter', '1', '0', '2'],
  ['rp_filter', '0', '1', '2'],
  ['rp_filter', '0', '0', '0'],
  ['rp_filter', '0', '2', '0'],
  ['disable_ipv6', '1', '0', '0'],
] as const)('%s: %s, with %s for all interfaces, becomes %s', (rule, own, all, right) => {
  expect(rightValue(rule, own, all)).toBe(right);
});

test('the advice on sizes adds up for every type and outer family', () => {
  const setup: TunnelSetup = {
    mode: 'tunnel',
    vips: ['203.0.113.10'],
    interfaces: ['eth0'],
    types: ['ipip', 'gre', 'gue'],
    guePort: 6080,
    from: ['192.0.2.0/24', '2001:db8::/32'],
    device: 'bpf',
    greChecksum: false,
  };
  const advice = adviseMtu(setup, 1500);
  expect(advice.map((one) => [one.type, one.outer, one.overhead])).toEqual([
    ['ipip', 'IPv4', 20],
    ['ipip', 'IPv6', 40],
    ['gre', 'IPv4', 28],
    ['gre', 'IPv6', 48],
    ['gue', 'IPv4', 32],
    ['gue', 'IPv6', 52],
  ]);
  expect(advice[0]).toMatchObject({ largestInner: 1480, segmentIpv4: 1440, segmentIpv6: 1420, neededMtu: 1520 });
});
