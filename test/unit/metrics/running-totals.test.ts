// Sums of counters that come and go do not fall.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RunningTotals } from '../../../src/metrics/running-totals.js';

test('a counter that begins anew goes on where it was', () => {
  const totals = new RunningTotals(1);
  expect(totals.note('g', 'a', [10])).toEqual([10]);
  expect(totals.note('g', 'a', [4])).toEqual([14]);
  expect(totals.note('g', 'a', [5])).toEqual([15]);
  expect(totals.keep('g', 'a')).toEqual([15]);
  expect(totals.note('g', 'a', [1])).toEqual([16]);
});

test('the rest of an earlier life counts until it ends, and stays counted', () => {
  const totals = new RunningTotals(1);
  totals.note('g', 'a', [100]);
  expect(totals.note('g', 'a', [2], [101])).toEqual([103]);
  expect(totals.note('g', 'a', [5], [101])).toEqual([106]);
  expect(totals.note('g', 'a', [6])).toEqual([107]);
  expect(totals.note('g', 'a', [7])).toEqual([108]);
});

test('a server that is removed and then only has old sessions is no new one', () => {
  const totals = new RunningTotals(1);
  totals.note('g', 'a', [2], [100]);
  expect(totals.note('g', 'a', [102])).toEqual([102]);
});

test('who leaves stays in the sum of the group, and a group that leaves in the grand total', () => {
  const totals = new RunningTotals(2);
  totals.note('g', 'a', [1, 2]);
  totals.note('g', 'b', [10, 20]);
  totals.note('h', 'a', [100, 200]);
  totals.finish();
  expect([totals.group('g'), totals.grand()]).toEqual([
    [11, 22],
    [111, 222],
  ]);
  totals.note('g', 'a', [2, 3]);
  totals.finish();
  expect([totals.group('g'), totals.group('h'), totals.grand()]).toEqual([
    [12, 23],
    [0, 0],
    [112, 223],
  ]);
  totals.note('h', 'a', [5, 5]);
  totals.finish();
  expect([totals.group('h'), totals.grand()]).toEqual([
    [5, 5],
    [117, 228],
  ]);
});

test('whatever counters say, totals of an entry and the grand total never fall', () => {
  const step = fc.record({
    values: fc.array(fc.option(fc.nat(1000), { nil: undefined }), { minLength: 3, maxLength: 3 }),
    ending: fc.option(fc.nat(1000), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const totals = new RunningTotals(1);
      const before = new Map<number, number>();
      let grand = 0;
      for (const { values, ending } of steps) {
        values.forEach((value, i) => {
          if (value === undefined) {
            before.delete(i);
            return;
          }
          const [total = 0] = totals.note('g', String(i), [value], ending === undefined ? undefined : [ending]);
          expect(total).toBeGreaterThanOrEqual(before.get(i) ?? 0);
          before.set(i, total);
        });
        totals.finish();
        const [now = 0] = totals.grand();
        expect(now).toBeGreaterThanOrEqual(grand);
        grand = now;
      }
    }),
  );
});
