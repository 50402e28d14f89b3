// `millrace sessions list|count|end`: the sessions of a running daemon that a filter meets.
// Guarantees: `list` prints page by page, so that it needs little memory however many there are; `end` ends nothing without a filter or
// --all.
// Thread: main.
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Reply } from '../../api/contract.js';
import type { ApiClient } from '../../client/client.js';
import { createError } from '../../errors.js';
import { addRemote, addWatch, clientOf, type RemoteOptions, type WatchOptions } from '../remote/options.js';
import { resolveServer } from '../remote/server-name.js';
import { SessionPrinter } from '../remote/session-printer.js';
import { formatAnswer, print, show } from '../remote/show.js';
import { paint } from '../table.js';

const PROTOCOLS = ['tcp', 'udp', 'sctp', 'icmp', 'icmpv6', 'esp', 'ah'] as const;
/** Rows of a request: the daemon makes them in one go, and others wait. */
const PAGE = 1000;
const DEFAULT_LIMIT = 100;

interface FilterWords {
  readonly service?: string;
  readonly server?: string;
  readonly client?: string;
  readonly clientPort?: number;
  readonly protocol?: (typeof PROTOCOLS)[number];
}

interface ListOptions extends RemoteOptions, FilterWords {
  readonly limit?: number;
  readonly all?: true;
}

interface EndOptions extends RemoteOptions, FilterWords {
  readonly all?: true;
  readonly dryRun?: true;
}

type CountBody = Reply<'countSessions'>;

export function register(program: Command): void {
  const sessions = program.command('sessions').description('list, count and end the sessions of a running daemon');
  addFilter(addRemote(sessions.command('list').description('list sessions, one a line')))
    .option('--limit <number>', `at most so many (default: ${DEFAULT_LIMIT})`, parseLimit)
    .addOption(new Option('--all', 'without a limit').conflicts('limit'))
    .action(list);
  addFilter(addWatch(sessions.command('count').description('say how many sessions there are'))).action(count);
  addFilter(addRemote(sessions.command('end').description('end sessions: TCP is reset at both sides, others are gone at once')))
    .option('--all', 'every session, in place of a filter')
    .option('--dry-run', 'say how many there are, and end none')
    .action(end);
}

function addFilter(command: Command): Command {
  return command
    .option('--service <service>', 'only of this service')
    .option('--server <server>', 'only to this server: ADDRESS:PORT, or the address alone where that is clear')
    .option('--client <client>', 'only of this client: an address or a prefix')
    .option('--client-port <port>', 'only from this port', parsePort)
    .addOption(new Option('--protocol <protocol>', 'only of this protocol').choices(PROTOCOLS));
}

/** What the API is asked for. Of a server without its port the daemon is asked first. */
async function filterOf(client: ApiClient, options: FilterWords): Promise<FilterWords> {
  const { service, client: from, clientPort, protocol } = options;
  return {
    ...(service === undefined ? {} : { service }),
    ...(options.server === undefined ? {} : { server: await resolveServer(client, service, options.server) }),
    ...(from === undefined ? {} : { client: from }),
    ...(clientPort === undefined ? {} : { clientPort }),
    ...(protocol === undefined ? {} : { protocol }),
  };
}

async function list(options: ListOptions): Promise<void> {
  const client = clientOf(options);
  const filter = await filterOf(client, options);
  const printer = new SessionPrinter(options.output, paint(process.stdout));
  let left = options.all ? Number.POSITIVE_INFINITY : (options.limit ?? DEFAULT_LIMIT);
  let cursor: string | undefined;
  do {
    const query = { ...filter, limit: Math.min(PAGE, left), ...(cursor === undefined ? {} : { cursor }) };
    const page = await client.call('sessions', { query });
    print(printer.page(page.sessions));
    left -= page.sessions.length;
    cursor = page.cursor;
    // A reader that went away (`| head`).
    if (!process.stdout.writable) return;
  } while (cursor !== undefined && left > 0);
  print(printer.end(cursor));
  // JSON and YAML have the cursor.
  if (cursor !== undefined && (options.output === 'table' || options.output === 'wide'))
    process.stderr.write('millrace: there are more sessions: --limit N shows N, --all every one\n');
}

async function count(options: WatchOptions & FilterWords): Promise<void> {
  const filter = await filterOf(clientOf(options), options);
  await show<CountBody>(options, {
    fetch: (client, signal) => client.call('countSessions', { query: filter, signal }),
    lines: ({ sessions }) => [String(sessions)],
  });
}

async function end(options: EndOptions): Promise<void> {
  const client = clientOf(options);
  const filter = await filterOf(client, options);
  const filtered = Object.keys(filter).length > 0;
  if (filtered === (options.all === true)) {
    throw createError('MILLRACE_E_USAGE', filtered ? 'end some sessions, or all of them?' : 'end which sessions?', {
      remedy: filtered
        ? 'Leave out --all or the filter.'
        : 'Write a filter such as --client 192.0.2.7, or --all for every session.',
    });
  }
  const body = filtered ? filter : { all: true };
  const answer = options.dryRun
    ? await client.call('countSessions', { query: filter })
    : await client.call('endSessions', { body });
  print(formatAnswer(answer, options.output, (found) => [endedText(found, options.dryRun)], paint(process.stdout)));
}

function endedText({ sessions }: CountBody, dryRun: true | undefined): string {
  return `${sessions} ${sessions === 1 ? 'session' : 'sessions'} ${dryRun ? 'would be ended' : 'ended'}`;
}

function parseLimit(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new InvalidArgumentError('expected a number from 1 on.');
  return Number(text);
}

function parsePort(text: string): number {
  if (!/^[1-9][0-9]{0,4}$/.test(text) || Number(text) > 65_535)
    throw new InvalidArgumentError('expected a port from 1 to 65535.');
  return Number(text);
}
