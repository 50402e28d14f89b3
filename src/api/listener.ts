// One place where requests come in: an HTTP server over a socket or a port, with its limits, in front of a Fastify instance.
// Guarantees: bytes that are no HTTP are answered with 4xx in the shape of ErrorBody; a client cannot hold a connection without getting on
// with its request; no more than a fixed number of connections at a time.
// Thread: main.
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse, STATUS_CODES } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Server, Socket } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import { createError, type MillraceError } from '../errors.js';
import { type Credentials, refusalOf } from './credentials.js';
import { answerTo } from './errors.js';

export interface Limits {
  /** Connections at a time. */
  readonly connections: number;
  /** Milliseconds until a request, its headers, must be here. */
  readonly requestTimeout: number;
  readonly headersTimeout: number;
}

export const DEFAULT_LIMITS: Limits = { connections: 256, requestTimeout: 30_000, headersTimeout: 10_000 };

/** Milliseconds for a client to read why it is refused. */
const LINGER = 2000;
const KEEP_ALIVE = 30_000;

type HttpServer = Server & {
  closeIdleConnections(): void;
  closeAllConnections(): void;
};

/** Without TLS. */
export function plainServer(app: FastifyInstance, limits: Limits): HttpServer {
  return limited(createServer(optionsOf(limits), routed(app)), limits);
}

/** With TLS; requests without credentials are refused before anything of them is looked at. */
export class SecureListener {
  readonly server: HttpServer;
  readonly #tls: TlsServer;
  #credentials: Credentials;

  constructor(app: FastifyInstance, credentials: Credentials, limits: Limits) {
    this.#credentials = credentials;
    const route = routed(app);
    this.#tls = createTlsServer(
      {
        ...optionsOf(limits),
        ...secureContext(credentials),
        handshakeTimeout: limits.headersTimeout,
        requestCert: credentials.clientCa !== undefined,
        rejectUnauthorized: false,
      },
      (request, response) => {
        const refusal = refusalOf(request, this.#credentials);
        if (refusal === undefined) route(request, response);
        else refuse(request, response, refusal);
      },
    );
    this.server = limited(this.#tls, limits);
  }

  /** For connections from now on; whether there are client certificates at all cannot change. */
  renew(credentials: Credentials): void {
    this.#tls.setSecureContext(secureContext(credentials));
    this.#credentials = credentials;
  }
}

function secureContext({ cert, key, clientCa }: Credentials): SecureContextOptions {
  return { cert, key, ...(clientCa === undefined ? {} : { ca: clientCa }), minVersion: 'TLSv1.2' };
}

function optionsOf(limits: Limits) {
  return {
    requestTimeout: limits.requestTimeout,
    headersTimeout: limits.headersTimeout,
    keepAliveTimeout: KEEP_ALIVE,
    connectionsCheckingInterval: 1000,
    maxHeaderSize: 16_384,
  };
}

function routed(app: FastifyInstance): RequestListener {
  return (request, response) => {
    answering.set(request.socket, response);
    app.routing(request, response);
  };
}

/** The last answer of each connection. */
const answering = new WeakMap<Socket, ServerResponse>();

function refuse(request: IncomingMessage, response: ServerResponse, refusal: MillraceError): void {
  const { status, body } = answerTo(refusal);
  // Its body is read and thrown away, so that a client that writes first and reads then sees the answer.
  request.resume();
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    ...(status === 401 ? { 'www-authenticate': 'Bearer realm="millrace"' } : {}),
  });
  response.end(JSON.stringify(body));
}

function limited<S extends HttpServer>(server: S, limits: Limits): S {
  server.maxConnections = limits.connections;
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => answerGarbage(error, socket));
  // What ends during the handshake is the client's affair; without a listener nothing else would change.
  server.on('tlsClientError', () => undefined);
  return server;
}

const refused = new WeakSet<Socket>();

/** For bytes that are no request, or one that does not come to its end. */
function answerGarbage(error: NodeJS.ErrnoException, socket: Socket): void {
  if (refused.has(socket)) return;
  refused.add(socket);
  const answer = answering.get(socket);
  // In the middle of an answer another one would be taken for a part of it.
  const amid = answer?.headersSent === true && !answer.writableFinished;
  if (error.code === 'ECONNRESET' || !socket.writable || amid) {
    socket.destroy();
    return;
  }
  const [status, code, reason] = reasonFor(error);
  const body = JSON.stringify(answerTo(createError(code, reason)).body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  // The rest of what comes is thrown away for a while: closing at once would reset the connection, and the answer with it.
  socket.removeAllListeners('data');
  socket.on('data', () => undefined);
  socket.on('error', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  const timer = setTimeout(() => socket.destroy(), LINGER).unref();
  socket.once('close', () => clearTimeout(timer));
  socket.resume();
}

function reasonFor(error: NodeJS.ErrnoException) {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'MILLRACE_E_REQUEST_TOO_LARGE', 'the headers are too large'] as const;
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, 'MILLRACE_E_REQUEST_INVALID', 'the request did not come to its end in time'] as const;
    default:
      return [400, 'MILLRACE_E_REQUEST_INVALID', 'this is no HTTP request'] as const;
  }
}
