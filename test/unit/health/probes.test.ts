// Every kind of check against a server of that kind on loopback, as it should be and in the ways in which it can be wrong.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { CheckType } from '../../../src/config/check-types.js';
import type { HealthCheckConfig } from '../../../src/config/schema.js';
import { probe } from '../../../src/health/probe.js';
import { dnsQuery, dnsVerdict, payloadOf } from '../../../src/health/probes/datagram.js';
import { healthRequest, healthStatus } from '../../../src/health/probes/grpc.js';
import { forgetConnections, statusIsGood } from '../../../src/health/probes/http.js';
import { verdictOfExit } from '../../../src/health/probes/script.js';
import type { CheckTarget } from '../../../src/health/target.js';

const open: { close(): unknown }[] = [];
let directory = '';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-test-'));
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-keyout', join(directory, 'key.pem'), '-out', join(directory, 'cert.pem')],
      ...['-subj', '/CN=checked.test', '-addext', 'subjectAltName=DNS:checked.test'],
    ],
    { stdio: 'ignore' },
  );
});

afterAll(() => rmSync(directory, { recursive: true }));

afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

const certificate = () => ({
  key: readFileSync(join(directory, 'key.pem')),
  cert: readFileSync(join(directory, 'cert.pem')),
});

async function listen(server: Server): Promise<number> {
  open.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  server.close();
  await once(server, 'close');
  return port;
}

function target(type: CheckType, port: number, check: Partial<HealthCheckConfig> = {}, timeout = 5000): CheckTarget {
  return {
    id: `web 127.0.0.1:${port} 0`,
    service: 'web',
    server: `127.0.0.1:${port}`,
    place: 0,
    type,
    address: '127.0.0.1',
    family: 4,
    port,
    interval: 1000,
    retryInterval: 1000,
    timeout,
    warmup: 0,
    jitter: 0,
    rise: 1,
    fall: 1,
    alpha: false,
    check: { type, interval: 1, jitter: 0, timeout: 1, rise: 1, fall: 1, ...check },
  };
}

test('tcp: connected, refused, silent', async () => {
  const port = await listen(createServer());
  expect(await probe(target('tcp', port))).toEqual({ good: true, reason: 'connected' });
  const refused = await probe(target('tcp', await closedPort()));
  expect(refused.good).toBe(false);
  expect(refused.reason).toContain('ECONNREFUSED');
});

test('what cannot even be tried is a verdict of its check, and an error of nobody', async () => {
  // A datagram to the broadcast address is refused by the kernel at once, as one to a network without a route is.
  const unreachable = (type: 'udp' | 'dns') => probe({ ...target(type, 9), address: '255.255.255.255' });
  for (const type of ['udp', 'dns'] as const) {
    expect(await unreachable(type)).toMatchObject({ good: false, reason: expect.stringContaining('EACCES') });
  }
  // With a file that is missing there must be no connection whose failure nobody hears.
  const port = await closedPort();
  const tls = { ca: join(directory, 'missing.pem') };
  for (const type of ['tls', 'https', 'grpc'] as const) {
    expect(await probe(target(type, port, { tls }))).toMatchObject({ good: false, reason: expect.stringContaining('ENOENT') });
  }
  // The failure of such a connection would be an uncaught exception some turns later.
  expect(await probe(target('tcp', port))).toMatchObject({ good: false });
});

test('tcp from an address of our own choice', async () => {
  const seen: (string | undefined)[] = [];
  const port = await listen(createServer((socket) => seen.push(socket.remoteAddress)));
  expect(await probe(target('tcp', port, { bindAddress: '127.0.0.7' }))).toMatchObject({ good: true });
  await expect.poll(() => seen).toEqual(['127.0.0.7']);
});

async function http(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<number> {
  return listen(createHttpServer(answer));
}

test('http: request as asked for, and status', async () => {
  const seen: unknown[] = [];
  const port = await http((request, response) => {
    seen.push([request.method, request.url, request.headers['host'], request.headers['x-check'], request.headers['connection']]);
    response.statusCode = request.url === '/broken' ? 503 : 204;
    response.end();
  });
  const check = { path: '/ready?full=1', host: 'www.example', headers: ['X-Check: yes'], method: 'HEAD' as const };
  expect(await probe(target('http', port, check))).toEqual({ good: true, reason: 'status 204' });
  expect(seen).toEqual([['HEAD', '/ready?full=1', 'www.example', 'yes', 'close']]);
  expect(await probe(target('http', port, { path: '/broken' }))).toEqual({ good: false, reason: 'status 503' });
  expect(await probe(target('http', port, { path: '/broken', status: ['500-503'] }))).toMatchObject({ good: true });
});

test('http: the body must contain, match, or have the digest', async () => {
  const body = 'state: ready\n';
  const port = await http((_, response) => response.end(body));
  const verdict = async (check: Partial<HealthCheckConfig>) => (await probe(target('http', port, check))).good;
  expect(await verdict({ contains: 'ready' })).toBe(true);
  expect(await verdict({ contains: 'drained' })).toBe(false);
  expect(await verdict({ matches: '^state: r\\w+$' })).toBe(false);
  expect(await verdict({ matches: '^state: r\\w+\\n$' })).toBe(true);
  expect(await verdict({ digest: createHash('md5').update(body).digest('hex') })).toBe(true);
  expect(await verdict({ digest: createHash('sha256').update(body).digest('hex').toUpperCase() })).toBe(true);
  const wrong = await probe(target('http', port, { digest: '0'.repeat(32) }));
  expect(wrong).toEqual({ good: false, reason: `the digest of the body is ${createHash('md5').update(body).digest('hex')}` });
});

test('http: a server that does not answer, and one that talks nonsense', async () => {
  const silent = await listen(createServer());
  expect(await probe(target('http', silent, {}, 100))).toEqual({ good: false, reason: 'no answer within 100 ms' });
  const nonsense = await listen(createServer((socket: Socket) => socket.end('220 hello\r\n')));
  expect((await probe(target('http', nonsense))).good).toBe(false);
});

test('http: an endless body ends with the limit', async () => {
  const port = await http((_, response) => {
    response.on('error', () => undefined);
    const more = (): void => {
      while (response.write('x'.repeat(65_536)));
    };
    response.on('drain', more);
    more();
  });
  expect(await probe(target('http', port, { contains: 'y' }))).toMatchObject({ good: false });
});

test('http: keepAlive uses one connection', async () => {
  let connections = 0;
  const server = createHttpServer((_, response) => response.end('ok'));
  server.on('connection', () => {
    connections += 1;
  });
  const port = await listen(server);
  const kept = target('http', port, { keepAlive: true });
  for (let i = 0; i < 5; i++) expect(await probe(kept)).toMatchObject({ good: true });
  expect(connections).toBe(1);
  for (let i = 0; i < 2; i++) expect(await probe(target('http', port))).toMatchObject({ good: true });
  expect(connections).toBe(3);
  forgetConnections(kept.id);
});

test('http: a kept connection that the server has closed is no failure of the server', async () => {
  const sockets = new Set<Socket>();
  const server = createHttpServer((request, response) => {
    // The second request on a connection is the one that meets its end.
    if (sockets.has(request.socket)) request.socket.destroy();
    else response.end('ok');
    sockets.add(request.socket);
  });
  const kept = target('http', await listen(server), { keepAlive: true });
  for (let i = 0; i < 3; i++) expect(await probe(kept)).toMatchObject({ good: true });
  expect(sockets.size).toBe(3);
  forgetConnections(kept.id);
});

test('http: keepAlive holds from an interface, too', async () => {
  let connections = 0;
  const server = createHttpServer((_, response) => response.end('ok'));
  server.on('connection', () => {
    connections += 1;
  });
  const kept = target('http', await listen(server), { keepAlive: true, bindInterface: 'lo' });
  for (let i = 0; i < 3; i++) expect(await probe(kept)).toEqual({ good: true, reason: 'status 200' });
  expect(connections).toBe(1);
  forgetConnections(kept.id);
});

test('tls: without a name it is the address that is verified', async () => {
  const file = (name: string): string => join(directory, name);
  const issue = (name: string, subject: string): void => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file(`${name}.key`)];
    const about = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${subject}`, '-out', file(`${name}.pem`)];
    execFileSync('openssl', ['req', '-x509', '-days', '2', ...key, ...about], { stdio: 'ignore' });
  };
  issue('address', 'IP:127.0.0.1');
  issue('localhost', 'DNS:localhost');
  for (const [name, good] of [
    ['address', true],
    ['localhost', false],
  ] as const) {
    const pair = { key: readFileSync(file(`${name}.key`)), cert: readFileSync(file(`${name}.pem`)) };
    const port = await listen(createHttpsServer(pair, (_, response) => response.end('ok')));
    const tls = { verify: true, ca: file(`${name}.pem`) };
    for (const type of ['tls', 'https'] as const) {
      expect(await probe(target(type, port, { tls }))).toMatchObject({ good });
      if (type === 'https') expect(await probe(target(type, port, { tls, host: `127.0.0.1:${port}` }))).toMatchObject({ good });
    }
  }
});

test('https and tls: the certificate counts only where it is to be verified', async () => {
  const server = createHttpsServer(certificate(), (_, response) => response.end('ok'));
  const port = await listen(server);
  const ca = join(directory, 'cert.pem');
  for (const type of ['https', 'tls'] as const) {
    expect(await probe(target(type, port))).toMatchObject({ good: true });
    const unknown = await probe(target(type, port, { tls: { verify: true, serverName: 'checked.test' } }));
    expect(unknown).toMatchObject({ good: false });
    expect(unknown.reason).toMatch(/self-signed/);
    expect(await probe(target(type, port, { tls: { verify: true, serverName: 'checked.test', ca } }))).toMatchObject({
      good: true,
    });
    expect(await probe(target(type, port, { tls: { verify: true, serverName: 'other.test', ca } }))).toMatchObject({
      good: false,
    });
  }
  const plain = await listen(createServer((socket: Socket) => socket.end('no TLS here\r\n')));
  expect(await probe(target('tls', plain))).toMatchObject({ good: false });
});

function smtpServer(lines: { readonly greeting: string; readonly helo: string }, heard: string[] = []): Server {
  return createServer((socket) => {
    socket.on('error', () => undefined);
    socket.write(lines.greeting);
    socket.on('data', (data) => {
      heard.push(data.toString());
      socket.write(data.toString().startsWith('QUIT') ? '221 bye\r\n' : lines.helo);
    });
  });
}

test('smtp: greeting and HELO', async () => {
  const heard: string[] = [];
  const greeting = '220-mail.example ESMTP\r\n220 ready\r\n';
  const fine = await listen(smtpServer({ greeting, helo: '250 mail.example\r\n' }, heard));
  expect(await probe(target('smtp', fine, { helo: 'lb.example' }))).toEqual({ good: true, reason: '250 mail.example' });
  expect(heard[0]).toBe('HELO lb.example\r\n');
  const busy = await listen(smtpServer({ greeting: '421 too busy\r\n', helo: '' }));
  expect(await probe(target('smtp', busy))).toEqual({ good: false, reason: 'greeted with "421 too busy"' });
  const picky = await listen(smtpServer({ greeting, helo: '550 who are you\r\n' }));
  expect(await probe(target('smtp', picky))).toEqual({ good: false, reason: 'answered HELO with "550 who are you"' });
  const rude = await listen(smtpServer({ greeting: `554 \0\x1b[2J${'x'.repeat(5000)}\r\n`, helo: '' }));
  const { reason } = await probe(target('smtp', rude));
  expect(reason).toMatch(/^greeted with "554 {2}\[2Jx+$/);
  expect(reason).toHaveLength(300);
  const other = await listen(smtpServer({ greeting: 'SSH-2.0-OpenSSH\r\n', helo: '' }));
  expect(await probe(target('smtp', other))).toEqual({ good: false, reason: 'does not speak SMTP' });
});

async function udpServer(answer: (message: Buffer) => Buffer | undefined): Promise<number> {
  const socket = createSocket('udp4');
  open.push(socket);
  socket.on('message', (message, from) => {
    const reply = answer(message);
    if (reply !== undefined) socket.send(reply, from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket.address().port;
}

test('udp: reply, wrong reply, silence, nobody there', async () => {
  const echo = await udpServer((message) => message);
  expect(await probe(target('udp', echo, { payload: 'hex:0a0b', contains: 'hex:0a0b' }))).toMatchObject({ good: true });
  expect(await probe(target('udp', echo, { payload: 'ping', matches: '^p.ng$' }))).toMatchObject({ good: true });
  expect(await probe(target('udp', echo, { payload: 'ping', contains: 'pong' }))).toMatchObject({ good: false });
  const silent = await udpServer(() => undefined);
  expect(await probe(target('udp', silent, {}, 100))).toEqual({ good: true, reason: 'no error' });
  expect(await probe(target('udp', silent, { replyRequired: true }, 100))).toMatchObject({ good: false });
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  const nobody = await probe(target('udp', port));
  expect(nobody.good).toBe(false);
  expect(nobody.reason).toContain('ECONNREFUSED');
});

test('dns: answered, refused, and answers to other questions passed over', async () => {
  const reply = (query: Buffer, code: number): Buffer => {
    const message = Buffer.from(query);
    message.writeUInt16BE(0x8180 | code, 2);
    return message;
  };
  const asked: Buffer[] = [];
  const fine = await udpServer((query) => {
    asked.push(query);
    return reply(query, 0);
  });
  expect(await probe(target('dns', fine, { query: 'www.example', queryType: 'AAAA' }))).toEqual({
    good: true,
    reason: 'NOERROR, 0 answers',
  });
  expect(asked[0]?.subarray(12).toString('latin1')).toBe('\x03www\x07example\x00\x00\x1c\x00\x01');
  const failing = await udpServer((query) => reply(query, 2));
  expect(await probe(target('dns', failing))).toEqual({ good: false, reason: 'answered SERVFAIL' });
  const confused = await udpServer((query) => {
    const other = reply(query, 0);
    other.writeUInt16BE(query.readUInt16BE(0) ^ 1, 0);
    return other;
  });
  expect(await probe(target('dns', confused, {}, 100))).toMatchObject({ good: false });
  expect(() => dnsQuery(1, 'x'.repeat(64), 'A')).toThrow(RangeError);
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void dnsVerdict(1, Buffer.from(bytes))));
});

test('grpc: serving, not serving, unknown to the server, no gRPC', async () => {
  let state = Buffer.from([0, 0, 0, 0, 2, 8, 1]);
  let grpcStatus = '0';
  const asked: Buffer[] = [];
  const server = createHttp2Server();
  server.on('stream', (stream, headers) => {
    stream.on('data', (chunk: Buffer) => asked.push(chunk));
    stream.respond(
      { ':status': headers[':path'] === '/grpc.health.v1.Health/Check' ? 200 : 404, 'content-type': 'application/grpc' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': grpcStatus }));
    stream.on('end', () => stream.end(state));
  });
  const port = await listen(server as unknown as Server);
  expect(await probe(target('grpc', port, { service: 'shop.Cart' }))).toEqual({ good: true, reason: 'SERVING' });
  expect(Buffer.concat(asked)).toEqual(Buffer.from([0, 0, 0, 0, 11, 10, 9, ...Buffer.from('shop.Cart')]));
  state = Buffer.from([0, 0, 0, 0, 2, 8, 2]);
  expect(await probe(target('grpc', port))).toEqual({ good: false, reason: 'NOT_SERVING' });
  state = Buffer.alloc(0);
  grpcStatus = '5';
  expect(await probe(target('grpc', port))).toEqual({ good: false, reason: 'gRPC status 5' });
  const plain = await http((_, response) => response.end('ok'));
  expect(await probe(target('grpc', plain))).toMatchObject({ good: false });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => void healthStatus(Buffer.from(bytes))));
  expect(healthRequest('x'.repeat(200)).subarray(5, 8)).toEqual(Buffer.from([10, 0xc8, 1]));
});

function script(text: string): string[] {
  const file = join(directory, `check-${createHash('md5').update(text).digest('hex')}.sh`);
  writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return [file, 'argument with $blanks'];
}

/** A process that has ended and waits for its parent is not. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('script: exit codes, environment, time', async () => {
  const run = (text: string, check: Partial<HealthCheckConfig> = {}, timeout = 5000) =>
    probe(target('script', 80, { command: script(text), ...check }, timeout));
  expect(
    await run('[ "$1" = "argument with \\$blanks" ] && [ "$MILLRACE_ADDRESS:$MILLRACE_PORT" = 127.0.0.1:80 ]'),
  ).toMatchObject({ good: true });
  expect(await run('exit 1')).toEqual({ good: false, reason: 'exit code 1' });
  expect(await run('exit 42')).toEqual({ good: false, reason: 'exit code 42' });
  expect(await run('exit 42', { dynamicWeight: true })).toEqual({ good: true, reason: 'exit code 42', weight: 40 });
  expect(await run('kill -9 $$')).toEqual({ good: false, reason: 'ended by SIGKILL' });
  expect(await run('exec sleep 100', {}, 100)).toEqual({ good: false, reason: 'did not end within 100 ms' });
  // What the program has started goes with it.
  const file = join(directory, 'started');
  expect(await run(`sleep 100 & echo $! > ${file}; wait`, {}, 500)).toMatchObject({ good: false });
  const started = Number(readFileSync(file, 'utf8'));
  await expect.poll(() => isAlive(started), { timeout: 10_000 }).toBe(false);
  const missing = await probe(target('script', 80, { command: ['/nowhere/check'] }));
  expect(missing.reason).toContain('ENOENT');
  expect(verdictOfExit(255, true)).toMatchObject({ weight: 253 });
});

test('texts of payloads and ranges of statuses', () => {
  expect(payloadOf('hex:0a 0B')).toEqual(Buffer.from([10, 11]));
  expect(payloadOf('plain')).toEqual(Buffer.from('plain'));
  expect([199, 200, 399, 400].map((status) => statusIsGood(status))).toEqual([false, true, true, false]);
  expect(statusIsGood(301, ['200', '300-302'])).toBe(true);
});
