// Where the API listens and whom it lets in: the unix socket, TLS with a token or a certificate, and the probes over plain HTTP.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { groupId, idOf } from '../../../src/api/unix-socket.js';
import { type Setting, startApi, type TestApi } from './support/api.js';
import { contents, makeCertificate, type Pair, TOKEN, writeToken } from './support/certificates.js';
import { type Answer, ask, until } from './support/client.js';

let folder = '';
let server: Pair;
let client: Pair;
let stranger: Pair;
let ca: Buffer;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-certs-'));
  makeCertificate(folder, 'ca');
  server = makeCertificate(folder, 'server', 'ca');
  client = makeCertificate(folder, 'client', 'ca');
  makeCertificate(folder, 'other');
  stranger = makeCertificate(folder, 'stranger', 'other');
  ca = readFileSync(join(folder, 'ca.pem'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Secure {
  readonly token?: boolean;
  readonly certificates?: boolean;
}

function startSecure({ token = false, certificates = false }: Secure): Promise<TestApi> {
  return startApi({
    listen: () => ({
      tcp: {
        address: '127.0.0.1',
        port: 0,
        ...server,
        ...(token ? { tokenFile: writeToken(folder) } : {}),
        ...(certificates ? { clientCa: join(folder, 'ca.pem') } : {}),
      },
    }),
  });
}

function overTls(api: TestApi, headers: Readonly<Record<string, string>> = {}, pair?: Pair): Promise<Answer> {
  const port = api.api.address('tcp')?.port ?? 0;
  const target = { host: '127.0.0.1', port, ca, ...(pair === undefined ? {} : contents(pair)) };
  return ask(target, 'GET', '/api/v1/status', { headers });
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

test('a token opens the door, and nothing else does', async () => {
  await using api = await startSecure({ token: true });
  expect((await overTls(api, bearer(TOKEN))).status).toBe(200);
  for (const headers of [{}, bearer(`${TOKEN}x`), bearer(TOKEN.slice(0, -1)), { authorization: `Basic ${TOKEN}` }, bearer('')]) {
    const answer = await overTls(api, headers);
    expect([answer.status, answer.json.error.code]).toEqual([401, 'MILLRACE_E_NOT_AUTHENTICATED']);
    expect(answer.headers['www-authenticate']).toContain('Bearer');
  }
  // A certificate is nothing where none is asked for.
  expect((await overTls(api, {}, client)).status).toBe(401);
});

test('a client certificate opens the door, and that of another authority does not', async () => {
  await using api = await startSecure({ certificates: true });
  expect((await overTls(api, {}, client)).status).toBe(200);
  expect((await overTls(api)).status).toBe(401);
  expect((await overTls(api, bearer(TOKEN))).status).toBe(401);
  const answer = await overTls(api, {}, stranger);
  expect([answer.status, answer.json.error.code]).toEqual([403, 'MILLRACE_E_NOT_ALLOWED']);
});

test('with both, either is enough', async () => {
  await using api = await startSecure({ certificates: true, token: true });
  expect((await overTls(api, {}, client)).status).toBe(200);
  expect((await overTls(api, bearer(TOKEN))).status).toBe(200);
  expect((await overTls(api, bearer(TOKEN), stranger)).status).toBe(200);
  expect((await overTls(api, bearer('wrong'), stranger)).status).toBe(401);
  expect((await overTls(api)).status).toBe(401);
});

/** A request over a TLS connection of its own; gives back the status, and the session to resume. */
async function rawTls(port: number, session?: Buffer): Promise<{ status: string; session: Buffer; resumed: boolean }> {
  const socket: TLSSocket = connect({ host: '127.0.0.1', port, ca, ...(session === undefined ? {} : { session }) });
  const ticket = session === undefined ? once(socket, 'session') : Promise.resolve([session]);
  const closed = once(socket, 'close');
  await once(socket, 'secureConnect');
  socket.write('GET /api/v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  let text = '';
  socket.setEncoding('latin1').on('data', (part: string) => {
    text += part;
  });
  const [issued] = await ticket;
  const resumed = socket.isSessionReused();
  await closed;
  return { status: text.slice(9, 12), session: issued as Buffer, resumed };
}

test('a TLS session begun without a certificate and resumed is no certificate', async () => {
  await using api = await startSecure({ certificates: true });
  const port = api.api.address('tcp')?.port ?? 0;
  const first = await rawTls(port);
  expect(first.status).toBe('401');
  const second = await rawTls(port, first.session);
  expect(second.resumed).toBe(true);
  expect(second.status).toBe('401');
});

test('HTTP without TLS on the port of TLS is not served', async () => {
  await using api = await startSecure({ token: true });
  const port = api.api.address('tcp')?.port ?? 0;
  await expect(ask({ host: '127.0.0.1', port }, 'GET', '/api/v1/status', { headers: bearer(TOKEN) })).rejects.toThrow();
});

test('files that cannot be used are told by name, and nothing is open then', async () => {
  const broken: readonly [Setting, RegExp][] = [
    [tcpWith({ cert: '/nonexistent.pem' }), /\/nonexistent\.pem \(api\.tcp\.cert\) cannot be read/],
    [tcpWith({ cert: writeFile('no.pem', 'hello'), tokenFile: writeToken(folder) }), /cannot be used/],
    [tcpWith({ key: client.key, tokenFile: writeToken(folder) }), /cannot be used/],
    [tcpWith({ tokenFile: writeFile('short', 'abc\n') }), /no token of at least 16/],
    [tcpWith({ tokenFile: writeFile('empty', '') }), /no token of at least 16/],
    [tcpWith({}), /neither tokenFile nor clientCa/],
    [{ listen: () => ({ group: 'no-such-group-here' }) }, /there is no group/],
  ];
  for (const [setting, message] of broken) {
    const error = await startApi(setting).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code: 'MILLRACE_E_API_UNAVAILABLE', message: expect.stringMatching(message) });
  }
});

function writeFile(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

function tcpWith(settings: object): Setting {
  return { listen: () => ({ tcp: { address: '127.0.0.1', port: 0, ...server, ...settings } }) };
}

test('certificates and token are read again, without a break', async () => {
  await using api = await startSecure({ token: true });
  const before = api.api.address('tcp')?.port;
  const config = {
    socket: api.socketPath,
    tcp: { address: '127.0.0.1', port: 0, ...server, tokenFile: writeToken(folder, 'another-token-0123456789') },
  };
  await api.api.configure(config);
  expect(api.api.address('tcp')?.port).toBe(before);
  expect((await overTls(api, bearer(TOKEN))).status).toBe(401);
  expect((await overTls(api, bearer('another-token-0123456789'))).status).toBe(200);
  writeToken(folder, 'short');
  await expect(api.api.configure(config)).rejects.toMatchObject({ code: 'MILLRACE_E_API_UNAVAILABLE' });
  expect((await overTls(api, bearer('another-token-0123456789'))).status).toBe(200);
});

test('the plain listener has the probes and nothing else', async () => {
  await using api = await startApi({ listen: () => ({ plain: { address: '127.0.0.1', port: 0 } }) });
  const plain = { host: '127.0.0.1', port: api.api.address('plain')?.port ?? 0 };
  expect((await ask(plain, 'GET', '/healthz')).text).toBe('ok\n');
  expect((await ask(plain, 'HEAD', '/healthz')).status).toBe(200);
  expect((await ask(plain, 'GET', '/readyz')).text).toBe('ready\n');
  expect((await ask(plain, 'GET', '/metrics')).text).toBe('millrace_up 1\n');
  for (const path of ['/api/v1/status', '/api/v1/openapi.json', '/', '/api/v1/events']) {
    expect((await ask(plain, 'GET', path)).status).toBe(404);
  }
  expect((await ask(plain, 'PUT', '/api/v1/config/echoReplies', { body: false })).status).toBe(404);
  // And over the socket as well.
  expect((await api.ask('GET', '/healthz')).text).toBe('ok\n');
});

test('readiness: what is not ready is 503, with the checks where they are asked for', async () => {
  let outcome: () => { ready: boolean; draining?: boolean; checks: { name: string; ok: boolean; message?: string }[] } = () => ({
    ready: false,
    checks: [
      { name: 'workers', ok: true },
      { name: 'config', ok: false, message: 'two\nlines' },
    ],
  });
  await using api = await startApi({ parts: { readiness: () => outcome() } });
  const short = await api.ask('GET', '/readyz');
  expect([short.status, short.text]).toEqual([503, 'not ready\n']);
  expect((await api.ask('GET', '/readyz?verbose')).text).toBe('[+] workers\n[-] config: two lines\nnot ready\n');
  outcome = () => ({ ready: true, draining: true, checks: [] });
  expect((await api.ask('GET', '/readyz?verbose=1')).text).toBe('[-] draining\nnot ready\n');
  outcome = () => {
    throw new Error('no answer');
  };
  const failed = await api.ask('GET', '/readyz?verbose');
  expect([failed.status, failed.text]).toEqual([503, '[-] readiness: no answer\nnot ready\n']);
  expect((await api.ask('GET', '/healthz')).status).toBe(200);
});

test('the socket has its mode and group, and goes with the API', async () => {
  const group = process.getgid?.() ?? 0;
  const api = await startApi({ listen: () => ({ mode: '0640', group: String(group) }) });
  const { mode, gid } = lstatSync(api.socketPath);
  expect((mode & 0o777).toString(8)).toBe('640');
  expect(gid).toBe(group);
  await api.api.close();
  expect(() => lstatSync(api.socketPath)).toThrow('ENOENT');
  await api[Symbol.asyncDispose]();
});

test('groups by name and number', async () => {
  expect(await groupId('4711')).toBe(4711);
  expect(await groupId('root')).toBe(0);
  expect(idOf('adm', 'root:x:0:\nadm:x:4:syslog,joe\n')).toBe(4);
  expect(idOf('ad', 'root:x:0:\nadm:x:4:syslog,joe\n')).toBeUndefined();
});

test('the socket of a process that is dead is replaced', async () => {
  await using first = await startApi();
  const path = join(first.folder, 'stale.sock');
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  await expect(first.api.configure({ socket: path })).rejects.toMatchObject({
    code: 'MILLRACE_E_API_SOCKET_IN_USE',
    message: `${path} is served by another process`,
  });
  // What was open is open again.
  expect((await first.ask('GET', '/api/v1/status')).status).toBe(200);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(lstatSync(path).isSocket()).toBe(true);
  await first.api.configure({ socket: path });
  expect((await ask({ socketPath: path }, 'GET', '/api/v1/status')).status).toBe(200);
  expect(() => lstatSync(first.socketPath)).toThrow('ENOENT');
});

test('a file that is no socket is left alone, and a port in use is told', async () => {
  await using api = await startApi();
  const path = join(api.folder, 'notes.txt');
  writeFileSync(path, 'mine');
  await expect(api.api.configure({ socket: path })).rejects.toMatchObject({ code: 'MILLRACE_E_API_UNAVAILABLE' });
  expect(readFileSync(path, 'utf8')).toBe('mine');
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const address = other.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  await expect(api.api.configure({ socket: api.socketPath, plain: { address: '127.0.0.1', port } })).rejects.toMatchObject({
    code: 'MILLRACE_E_API_SOCKET_IN_USE',
  });
  other.close();
});

test('places can be added and removed while the others stay', async () => {
  await using api = await startApi();
  const plain = { address: '127.0.0.1', port: 0 };
  await api.api.configure({ socket: api.socketPath, plain });
  const port = api.api.address('plain')?.port ?? 0;
  expect((await ask({ host: '127.0.0.1', port }, 'GET', '/healthz')).status).toBe(200);
  await api.api.configure({ socket: 'none', plain });
  expect(() => lstatSync(api.socketPath)).toThrow('ENOENT');
  expect(api.api.address('plain')?.port).toBe(port);
  await api.api.configure({ socket: api.socketPath, mode: '0600' });
  expect(api.api.address('plain')).toBeUndefined();
  expect((await api.ask('GET', '/api/v1/status')).status).toBe(200);
});

test('closing lets a request that is under way end', async () => {
  let release: () => void = () => undefined;
  let entered: () => void = () => undefined;
  const inside = new Promise<void>((resolve) => {
    entered = resolve;
  });
  const api = await startApi({
    parts: {
      metrics: () => {
        entered();
        return new Promise((resolve) => {
          release = () => resolve({ contentType: 'text/plain', body: 'late\n' });
        });
      },
    },
  });
  const late = api.ask('GET', '/metrics');
  await inside;
  const closed = api.api.close(60_000);
  await until(
    () =>
      api.ask('GET', '/healthz').then(
        () => false,
        () => true,
      ),
    'no new connections',
  );
  release();
  expect((await late).text).toBe('late\n');
  await closed;
  await api[Symbol.asyncDispose]();
});
