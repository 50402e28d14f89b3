// A daemon that is none: it answers the contract of the API over a real unix socket, or over TLS, from values that tests set.
// Guarantees: refuses what the contract does not have, and never answers what the contract does not promise.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from 'typebox/value';
import { type ChangeViewBody, ENDPOINTS, type Endpoint, type EndpointName, type Reply } from '../../../../src/api/contract.js';
import { serverView, serviceView, statusView, workerView } from './views.js';

/** One request as it came. */
export interface Seen {
  readonly name: EndpointName | undefined;
  readonly method: string;
  readonly path: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
}

type Answer<N extends EndpointName> = (seen: Seen) => Reply<N> | Refusal;

export class Refusal {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly message: string,
    readonly remedy = 'Do something else.',
    readonly problems?: readonly { path: string; reason: string; remedy: string }[],
  ) {}
}

export class FakeDaemon {
  readonly socket: string;
  readonly seen: Seen[] = [];
  readonly answers: { [N in EndpointName]?: Answer<N> } = {};
  /** In place of all else. */
  raw: RequestListener | undefined;
  token: string | undefined;
  readonly streams = new Set<ServerResponse>();
  #server: Server | undefined;
  readonly #directory = mkdtempSync(join(tmpdir(), 'millrace-fake-'));

  constructor() {
    this.socket = join(this.#directory, 'api.sock');
    const change = (seen: Seen): ChangeViewBody => ({
      version: '0123456789abcdef',
      dryRun: seen.query['dryRun'] === 'true',
      changes: {
        servicesAdded: [],
        servicesRemoved: [],
        servicesChanged: [seen.params['service'] ?? 'web'],
        otherChanged: false,
      },
      stale: [],
    });
    const services = [
      serviceView('web', [serverView('192.0.2.11:8080', 'up'), serverView('192.0.2.12:8080', 'down', { effectiveWeight: 0 })]),
      serviceView('dns', [serverView('[2001:db8::53]:53', 'unchecked')], { protocol: 'udp', port: 53, address: '2001:db8::10' }),
    ];
    const find = (seen: Seen) =>
      services.find(({ name }) => name === seen.params['service']) ??
      new Refusal(404, 'MILLRACE_E_INPUT_INVALID', `there is no service "${seen.params['service']}"`, 'Name one of web, dns.');
    Object.assign(this.answers, {
      status: () => statusView(),
      services: () => services,
      service: find,
      workers: () => [workerView(0), workerView(1)],
      health: () => ({
        services: [{ name: 'web', quorum: false }],
        checks: [
          { service: 'web', server: '192.0.2.11:8080', type: 'http', up: true, streak: 9, checks: 9, failures: 0 },
          {
            service: 'web',
            server: '192.0.2.12:8080',
            type: 'http',
            up: false,
            streak: 3,
            checks: 12,
            failures: 3,
            last: { at: 1_764_000_000_000, milliseconds: 1.25, good: false, reason: 'status 503 \u001b[31m' },
          },
        ],
      }),
      putService: change,
      setWeight: change,
      drain: change,
      undrain: change,
      setSection: change,
      resetConfig: change,
      reload: change,
    } satisfies FakeDaemon['answers']);
  }

  async start(): Promise<this> {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.listen(this.socket);
    await once(this.#server, 'listening');
    return this;
  }

  /** Over TLS on a port of the loopback; the URL. */
  async startTls(key: string, cert: string): Promise<string> {
    this.#server = createTlsServer({ key, cert }, (request, response) => void this.#serve(request, response));
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `https://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server?.listening !== true) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    this.streams.clear();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Sends an event to all that listen. */
  emit(id: string, kind: string, data: Readonly<Record<string, unknown>>): void {
    for (const stream of this.streams) stream.write(`id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.raw !== undefined) {
      this.raw(request, response);
      return;
    }
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    const text = Buffer.concat(parts).toString('utf8');
    const url = new URL(request.url ?? '', 'http://localhost');
    const found = match(request.method ?? '', url.pathname);
    const seen: Seen = {
      name: found?.name,
      method: request.method ?? '',
      path: url.pathname,
      params: found?.params ?? {},
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body: text === '' ? undefined : JSON.parse(text),
    };
    this.seen.push(seen);
    const answer = this.#answer(seen);
    if (answer === undefined) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': welcome\n\n');
      this.streams.add(response);
      response.on('close', () => this.streams.delete(response));
      return;
    }
    const [status, body] =
      answer instanceof Refusal
        ? [
            answer.status,
            { error: { code: answer.code, message: answer.message, remedy: answer.remedy, problems: answer.problems } },
          ]
        : [200, answer];
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  }

  /** undefined: a stream. */
  #answer(seen: Seen): unknown {
    const { name } = seen;
    if (name === undefined) return new Refusal(404, 'MILLRACE_E_INPUT_INVALID', `no ${seen.method} ${seen.path}`);
    if (this.token !== undefined && seen.headers.authorization !== `Bearer ${this.token}`)
      return new Refusal(401, 'MILLRACE_E_PERMISSION_DENIED', 'the token is missing or wrong');
    const endpoint: Endpoint = ENDPOINTS[name];
    if (endpoint.body !== undefined && !Value.Check(endpoint.body, seen.body))
      return new Refusal(400, 'MILLRACE_E_INPUT_INVALID', 'the body does not have the form of the contract');
    const answer = this.answers[name];
    if (answer !== undefined) {
      const value = answer(seen);
      if (!(value instanceof Refusal) && !Value.Check(endpoint.reply, value))
        throw new Error(`the test wants an answer to ${name} that the contract does not have`);
      return value;
    }
    return endpoint.stream === undefined
      ? new Refusal(501, 'MILLRACE_E_NOT_RUNNING', `${name} is not part of the test`)
      : undefined;
  }
}

function match(method: string, path: string): { name: EndpointName; params: Record<string, string> } | undefined {
  for (const [name, endpoint] of Object.entries(ENDPOINTS)) {
    const pattern = new RegExp(`^/api/v1${endpoint.path.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`);
    const found = endpoint.method === method ? pattern.exec(path) : null;
    if (found === null) continue;
    const params = Object.entries(found.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)]);
    return { name: name as EndpointName, params: Object.fromEntries(params) };
  }
  return undefined;
}
