// The command line as popt(3) reads it.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PoptReader } from '../../../src/ipvs/popt.js';

const OPTIONS = [
  { long: 'list', short: 'L' },
  { long: 'numeric', short: 'n' },
  { long: 'scheduler', short: 's', value: 'required' },
  { long: 'persistent', short: 'p', value: 'optional' },
] as const;

function read(...words: string[]): string {
  const reader = new PoptReader(words, OPTIONS);
  const found: string[] = [];
  let step = reader.next();
  for (; step.kind === 'option'; step = reader.next())
    found.push(step.value === undefined ? step.option.long : `${step.option.long}=${step.value}`);
  if (step.kind === 'error') found.push(`${step.word}: ${step.reason}`);
  return [...found, ...reader.rest.map((word) => `(${word})`)].join(' ');
}

describe('popt', () => {
  it.each([
    [['-Ln'], 'list numeric'],
    [['-Lsrr'], 'list scheduler=rr'],
    [['-s=rr'], 'scheduler=rr'],
    [['-s', '-n'], 'scheduler=-n'],
    [['--scheduler=rr'], 'scheduler=rr'],
    [['--scheduler='], 'scheduler='],
    [['--scheduler', 'rr'], 'scheduler=rr'],
    [['-p', '10'], 'persistent=10'],
    [['-p', '-n'], 'persistent numeric'],
    [['-p'], 'persistent'],
    [['-p10'], 'persistent=10'],
    [['-p', ''], 'persistent='],
    [['-L', 'a', '-n', 'b'], 'list numeric (a) (b)'],
    [['-L', '--', '-n'], 'list (-n)'],
    [['-L', '-'], 'list (-)'],
    [['-Ls'], 'list -Ls: missing argument'],
    [['-Lq'], 'list -Lq: unknown option'],
    [['--sched', 'rr'], '--sched: unknown option'],
    [['--list=x'], '--list=x: option does not take an argument'],
    [['-n=x'], '-n=x: option does not take an argument'],
  ])('%j', (words, expected) => expect(read(...words)).toBe(expected));

  it('ends for any words', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom('-L', '-s', '-p', '--', '-'))), (words) => void read(...words)),
    );
  });
});
