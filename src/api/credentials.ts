// Who may use the API over TCP: whoever has the token, or a client certificate of an accepted authority.
// Guarantees: tokens are compared in constant time; a resumed TLS session without a certificate is no certificate.
// Thread: main.
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createSecureContext, type TLSSocket } from 'node:tls';
import type { ApiConfig } from '../config/schema-api.js';
import { createError, type MillraceError } from '../errors.js';

type Tcp = NonNullable<ApiConfig['tcp']>;

export interface Credentials {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly clientCa: Buffer | undefined;
  readonly token: string | undefined;
}

const SHORTEST_TOKEN = 16;

/** Reads the files of the section `api.tcp`. @throws MILLRACE_E_API_UNAVAILABLE */
export async function readCredentials(tcp: Tcp): Promise<Credentials> {
  const [cert, key, clientCa, token] = await Promise.all([
    readFor('cert', tcp.cert),
    readFor('key', tcp.key),
    readFor('clientCa', tcp.clientCa),
    readFor('tokenFile', tcp.tokenFile),
  ]);
  // The rules of the configuration have said so already; here it is what keeps a caller without them from serving everybody.
  if (cert === undefined || key === undefined) throw unavailable('api.tcp has no certificate and key');
  if (clientCa === undefined && token === undefined) throw unavailable('api.tcp has neither tokenFile nor clientCa');
  try {
    createSecureContext({ cert, key, ...(clientCa === undefined ? {} : { ca: clientCa }) });
  } catch (error) {
    const files = [tcp.cert, tcp.key, ...(tcp.clientCa === undefined ? [] : [tcp.clientCa])].join(', ');
    throw unavailable(`certificate and key of api.tcp cannot be used (${files}): ${reasonOf(error)}`, error);
  }
  return { cert, key, clientCa, token: token === undefined ? undefined : tokenOf(token, tcp.tokenFile ?? '') };
}

function tokenOf(content: Buffer, file: string): string {
  const token = (content.toString('latin1').split('\n')[0] ?? '').trim();
  if (/^[\x21-\x7e]+$/.test(token) && token.length >= SHORTEST_TOKEN) return token;
  const reason = `${file} (api.tcp.tokenFile) has no token of at least ${SHORTEST_TOKEN} printable characters in its first line`;
  throw unavailable(reason, undefined, 'Write one, for example with `openssl rand -hex 32`.');
}

async function readFor(name: keyof Tcp, file: string | undefined): Promise<Buffer | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file);
  } catch (error) {
    throw unavailable(`${file} (api.tcp.${name}) cannot be read: ${reasonOf(error)}`, error);
  }
}

export function unavailable(message: string, cause?: unknown, remedy?: string): MillraceError {
  return createError('MILLRACE_E_API_UNAVAILABLE', message, {
    ...(cause === undefined ? {} : { cause }),
    ...(remedy === undefined ? {} : { remedy }),
  });
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Why a request over TLS is refused; undefined: it is not. */
export function refusalOf(request: IncomingMessage, { token, clientCa }: Credentials): MillraceError | undefined {
  const socket = request.socket as TLSSocket;
  const certificate = clientCa !== undefined && presentsCertificate(socket);
  // Of a session that was begun without a certificate and is resumed, Node.js says `authorized`: a certificate must be there as well.
  if (certificate && socket.authorized) return undefined;
  const [, given] = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '') ?? [];
  if (given !== undefined && token !== undefined && sameText(given, token)) return undefined;
  if (certificate && given === undefined) {
    return createError('MILLRACE_E_NOT_ALLOWED', `the client certificate is not accepted: ${String(socket.authorizationError)}`);
  }
  if (given !== undefined && token !== undefined)
    return createError('MILLRACE_E_NOT_AUTHENTICATED', 'the token is not the right one');
  const wanted = [...(token === undefined ? [] : ['the token']), ...(clientCa === undefined ? [] : ['a client certificate'])];
  return createError('MILLRACE_E_NOT_AUTHENTICATED', `the request must have ${wanted.join(' or ')}`);
}

function presentsCertificate(socket: TLSSocket): boolean {
  const certificate: object | null | undefined = socket.getPeerCertificate();
  return certificate !== null && certificate !== undefined && Object.keys(certificate).length > 0;
}

/** In a time that depends on neither text; hashes make the lengths equal. */
function sameText(a: string, b: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}
