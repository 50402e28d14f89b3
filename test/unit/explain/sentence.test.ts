// The sentence of `millrace explain`: what it may say, what is told about a wrong one, and that no text at all makes it throw.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { runCli } from '../../../src/cli/program.js';
import { parseAddress } from '../../../src/config/address.js';
import {
  describeFault,
  formatSentence,
  parseSentence,
  SENTENCE_EXAMPLES,
  SENTENCE_PROTOCOLS,
  type Sentence,
} from '../../../src/explain/sentence.js';

function read(text: string): string {
  const result = parseSentence(text);
  return 'fault' in result ? describeFault(text, result.fault) : formatSentence(result.sentence);
}

test.each(SENTENCE_EXAMPLES)('the example "%s" reads as it is written', (text) => {
  expect(read(text)).toBe(text);
});

test.each([
  ['blanks do not count', '  TCP  198.51.100.7:1   ->\t203.0.113.10:443 ', 'tcp 198.51.100.7:1 -> 203.0.113.10:443'],
  ['the arrow needs no blanks', 'udp 198.51.100.7:1->203.0.113.10:53', 'udp 198.51.100.7:1 -> 203.0.113.10:53'],
  [
    'addresses come out in their short form',
    'tcp [2001:DB8:0::7]:1 -> [2001:db8::1]:2',
    'tcp [2001:db8::7]:1 -> [2001:db8::1]:2',
  ],
  ['icmp takes IPv6 with and without brackets', 'icmp [2001:db8::7] -> 2001:db8::1', 'icmp 2001:db8::7 -> 2001:db8::1'],
  ['port 0 may be asked about', 'tcp 198.51.100.7:0 -> 203.0.113.10:443', 'tcp 198.51.100.7:0 -> 203.0.113.10:443'],
])('%s', (_, text, expected) => {
  expect(read(text)).toBe(expected);
});

test('a wrong sentence is told with a mark under the place', () => {
  const wrong = [
    '',
    'tpc 198.51.100.7:1 -> 203.0.113.10:443',
    'tcp',
    'tcp 198.51.100.7:1 => 203.0.113.10:443',
    'tcp 198.51.100.7:1 203.0.113.10:443',
    'tcp 198.51.100.7:1 ->',
    'tcp 198.51.100.7 -> 203.0.113.10:443',
    'tcp 2001:db8::7 -> [2001:db8::1]:443',
    'tcp 198.51.100.7:1 -> 203.0.113.10:65536',
    'tcp 198.51.100.7:1 -> 203.0.113.10:',
    'tcp 198.51.100.300:1 -> 203.0.113.10:443',
    'tcp [198.51.100.7]:1 -> 203.0.113.10:443',
    'tcp [2001:db8::7:1 -> 203.0.113.10:443',
    'tcp 198.51.100.7:1 -> [2001:db8::1]:443',
    'icmp 198.51.100.7:1 -> 203.0.113.10',
    'udp 198.51.100.7:1 -> 203.0.113.10:53 now',
    'tcp -> 198.51.100.7:1',
  ];
  expect(wrong.map(read).join('\n\n')).toMatchSnapshot();
});

const address = (family: 4 | 6): fc.Arbitrary<string> => (family === 4 ? fc.ipV4() : fc.ipV6());
const sentences = fc
  .constantFrom(4 as const, 6 as const)
  .chain((family) =>
    fc.record({
      protocol: fc.constantFrom(...SENTENCE_PROTOCOLS),
      source: address(family),
      sourcePort: fc.nat(65_535),
      destination: address(family),
      destinationPort: fc.nat(65_535),
    }),
  )
  .map(({ protocol, ...rest }): Sentence | undefined => {
    const [source, destination] = [parseAddress(rest.source), parseAddress(rest.destination)];
    if (source === undefined || destination === undefined || source.family !== destination.family) return undefined;
    const port = (value: number): number => (protocol === 'icmp' ? 0 : value);
    return {
      protocol,
      source: { address: source, port: port(rest.sourcePort) },
      destination: { address: destination, port: port(rest.destinationPort) },
    };
  })
  .filter((sentence) => sentence !== undefined);

test('every sentence that is written reads back as the same packet', () => {
  fc.assert(
    fc.property(sentences, (sentence) => {
      expect(parseSentence(formatSentence(sentence))).toEqual({ sentence });
    }),
  );
});

test('no text makes it throw, and the mark is within the text or just behind it', () => {
  const pieces = fc.constantFrom(
    'tcp',
    'udp',
    'icmp',
    ' ',
    '->',
    '-',
    '>',
    ':',
    '[',
    ']',
    '1',
    '198.51.100.7',
    '2001:db8::1',
    '::',
  );
  const texts = fc.oneof(
    fc.string(),
    fc.string({ unit: 'grapheme' }),
    fc.array(pieces).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const result = parseSentence(text);
      if ('fault' in result) {
        expect(result.fault.at).toBeGreaterThanOrEqual(0);
        expect(result.fault.at).toBeLessThanOrEqual(text.length);
        expect(result.fault.reason).not.toBe('');
      } else {
        expect(parseSentence(formatSentence(result.sentence))).toEqual(result);
      }
    }),
    { numRuns: 1000 },
  );
});

test.each([
  ['a wrong sentence', 1, ['explain', '-c', 'x', 'tcp here -> there']],
  ['no sentence', 2, ['explain', '-c', 'x']],
  ['no configuration', 2, ['explain', SENTENCE_EXAMPLES[0]]],
  ['an unknown flag', 2, ['explain', '-c', 'x', SENTENCE_EXAMPLES[0], '--flags', 'syn,ackk']],
  ['flags of a protocol without any', 2, ['explain', '-c', 'x', SENTENCE_EXAMPLES[1], '--flags', 'syn']],
  ['no workers', 2, ['explain', '-c', 'x', SENTENCE_EXAMPLES[0], '--workers', '0']],
])('%s ends the command with %i', async (_, code, argv) => {
  expect(await runCli(argv)).toBe(code);
});
