// The tables of `status`, `services`, `servers`, `health` and of changes: answers of the API in, lines out.
// Guarantees: pure; one line per thing, so that grep and awk work; columns only ever get more, at the right, with -o wide.
// Thread: main.
import type { ChangeViewBody, Reply, ServerViewBody, ServiceViewBody, StatusViewBody } from '../../api/contract.js';
import { type Column, formatTable, type Paint } from '../table.js';
import type { RenderContext } from './show.js';
import { formatAge, formatTime, plain } from './text.js';

export type ServerRow = ServerViewBody & { readonly service: string };
export type HealthBody = Reply<'health'>;
export type WorkersBody = Reply<'workers'>;

export function column<Row>(title: string, value: (row: Row) => string | number, align: 'left' | 'right' = 'left'): Column<Row> {
  return { title, value: (row) => plain(String(value(row))), align };
}

/** Like column(), for cells that are coloured. */
export function painted<Row>(title: string, value: (row: Row) => string): Column<Row> {
  return { title, value };
}

function stateInk(state: ServerViewBody['state'], ink: Paint): string {
  switch (state) {
    case 'up':
      return ink.green(state);
    case 'down':
      return ink.red(state);
    case 'drained':
      return ink.yellow(state);
    default:
      return ink.dim(state);
  }
}

/** What clients connect to: "tcp 203.0.113.10:80", "mark 7", or the word for a list of matches. */
export function frontend(service: ServiceViewBody): string {
  if (service.address === undefined) return service.mark === undefined ? 'matches' : `mark ${service.mark}`;
  const port = service.port ?? 'any';
  const address = service.address.includes(':') ? `[${service.address}]` : service.address;
  return `${service.protocol ?? 'any'} ${address}:${port}`;
}

function counterColumns<Row extends { readonly counters: ServerViewBody['counters'] }>(wide: boolean): Column<Row>[] {
  const counters = (name: keyof ServerViewBody['counters']) => (row: Row) => row.counters[name];
  const columns = [column('active', counters('active'), 'right'), column('connections', counters('connections'), 'right')];
  if (!wide) return columns;
  return [
    ...columns,
    column('inactive', counters('inactive'), 'right'),
    column('in packets', counters('inPackets'), 'right'),
    column('in bytes', counters('inBytes'), 'right'),
    column('out packets', counters('outPackets'), 'right'),
    column('out bytes', counters('outBytes'), 'right'),
  ];
}

export function serviceLines(services: readonly ServiceViewBody[], { wide, ink }: RenderContext): string[] {
  const columns: Column<ServiceViewBody>[] = [
    column('service', ({ name }) => name),
    column('clients connect to', frontend),
    column('scheduler', ({ scheduler }) => scheduler),
    column('mode', ({ mode }) => mode),
    painted('usable', ({ servers, quorum }) => {
      const usable = servers.filter(({ state }) => state === 'up' || state === 'unchecked').length;
      const text = `${usable}/${servers.filter(({ state }) => state !== 'removed').length}`;
      return quorum ? text : ink.red(`${text} no quorum`);
    }),
    ...counterColumns<ServiceViewBody>(wide),
    ...(wide ? [column<ServiceViewBody>('origin', ({ origin }) => origin)] : []),
  ];
  return formatTable(columns, services);
}

export function serverLines(servers: readonly ServerRow[], { wide, ink }: RenderContext): string[] {
  const columns: Column<ServerRow>[] = [
    column('service', ({ service }) => service),
    column('server', ({ server }) => server),
    column('mode', ({ mode }) => mode),
    painted('state', ({ state }) => stateInk(state, ink)),
    // The dataplane's weight stands first: it is what counts now.
    column(
      'weight',
      ({ weight, effectiveWeight }) => (effectiveWeight === weight ? weight : `${effectiveWeight ?? '-'} (${weight})`),
      'right',
    ),
    ...counterColumns<ServerRow>(wide),
    ...(wide ? [column<ServerRow>('origin', ({ origin }) => origin)] : []),
  ];
  return formatTable(columns, servers);
}

/** Servers of services as rows of their own. */
export function serverRows(services: readonly ServiceViewBody[]): ServerRow[] {
  return services.flatMap(({ name, servers }) => servers.map((server) => ({ service: name, ...server })));
}

export interface StatusAnswer {
  readonly status: StatusViewBody;
  /** With -o wide only. */
  readonly workers?: WorkersBody;
}

export function statusLines({ status, workers }: StatusAnswer, { ink }: RenderContext): string[] {
  const { servers, lastReload } = status;
  const state = status.draining ? ink.yellow('draining') : status.ready ? ink.green('ready') : ink.red('not ready');
  const down = `${servers.down} down`;
  const rows: [string, string][] = [
    ['state', state],
    ['process', `${status.pid}, running for ${formatAge((status.now - status.started) / 1000)}`],
    ['configuration', `version ${plain(status.version)}, generation ${status.generation}`],
    ['workers', String(status.workers)],
    ['services', String(status.services)],
    ['servers', `${servers.up} up, ${servers.down > 0 ? ink.red(down) : down}, ${servers.unchecked} unchecked`],
    ['sessions', status.sessions],
  ];
  if (lastReload !== undefined) {
    const outcome = lastReload.ok ? 'done' : ink.red('failed');
    rows.push([
      'last reload',
      `${formatTime(lastReload.at)} ${outcome}${lastReload.message === '' ? '' : `: ${plain(lastReload.message)}`}`,
    ]);
  }
  const width = Math.max(...rows.map(([title]) => title.length));
  const lines = rows.map(([title, text]) => `${title.padEnd(width)}  ${text}`);
  return workers === undefined ? lines : [...lines, '', ...workerLines(workers)];
}

function workerLines(workers: WorkersBody): string[] {
  type Row = WorkersBody[number];
  const number = (title: string, name: string): Column<Row> => column(title, (row) => workerCounter(row, name) ?? '-', 'right');
  return formatTable<Row>(
    [
      column('worker', ({ worker }) => worker, 'right'),
      column('cpu', ({ cpu }) => (cpu < 0 ? '-' : cpu), 'right'),
      number('sessions', 'sessions'),
      number('received', 'rxPackets'),
      number('sent', 'txPackets'),
      column(
        'dropped',
        ({ drops }) =>
          Object.values(drops)
            .reduce((sum, count) => sum + BigInt(count), 0n)
            .toString(),
        'right',
      ),
    ],
    workers,
  );
}

/** A counter of a worker by its name in JavaScript; some daemons write rx_packets for rxPackets. */
export function workerCounter(worker: WorkersBody[number], name: string): string | undefined {
  return worker.counters[name] ?? worker.counters[name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)];
}

export function healthLines({ checks, services }: HealthBody, { wide, ink }: RenderContext): string[] {
  type Row = HealthBody['checks'][number];
  const columns: Column<Row>[] = [
    column('service', ({ service }) => service),
    column('server', ({ server }) => server),
    column('check', ({ type }) => type),
    painted('state', ({ up }) => (up ? ink.green('up') : ink.red('down'))),
    column('streak', ({ streak }) => streak, 'right'),
    column('last', ({ last }) => (last === undefined ? '-' : formatTime(last.at)), 'left'),
    column('ms', ({ last }) => (last === undefined ? '-' : last.milliseconds.toFixed(1)), 'right'),
    ...(wide
      ? [column<Row>('checks', ({ checks }) => checks, 'right'), column<Row>('failures', ({ failures }) => failures, 'right')]
      : []),
    column('said', ({ last }) =>
      last === undefined ? 'no result yet' : last.reason === '' ? (last.good ? 'good' : 'bad') : last.reason,
    ),
  ];
  const lost = services.filter(({ quorum }) => !quorum).map(({ name }) => ink.red(`no quorum: ${plain(name)}`));
  const table = checks.length === 0 ? ['no health checks are configured'] : formatTable(columns, checks);
  return [...table, ...lost];
}

export function changeLines(change: ChangeViewBody, { wide, ink }: RenderContext): string[] {
  const { changes, dryRun, stale, version } = change;
  const words: readonly (readonly [string, string, readonly string[]])[] = [
    ['added', 'would be added', changes.servicesAdded],
    ['removed', 'would be removed', changes.servicesRemoved],
    ['changed', 'would change', changes.servicesChanged],
  ];
  const lines = words.flatMap(([done, would, names]) =>
    names.map((name) => `service ${ink.bold(plain(name))} ${dryRun ? would : done}`),
  );
  if (changes.otherChanged) lines.push(`other parts of the configuration ${dryRun ? 'would change' : 'changed'}`);
  if (lines.length === 0) lines.push(dryRun ? 'nothing would change' : 'nothing changed');
  lines.push(...stale.map((sentence) => `${ink.yellow('no longer holds:')} ${plain(sentence)}`));
  if (wide) lines.push(`version ${plain(version)}`);
  return lines;
}
