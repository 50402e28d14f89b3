// The files of golden cases are what their definitions say, and the packet tools they are made with are sound.

import { describe, expect, it } from 'vitest';
import { internetChecksum, updatedChecksum } from '../oracle/checksum.js';
import {
  decodePacket,
  decodePcap,
  describePacket,
  diffPackets,
  encodePcap,
  ipBytes,
  ipText,
  packet,
} from '../support/packet/index.js';
import { goldenCases } from './definitions/index.js';
import { PlaceholderBindings, withSource } from './support/compare.js';
import { staleFiles } from './support/files.js';
import { webFlow } from './support/flow.js';
import { SHARED_CONFIG } from './support/network.js';

describe('golden files', () => {
  it('are up to date with their definitions (node scripts/golden.mjs --write)', () => {
    expect(staleFiles(goldenCases)).toEqual([]);
  });

  it('describe each case in one sentence and are named like it', () => {
    for (const golden of goldenCases) {
      expect(golden.description).toMatch(/^[A-Za-z].*\.$/);
      expect(golden.name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
      expect(golden.arriving.length).toBeGreaterThan(0);
    }
  });
});

describe('packet tools', () => {
  it('compute the checksum of the example of RFC 1071', () => {
    expect(internetChecksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))).toBe(0x220d);
  });

  it('update the checksum of the example of RFC 1624 to 0000 and not to ffff', () => {
    expect(updatedChecksum(0xdd2f, Uint8Array.of(0x55, 0x55), Uint8Array.of(0x32, 0x85))).toBe(0x0000);
  });

  it('write and read addresses of both families', () => {
    for (const text of ['192.0.2.1', '2001:db8::1', '::', '::1', '2001:db8:0:1:1:1:1:1', '::ffff:c000:201', 'ff02::1:ff00:10']) {
      expect(ipText(ipBytes(text))).toBe(text);
    }
    expect(() => ipBytes('192.0.2.256')).toThrow('not an IPv4 address');
    expect(() => ipBytes('2001:db8::1::2')).toThrow('not an IPv6 address');
  });

  it('read back captures of both resolutions and byte orders', () => {
    const packets = [{ time: 1_700_000_000_123_456_000n, bytes: Uint8Array.of(1, 2, 3), originalLength: 60 }];
    for (const nanoseconds of [true, false]) {
      for (const bigEndian of [true, false]) expect(decodePcap(encodePcap(packets, { nanoseconds, bigEndian }))).toEqual(packets);
    }
    expect(() => decodePcap(encodePcap(packets).slice(0, -1))).toThrow('packet 1 cut');
    expect(() => decodePcap(new Uint8Array(24))).toThrow('magic');
  });

  it('name each field in which two packets differ', () => {
    const { arriving, leaving } = webFlow().fromClient({ flags: 'S' });
    expect(diffPackets(arriving, arriving)).toEqual([]);
    const names = diffPackets(arriving, leaving).map((line) => line.split(':')[0]);
    expect(names).toEqual([
      'eth.destination',
      'eth.source',
      'ip.ttl',
      'ip.source',
      'ip.destination',
      'ip.checksum',
      'tcp.sourcePort',
      'tcp.destinationPort',
      'tcp.checksum',
    ]);
  });

  it('report a wrong checksum as wrong', () => {
    const { arriving } = webFlow().fromClient({ checksumError: 1 });
    expect(decodePacket(arriving).fields.get('tcp.checksumRight')).toBe('NO');
    expect(describePacket(arriving)).toContain('WRONG CHECKSUM: tcp');
  });

  it('decode any cut of a packet without failing', () => {
    const frame = packet()
      .eth({ source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' })
      .ipv6({ source: '2001:db8::1', destination: '2001:db8::2' })
      .extension({ kind: 0, data: [1, 4] })
      .tcp({ sourcePort: 1, destinationPort: 2, options: [Uint8Array.of(2, 4, 5, 0xb4)] })
      .build();
    for (let n = 0; n <= frame.length; n++) expect(describePacket(frame.slice(0, n))).toContain(`${n} bytes`);
  });

  it('put another source into an expected packet with right checksums', () => {
    const { leaving } = webFlow().fromClient({ payload: 'x' });
    const elsewhere = webFlow({ local: { address: '192.0.2.102', port: 23456 } }).fromClient({ payload: 'x' }).leaving;
    expect(diffPackets(elsewhere, withSource(leaving, '192.0.2.102', 23456))).toEqual([]);
  });

  it('refuse a local address that is not configured, out of range, or given twice', () => {
    const bindings = new PlaceholderBindings(SHARED_CONFIG);
    const from = (address: string, port: number) => webFlow({ local: { address, port } }).fromClient().leaving;
    const expected = from('192.0.2.101', 61000);
    expect(bindings.resolve('a', expected, from('192.0.2.101', 61000)).faults).toEqual([]);
    expect(bindings.resolve('b', expected, from('192.0.2.101', 61000)).faults.join()).toContain('already in use by "a"');
    expect(bindings.resolve('c', expected, from('192.0.2.77', 61001)).faults.join()).toMatch(/no local address.*outside/);
  });
});
