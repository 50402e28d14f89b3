// `millrace events`: what happens in a running daemon, as it happens.
// Guarantees: one event a line (YAML: a document); lost connections are said on stderr and made again without losing what the daemon kept.
// Thread: main.
import { type Command, InvalidArgumentError } from 'commander';
import { stringify } from 'yaml';
import type { ApiEvent } from '../../client/events.js';
import { addRemote, clientOf, type RemoteOptions } from '../remote/options.js';
import { print, untilInterrupted } from '../remote/show.js';
import { formatTime, plain } from '../remote/text.js';
import { type Paint, paint } from '../table.js';

interface EventsOptions extends RemoteOptions {
  readonly after?: string;
  readonly count?: number;
}

export function register(program: Command): void {
  addRemote(program.command('events').description('show changes and health events as they happen; Ctrl-C ends'))
    .option('--after <id>', 'begin with what came after this event, as far as the daemon remembers (-o wide shows ids)', parseId)
    .option('--count <number>', 'end after so many events', parseCount)
    .action(events);
}

async function events(options: EventsOptions): Promise<void> {
  const client = clientOf(options);
  await untilInterrupted(async (signal) => {
    let left = options.count ?? Number.POSITIVE_INFINITY;
    const stream = client.events({
      signal,
      ...(options.after === undefined ? {} : { after: options.after }),
      onLost: (error, wait) => process.stderr.write(`millrace: ${error.message}; trying again in ${wait / 1000} s\n`),
    });
    for await (const event of stream) {
      print(formatEvent(event, options.output, paint(process.stdout)));
      left -= 1;
      if (left === 0) return;
    }
  });
}

/** One event as text, with its line end. */
export function formatEvent({ id, kind, time, details }: ApiEvent, format: RemoteOptions['output'], ink: Paint): string {
  if (format === 'json') return `${JSON.stringify({ id, kind, time, ...details })}\n`;
  if (format === 'yaml') return `---\n${stringify({ id, kind, time, ...details }, { lineWidth: 0 })}`;
  const words = Object.entries(details).map(([key, value]) => `${ink.dim(`${plain(key)}=`)}${word(value)}`);
  const head = [...(format === 'wide' ? [plain(id === '' ? '-' : id)] : []), ink.dim(formatTime(time)), ink.bold(plain(kind))];
  return `${[...head, ...words].join(' ')}\n`;
}

/** As a shell would take it for one word. */
function word(value: unknown): string {
  if (typeof value !== 'string') return plain(JSON.stringify(value) ?? '');
  return /^[A-Za-z0-9_.:/[\]%@+-]+$/.test(value) ? value : plain(JSON.stringify(value));
}

function parseCount(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new InvalidArgumentError('expected a number from 1 on.');
  return Number(text);
}

/** It stands in a header. */
function parseId(text: string): string {
  if (!/^[\x21-\x7e]{1,256}$/.test(text)) throw new InvalidArgumentError('expected an id as `millrace events -o wide` shows it.');
  return text;
}
