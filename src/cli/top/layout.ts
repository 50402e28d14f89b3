// Lines of `millrace top` for a screen of a given size: the model in, text out.
// Guarantees: pure; no line is wider than the screen, and there are never more lines than it has; readable from 80 columns on, and still
// in order below; control characters of names do not reach the screen.
// Thread: main.

import { cut, formatAge, plain, shorten, visible } from '../remote/text.js';
import { formatCount, type Paint, pad } from '../table.js';
import { type Order, type Table, type TopColumn, tableOf } from './columns.js';
import { type Model, totals, VIEWS, type ViewName } from './model.js';

export interface ScreenState {
  readonly view: ViewName;
  readonly order: Order;
  /** Rows that are scrolled away at the top. */
  readonly offset: number;
  readonly paused: boolean;
}

export interface LayoutOptions {
  /** Characters of a line. */
  readonly columns: number;
  /** Lines; undefined: as many as there are (a snapshot). */
  readonly rows?: number;
  readonly ink: Paint;
  /** Whether the terminal shows more than ASCII. */
  readonly unicode: boolean;
  /** Where the daemon is. */
  readonly place: string;
  /** What went wrong last, if the last look failed. */
  readonly trouble?: string;
}

const GAP = 2;
const TREND = { least: 8, most: 40 };
/** Lines above the first row. */
export const HEAD_LINES = 5;

export function layout(model: Model, state: ScreenState, options: LayoutOptions): string[] {
  const { columns, ink } = options;
  const table = tableOf(model, state.view, state.order);
  const room = options.rows === undefined ? table.rows.length : Math.max(0, options.rows - HEAD_LINES);
  const offset = Math.max(0, Math.min(state.offset, table.rows.length - room));
  const shown = table.rows.slice(offset, offset + room);
  const fitted = fitColumns(table, columns);
  const lines = [
    ...summary(model, state, options),
    tabs(state, { from: offset, shown: shown.length, all: table.rows.length }, options),
    options.trouble === undefined ? '' : ink.red(plain(options.trouble)),
    headLine(table, fitted, state.order, ink),
    ...shown.map((row) => rowLine(table, row, fitted, options)),
  ];
  return lines.slice(0, options.rows ?? lines.length).map((line) => cut(line.trimEnd(), columns));
}

function summary(model: Model, state: ScreenState, { columns, place, ink }: LayoutOptions): string[] {
  const { status } = model.sample;
  const { up, down, unchecked } = status.servers;
  const ready = status.draining ? ink.yellow('draining') : status.ready ? ink.green('ready') : ink.red('not ready');
  const all = totals(model);
  const count = (value: number): string => formatCount(Math.round(value));
  const servers = [
    ...(up > 0 ? [`${up} up`] : []),
    ...(down > 0 ? [ink.red(`${down} down`)] : []),
    ...(unchecked > 0 ? [`${unchecked} unchecked`] : []),
  ];
  const rest =
    `${ready}${state.paused ? `  ${ink.yellow('paused')}` : ''}  up ${formatAge((status.now - status.started) / 1000)}  ` +
    `servers ${servers.join(', ') || 'none'}`;
  const room = Math.max(10, columns - 'millrace '.length - 2 - visible(rest));
  return [
    `${ink.bold('millrace')} ${shorten(plain(place), room)}  ${rest}`,
    `sessions ${formatCount(BigInt(status.sessions))}  new/s ${count(all.created)}  rx/s ${count(all.received)}  ` +
      `tx/s ${count(all.sent)}  drops/s ${count(all.dropped)}`,
  ];
}

function tabs(
  { view, order }: ScreenState,
  { from, shown, all }: { readonly from: number; readonly shown: number; readonly all: number },
  { ink, rows }: LayoutOptions,
): string {
  const names = VIEWS.map((name, index) => (name === view ? ink.bold(`[${index + 1} ${name}]`) : ` ${index + 1} ${name} `));
  const sorted = `by ${order.by}${order.reversed ? ', reversed' : ''}`;
  const part = shown < all ? `  ${from + 1}-${from + shown} of ${all}` : '';
  const keys = rows === undefined ? '' : '  tab < > r q';
  return `${names.join('')} ${sorted}${part}${ink.dim(keys)}`;
}

interface Fitted {
  readonly columns: readonly { readonly column: TopColumn<unknown>; readonly width: number }[];
  readonly trend: number;
}

/** Which columns there is room for, and how wide each is. */
export function fitColumns(table: Table, width: number): Fitted {
  const natural = new Map(table.columns.map((column) => [column, naturalWidth(table, column)]));
  const leastOf = (column: TopColumn<unknown>): number =>
    column.least === undefined ? column.width : Math.min(column.least, natural.get(column) ?? column.least);
  let columns = [...table.columns];
  const least = (): number => columns.reduce((sum, column) => sum + leastOf(column) + GAP, 0) + TREND.least;
  while (least() > width) {
    const kept = columns.map(({ keep }) => keep ?? Number.POSITIVE_INFINITY);
    const first = Math.min(...kept);
    if (first === Number.POSITIVE_INFINITY) break;
    columns = columns.filter((_, index) => index !== kept.indexOf(first));
  }
  let spare = Math.max(0, width - least());
  const fitted = columns.map((column) => {
    const more = Math.min(spare, (natural.get(column) ?? 0) - leastOf(column));
    spare -= more;
    return { column, width: leastOf(column) + more };
  });
  const over = Math.max(0, least() - width);
  return { columns: fitted, trend: Math.max(0, Math.min(TREND.most, TREND.least + spare) - over) };
}

/** What the longest of its texts takes. */
function naturalWidth(table: Table, column: TopColumn<unknown>): number {
  if (column.least === undefined) return column.width;
  return table.rows.reduce<number>((most, row) => Math.max(most, [...column.text(row)].length), column.title.length);
}

function headLine(table: Table, { columns, trend }: Fitted, order: Order, ink: Paint): string {
  const cells = columns.map(({ column, width }) => {
    const title = pad(shorten(column.title, width), width, column.least === undefined && !isText(column) ? 'right' : 'left');
    return column.id === order.by ? ink.bold(ink.cyan(title)) : ink.dim(title);
  });
  return [...cells, ink.dim(shorten(table.trend, trend))].join(' '.repeat(GAP));
}

function rowLine(table: Table, row: unknown, { columns, trend }: Fitted, { ink, unicode }: LayoutOptions): string {
  const cells = columns.map(({ column, width }) => {
    const right = column.least === undefined && !isText(column);
    const cell = pad(shorten(plain(column.text(row)), width), width, right ? 'right' : 'left');
    const tone = column.tone?.(row);
    return tone === undefined ? cell : { good: ink.green, bad: ink.red, quiet: ink.dim }[tone](cell);
  });
  return [...cells, ink.cyan(sparkline(table.history(row), trend, unicode))].join(' '.repeat(GAP));
}

function isText(column: TopColumn<unknown>): boolean {
  return column.id === 'state';
}

const BLOCKS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const;
const LETTERS = ['_', '.', '.', '-', '-', '=', '#', '#'] as const;

/** The last `width` values, the newest at the right, as high as the largest of them; 0 stands on the ground line. */
export function sparkline(values: readonly number[], width: number, unicode: boolean): string {
  const levels = unicode ? BLOCKS : LETTERS;
  const shown = width <= 0 ? [] : values.slice(-width);
  const top = Math.max(0, ...shown);
  const bar = (value: number): string => {
    // Whatever is above 0 is seen to be so.
    const level = top === 0 || value <= 0 ? 0 : Math.max(1, Math.round((value / top) * (levels.length - 1)));
    return levels[level] ?? levels[0];
  };
  return shown.map(bar).join('').padStart(Math.max(0, width));
}

/** Whether the locale of the environment is UTF-8. */
export function showsUnicode(environment: NodeJS.ProcessEnv): boolean {
  const locale = environment['LC_ALL'] || environment['LC_CTYPE'] || environment['LANG'] || '';
  return /utf-?8/i.test(locale) && environment['TERM'] !== 'linux';
}
