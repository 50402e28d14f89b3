// The Maglev oracle against a live kernel's mappings, and the tables it makes for the native tests against the file they are kept in.
// UPDATE_EXPECTED=1 rewrites the file.
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseAddress } from '../../../src/config/address.js';
import { fold, maglevSlot, maglevTable } from '../../oracle/maglev.js';

const recordings = new URL('../../native/schedulers/recordings/', import.meta.url);

function words(text: string): number[] {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  const count = address.family === 4 ? 1 : 4;
  return Array.from({ length: count }, (_, i) => Number((address.value >> BigInt(32 * i)) & 0xffff_ffffn));
}

interface RecordedSet {
  readonly title: string;
  readonly usesPort: boolean;
  readonly weights: readonly number[];
  readonly six: boolean;
  readonly port: number;
  readonly rows: string[][];
}

const sets: RecordedSet[] = [];
for (const line of readFileSync(new URL('mappings.txt', recordings), 'utf8').split('\n')) {
  const parts = line.split(' ');
  const [head, scheduler = '', options = '', weights = '', mode = '', family = '', port = ''] = parts;
  if (head === 'set')
    sets.push({
      title: `${scheduler} ${options} ${weights} ${mode} ${family} ${port}`,
      usesPort: options.includes('port'),
      weights: weights.split(',').map(Number),
      six: family === 'ipv6',
      port: Number(port),
      rows: [],
    });
  else if (parts.length === 3 && head !== '#') sets.at(-1)?.rows.push(parts);
}
const maglevSets = sets.filter(({ title }) => title.startsWith('mh '));

describe('the oracle maps clients as a live IPVS did', () => {
  expect(maglevSets.length).toBeGreaterThanOrEqual(12);
  test.each(maglevSets)('$title', ({ usesPort, weights, six, port, rows }) => {
    const servers = weights
      .map((weight, i) => ({ number: i + 1, address: fold(words(`${six ? 'fd00:2::' : '10.0.2.'}${11 + i}`)), port, weight }))
      .reverse();
    const table = maglevTable(servers, 4093);
    for (const [source = '', , server] of rows) {
      const [text = '', clientPort = '0'] = source === '-' ? ['10.0.1.2'] : six ? [source] : source.split(':');
      const slot = maglevSlot(fold(words(text)) + (usesPort ? Number(clientPort) : 0), 4093);
      expect(`${source} ${servers[table[slot] ?? -1]?.number}`).toBe(`${source} ${server}`);
    }
  });
});

/** Servers have consecutive addresses; their weights come from a small generator, so that the file is the same everywhere. */
function vectors(): string {
  const lines = [
    '# Maglev tables of test/oracle/maglev.ts: slots, servers, port, whether server ports count, first address, digest (FNV-1a of the',
    '# server numbers), weights. Written by test/unit/oracle/maglev.test.ts.',
  ];
  let state = 1;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 16) % limit;
  };
  for (const size of [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 65_537, 131_071, 655_373]) {
    for (const first of ['10.1.2.3', '2001:db8::1:7']) {
      const count = 2 + random(size > 100_000 ? 8 : 60);
      const largest = [1, 10, 1000, 65_535][random(4)] ?? 1;
      const weights = Array.from({ length: count }, (_, i) => (i > 0 && random(8) === 0 ? 0 : 1 + random(largest)));
      const port = 1 + random(60_000);
      const counts = random(2) === 0;
      const [low = 0, ...high] = words(first);
      const servers = weights.map((weight, i) => ({
        address: fold([low + i, ...high]),
        port: counts ? port : 0,
        weight,
      }));
      let digest = 0x811c_9dc5;
      for (const server of maglevTable(servers, size)) digest = Math.imul(digest ^ (server & 0xff), 0x0100_0193) >>> 0;
      lines.push([size, count, port, counts ? 1 : 0, first, digest, ...weights].join(' '));
    }
  }
  return `${lines.join('\n')}\n`;
}

test('the tables for the native tests are up to date', () => {
  const file = new URL('maglev-oracle.txt', recordings);
  const text = vectors();
  if (process.env['UPDATE_EXPECTED'] !== undefined) writeFileSync(file, text);
  expect(readFileSync(file, 'utf8')).toBe(text);
});
