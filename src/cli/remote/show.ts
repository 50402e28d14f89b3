// Prints what a daemon answers: as a table, or as JSON or YAML for programs; once, or again and again.
// Guarantees: JSON and YAML are the API's answer unchanged; on a terminal a watched table redraws in place, elsewhere one follows the
// other (JSON: one document a line; YAML: documents); Ctrl-C ends a watch with exit code 0; a reader that went away ends it too.
// Thread: main.
import { clearScreenDown, cursorTo } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WriteStream } from 'node:tty';
import { stringify } from 'yaml';
import type { ApiClient } from '../../client/client.js';
import { MillraceError } from '../../errors.js';
import { type Paint, paint } from '../table.js';
import { clientOf, type OutputFormat, type WatchOptions } from './options.js';
import { cut } from './text.js';

const DEFAULT_SECONDS = 2;

export interface RenderContext {
  readonly wide: boolean;
  readonly ink: Paint;
}

export interface View<T> {
  readonly fetch: (client: ApiClient, signal: AbortSignal) => Promise<T>;
  readonly lines: (value: T, context: RenderContext) => readonly string[];
}

/** The text of one answer. `compact`: JSON in one line. */
export function formatAnswer<T>(value: T, format: OutputFormat, lines: View<T>['lines'], ink: Paint, compact = false): string {
  if (format === 'json') return `${JSON.stringify(value, null, compact ? 0 : 2)}\n`;
  if (format === 'yaml') return stringify(value, { lineWidth: 0 });
  return lines(value, { wide: format === 'wide', ink })
    .map((line) => `${line}\n`)
    .join('');
}

let guarded = false;

/** Writes to standard output. A reader that went away (`| head`) is no failure. */
export function print(text: string): void {
  if (!guarded) {
    guarded = true;
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  process.stdout.write(text);
}

/** Runs one command that shows something. */
export async function show<T>(options: WatchOptions, view: View<T>): Promise<void> {
  const client = clientOf(options);
  const out = process.stdout;
  if (options.watch === undefined) {
    const value = await view.fetch(client, new AbortController().signal);
    print(formatAnswer(value, options.output, view.lines, paint(out)));
    return;
  }
  const seconds = options.watch === true ? DEFAULT_SECONDS : options.watch;
  await untilInterrupted((signal) => watch(client, options.output, view, { out, seconds, signal }));
}

/** Runs until Ctrl-C, SIGTERM or a closed standard output aborts the signal that it is given. */
export async function untilInterrupted(run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  print('');
  const stop = new AbortController();
  const end = (): void => stop.abort();
  process.once('SIGINT', end).once('SIGTERM', end);
  process.stdout.on('error', end);
  try {
    await run(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    process.off('SIGINT', end).off('SIGTERM', end);
    process.stdout.off('error', end);
  }
}

export interface WatchContext {
  readonly out: Pick<WriteStream, 'write' | 'isTTY'> & Partial<Pick<WriteStream, 'rows' | 'columns'>>;
  readonly seconds: number;
  readonly signal: AbortSignal;
}

/** Shows a view again and again. On a terminal a daemon that is away is said and waited for. */
export async function watch<T>(
  client: ApiClient,
  format: OutputFormat,
  view: View<T>,
  { out, seconds, signal }: WatchContext,
): Promise<void> {
  const inPlace = out.isTTY === true && (format === 'table' || format === 'wide');
  for (let count = 0; !signal.aborted; count += 1) {
    if (!inPlace) {
      const value = await view.fetch(client, signal);
      const separator = count === 0 || format === 'json' ? '' : format === 'yaml' ? '---\n' : '\n';
      out.write(separator + formatAnswer(value, format, view.lines, paint(out), true));
    } else redraw(out as WriteStream, await lines(client, format, view, signal, paint(out)), seconds);
    await sleep(seconds * 1000, undefined, { signal }).catch(() => undefined);
  }
}

async function lines<T>(
  client: ApiClient,
  format: OutputFormat,
  view: View<T>,
  signal: AbortSignal,
  ink: Paint,
): Promise<readonly string[]> {
  try {
    return view.lines(await view.fetch(client, signal), { wide: format === 'wide', ink });
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    return [`${ink.red('millrace:')} ${error.message}`, `  ${ink.green(error.remedy)}`];
  }
}

function redraw(out: WriteStream, text: readonly string[], seconds: number): void {
  const rows = out.rows ?? 24;
  const columns = out.columns ?? 80;
  const head = `every ${seconds} s, ${new Date().toISOString()}; Ctrl-C ends`;
  const room = Math.max(1, rows - 3);
  const shown = text.length > room ? [...text.slice(0, room - 1), `(${text.length - room + 1} more lines)`] : text;
  cursorTo(out, 0, 0);
  clearScreenDown(out);
  out.write(`${[head, '', ...shown].map((line) => cut(line, columns)).join('\n')}\n`);
}
