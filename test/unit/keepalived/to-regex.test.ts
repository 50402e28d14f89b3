// Expressions of PCRE2 mean the same as expressions of JavaScript. Expected: what pcregrep(1) and pcre2pattern(3) say.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compiles, optionsWithoutCounterpart, restrictRegex, translateRegex } from '../../../src/keepalived/to-regex.js';

function matcher(source: string, options: readonly string[] = []): RegExp {
  const found = translateRegex(source, options);
  if (found === undefined) throw new Error(`no translation of ${source}`);
  return new RegExp(found.pattern, `u${found.flags}`);
}

describe.each([
  ['{"status":"ok"}', '{"status":"ok"}', '{"status":"bad"}'],
  ['a{2}b{', 'aab{', 'ab{'],
  ['^OK$', 'OK\n', 'OK\nmore'],
  ['\\AOK\\z', 'OK', 'OK\n'],
  ['OK\\Z', 'OK\n', 'OK\n\n'],
  ['[[:digit:]]{3}', 'x123', 'x12'],
  ['[^[:space:]a]+b', 'xb', 'ab'],
  ['[]x]y', ']y', 'ay'],
  ['[a[]b', '[b', 'cb'],
  ['a\\-b\\:c\\"', 'a-b:c"', 'ab'],
  ['[a\\-z]b', '-b', 'mb'],
  ['\\x{41}\\x42', 'AB', 'ab'],
  ['a\\hb', 'a\tb', 'a\nb'],
  ['a\\Rb', 'a\r\nb', 'ab'],
  ['(?i)up', 'UP', 'down'],
  ['[\\h]x', '\tx', 'x'],
  ['(?<n>a)\\k<n>', 'aa', 'ab'],
])('%s', (source, good, bad) => {
  test('matches what it should, and nothing else', () => {
    expect(matcher(source).test(good)).toBe(true);
    expect(matcher(source).test(bad)).toBe(false);
  });
});

test('options that are flags, that need none, and that are not there', () => {
  expect(matcher('^up$', ['caseless', 'multiline']).test('x\nUP\ny')).toBe(true);
  expect(matcher('a.b', ['dotall']).test('a\nb')).toBe(true);
  expect(matcher('a$', ['dollar_endonly']).test('a\n')).toBe(false);
  expect(optionsWithoutCounterpart(['caseless', 'ungreedy', 'utf', 'extended', 'firstline'])).toEqual(['extended', 'firstline']);
});

test.each(['(?>a)b', 'a++b', '(a', '(?(1)a|b)', '\\Qa\\E', '*a'])('%s has no translation', (source) => {
  expect(translateRegex(source, [])).toBeUndefined();
});

test('not matching, and where a match may begin', () => {
  const plain = { pattern: 'b|c', flags: '' };
  const test = (restriction: Partial<Parameters<typeof restrictRegex>[1]>, text: string) => {
    const { pattern, flags } = restrictRegex(plain, { noMatch: false, min: undefined, max: undefined, ...restriction });
    return new RegExp(pattern, `u${flags}`).test(text);
  };
  expect([test({}, 'ab'), test({ noMatch: true }, 'ab'), test({ noMatch: true }, 'a\na')]).toEqual([true, false, true]);
  expect([test({ min: 1 }, 'ba'), test({ min: 1 }, 'ab'), test({ min: 1 }, 'bc')]).toEqual([false, true, true]);
  expect([test({ max: 1 }, 'aab'), test({ max: 1 }, 'ab'), test({ min: 1, max: 2 }, '\n\nb')]).toEqual([false, true, true]);
  expect(test({ noMatch: true, min: 2 }, 'bb')).toBe(true);
});

test('any text gives an expression that compiles, or none', () => {
  const piece = fc.constantFrom(
    ...'ab01^$.*+?()[]{}|\\/-:<>=!,"',
    '\\x{',
    '[:alpha:]',
    '(?i)',
    '(?:',
    '\\d',
    '\\b',
    'é',
    '\u{1f600}',
  );
  const options = fc.subarray(['caseless', 'dotall', 'multiline', 'dollar_endonly', 'extended']);
  const source = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece).map((pieces) => pieces.join('')),
  );
  fc.assert(
    fc.property(source, options, fc.boolean(), (text, chosen, noMatch) => {
      const found = translateRegex(text, chosen);
      if (found === undefined) return;
      expect(compiles(found)).toBe(true);
      expect(compiles(restrictRegex(found, { noMatch, min: 1, max: 5 }))).toBe(true);
    }),
  );
});
