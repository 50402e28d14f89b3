// Exit codes of the command line, and which error leads to which. docs/reference/cli.md is generated from this table.
// Thread: main.
import { type ErrorKind, MillraceError } from '../errors.js';

export const EXIT_CODES = {
  ok: { code: 0, meaning: 'done' },
  input: { code: 1, meaning: 'the configuration or another input is wrong' },
  usage: { code: 2, meaning: 'unknown command, option or argument' },
  host: { code: 3, meaning: 'this host, one of its interfaces or the installation cannot do what is asked' },
  runtime: { code: 4, meaning: 'something failed while running' },
  daemon: { code: 5, meaning: 'no daemon answers, or not as its API promises' },
} as const;

const BY_KIND: Readonly<Record<ErrorKind, keyof typeof EXIT_CODES>> = {
  configuration: 'input',
  input: 'input',
  usage: 'usage',
  host: 'host',
  interface: 'host',
  'native-load': 'host',
  runtime: 'runtime',
  daemon: 'daemon',
};

export function exitCodeOf(error: unknown): number {
  return EXIT_CODES[error instanceof MillraceError ? BY_KIND[error.kind] : 'runtime'].code;
}
