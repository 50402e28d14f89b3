// Options that all commands about a running daemon share, in one place: where it is, how its answers are printed, how changes are made.
// Thread: main.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { ApiClient } from '../../client/client.js';
import { DEFAULT_SOCKET, resolveTarget, type TargetWords } from '../../client/target.js';

export const OUTPUT_FORMATS = ['table', 'wide', 'json', 'yaml'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

export interface RemoteOptions extends TargetWords {
  readonly output: OutputFormat;
}

export interface WatchOptions extends RemoteOptions {
  /** Seconds; true: the default. */
  readonly watch?: number | true;
}

export interface ChangeOptions extends RemoteOptions {
  readonly dryRun?: true;
  readonly expect?: string;
}

/** Adds --socket, --url, --token-file, --ca. */
export function addConnection(command: Command): Command {
  return command
    .option('--socket <path>', `unix socket of the daemon (default: $MILLRACE_SOCKET, else ${DEFAULT_SOCKET})`)
    .option('--url <url>', 'https URL of the daemon in place of a socket')
    .option('--token-file <file>', 'file with the token for --url')
    .option('--ca <file>', 'certificates (PEM) that are believed, for --url');
}

/** Adds the connection and -o. */
export function addRemote(command: Command): Command {
  return addConnection(command).addOption(
    new Option('-o, --output <format>', 'how to print').choices(OUTPUT_FORMATS).default('table'),
  );
}

/** For commands that show something: --watch as well. */
export function addWatch(command: Command): Command {
  return addRemote(command).option('-w, --watch [seconds]', 'show it again and again (default: every 2 seconds)', parseSeconds);
}

/** For commands that change something: --dry-run and --expect. */
export function addChange(command: Command): Command {
  return addRemote(command)
    .option('--dry-run', 'say what would change, and change nothing')
    .option('--expect <version>', 'change only this version of the configuration, as `status` shows it', parseVersion);
}

/** The client that the options ask for. */
export function clientOf(options: TargetWords, timeout?: number): ApiClient {
  return new ApiClient(resolveTarget(options), timeout === undefined ? {} : { timeout });
}

/** What a change sends beside its body. */
export function changeRequest(options: ChangeOptions): { query: { dryRun?: boolean }; expected?: string } {
  return {
    query: options.dryRun ? { dryRun: true } : {},
    ...(options.expect === undefined ? {} : { expected: options.expect }),
  };
}

/** Seconds from 0.1 to a day. */
export function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^[0-9]+(\.[0-9]+)?$/.test(text) || seconds < 0.1 || seconds > 86_400)
    throw new InvalidArgumentError('expected seconds from 0.1 to 86400.');
  return seconds;
}

/** It stands in a header, in quotes. */
function parseVersion(text: string): string {
  if (!/^[0-9A-Za-z._-]{1,128}$/.test(text)) throw new InvalidArgumentError('expected a version as `millrace status` shows it.');
  return text;
}
