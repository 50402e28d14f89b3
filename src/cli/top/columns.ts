// The columns of the three views of `millrace top`: what stands in them, what they are sorted by, which go first when there is no room.
// Thread: main; no state.
import { formatCount } from '../table.js';
import type { FlowRates, Model, ServerRow, ServiceRow, ViewName, WorkerRow } from './model.js';

export type Tone = 'good' | 'bad' | 'quiet';

export interface TopColumn<Row> {
  /** What --sort takes. */
  readonly id: string;
  readonly title: string;
  /** Numbers are sorted from the largest, texts from the first. */
  readonly by: (row: Row) => number | string;
  readonly text: (row: Row) => string;
  /** A text column takes what it needs from here on, as far as there is room; undefined: as wide as `width`. */
  readonly least?: number;
  readonly width: number;
  /** The lower, the sooner it is left out where the terminal is narrow; undefined: never. */
  readonly keep?: number;
  readonly tone?: (row: Row) => Tone | undefined;
}

function number<Row>(id: string, title: string, width: number, by: (row: Row) => number, keep?: number): TopColumn<Row> {
  return { id, title, width, by, text: (row) => formatCount(round(by(row))), ...(keep === undefined ? {} : { keep }) };
}

/** Below ten, one digit behind the point says something; above, it only flickers. */
function round(value: number): number {
  return value < 10 ? Math.round(value * 10) / 10 : Math.round(value);
}

const traffic = <Row extends FlowRates>(keepBits: number): TopColumn<Row>[] => [
  number('active', 'active', 6, (row) => row.active),
  number('connections', 'conn/s', 6, (row) => row.connections),
  number('packets', 'pkt/s', 6, (row) => row.packets),
  number('in', 'in bit/s', 8, (row) => row.inBits, keepBits),
  number('out', 'out bit/s', 9, (row) => row.outBits, keepBits + 1),
];

const SERVICES: readonly TopColumn<ServiceRow>[] = [
  { id: 'service', title: 'service', least: 10, width: 0, by: ({ name }) => name, text: ({ name }) => name },
  {
    id: 'usable',
    title: 'usable',
    width: 6,
    by: ({ usable }) => usable,
    text: ({ usable, servers }) => `${usable}/${servers}`,
    tone: ({ usable, servers, quorum }) => (!quorum || (usable === 0 && servers > 0) ? 'bad' : undefined),
  },
  ...traffic<ServiceRow>(3),
];

const SERVERS: readonly TopColumn<ServerRow>[] = [
  { id: 'service', title: 'service', least: 8, width: 0, by: ({ service }) => service, text: ({ service }) => service },
  { id: 'server', title: 'server', least: 18, width: 0, by: ({ server }) => server, text: ({ server }) => server },
  {
    id: 'state',
    title: 'state',
    width: 9,
    by: ({ state }) => state,
    text: ({ state }) => state,
    tone: ({ state }) => (state === 'up' ? 'good' : state === 'down' ? 'bad' : 'quiet'),
  },
  number('weight', 'weight', 6, ({ weight }) => weight, 2),
  ...traffic<ServerRow>(3),
];

const WORKERS: readonly TopColumn<WorkerRow>[] = [
  number('worker', 'worker', 6, ({ worker }) => worker),
  { id: 'cpu', title: 'cpu', width: 3, by: ({ cpu }) => cpu, text: ({ cpu }) => (cpu < 0 ? '-' : String(cpu)), keep: 2 },
  number('sessions', 'sessions', 8, ({ sessions }) => sessions),
  number('created', 'new/s', 6, ({ created }) => created),
  number('received', 'rx/s', 6, ({ received }) => received),
  number('sent', 'tx/s', 6, ({ sent }) => sent),
  number('dropped', 'drops/s', 7, ({ dropped }) => dropped),
  {
    id: 'reason',
    title: 'most drops by',
    least: 13,
    width: 0,
    by: ({ reason }) => reason,
    text: ({ reason }) => (reason === '' ? '-' : reason),
    tone: ({ reason }) => (reason === '' ? 'quiet' : 'bad'),
    keep: 1,
  },
];

/** A view with its rows in the order that is asked for. */
export interface Table {
  readonly columns: readonly TopColumn<unknown>[];
  readonly rows: readonly unknown[];
  /** What the sparklines show. */
  readonly trend: string;
  readonly history: (row: unknown) => readonly number[];
}

export interface Order {
  /** Id of a column. */
  readonly by: string;
  readonly reversed: boolean;
}

export const DEFAULT_ORDER: Readonly<Record<ViewName, Order>> = {
  services: { by: 'connections', reversed: false },
  servers: { by: 'connections', reversed: false },
  workers: { by: 'worker', reversed: true },
};

/** Ids of the columns of a view, from the left. */
export function columnIds(view: ViewName): string[] {
  const columns: Readonly<Record<ViewName, readonly { readonly id: string }[]>> = {
    services: SERVICES,
    servers: SERVERS,
    workers: WORKERS,
  };
  return columns[view].map(({ id }) => id);
}

export function tableOf(model: Model, view: ViewName, order: Order): Table {
  if (view === 'services') return build(SERVICES, model.services, order, 'conn/s');
  if (view === 'servers') return build(SERVERS, model.servers, order, 'conn/s');
  return build(WORKERS, model.workers, order, 'rx/s');
}

function build<Row extends { readonly key: string; readonly history: readonly number[] }>(
  columns: readonly TopColumn<Row>[],
  rows: readonly Row[],
  order: Order,
  trend: string,
): Table {
  const column = columns.find(({ id }) => id === order.by) ?? columns[0];
  const direction = order.reversed ? -1 : 1;
  // Equal rows stand by their names whatever the direction, so that they keep still.
  const sorted = [...rows].sort(
    (a, b) => (column === undefined ? 0 : direction * compare(column.by(a), column.by(b))) || compare(a.key, b.key),
  );
  const history = (row: unknown): readonly number[] => (row as Row).history;
  return { columns: columns as unknown as readonly TopColumn<unknown>[], rows: sorted, trend, history };
}

/** By code points, and numbers within texts by their value: 192.0.2.9 before 192.0.2.11. */
const collator = new Intl.Collator('en', { numeric: true });

function compare(a: number | string, b: number | string): number {
  return typeof a === 'number' && typeof b === 'number' ? b - a : collator.compare(String(a), String(b));
}
