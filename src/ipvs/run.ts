// Runs one command line of ipvsadm against a table: what `millrace ipvsadm` does once it has a table and standard streams.
// Guarantees: prints and returns what ipvsadm 1.31 prints and returns (0; 1 for a missing service in -L; 2 for its own checks; 255 for
// what the table or popt refuses); throws nothing of its own; a refused command changes nothing, an -R keeps what its earlier lines did.
// Thread: the table's.
import { Exit } from './exit.js';
import { type Operation, type Refusal, refusalText, type Unavailable, unavailableText } from './messages.js';
import type { Resolver } from './names.js';
import type { CommandName } from './option-table.js';
import { BadOption, parseRequest, type Request } from './options.js';
import type { Columns, ListFormat } from './print.js';
import { listAll, listConnections, listDaemons, listService, listTimeouts, saveAll } from './print.js';
import { restoreLines } from './restore.js';
import type { IpvsTable } from './table.js';
import { TRY_HELP } from './usage.js';

export interface IpvsadmIo {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** The whole of standard input; called only for -R. */
  readonly stdin: () => string;
  readonly resolver: Resolver;
}

export interface IpvsadmResult {
  readonly exitCode: number;
}

const COLUMNS: readonly Columns[] = ['stats', 'rate', 'thresholds', 'persistent-conn', 'tun-info'];

function formatOf(given: ReadonlySet<string>, resolver: Resolver): ListFormat {
  return {
    columns: COLUMNS.find((name) => given.has(name)) ?? 'plain',
    resolver: given.has('numeric') ? undefined : resolver,
    exact: given.has('exact'),
    unsorted: given.has('nosort'),
  };
}

function list(request: Request, io: IpvsadmIo, table: IpvsTable): void {
  const { given } = request;
  const format = formatOf(given, io.resolver);
  if (given.has('connection')) io.stdout(listConnections(table, format));
  else if (given.has('service-address')) {
    const service = table.service(request.key);
    if (service === undefined) throw new Exit(1, { stderr: `${refusalText('getService', 'ESRCH')}\n` });
    io.stdout(listService(table, service, format));
  } else if (given.has('timeout')) io.stdout(listTimeouts(table));
  else if (given.has('daemon')) io.stdout(listDaemons(table));
  else io.stdout(listAll(table, format));
}

type Change = readonly [operation: Operation, refusal: Refusal | undefined];

/** The commands that change the table. */
const CHANGES: Record<Exclude<CommandName, 'list' | 'save' | 'restore'>, (request: Request, table: IpvsTable) => Change> = {
  'add-service': ({ key, settings }, table) => ['addService', table.addService(key, settings)],
  'edit-service': ({ key, settings }, table) => ['editService', table.editService(key, settings)],
  'delete-service': ({ key }, table) => ['deleteService', table.deleteService(key)],
  'add-server': ({ key, server }, table) => ['addServer', table.addServer(key, server)],
  'edit-server': ({ key, server }, table) => ['editServer', table.editServer(key, server)],
  'delete-server': ({ key, server }, table) => ['deleteServer', table.deleteServer(key, server)],
  flush: (_, table) => {
    table.flush();
    return ['flush', undefined];
  },
  zero: ({ given, key }, table) => ['zero', table.zero(given.has('service-address') ? key : undefined)],
  set: ({ timeouts }, table) => ['setTimeouts', table.setTimeouts(timeouts)],
  'start-daemon': ({ daemon }, table) => ['startDaemon', table.startDaemon(daemon)],
  'stop-daemon': ({ daemon }, table) => ['stopDaemon', table.stopDaemon(daemon.role)],
};

/** Runs one command and returns its exit status; an `Exit` ends the whole program. */
function runWords(words: readonly string[], io: IpvsadmIo, table: IpvsTable, withinRestore: boolean): number {
  let request: Request;
  try {
    request = parseRequest(words, io.resolver);
  } catch (error) {
    if (!(error instanceof BadOption)) throw error;
    io.stderr(`${error.message}\n`);
    return 255;
  }
  const { command, given } = request;
  if (command === 'list') list(request, io, table);
  else if (command === 'save') io.stdout(saveAll(table, formatOf(given, io.resolver)));
  else if (command === 'restore') {
    // A restore within a restore would read the same input again.
    if (withinRestore) throw new Exit(255, { stderr: TRY_HELP });
    return restoreLines(io.stdin()).reduce((_, line) => runWords(line, io, table, true), 0);
  } else {
    const [operation, refusal] = CHANGES[command](request, table);
    if (refusal === undefined) return 0;
    io.stderr(`${refusalText(operation, refusal)}\n`);
    return 255;
  }
  return 0;
}

/**
 * Runs ipvsadm. `argv` are the words after the program's name; without any the table is listed. `table` may be the reason why there is
 * none; every command line, also -h, ends with status 2 then.
 */
export function runIpvsadm(argv: readonly string[], io: IpvsadmIo, table: IpvsTable | Unavailable): IpvsadmResult {
  if (typeof table === 'string') {
    io.stderr(`${unavailableText(table)}\n`);
    return { exitCode: 2 };
  }
  if (argv.length === 0) {
    io.stdout(listAll(table, formatOf(new Set(), io.resolver)));
    return { exitCode: 0 };
  }
  try {
    return { exitCode: runWords(argv, io, table, false) };
  } catch (error) {
    if (!(error instanceof Exit)) throw error;
    io.stdout(error.stdout);
    io.stderr(error.stderr);
    return { exitCode: error.status };
  }
}
