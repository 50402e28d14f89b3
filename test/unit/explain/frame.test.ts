// The packet that explain sends: read back by the decoder of the tests, which shares no code with it.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { buildFrame, checksum, crc32c, TCP_FLAGS } from '../../../src/explain/frame.js';
import { formatHeader, readHeaders } from '../../../src/explain/headers.js';
import { readCapture, writeCapture } from '../../../src/explain/pcap.js';
import { parseSentence } from '../../../src/explain/sentence.js';
import { decodePacket } from '../../support/packet/index.js';

const options = { sourceMac: '02:00:00:00:00:07', destinationMac: '02:00:00:00:00:01', tcpFlags: TCP_FLAGS.syn };

function frameOf(text: string): Buffer {
  const result = parseSentence(text);
  if ('fault' in result) throw new Error(result.fault.reason);
  return buildFrame(result.sentence, options);
}

test.each([
  'tcp 198.51.100.7:4242 -> 203.0.113.10:443',
  'tcp [2001:db8::7]:4242 -> [2001:db8::10]:443',
  'udp 198.51.100.7:4242 -> 203.0.113.10:53',
  'udp [2001:db8::7]:4242 -> [2001:db8::10]:53',
  'icmp 198.51.100.7 -> 203.0.113.10',
  'icmp 2001:db8::7 -> 2001:db8::10',
])('the checksums of "%s" are right', (text) => {
  const checks = [...decodePacket(frameOf(text)).fields].filter(([name]) => name.endsWith('checksumRight'));
  expect(checks.length).toBeGreaterThan(0);
  for (const [, value] of checks) expect(value).toBe('yes');
});

test('checksum and CRC are those of the standards', () => {
  expect(checksum(Buffer.from('0001f203f4f5f6f7', 'hex'))).toBe(~0xddf2 & 0xffff); // the example of RFC 1071
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283); // the check value of CRC-32C
});

test('what is written is what the headers say', () => {
  const lines = readHeaders(frameOf('tcp 198.51.100.7:4242 -> 203.0.113.10:443')).map(formatHeader);
  expect(lines).toEqual([
    'ethernet 02:00:00:00:00:07 -> 02:00:00:00:00:01',
    'ipv4     198.51.100.7 -> 203.0.113.10  ttl 64  id 1  DF',
    'tcp      4242 -> 443  flags SYN',
  ]);
});

test('no bytes make the reader of headers throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => void readHeaders(Buffer.from(bytes))));
  const whole = frameOf('udp [2001:db8::7]:4242 -> [2001:db8::10]:6080');
  for (let length = 0; length <= whole.length; length++) readHeaders(whole.subarray(0, length));
});

test('a capture of one frame gives that frame back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 14, maxLength: 2000 }), (bytes) => {
      expect(readCapture(writeCapture(bytes))).toEqual([Buffer.from(bytes)]);
    }),
  );
});
