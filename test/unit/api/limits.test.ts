// Too much, too slow, too many and nonsense: always an answer of 4xx or a closed connection, never 5xx, and the API goes on.
import { once } from 'node:events';
import { createConnection } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectedVersion } from '../../../src/api/etag.js';
import { parseServerName } from '../../../src/api/server-name.js';
import { MillraceError } from '../../../src/errors.js';
import { startApi, type TestApi } from './support/api.js';
import { sendBytes, until } from './support/client.js';

let api: TestApi;
beforeAll(async () => {
  api = await startApi({
    parts: { ipvsadm: async (_words, stdin) => ({ stdout: String(stdin.length), stderr: '', exitCode: 0 }) },
  });
});
afterAll(async () => {
  expect(api.failures).toEqual([]);
  await api[Symbol.asyncDispose]();
});

const MEGABYTE = 1_048_576;
const json = { 'content-type': 'application/json' };

/** Bytes that depend on a seed alone. */
function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

test('1 MB of garbage in place of HTTP', async () => {
  for (const bytes of [noise(MEGABYTE, 1), noise(MEGABYTE, 2), Buffer.alloc(MEGABYTE, 'A'), Buffer.alloc(MEGABYTE)]) {
    const text = await sendBytes(api.socketPath, bytes);
    expect(text).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n')))).toHaveProperty('error.remedy');
  }
  expect((await api.ask('GET', '/api/v1/status')).status).toBe(200);
});

test('1 MB of garbage as a body', async () => {
  const paths = ['/api/v1/services/web', '/api/v1/services/web/servers/192.0.2.1:80', '/api/v1/config/routes'];
  for (const path of paths) {
    for (const raw of [noise(MEGABYTE, 3), Buffer.alloc(MEGABYTE, '['), Buffer.from(`"${'x'.repeat(MEGABYTE - 2)}"`)]) {
      const answer = await api.ask('PUT', path, { raw, headers: json });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(answer.json).toHaveProperty('error.code');
    }
  }
});

test('too large is 413, also without a length; a client that writes first sees it', async () => {
  const raw = Buffer.alloc(3 * MEGABYTE, ' ');
  const path = '/api/v1/services/web';
  const known = await api.ask('PUT', path, { raw, headers: { ...json, 'content-length': String(raw.length) } });
  expect([known.status, known.json.error.code]).toEqual([413, 'MILLRACE_E_REQUEST_TOO_LARGE']);
  const chunked = await api.ask('PUT', path, { raw, headers: { ...json, 'transfer-encoding': 'chunked' } });
  expect([chunked.status, chunked.json.error.code]).toEqual([413, 'MILLRACE_E_REQUEST_TOO_LARGE']);
  const script = 'x'.repeat(8 * MEGABYTE);
  expect((await api.ask('POST', '/api/v1/ipvsadm', { body: { arguments: ['-R'], stdin: script } })).json.stdout).toBe(
    String(script.length),
  );
  const tooLong = await api.ask('POST', '/api/v1/ipvsadm', { body: { arguments: ['-R'], stdin: `${script}x` } });
  expect(tooLong.status).toBe(400);
  const headers = await api.ask('GET', '/api/v1/status', { headers: { 'x-large': 'x'.repeat(20_000) } });
  expect([headers.status, headers.json.error.code]).toEqual([431, 'MILLRACE_E_REQUEST_TOO_LARGE']);
});

test('nesting as deep as a body can be', async () => {
  const lists = '['.repeat(400_000) + ']'.repeat(400_000);
  const mappings = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`;
  for (const raw of [lists, mappings]) {
    const answer = await api.ask('PUT', '/api/v1/config/routes', { raw, headers: json });
    expect([answer.status, answer.json.error.code]).toEqual([400, 'MILLRACE_E_REQUEST_INVALID']);
  }
});

test('odd requests', async () => {
  const cases: readonly [string, string, number, object?][] = [
    ['GET', '/', 404],
    ['GET', '/api/v1/nothing', 404],
    ['POST', '/api/v1/status', 404],
    ['GET', '/api/v1/services/%ZZ', 400],
    ['GET', '/api/v1/services/%00', 404],
    ['GET', `/api/v1/services/${'x'.repeat(200)}`, 404],
    ['GET', `/api/v1/services/${'x'.repeat(4000)}`, 414],
    ['GET', '/api/v1/status?verbose=1', 400],
    ['GET', '/api/v1/services/__proto__', 404],
    ['PUT', '/api/v1/services/web', 415, { raw: 'a: 1', headers: { 'content-type': 'application/yaml' } }],
    ['PUT', '/api/v1/services/web', 400, { raw: '{"__proto__": {}}', headers: json }],
    ['PUT', '/api/v1/services/web', 422, { raw: '', headers: json }],
    ['PUT', '/api/v1/services/web', 422, { raw: 'null', headers: json }],
    ['PUT', '/api/v1/services/web', 400, { raw: '{"address":', headers: json }],
    ['POST', '/api/v1/ipvsadm', 400, { body: { arguments: '-L' } }],
    ['POST', '/api/v1/explain', 404, { body: { packet: 'tcp 198.51.100.7:1 -> 203.0.113.10:80' } }],
  ];
  for (const [method, path, status, what] of cases) {
    const answer = await api.ask(method, path, what ?? {});
    expect([method, path.slice(0, 60), answer.status]).toEqual([method, path.slice(0, 60), status]);
    expect(answer.json.error.code).toMatch(/^MILLRACE_E_/);
    expect(answer.json.error.remedy).not.toBe('');
  }
});

test('ipvsadm that is not there is 404 with the reason', async () => {
  await using bare = await startApi();
  const answer = await bare.ask('POST', '/api/v1/ipvsadm', { body: { arguments: ['-L'] } });
  expect([answer.status, answer.json.error.code]).toEqual([404, 'MILLRACE_E_NOT_FOUND']);
  expect(answer.json.error.message).toContain('does not run command lines of ipvsadm');
});

test('a request that does not come to its end is ended', async () => {
  await using slow = await startApi({ limits: { requestTimeout: 200, headersTimeout: 200 } });
  const ends = (start: string) =>
    new Promise<string>((resolve) => {
      const socket = createConnection({ path: slow.socketPath });
      let text = '';
      socket.setEncoding('latin1').on('data', (part: string) => {
        text += part;
      });
      socket.on('close', () => resolve(text));
      socket.write(start);
    });
  const head = 'PUT /api/v1/services/web HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n';
  for (const start of ['GET /api', head, `${head}Content-Length: 100\r\n\r\n{`]) {
    expect(await ends(start)).toMatch(/^HTTP\/1\.1 4\d\d /);
  }
  expect((await slow.ask('GET', '/healthz')).status).toBe(200);
});

test('no more connections than allowed, and again when one goes', async () => {
  await using few = await startApi({ limits: { connections: 3 } });
  const held = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const socket = createConnection({ path: few.socketPath });
      await once(socket, 'connect');
      return socket;
    }),
  );
  const works = () =>
    few.ask('GET', '/healthz').then(
      (answer) => answer.status === 200,
      () => false,
    );
  await until(async () => !(await works()), 'the fourth to be refused');
  held[0]?.destroy();
  await until(works, 'room for another one');
  for (const socket of held) socket.destroy();
});

test('200 requests at a time', async () => {
  const before = api.desired.operations.length;
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      i % 4 === 0
        ? api.ask('PATCH', '/api/v1/services/web/servers/192.0.2.11:8080', { body: { weight: i } })
        : api.ask('GET', ['/api/v1/status', '/api/v1/services', '/api/v1/config'][i % 3] ?? ''),
    ),
  );
  expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 200 }, () => 200));
  expect(api.desired.operations.length - before).toBe(50);
  expect(api.api.counters().requests).toBeGreaterThanOrEqual(200);
});

test('any text as the name of a server, or as If-Match', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\[?[0-9a-f:.]{0,40}\]?(:[0-9]{0,7})?$/)), (text) => {
      const name = parseServerName(text);
      if (name === undefined) return;
      const canonical = name.address.includes(':') ? `[${name.address}]:${name.port}` : `${name.address}:${name.port}`;
      expect(parseServerName(canonical)).toEqual(name);
    }),
  );
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^(W\/)?"[a-f]{0,4}"(, "[a-f]{0,4}")*$/)), (text) => {
      try {
        const version = expectedVersion(text, 'abc');
        expect(version === undefined ? text.trim() : text).toContain(version ?? '*');
      } catch (error) {
        expect(error).toBeInstanceOf(MillraceError);
      }
    }),
  );
  expect(parseServerName('192.0.2.1:80')).toEqual({ address: '192.0.2.1', port: 80 });
  expect(parseServerName('[2001:DB8:0::1]')).toEqual({ address: '2001:db8::1', port: 0 });
  for (const wrong of ['192.0.2.1:080', '192.0.2.1:65536', '[192.0.2.1]:80', '2001:db8::1:', 'www:80', '']) {
    expect(parseServerName(wrong)).toBeUndefined();
  }
});
