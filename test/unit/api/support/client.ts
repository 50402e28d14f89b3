// A client of the API over a socket or TLS, as plain as possible: what comes back is what was sent.
import { type IncomingHttpHeaders, request as overHttp, type RequestOptions } from 'node:http';
import { request as overTls } from 'node:https';
import { createConnection } from 'node:net';
import type { ConnectionOptions } from 'node:tls';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body as JSON; undefined where it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it
  readonly json: any;
}

export interface Ask {
  readonly body?: unknown;
  /** In place of `body`: as it stands. */
  readonly raw?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Target = { readonly socketPath: string } | (ConnectionOptions & { readonly host: string; readonly port: number });

export function ask(target: Target, method: string, path: string, { body, raw, headers = {} }: Ask = {}): Promise<Answer> {
  const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const json = body === undefined ? {} : { 'content-type': 'application/json' };
  const options: RequestOptions = { ...target, method, path, headers: { ...json, ...headers }, agent: false };
  return new Promise((resolve, reject) => {
    const sent = ('socketPath' in target || !('ca' in target) ? overHttp : overTls)(options, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(parts).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: parsed(text) });
      });
    });
    sent.on('error', reject);
    sent.end(payload);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Sends bytes as they are, and gives back all that comes until the other side closes. */
export function sendBytes(socketPath: string, bytes: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path: socketPath });
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (part: string) => {
      text += part;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
    socket.end(bytes);
  });
}

/** Waits until it holds. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
