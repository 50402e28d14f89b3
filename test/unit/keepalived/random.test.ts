// Any text is read or reported: no exception, no hang, and no statement that vanishes.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: definitions of keepalived look like that
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatProblem } from '../../../src/config/format.js';
import { checkConfig } from '../../../src/config/validate.js';
import type { KeepalivedFile } from '../../../src/keepalived/load.js';
import { translate } from '../../../src/keepalived/translate.js';
import { load, MAIN } from './support/memory.js';

const fixture = readFileSync(fileURLToPath(new URL('fixtures/every-keyword.conf', import.meta.url)), 'utf8');
const words = [...new Set(fixture.split(/[\s{}"]+/))].filter((word) => word !== '' && !word.startsWith('#'));

/** What holds for every reading. */
function check(file: KeepalivedFile, text: string): void {
  const lines = text.split('\n');
  for (const report of file.reports) {
    expect(report.file).toBe(MAIN);
    expect(report.source).toBe((lines[report.line - 1] ?? '').replace(/\r+$/, ''));
    expect(report.column).toBeGreaterThanOrEqual(1);
    expect(report.column - 1 + report.length).toBeLessThanOrEqual(Math.max(report.column, report.source.length));
    expect(report.reason).not.toBe('');
    expect(formatProblem(report)).toContain(`${MAIN}:${report.line}:${report.column}: `);
  }
  checkTranslation(file);
  const again = load(file.remainder, { configId: 'main' });
  expect(again.config.virtualServers).toEqual([]);
  expect(again.config.groups).toEqual([]);
}

const base = { interfaces: [{ name: 'eth0' }], localAddresses: ['198.18.0.1', '2001:db8:18::1'], services: [] };

/** A configuration that passes, whatever was read, and of each virtual server a service or a report. */
function checkTranslation(file: KeepalivedFile): void {
  const { input, config, problems, reports, origins } = translate(file, { base });
  expect(problems).toEqual([]);
  expect(config).toBeDefined();
  expect(checkConfig(input).findings).toEqual([]);
  expect(origins.size).toBe(input.services.length + (input.snat?.length ?? 0));
  const told = [...origins.values(), ...reports].map(({ line }) => line);
  for (const virtual of file.config.virtualServers) {
    const { kind } = virtual.address;
    const members = kind === 'group' ? file.config.groups.flatMap(({ entries }) => entries.map(({ at }) => at.line)) : [];
    // Where the next one begins, this one has ended.
    const end =
      file.config.virtualServers.map(({ at }) => at.line).find((line) => line > virtual.at.line) ?? Number.POSITIVE_INFINITY;
    expect(told.some((line) => members.includes(line) || (line >= virtual.at.line && line < end))).toBe(true);
  }
}

const piece = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...words) },
  { weight: 6, arbitrary: fc.constantFrom(' ', '\t', '\n', '{', '}', ' {\n', '\n}\n', '"', "'", '\\', '\\\n', '\r\n') },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '#',
      '!',
      '@main ',
      '@^main ',
      '$A=',
      '$A',
      '$',
      '${A}',
      '$B= \\\n',
      '~SEQ(A,1,3) ',
      '~LST(A,1,2) ',
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('include x', 'includer *\n', 'vrrp_instance', '\u0000', 'é', '__proto__', 'constructor'),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
);

test('text of any characters', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => check(load(text, { configId: 'main' }), text)));
});

test('text of the words of keepalived', () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      const text = pieces.join('');
      check(load(text, { configId: 'main' }), text);
    }),
    { numRuns: 500 },
  );
});

test('a full configuration with one piece out of place', () => {
  // Smaller groups than the fixture has: 37 services are checked 300 times otherwise.
  const small = fixture
    .replace('192.0.2.10-20 8080', '192.0.2.10-11 8080')
    .replace('192.0.2.250-192.0.3.10', '192.0.2.255-192.0.3.0');
  fc.assert(
    fc.property(fc.nat(small.length), fc.nat(20), piece, (at, length, inserted) => {
      const text = small.slice(0, at) + inserted + small.slice(at + length);
      check(load(text, { configId: 'main' }), text);
    }),
    { numRuns: 100 },
  );
});

test('DPVS: a full configuration with one piece out of place', () => {
  const dpvs = readFileSync(fileURLToPath(new URL('fixtures/dpvs.conf', import.meta.url)), 'utf8');
  fc.assert(
    fc.property(fc.nat(dpvs.length), fc.nat(20), piece, (at, length, inserted) => {
      const text = dpvs.slice(0, at) + inserted + dpvs.slice(at + length);
      check(load(text, { configId: 'main' }), text);
    }),
    { numRuns: 300 },
  );
});

test('a mistyped keyword of a virtual server is reported on its line, wherever it stands', () => {
  const lines = fixture.split('\n');
  const from = lines.findIndex((line) => line.startsWith('virtual_server group web'));
  const keywords = lines
    .map((line, index) => ({ line, index }))
    .filter(({ line, index }) => index > from && /^\s+[a-zA-Z_0-9-]+/.test(line));
  fc.assert(
    fc.property(fc.constantFrom(...keywords), ({ line, index }) => {
      const text = lines.with(index, line.replace(/^(\s+)([a-zA-Z_0-9-]+)/, '$1$2_x')).join('\n');
      const reports = load(text).reports.filter((report) => report.kind === 'unknown' && report.line === index + 1);
      expect(reports.map((report) => report.reason)).toEqual([expect.stringContaining('_x"')]);
    }),
  );
});
