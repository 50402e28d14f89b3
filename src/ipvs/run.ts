// Runs one command line of ipvsadm against a table: what `millrace ipvsadm` does once it has a table and standard streams.
// Guarantees: prints and returns what ipvsadm 1.31 prints and returns (0; 1 for a missing service in -L; 2 for its own checks; 255 for
// what the table or popt refuses); throws nothing of its own; a refused command changes nothing, an -R keeps what its earlier lines did.
// Thread: the table's.
import { editedSettings } from './dpvs-options.js';
import { Exit } from './exit.js';
import { type Operation, type Refusal, refusalText, type Unavailable, unavailableText } from './messages.js';
import type { AccessListName, Service } from './model.js';
import type { Resolver } from './names.js';
import type { CommandName, Dialect } from './option-table.js';
import { BadOption, parseRequest, type Request } from './options.js';
import type { Columns, ListFormat } from './print.js';
import { listAll, listConnections, listDaemons, listService, listTimeouts, saveAll } from './print.js';
import { listClients, listDpvsConnections, listLocalAddresses } from './print-dpvs.js';
import { restoreLines } from './restore.js';
import type { IpvsTable } from './table.js';
import { TRY_HELP } from './usage.js';

export interface IpvsadmIo {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** The whole of standard input; called only for -R. */
  readonly stdin: () => string;
  readonly resolver: Resolver;
  /** Plain ipvsadm where it is not given. */
  readonly dialect?: Dialect;
  /** Why the table's owner does not want this request; it is then refused with status 255. */
  readonly refuse?: (request: Request, table: IpvsTable) => string | undefined;
}

export interface IpvsadmResult {
  readonly exitCode: number;
}

const COLUMNS: readonly Columns[] = ['stats', 'rate', 'thresholds', 'persistent-conn', 'tun-info'];

function formatOf(given: ReadonlySet<string>, io: IpvsadmIo): ListFormat {
  return {
    columns: COLUMNS.find((name) => given.has(name)) ?? 'plain',
    resolver: given.has('numeric') ? undefined : io.resolver,
    exact: given.has('exact'),
    unsorted: given.has('nosort'),
    dialect: io.dialect ?? 'ipvs',
  };
}

function serviceOf(request: Request, table: IpvsTable): Service {
  const service = table.service(request.key);
  if (service === undefined) throw new Exit(1, { stderr: `${refusalText('getService', 'ESRCH')}\n` });
  return service;
}

function list(request: Request, io: IpvsadmIo, table: IpvsTable): void {
  const { given } = request;
  const format = formatOf(given, io);
  if (given.has('connection')) {
    const list = format.dialect === 'dpvs' ? listDpvsConnections(table, format.resolver) : listConnections(table, format);
    io.stdout(list);
  } else if (given.has('service-address')) {
    io.stdout(listService(table, serviceOf(request, table), format));
  } else if (given.has('timeout')) io.stdout(listTimeouts(table));
  else if (given.has('daemon')) io.stdout(listDaemons(table));
  else io.stdout(listAll(table, format));
}

/** The commands that only show something, but for -L. */
const VIEWS = {
  'get-laddr': listLocalAddresses,
  'get-blklst': (table, service) => listClients(table, 'denied', service),
  'get-whtlst': (table, service) => listClients(table, 'allowed', service),
} as const satisfies Partial<Record<CommandName, (table: IpvsTable, service: Service | undefined) => string>>;

function isView(command: CommandName): command is keyof typeof VIEWS {
  return Object.hasOwn(VIEWS, command);
}

type Change = readonly [operation: Operation, refusal: Refusal | undefined];

type ChangeName = Exclude<CommandName, 'list' | 'save' | 'restore' | keyof typeof VIEWS>;

function localAddress({ key, dpvs }: Request, table: IpvsTable, verb: 'addLocalAddress' | 'deleteLocalAddress'): Change {
  return ['changeLocalAddress', dpvs.localAddress === undefined ? 'EINVAL' : table[verb](key, dpvs.localAddress)];
}

function client({ key, dpvs }: Request, table: IpvsTable, verb: 'addClient' | 'deleteClient', name: AccessListName): Change {
  return ['changeAccessList', table[verb](key, name, dpvs.client)];
}

/** The commands that change the table. */
const CHANGES: Record<ChangeName, (request: Request, table: IpvsTable, dialect: Dialect) => Change> = {
  'add-service': ({ key, settings }, table) => ['addService', table.addService(key, settings)],
  'edit-service': ({ key, settings, given }, table, dialect) => [
    'editService',
    table.editService(key, dialect === 'dpvs' ? editedSettings(table.service(key), settings, given) : settings),
  ],
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
  'add-laddr': (request, table) => localAddress(request, table, 'addLocalAddress'),
  'del-laddr': (request, table) => localAddress(request, table, 'deleteLocalAddress'),
  'add-blklst': (request, table) => client(request, table, 'addClient', 'denied'),
  'del-blklst': (request, table) => client(request, table, 'deleteClient', 'denied'),
  'add-whtlst': (request, table) => client(request, table, 'addClient', 'allowed'),
  'del-whtlst': (request, table) => client(request, table, 'deleteClient', 'allowed'),
};

/** Runs one command and returns its exit status; an `Exit` ends the whole program. */
function runWords(words: readonly string[], io: IpvsadmIo, table: IpvsTable, withinRestore: boolean): number {
  let request: Request;
  try {
    request = parseRequest(words, io.resolver, { dialect: io.dialect, restoring: withinRestore });
  } catch (error) {
    if (!(error instanceof BadOption)) throw error;
    io.stderr(`${error.message}\n`);
    return 255;
  }
  const { command, given } = request;
  const reason = io.refuse?.(request, table);
  if (reason !== undefined) {
    io.stderr(`${reason}\n`);
    return 255;
  }
  if (isView(command)) io.stdout(VIEWS[command](table, given.has('service-address') ? serviceOf(request, table) : undefined));
  else if (command === 'list') list(request, io, table);
  else if (command === 'save') io.stdout(saveAll(table, formatOf(given, io)));
  else if (command === 'restore') {
    // A restore within a restore would read the same input again.
    if (withinRestore) throw new Exit(255, { stderr: TRY_HELP });
    return restoreLines(io.stdin()).reduce((_, line) => runWords(line, io, table, true), 0);
  } else {
    const [operation, refusal] = CHANGES[command](request, table, io.dialect ?? 'ipvs');
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
    io.stdout(listAll(table, formatOf(new Set(), io)));
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
