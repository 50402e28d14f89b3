// One HTTP request to the API over a unix socket or TLS, and what becomes of its failure.
// Guarantees: rejects with an error of the catalogue, or with the reason of the signal; a connection serves one request, so that none is
// lost to a daemon that closes an idle one; an answer that never ends is cut off.
// Thread: main.
import { type ClientRequest, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createError, type MillraceError } from '../errors.js';
import { type ApiTarget, describeTarget } from './target.js';

/** Longer answers are refused: a million servers fit in this. */
const MAX_BYTES = 512 * 1024 * 1024;

export interface HttpRequest {
  readonly method: string;
  /** From /api/v1 on, with its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
  /** Milliseconds without a byte after which nobody is there; undefined: never. */
  readonly timeout?: number;
}

/** Sends a request; resolves with the answer's head as soon as that is there. */
export function send(target: ApiTarget, wanted: HttpRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    wanted.signal?.throwIfAborted();
    const request = open(target, wanted);
    const fail = (error: unknown): void => reject(wanted.signal?.aborted ? wanted.signal.reason : unreachable(target, error));
    request.once('error', fail);
    if (wanted.timeout !== undefined) {
      const { timeout } = wanted;
      request.setTimeout(timeout, () => {
        request.destroy(Object.assign(new Error(`nothing came for ${timeout / 1000} s`), { code: 'ETIMEDOUT' }));
      });
    }
    request.once('response', (response) => {
      request.off('error', fail);
      // What fails from here on, fails the reading of the answer.
      request.on('error', () => response.destroy());
      resolve(response);
    });
    request.end(wanted.body);
  });
}

/** The whole text of an answer. */
export async function readText(target: ApiTarget, response: IncomingMessage, signal?: AbortSignal): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > MAX_BYTES) break;
      parts.push(part);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw unreachable(target, error);
  }
  if (size > MAX_BYTES)
    throw createError('MILLRACE_E_API_ANSWER', `the answer of ${describeTarget(target)} has more than ${MAX_BYTES} bytes`);
  return Buffer.concat(parts).toString('utf8');
}

function open(target: ApiTarget, wanted: HttpRequest): ClientRequest {
  const common: RequestOptions = {
    method: wanted.method,
    agent: false,
    headers: {
      ...wanted.headers,
      ...(wanted.body === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(wanted.body) }),
    },
    ...(wanted.signal === undefined ? {} : { signal: wanted.signal }),
  };
  if ('socket' in target) return httpRequest({ ...common, socketPath: target.socket, host: 'localhost', path: wanted.path });
  const { url, token, ca } = target;
  return httpsRequest({
    ...common,
    // URL keeps the brackets of IPv6, which connect() does not take.
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 443 : Number(url.port),
    path: `${url.pathname.replace(/\/+$/, '')}${wanted.path}`,
    headers: { ...common.headers, host: url.host, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    ...(ca === undefined ? {} : { ca }),
  });
}

/** Says why nobody answers, in the words of an operator. */
export function unreachable(target: ApiTarget, error: unknown): MillraceError {
  const code = String(error instanceof Error ? Reflect.get(error, 'code') : '');
  const place = describeTarget(target);
  const message = error instanceof Error ? error.message : String(error);
  const because = (reason: string, remedy?: string): MillraceError =>
    createError('MILLRACE_E_NO_DAEMON', `no daemon answers at ${place}: ${reason}`, {
      cause: error,
      ...(remedy === undefined ? {} : { remedy }),
    });
  switch (code) {
    case 'ENOENT':
      return because('there is no such socket');
    case 'ENOTSOCK':
      return because('this file is no socket');
    case 'ECONNREFUSED':
      return because('nothing listens there', 'socket' in target ? remedyOfDeadSocket : undefined);
    case 'EACCES':
    case 'EPERM':
      return because('access is denied', 'Run the command as root, or as a member of the group that owns the socket.');
    case 'ETIMEDOUT':
      return because(message, 'Look at the daemon: it runs but does not answer, or a firewall drops what it is sent.');
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return because(`the name is not known (${code})`, 'Correct the host in --url.');
    case 'ECONNRESET':
    case 'EPIPE':
      return because(
        'the connection was closed before the answer was there',
        'Look at the log of the daemon: it may have stopped.',
      );
    default:
      return /CERT|TLS|SSL|SELF_SIGNED|ISSUER|UNABLE_TO_VERIFY/.test(code)
        ? because(
            message,
            'Name the certificate that signed the daemon’s with --ca, and the host as its certificate has it in --url.',
          )
        : because(message);
  }
}

const remedyOfDeadSocket =
  'The daemon that made the socket is gone: start it (`millrace run -c FILE`), or say where it listens with --socket PATH or --url URL.';
