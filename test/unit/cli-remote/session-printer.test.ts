// Pages of any sessions, printed one after the other, are one document.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { SessionPrinter } from '../../../src/cli/remote/session-printer.js';
import { paint } from '../../../src/cli/table.js';
import { sessionView } from '../client/support/views.js';

const text = fc.string({ unit: 'grapheme' });
const pagesOf = (word: fc.Arbitrary<string>) => {
  const row = fc.record({ client: word, service: word, state: word, expires: fc.nat() }).map((given) => sessionView(given));
  return fc.array(fc.array(row, { maxLength: 4 }), { maxLength: 4 });
};
const cursors = fc.option(text, { nil: undefined });

function printed(
  format: 'table' | 'wide' | 'json' | 'yaml',
  given: readonly ReturnType<typeof sessionView>[][],
  cursor?: string,
): string {
  const printer = new SessionPrinter(format, paint({ isTTY: false }));
  return [...given.map((rows) => printer.page(rows)), printer.end(cursor)].join('');
}

test.each([
  ['json', (document: string): unknown => JSON.parse(document)],
  ['yaml', (document: string): unknown => parse(document)],
] as const)('%s', (format, read) => {
  fc.assert(
    fc.property(pagesOf(text), cursors, (given, cursor) => {
      const expected = { sessions: given.flat(), ...(cursor === undefined ? {} : { cursor }) };
      expect(read(printed(format, given, cursor))).toEqual(expected);
    }),
  );
});

test.each(['table', 'wide'] as const)('%s: a title, and a line for each session', (format) => {
  fc.assert(
    fc.property(pagesOf(fc.string({ unit: 'binary-ascii' })), (given) => {
      const lines = printed(format, [[], ...given]).split('\n');
      // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may reach a terminal
      expect(lines.join('')).not.toMatch(/[\u0000-\u001f\u007f]/);
      expect(lines).toHaveLength(given.flat().length + 2);
    }),
  );
});
