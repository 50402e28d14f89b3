// Records: what their bytes mean, and that no bytes at all do harm.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Clocks, endpointOf, formatRecord, timeOf, type Vocabulary } from '../../../src/logs/format.js';
import { decodeRecord, type LogRecord, NO_SLOT, RECORD_BYTES } from '../../../src/logs/record.js';
import { recordBytes } from './support/records.js';

const names = { services: new Map([[3, 'web']]), servers: new Map([[9, '10.0.2.11:8080']]) };
const vocabulary: Vocabulary = {
  events: [
    { name: 'no_server', level: 'warn', value: 'servers', text: 'new session refused' },
    { name: 'tx_ring_full', level: 'error', value: 'interface', text: 'packet dropped' },
    { name: 'access_denied', level: 'info', value: 'none', text: 'client denied' },
  ],
  reasons: ['frame_truncated', 'no_server'],
  interfaces: ['wan', 'lan'],
};
const clocks: Clocks = { monotonic: 10_000n, wall: 1_700_000_000_000 };
const format = (record: LogRecord) => formatRecord(record, names, vocabulary, clocks);

describe('a record', () => {
  test('has each field where the worker wrote it', () => {
    const bytes = recordBytes({
      time: 9_000n,
      client: [198, 51, 100, 7],
      destination: [203, 0, 113, 10],
      value: 2n ** 40n,
      service: 3,
      server: 9,
      clientPort: 40_000,
      destinationPort: 80,
      event: 0,
      reason: 1,
      protocol: 6,
      worker: 63,
    });
    expect(decodeRecord(bytes)).toEqual({
      time: 9_000n,
      client: '198.51.100.7',
      destination: '203.0.113.10',
      value: 2n ** 40n,
      service: 3,
      server: 9,
      clientPort: 40_000,
      destinationPort: 80,
      event: 0,
      reason: 1,
      protocol: 6,
      worker: 63,
    });
  });

  test('is read at its offset in a buffer of many, also in a part of a larger buffer', () => {
    const all = new Uint8Array(7 + 3 * RECORD_BYTES);
    const part = all.subarray(7);
    part.set(recordBytes({ worker: 5 }), RECORD_BYTES);
    expect(decodeRecord(part, RECORD_BYTES).worker).toBe(5);
    expect(decodeRecord(part, 0).worker).toBe(0);
  });

  test('of IPv6 has its addresses in the canonical form', () => {
    const bytes = recordBytes({ client: [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7] });
    expect(decodeRecord(bytes).client).toBe('2001:db8:1::7');
  });

  test('of any bytes becomes a line and no error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: RECORD_BYTES, maxLength: RECORD_BYTES }), (bytes) => {
        const { level, time, fields, message } = format(decodeRecord(bytes));
        expect(['info', 'warn', 'error']).toContain(level);
        expect(Number.isSafeInteger(time)).toBe(true);
        expect(message).not.toBe('');
        expect(JSON.parse(JSON.stringify(fields))).toEqual(fields);
      }),
    );
  });
});

describe('a line', () => {
  const flow = recordBytes({
    time: 9_750n,
    client: [198, 51, 100, 7],
    destination: [203, 0, 113, 10],
    value: 2n,
    service: 3,
    server: NO_SLOT,
    clientPort: 40_000,
    destinationPort: 80,
    event: 0,
    reason: 1,
    protocol: 6,
    worker: 1,
  });

  test('says who, where, why and how much, by names', () => {
    expect(format(decodeRecord(flow))).toEqual({
      level: 'warn',
      time: clocks.wall - 250,
      message: 'new session refused',
      fields: {
        event: 'no_server',
        worker: 1,
        service: 'web',
        protocol: 'tcp',
        client: '198.51.100.7:40000',
        destination: '203.0.113.10:80',
        reason: 'no_server',
        servers: 2,
      },
    });
  });

  test('about no flow has no addresses, and the interface by its name', () => {
    const record = decodeRecord(recordBytes({ event: 1, value: 1n, service: NO_SLOT, server: NO_SLOT, reason: 255 }));
    expect(format(record).fields).toEqual({ event: 'tx_ring_full', worker: 0, interface: 'lan' });
  });

  test('has numbers for what it has no name for', () => {
    const record = decodeRecord(recordBytes({ event: 200, service: 77, server: 78, reason: 255, protocol: 99, value: 1n }));
    expect(format(record).fields).toMatchObject({ event: 200, service: 'slot 77', server: 'slot 78', protocol: '99' });
  });

  test('has the time of now where the record has none that can be', () => {
    const at = (time: bigint) => timeOf({ ...decodeRecord(flow), time }, clocks);
    expect(at(10_200n)).toBe(clocks.wall + 200);
    expect(at(2n ** 63n)).toBe(clocks.wall);
  });

  test('writes endpoints as URLs do', () => {
    expect(endpointOf('198.51.100.7', 80)).toBe('198.51.100.7:80');
    expect(endpointOf('2001:db8::1', 80)).toBe('[2001:db8::1]:80');
    expect(endpointOf('2001:db8::1', 0)).toBe('2001:db8::1');
  });
});
