// Text for terminals: fixed-width tables, numbers with units, colour only where a person looks.
// Guarantees: pure except for `paint`, which asks the stream and the environment once per call.
// Thread: main.
import type { WriteStream } from 'node:tty';

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
  /** Numbers stand to the right; default left. */
  readonly align?: 'left' | 'right';
}

/** Lines of a table with a title line; columns are as wide as their widest cell, two blanks apart. */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string[] {
  return new GrowingTable(columns).lines(rows);
}

/** A table that is made part by part: columns are as wide as their widest cell so far. */
export class GrowingTable<Row> {
  readonly #columns: readonly Column<Row>[];
  #widths: readonly number[] | undefined;

  constructor(columns: readonly Column<Row>[]) {
    this.#columns = columns;
  }

  /** Lines of the next rows; the first call's begin with the title line. */
  lines(rows: readonly Row[]): string[] {
    const columns = this.#columns;
    const cells = rows.map((row) => columns.map((column) => column.value(row)));
    if (this.#widths === undefined) cells.unshift(columns.map((column) => column.title));
    const widths = columns.map((_, i) =>
      cells.reduce((most, line) => Math.max(most, width(line[i] ?? '')), this.#widths?.[i] ?? 0),
    );
    this.#widths = widths;
    return cells.map((line) =>
      line
        .map((cell, i) => pad(cell, widths[i] ?? 0, columns[i]?.align ?? 'left'))
        .join('  ')
        .trimEnd(),
    );
  }
}

/** Pads to `size` visible characters; colour codes take no room. */
export function pad(cell: string, size: number, align: 'left' | 'right' = 'left'): string {
  const blanks = ' '.repeat(Math.max(0, size - width(cell)));
  return align === 'left' ? cell + blanks : blanks + cell;
}

function width(cell: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes begin with one
  return cell.replaceAll(/\u001b\[[0-9;]*m/g, '').length;
}

/** 1234567 -> "1.23 M"; below 1000 as it is. Units are powers of 1000. */
export function formatCount(value: number | bigint): string {
  let scaled = Number(value);
  let unit = '';
  for (const next of ['k', 'M', 'G', 'T']) {
    if (Math.abs(scaled) < 1000) break;
    scaled /= 1000;
    unit = next;
  }
  if (unit === '') return Number.isInteger(scaled) ? String(scaled) : scaled.toFixed(1);
  return `${scaled.toFixed(Math.abs(scaled) < 10 ? 2 : Math.abs(scaled) < 100 ? 1 : 0)} ${unit}`;
}

/** 1536 -> "1.50 KiB". Units are powers of 1024. */
export function formatBytes(value: number | bigint): string {
  let scaled = Number(value);
  let unit = 'B';
  for (const next of ['KiB', 'MiB', 'GiB', 'TiB']) {
    if (Math.abs(scaled) < 1024) break;
    scaled /= 1024;
    unit = next;
  }
  return unit === 'B' ? `${scaled} B` : `${scaled.toFixed(Math.abs(scaled) < 10 ? 2 : 1)} ${unit}`;
}

type Ink = (text: string) => string;

export interface Paint {
  readonly bold: Ink;
  readonly dim: Ink;
  readonly red: Ink;
  readonly green: Ink;
  readonly yellow: Ink;
  readonly cyan: Ink;
}

/** Colours for a stream: none unless it is a terminal, none when NO_COLOR is set to anything (no-color.org) or TERM is dumb. */
export function paint(stream: Pick<WriteStream, 'isTTY'>, environment: NodeJS.ProcessEnv = process.env): Paint {
  const on = stream.isTTY === true && (environment['NO_COLOR'] ?? '') === '' && environment['TERM'] !== 'dumb';
  const ink = (code: number): Ink => (on ? (text) => `\u001b[${code}m${text}\u001b[0m` : (text) => text);
  return { bold: ink(1), dim: ink(2), red: ink(31), green: ink(32), yellow: ink(33), cyan: ink(36) };
}
