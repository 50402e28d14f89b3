// The client against a daemon on a real socket: what is sent, what comes back, and what every kind of failure becomes.
import { once } from 'node:events';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ENDPOINTS } from '../../../src/api/contract.js';
import { fromApiError } from '../../../src/client/api-error.js';
import { ApiClient, pathOf } from '../../../src/client/client.js';
import { ConfigurationError, MillraceError } from '../../../src/errors.js';
import { FakeDaemon, Refusal } from './support/fake-daemon.js';
import { statusView } from './support/views.js';

let daemon: FakeDaemon;
let client: ApiClient;

beforeEach(async () => {
  daemon = await new FakeDaemon().start();
  client = new ApiClient({ socket: daemon.socket });
});
afterEach(() => daemon[Symbol.asyncDispose]());

async function failure(promise: Promise<unknown>): Promise<MillraceError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof MillraceError)) throw new Error(`no error of the catalogue: ${String(error)}`);
  return error;
}

test('a call gives the answer as the contract has it', async () => {
  expect(await client.call('status')).toEqual(statusView());
  expect((await client.call('services')).map(({ name }) => name)).toEqual(['web', 'dns']);
});

test('parameters are encoded, the body is JSON, the query and If-Match are sent', async () => {
  const change = await client.call('setWeight', {
    params: { service: 'web/€', server: '[2001:db8::1]:80' },
    body: { weight: 5 },
    query: { dryRun: true },
    expected: 'feedbeef',
  });
  expect(change.dryRun).toBe(true);
  expect(daemon.seen).toHaveLength(1);
  expect(daemon.seen[0]).toMatchObject({
    name: 'setWeight',
    params: { service: 'web/€', server: '[2001:db8::1]:80' },
    query: { dryRun: 'true' },
    body: { weight: 5 },
    headers: { 'if-match': '"feedbeef"', 'content-type': 'application/json', accept: 'application/json' },
  });
});

test('whatever a parameter holds, it stays one segment of the path', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), (word) => {
      // URL takes these for steps of the path, however they are written; no name is one of them.
      fc.pre(word !== '.' && word !== '..');
      const url = new URL(pathOf(ENDPOINTS.service, { params: { service: word } }), 'http://localhost');
      const segments = url.pathname.split('/');
      expect(segments.slice(0, 4)).toEqual(['', 'api', 'v1', 'services']);
      expect(segments.slice(4).map(decodeURIComponent)).toEqual([word]);
      expect(url.search + url.hash).toBe('');
    }),
    { examples: [['a/../b'], ['?x'], ['#'], ['%2e'], ['a\\b']] },
  );
});

test('an error of the API is the one of the catalogue, with its message and remedy', async () => {
  const error = await failure(client.call('service', { params: { service: 'nix' } }));
  expect(error).toMatchObject({
    code: 'MILLRACE_E_INPUT_INVALID',
    message: 'there is no service "nix"',
    remedy: 'Name one of web, dns.',
  });
});

test('problems of a configuration keep their places', async () => {
  const problems = [{ path: 'servers[0].weight', reason: 'expected a number', remedy: 'write 1' }];
  daemon.answers.putService = () => new Refusal(422, 'MILLRACE_E_CONFIG_INVALID', 'wrong', 'Correct it.', problems);
  const error = await failure(client.call('putService', { params: { service: 'web' }, body: {} }));
  expect(error).toBeInstanceOf(ConfigurationError);
  expect(error).toMatchObject({
    problems: [{ path: 'servers[0].weight', reason: 'expected a number', remedy: 'write 1', line: 0 }],
  });
  expect(error.message).toContain('servers[0].weight: expected a number');
});

test('a code that this version does not know keeps its words', async () => {
  daemon.answers.status = () => new Refusal(418, 'MILLRACE_E_TEAPOT', 'short and \u001b[31mstout', 'Pour.');
  expect(await failure(client.call('status'))).toMatchObject({
    code: 'MILLRACE_E_API_ANSWER',
    message: 'short and ?[31mstout (MILLRACE_E_TEAPOT)',
    remedy: 'Pour.',
  });
});

test.each([
  ['no JSON', 200, '<html>', 'does not have the form'],
  ['another form', 200, '{"version":1}', 'does not have the form'],
  ['an error without a body', 502, '', 'status 502 and nothing'],
  ['an error of a proxy', 502, '<html>Bad\nGateway\u0007', 'status 502 and "<html>Bad Gateway?"'],
])('%s is MILLRACE_E_API_ANSWER', async (_name, status, text, message) => {
  daemon.raw = (_request, response) => response.writeHead(status).end(text);
  const error = await failure(client.call('status'));
  expect(error.code).toBe('MILLRACE_E_API_ANSWER');
  expect(error.message).toContain(message);
});

test('any answer at all becomes an error of the catalogue', () => {
  fc.assert(
    fc.property(fc.integer({ min: 300, max: 599 }), fc.oneof(fc.string(), fc.json()), (status, text) => {
      expect(fromApiError('/run/x', status, text)).toBeInstanceOf(MillraceError);
    }),
  );
});

test('a socket that is not there: no daemon answers', async () => {
  const error = await failure(new ApiClient({ socket: '/nonexistent/api.sock' }).call('status'));
  expect(error).toMatchObject({
    code: 'MILLRACE_E_NO_DAEMON',
    kind: 'daemon',
    message: 'no daemon answers at /nonexistent/api.sock: there is no such socket',
  });
  expect(error.remedy).toContain('millrace run -c FILE');
});

test('a socket whose daemon is gone', async () => {
  // Node removes the file of its own socket: one that was moved stays.
  const server = createServer();
  const path = `${daemon.socket}.dead`;
  server.listen(`${path}.new`);
  await once(server, 'listening');
  renameSync(`${path}.new`, path);
  server.close();
  await once(server, 'close');
  expect(existsSync(path)).toBe(true);
  const error = await failure(new ApiClient({ socket: path }).call('status'));
  expect(error.message).toContain('nothing listens there');
  expect(error.remedy).toContain('is gone');
});

test('a file that is no socket', async () => {
  const path = join(daemon.socket, '..', 'file');
  writeFileSync(path, '');
  expect((await failure(new ApiClient({ socket: path }).call('status'))).code).toBe('MILLRACE_E_NO_DAEMON');
});

test('a daemon that says nothing is given up', async () => {
  daemon.raw = () => undefined;
  const error = await failure(new ApiClient({ socket: daemon.socket }, { timeout: 100 }).call('status'));
  expect(error.message).toContain('nothing came for 0.1 s');
});

test('a daemon that hangs up in the middle of an answer', async () => {
  daemon.raw = (_request, response) => {
    response.writeHead(200, { 'content-length': '1000' });
    response.write('{', () => response.destroy());
  };
  const error = await failure(client.call('status'));
  expect(error.code).toBe('MILLRACE_E_NO_DAEMON');
  expect(error.message).toContain('the connection was closed before the answer was there');
});

test('a signal ends a call with its reason', async () => {
  daemon.raw = () => undefined;
  const stop = new AbortController();
  const call = client.call('status', { signal: stop.signal });
  stop.abort(new Error('enough'));
  await expect(call).rejects.toThrow('enough');
  await expect(client.call('status', { signal: stop.signal })).rejects.toThrow('enough');
});

test('the types of the client are those of the contract', () => {
  // Never run: it is compiled. Each line below is an error that must stay one.
  const compiled = async (): Promise<void> => {
    const { version }: { version: string } = await client.call('reload');
    // @ts-expect-error parameters of the path are needed
    await client.call('service');
    // @ts-expect-error the name of the parameter is wrong
    await client.call('service', { params: { name: version } });
    // @ts-expect-error a weight is a number
    await client.call('setWeight', { params: { service: 'a', server: 'b' }, body: { weight: '1' } });
    // @ts-expect-error what only reads has no version
    await client.call('status', { expected: version });
    // @ts-expect-error a stream is no call
    await client.call('events');
  };
  expect(compiled).toBeTypeOf('function');
});
