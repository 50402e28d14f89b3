// Prints pages of sessions as one table, one JSON document or one YAML document, without keeping the pages.
// Guarantees: JSON and YAML have the form of the API's answer, all pages in one; a table's columns never get narrower, so that a page
// fits below the one before.
// Thread: main.
import { stringify } from 'yaml';
import type { Reply } from '../../api/contract.js';
import { GrowingTable, type Paint } from '../table.js';
import type { OutputFormat } from './options.js';
import { formatAge, plain } from './text.js';
import { column, painted } from './views.js';

type Row = Reply<'sessions'>['sessions'][number];

function stateText(state: string, ink: Paint): string {
  return state === 'ESTABLISHED' || state === 'UDP' ? ink.green(state) : state;
}

function tableOf(wide: boolean, ink: Paint): GrowingTable<Row> {
  return new GrowingTable<Row>([
    column('protocol', ({ protocol }) => protocol),
    column('client', ({ client }) => client),
    column('vip', ({ vip }) => vip),
    column('server', ({ server }) => server),
    // Sessions of a rule of snat have none.
    column('service', ({ service }) => (service === '' ? '-' : service)),
    painted('state', ({ state }) => stateText(plain(state), ink)),
    column('expires', ({ expires }) => formatAge(expires), 'right'),
    ...(wide
      ? [
          column<Row>('local', ({ local }) => local),
          column<Row>('mode', ({ mode }) => mode),
          column<Row>('packets in', ({ packetsIn }) => packetsIn, 'right'),
          column<Row>('packets out', ({ packetsOut }) => packetsOut, 'right'),
          column<Row>('worker', ({ worker }) => worker, 'right'),
        ]
      : []),
  ]);
}

export class SessionPrinter {
  readonly #format: OutputFormat;
  readonly #table: GrowingTable<Row>;
  #rows = 0;

  constructor(format: OutputFormat, ink: Paint) {
    this.#format = format;
    this.#table = tableOf(format === 'wide', ink);
  }

  /** The text of the next page. */
  page(rows: readonly Row[]): string {
    const first = this.#rows === 0;
    this.#rows += rows.length;
    if (this.#format === 'json') {
      const items = rows.map((row, index) => `${first && index === 0 ? '{\n  "sessions": [' : ','}\n    ${JSON.stringify(row)}`);
      return items.join('');
    }
    if (this.#format === 'yaml') {
      if (rows.length === 0) return '';
      const text = stringify({ sessions: rows }, { lineWidth: 0 });
      return first ? text : text.slice(text.indexOf('\n') + 1);
    }
    return this.#table
      .lines(rows)
      .map((line) => `${line}\n`)
      .join('');
  }

  /** The text behind the last page. `cursor`: there are more sessions, and the API goes on there. */
  end(cursor: string | undefined): string {
    const rest = cursor === undefined ? {} : { cursor };
    if (this.#format === 'yaml') {
      const all = this.#rows === 0 ? { sessions: [], ...rest } : rest;
      return Object.keys(all).length === 0 ? '' : stringify(all, { lineWidth: 0 });
    }
    if (this.#format !== 'json') return '';
    const last = cursor === undefined ? '' : `,\n  "cursor": ${JSON.stringify(cursor)}`;
    return this.#rows === 0 ? `{\n  "sessions": []${last}\n}\n` : `\n  ]${last}\n}\n`;
  }
}
