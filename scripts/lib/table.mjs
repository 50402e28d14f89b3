// A table for a terminal. Plain Node: nothing from node_modules.

/** Columns of numbers stand at the right; `left`: columns of words at the left, as the first one always. */
export function table(head, rows, left = 1) {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)));
  const line = (cells) => cells.map((cell, i) => (i < left ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ');
  return [line(head), ...rows.map(line)].map((text) => `  ${text.trimEnd()}\n`).join('');
}
