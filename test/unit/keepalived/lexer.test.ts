// Comments, quotes, braces and words of keepalived.conf.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findBrace, type Piece, splitEscaped, splitWords, stripComment } from '../../../src/keepalived/lexer.js';

const piece = (text: string, source = text): Piece => {
  const at = source.indexOf(text);
  return { text, origin: { file: 'a.conf', line: 7, source }, offset: at === -1 ? undefined : at, physical: 6 };
};

describe('comments', () => {
  test.each([
    ['  weight 1  # one', 'weight 1'],
    ['weight 1 ! one', 'weight 1'],
    ['weight 1#one', 'weight 1'],
    ['! all of it', ''],
    ['path "/a#b!c" # d', 'path "/a#b!c"'],
    ['path /a\\#b \\!c', 'path /a#b !c'],
    ['path "/a\\"#b"', 'path "/a\\"#b"'],
    ["misc_path '/a #b'", "misc_path '/a"],
    ['\t\tquorum 2\t', 'quorum 2'],
  ])('%j is %j', (line, text) => {
    expect(stripComment(line)).toEqual({ text, continued: false, openQuote: false });
  });

  test('a backslash at the end and a quote without partner are told', () => {
    expect(stripComment('$A= \\')).toEqual({ text: '$A=', continued: true, openQuote: false });
    expect(stripComment('path "/a # b')).toEqual({ text: 'path "/a # b', continued: false, openQuote: true });
  });
});

describe('words', () => {
  test('know their place in the source, also behind tabs', () => {
    const words = splitWords(piece('path "/a b" c', '\tpath "/a b" c # d'));
    expect(words.map(({ text, quoted, line, column, length }) => ({ text, quoted, line, column, length }))).toEqual([
      { text: 'path', quoted: false, line: 7, column: 2, length: 4 },
      { text: '/a b', quoted: true, line: 7, column: 7, length: 6 },
      { text: 'c', quoted: false, line: 7, column: 14, length: 1 },
    ]);
  });

  test('of a line that definitions changed stand at the whole line', () => {
    const [, word] = splitWords(piece('weight 5', '  weight $W  '));
    expect(word).toMatchObject({ text: '5', column: 3, length: 9 });
  });

  test('are ended by a quote', () => {
    expect(splitWords(piece('a"b c"d "" e')).map((word) => word.text)).toEqual(['a', 'b c', 'd', '', 'e']);
  });

  test('a quote without partner takes the rest and is told', () => {
    const told: string[] = [];
    const words = splitWords(piece('a "b c'), (word) => told.push(word.text));
    expect(words.map((word) => word.text)).toEqual(['a', 'b c']);
    expect(told).toEqual(['b c']);
  });
});

test.each([
  ['a { b', 2],
  ['a "{" } b', 6],
  ['a "{', -1],
  ["a '{'", 3],
  ['a b', -1],
])('the first brace of %j is at %d', (text, at) => {
  expect(findBrace(text)).toBe(at);
});

test.each([
  ['abcd" efg h jkl "mnop', ['abcd efg h jkl mnop']],
  ['abcd "efg h jkl" mnop', ['abcd', 'efg h jkl', 'mnop']],
  ['a \'b "c\' "d \'e"', ['a', 'b "c', "d 'e"]],
  ['\\a\\b\\E\\f\\n\\r\\t\\v', ['\x07\b\x1b\f\n\r\t\v']],
  ['\\x41\\x4 \\101\\60\\7', ['A\x04', 'A0\x07']],
  ['\\cA\\\\\\"\\ x', ['\x01\\" x']],
  ['a "" b', ['a', '', 'b']],
  ['', []],
])('escaped words of %j', (text, words) => {
  expect(splitEscaped(text)).toEqual(words);
});

test.each(['a "b', "a 'b", 'a \\'])('%j has no partner', (text) => {
  expect(splitEscaped(text)).toBeUndefined();
});

test('words of any line, joined, are the line without blanks and quotes', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\t', '"', "'", '\\') }), (text) => {
      const words = splitWords(piece(text));
      const plain = (value: string) => value.replaceAll(/[ \t"]/g, '');
      expect(words.map((word) => plain(word.text)).join('')).toBe(plain(text));
      for (const word of words) expect(text.slice(word.column - 1, word.column - 1 + word.length)).toContain(word.text);
    }),
  );
});
