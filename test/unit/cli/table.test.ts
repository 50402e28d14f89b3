// Tables, numbers and colours for terminals.
import { expect, test } from 'vitest';
import { formatBytes, formatCount, formatTable, pad, paint } from '../../../src/cli/table.js';

test('columns are as wide as their widest cell, and numbers stand to the right', () => {
  const columns = [
    { title: 'server', value: (row: [string, number]) => row[0] },
    { title: 'conns', value: (row: [string, number]) => String(row[1]), align: 'right' as const },
  ];
  expect(
    formatTable(columns, [
      ['192.0.2.11:8080', 7],
      ['a', 1234567],
    ]),
  ).toEqual(['server             conns', '192.0.2.11:8080        7', 'a                1234567']);
});

test('colour codes take no room', () => {
  expect(pad('\u001b[31mab\u001b[0m', 4)).toBe('\u001b[31mab\u001b[0m  ');
});

test.each([
  [0, '0'],
  [999, '999'],
  [1000, '1.00 k'],
  [12_345, '12.3 k'],
  [1_234_567n, '1.23 M'],
  [987_654_321, '988 M'],
  [-2_500, '-2.50 k'],
  [0.5, '0.5'],
])('%s is shown as %s', (value, text) => {
  expect(formatCount(value)).toBe(text);
});

test.each([
  [1023, '1023 B'],
  [1536, '1.50 KiB'],
  [1_073_741_824n, '1.00 GiB'],
])('%s bytes are shown as %s', (value, text) => {
  expect(formatBytes(value)).toBe(text);
});

test('colour is for terminals only, and NO_COLOR switches it off', () => {
  expect(paint({ isTTY: true }, {}).red('x')).toBe('\u001b[31mx\u001b[0m');
  expect(paint({ isTTY: true }, { NO_COLOR: '' }).red('x')).toBe('\u001b[31mx\u001b[0m');
  expect(paint({ isTTY: true }, { NO_COLOR: '1' }).red('x')).toBe('x');
  expect(paint({ isTTY: true }, { TERM: 'dumb' }).red('x')).toBe('x');
  expect(paint({ isTTY: false }, {}).red('x')).toBe('x');
});
