// Numbers and tables as the demo prints them.
// Guarantees: pure functions; plain characters only.
// Thread: any.

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** 1234567 -> "1,234,567" */
export function numberText(value: number): string {
  return grouped.format(value);
}

/** 1536 -> "1.5 KiB" */
export function bytesText(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let scaled = value;
  let unit = 0;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return unit === 0 ? `${scaled} B` : `${scaled.toFixed(1)} ${units[unit]}`;
}

/** 1234 microseconds -> "1.23 ms" */
export function microsecondsText(value: number): string {
  return value < 1000 ? `${value.toFixed(0)} us` : `${(value / 1000).toFixed(2)} ms`;
}

/** Lines of a table; columns whose cells all begin with a digit are right-aligned. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cell = (row: readonly string[], column: number) => row[column] ?? '';
  const widths = head.map((name, column) => Math.max(name.length, ...rows.map((row) => cell(row, column).length)));
  const right = head.map((_, column) => rows.length > 0 && rows.every((row) => /^\d[\d,.]*( \w+)?$/.test(cell(row, column))));
  const line = (row: readonly string[]) =>
    widths
      .map((width, column) => (right[column] ? cell(row, column).padStart(width) : cell(row, column).padEnd(width)))
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line)];
}
