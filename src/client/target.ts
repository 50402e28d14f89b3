// Where the API of a running daemon is: a unix socket, or an https URL with a token.
// Guarantees: every word that cannot be used is an error of the catalogue; a token never stands in a message.
// Thread: main.
import { readFileSync } from 'node:fs';
import { createError } from '../errors.js';

export const DEFAULT_SOCKET = '/run/millrace/api.sock';

export type ApiTarget =
  | { readonly socket: string }
  | {
      /** https; its path, if any, stands before /api/v1. */
      readonly url: URL;
      readonly token?: string;
      /** Certificates in PEM that are believed in place of those of the system. */
      readonly ca?: string;
    };

/** What the command line says about it; file names as they were given. */
export interface TargetWords {
  readonly socket?: string;
  readonly url?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
}

/** The target that words and environment name: --url, else --socket, else MILLRACE_SOCKET, else DEFAULT_SOCKET. Reads the files named. */
export function resolveTarget(words: TargetWords, environment: NodeJS.ProcessEnv = process.env): ApiTarget {
  if (words.url === undefined) {
    const lost = words.tokenFile === undefined ? (words.ca === undefined ? undefined : '--ca') : '--token-file';
    if (lost !== undefined)
      throw createError('MILLRACE_E_USAGE', `${lost} is for --url; a unix socket has the permissions of its file`, {
        remedy: `Add --url, or leave ${lost} out.`,
      });
    return { socket: words.socket ?? (environment['MILLRACE_SOCKET'] || DEFAULT_SOCKET) };
  }
  if (words.socket !== undefined)
    throw createError('MILLRACE_E_USAGE', '--socket and --url name two daemons', { remedy: 'Leave one of them out.' });
  const token = words.tokenFile === undefined ? undefined : readToken(words.tokenFile);
  return {
    url: parseUrl(words.url),
    ...(token === undefined ? {} : { token }),
    ...(words.ca === undefined ? {} : { ca: readInput(words.ca, '--ca') }),
  };
}

/** For messages. */
export function describeTarget(target: ApiTarget): string {
  return 'socket' in target ? target.socket : target.url.href;
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:')
    throw createError('MILLRACE_E_USAGE', `--url ${JSON.stringify(text)} is no https URL`, {
      remedy: 'Write https://HOST:PORT; without TLS the API is on its unix socket only.',
    });
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw createError('MILLRACE_E_USAGE', '--url has more than a host, a port and a path', {
      remedy: 'Write https://HOST:PORT; a token belongs into the file of --token-file.',
    });
  return url;
}

function readToken(file: string): string {
  const token = readInput(file, '--token-file').trim();
  // Anything else cannot stand in a header (RFC 6750, section 2.1).
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token))
    throw createError('MILLRACE_E_INPUT_INVALID', `--token-file ${file} does not hold one token`, {
      remedy: 'Write the token alone into the file: letters, digits and . _ ~ + / - only.',
    });
  return token;
}

function readInput(file: string, option: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/, (open|read).*$/, '') : String(error);
    throw createError('MILLRACE_E_INPUT_INVALID', `${option} ${file} cannot be read: ${reason}`, {
      cause: error,
      remedy: 'Check the path and the permissions of the file.',
    });
  }
}
