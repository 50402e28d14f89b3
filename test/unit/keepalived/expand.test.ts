// Conditions, definitions, repetitions and includes of keepalived.conf: which pieces come out, and where they say they come from.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: definitions of keepalived look like that
import { describe, expect, test } from 'vitest';
import { type ExpandOptions, expand } from '../../../src/keepalived/expand.js';
import { expandBraces, matches } from '../../../src/keepalived/glob.js';
import { Reports } from '../../../src/keepalived/report.js';
import { MAIN, memory } from './support/memory.js';

function run(text: string, options: ExpandOptions & { files?: Readonly<Record<string, string>> } = {}) {
  const reports = new Reports();
  const { files, ...rest } = options;
  const expanded = expand(MAIN, memory({ [MAIN]: text, ...files }), reports, rest);
  return {
    pieces: expanded.pieces.map((piece) => piece.text),
    places: expanded.pieces.map(({ origin, offset }) => [origin.file, origin.line, offset]),
    reasons: reports.all.map((report) => `${report.line}: ${report.reason}`),
    files: expanded.files,
  };
}

test('braces are pieces of their own, wherever they stand', () => {
  const { pieces, places } = run('a b{ c {\n} } d\n{');
  expect(pieces).toEqual(['a b', '{', 'c', '{', '}', '}', 'd', '{']);
  expect(places.map(([, line, offset]) => [line, offset])).toEqual([
    [1, 0],
    [1, 3],
    [1, 5],
    [1, 7],
    [2, 0],
    [2, 2],
    [2, 4],
    [3, 0],
  ]);
});

describe('conditions', () => {
  const text = '@main a\n@^main b\n@back c\n@^back d\ne';
  test.each([
    ['main', ['a', 'd', 'e']],
    ['back', ['b', 'c', 'e']],
    ['other', ['b', 'd', 'e']],
    [undefined, ['b', 'd', 'e']],
  ])('with config-id %s', (configId, pieces) => {
    expect(run(text, { configId }).pieces).toEqual(pieces);
  });

  test('hold for definitions, and come from definitions', () => {
    expect(run('@main $P=1\n@back $P=2\npriority $P', { configId: 'back' }).pieces).toEqual(['priority 2']);
    expect(run('$IF=@main\n$IF priority 240\nx', { configId: 'main' }).pieces).toEqual(['priority 240', 'x']);
    expect(run('$IF=@main\n$IF priority 240\nx', { configId: 'back' }).pieces).toEqual(['x']);
  });

  test('without a statement behind them are reported', () => {
    expect(run('@main\n').reasons).toEqual(['1: nothing stands after the condition @main']);
  });
});

describe('definitions', () => {
  test('are put in when they are used, not when they are made', () => {
    const text = '$B=10.2.${S}\n$S=0\n${B}.1 80\n$S=10\n${B}.1 $S,x';
    expect(run(text).pieces).toEqual(['10.2.0.1 80', '10.2.10.1 10,x']);
  });

  test('without value stay as they are; empty ones vanish', () => {
    expect(run('$E=\na $E b ${E}c $UNKNOWN x$Y').pieces).toEqual(['a  b c $UNKNOWN x$Y']);
  });

  test('of several lines bring lines of their own, nested, with places of where they were written', () => {
    const text = [
      '$RS= \\',
      '  real_server 10.0.${V}.${R} 80 { \\',
      '    @main weight 1 \\',
      '    @back weight 2 \\',
      '  }',
      '$VS= \\',
      'virtual_server 192.0.2.${V} 80 { \\',
      '  $R=1 \\',
      '  $RS \\',
      '  $R=2 \\',
      '  $RS \\',
      '}',
      '$V=7',
      '$VS',
    ].join('\n');
    const { pieces, places, reasons } = run(text, { configId: 'back' });
    const server = (n: number) => [`real_server 10.0.7.${n} 80`, '{', 'weight 2', '}'];
    expect(pieces).toEqual(['virtual_server 192.0.2.7 80', '{', ...server(1), ...server(2), '}']);
    expect(places.map((place) => place[1])).toEqual([7, 7, 2, 2, 4, 5, 2, 2, 4, 5, 12]);
    expect(reasons).toEqual([]);
  });

  test('of several lines end at an empty line, as in keepalived 2.2.7', () => {
    expect(run('$A= \\\n  a { \\\n\n  b\n$A').pieces).toEqual(['b', 'a', '{']);
  });

  test('that are predefined', () => {
    expect(run('a ${_PWD}/x ${_HASH}1 ${_BANG}2 $_INSTANCE', { configId: 'main' }).pieces).toEqual([
      'a /etc/keepalived/x #1 !2 main',
    ]);
    const random = run('a ${_RANDOM 1 5} $_INSTANCE');
    expect(random.pieces[0]).toMatch(/^a \$/);
    expect(random.reasons).toEqual([
      '1: the value of $_RANDOM is not known here',
      '1: the value of $_INSTANCE is not known here',
    ]);
  });

  test('that refer to themselves end', () => {
    expect(run('$A=$B\n$B=$A\nx $A').reasons).toEqual(['3: definitions refer to each other without end']);
    expect(run('$A=${A}${A}y\nx $A').reasons).toHaveLength(1);
    const deep = run('$A= \\\n x \\\n $A\n$A\nlast');
    expect(deep.reasons[0]).toContain('64 deep');
    expect(deep.pieces.at(-1)).toBe('last');
  });

  test('a backslash without a definition is reported', () => {
    const { pieces, reasons } = run('weight 1 \\\nx');
    expect(pieces).toEqual(['weight 1', 'x']);
    expect(reasons).toEqual(['1: a backslash at the end goes on with a definition only']);
  });
});

describe('repetitions', () => {
  test.each([
    ['~SEQ(S, 0, 3) 10.0.${S}.1', ['10.0.0.1', '10.0.1.1', '10.0.2.1', '10.0.3.1']],
    ['~SEQ(S,2) a $S', ['a 1', 'a 2']],
    ['~SEQ(S,-2) a $S', ['a -1', 'a -2']],
    ['~SEQ(S, 3, 1) a $S', ['a 3', 'a 2', 'a 1']],
    ['~SEQ(S, 1, 2, 6) a $S', ['a 1', 'a 3', 'a 5']],
    ['~SEQ(S, 4, 4) a $S', ['a 4']],
    ['~SEQx(S, 0x90, 0x10, 0xb0) a::${S}', ['a::90', 'a::a0', 'a::b0']],
    ['~SEQ(A, 1, 2) ~SEQ(B, 010, 9) $A,$B', ['1,8', '1,9', '2,8', '2,9']],
    ['~LST(I, x, y) a $I', ['a x', 'a y']],
    ['~LST({I, J}, {10,1},{20}) 192.168.${I}.${J}/', ['192.168.10.1/', '192.168.20./']],
    ['~LST({I, J}, {10,1},{20,4}) ~SEQ(K,168,2,170) ${K}.${I}.${J}', ['168.10.1', '170.10.1', '168.20.4', '170.20.4']],
    ['$N=2\n~SEQ(S, $N) { $S }', ['{', '1', '}', '{', '2', '}']],
    ['$L= \\\n a ${S} { \\\n }\n~SEQ(S, 2) $L', ['a 1', '{', '}', 'a 2', '{', '}']],
  ])('%j', (text, pieces) => {
    const result = run(text);
    expect(result.pieces).toEqual(pieces);
    expect(result.reasons).toEqual([]);
  });

  test.each([
    ['~SEQ(S) a', '~SEQ(NAME'],
    ['~SEQ(S, x) a', 'one to three whole numbers'],
    ['~SEQ(S, 1, 2, 3, 4) a', 'one to three whole numbers'],
    ['~SEQ(S, 1, -1, 5) a', 'a step of -1 does not lead from 1 to 5'],
    ['~SEQ(S, 1, 0, 5) a', 'a step of 0'],
    ['~SEQx(S, -1, 5) a', 'positive'],
    ['~LST(S) a', '~LST(NAME'],
    ['~LST(S, {1, 2}) a', 'more values than names'],
    ['~LST(S, 1', '~LST(NAME'],
  ])('%j is reported and brings nothing', (text, reason) => {
    const result = run(text);
    expect(result.pieces).toEqual([]);
    expect(result.reasons).toEqual([expect.stringContaining(reason)]);
  });

  test('without end are cut off', () => {
    const { pieces, reasons } = run('~SEQ(A, 1, 1000000000) a\nlast');
    expect(pieces.length).toBeLessThan(1_000_001);
    expect(reasons).toEqual(['1: the file has more than 1000000 lines after repetitions']);
  });
});

describe('includes', () => {
  const files = {
    '/etc/keepalived/conf.d/b.conf': 'b $X\ninclude c/*.inc',
    '/etc/keepalived/conf.d/a.conf': '$X=1\na {',
    '/etc/keepalived/conf.d/.hidden.conf': 'hidden',
    '/etc/keepalived/conf.d/c/d.inc': 'd ${_PWD}\n}',
    '/srv/e.conf': 'e',
  };

  test('are read in order, relative to the file that has them', () => {
    const { pieces, places, files: read } = run('first\n  include conf.d/*.conf\ninclude /srv/e.conf\nlast', { files });
    expect(pieces).toEqual(['first', 'a', '{', 'b 1', 'd /etc/keepalived/conf.d/c', '}', 'e', 'last']);
    expect(places[3]).toEqual(['/etc/keepalived/conf.d/b.conf', 1, undefined]);
    expect(places[7]).toEqual([MAIN, 4, 0]);
    expect(read).toHaveLength(5);
  });

  test('take braces and lists of patterns', () => {
    expect(run('include {conf.d/a,/srv/e}.conf', { files }).pieces).toEqual(['a', '{', 'e']);
  });

  test('that name nothing are an error for includer and for a plain name', () => {
    expect(run('include no/*.conf').reasons).toEqual([]);
    expect(run('includer no/*.conf').reasons).toEqual(['1: no file matches no/*.conf']);
    expect(run('include no.conf').reasons).toEqual([
      '1: /etc/keepalived/no.conf cannot be read: ENOENT: no such file or directory',
    ]);
  });

  test('of themselves end', () => {
    const { pieces, reasons } = run(`a\ninclude ${MAIN}`);
    expect(pieces).toHaveLength(65);
    expect(reasons).toEqual(['2: includes are more than 64 deep']);
  });

  test('need a blank behind the word', () => {
    expect(run('included x\nincludez y').pieces).toEqual(['included x', 'includez y']);
  });
});

test.each([
  ['*.conf', 'a.conf', true],
  ['*.conf', '.a.conf', false],
  ['.*', '.a', true],
  ['a?c', 'abc', true],
  ['a?c', 'ac', false],
  ['[a-c]1', 'b1', true],
  ['[!a-c]1', 'b1', false],
  ['[^a]1', 'b1', true],
  ['[ab', '[ab', true],
  ['*a*b*', 'xxaxxbxx', true],
  ['*a*b', 'xxaxxbxx', false],
  ['', '', true],
])('%j matches %j: %s', (pattern, name, expected) => {
  expect(matches(pattern, name)).toBe(expected);
});

test('braces of patterns', () => {
  expect(expandBraces('{a,b{1,2}}{,x}')).toEqual(['a', 'ax', 'b1', 'b1x', 'b2', 'b2x']);
  expect(expandBraces('a{b')).toEqual(['a{b']);
  expect(expandBraces('{a,b}'.repeat(40)).length).toBeLessThanOrEqual(1000);
});
