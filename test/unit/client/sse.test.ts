// Server-sent events: the grammar, pieces of any size, and the stream across lost connections.
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ApiClient } from '../../../src/client/client.js';
import type { ApiEvent, EventOptions } from '../../../src/client/events.js';
import { type ServerSentEvent, SseParser } from '../../../src/client/sse.js';
import { FakeDaemon, Refusal } from './support/fake-daemon.js';

function parse(text: string, size = Number.POSITIVE_INFINITY): ServerSentEvent[] {
  const parser = new SseParser();
  const bytes = Buffer.from(text);
  const events: ServerSentEvent[] = [];
  for (let at = 0; at < bytes.length; at += size) events.push(...parser.push(bytes.subarray(at, at + size)));
  return events;
}

test.each([
  ['data: a\n\n', [{ id: '', event: 'message', data: 'a' }]],
  ['\ufeffid: 7\r\nevent: up\r\ndata: a\r\ndata:b\r\n\r\n', [{ id: '7', event: 'up', data: 'a\nb' }]],
  [': comment\n\ndata\n\n', [{ id: '', event: 'message', data: '' }]],
  [
    'id: 1\ndata: a\n\ndata: b\n\n',
    [
      { id: '1', event: 'message', data: 'a' },
      { id: '1', event: 'message', data: 'b' },
    ],
  ],
  ['event: x\n\ndata: a\n\n', [{ id: '', event: 'message', data: 'a' }]],
  ['data: incomplete\n', []],
  [
    'unknown: x\ndata:  two blanks\r\rdata: €\n\n',
    [
      { id: '', event: 'message', data: ' two blanks' },
      { id: '', event: 'message', data: '€' },
    ],
  ],
])('%j', (text, events) => {
  expect(parse(text)).toEqual(events);
  for (const size of [1, 2, 3]) expect(parse(text, size)).toEqual(events);
});

test('retry is taken from digits only', () => {
  const parser = new SseParser();
  parser.push(Buffer.from('retry: 1500\nretry: soon\n'));
  expect(parser.retry).toBe(1500);
});

test('an event that is too large is passed over, the next one is not', () => {
  const long = 'x'.repeat(5 * 1024 * 1024);
  expect(parse(`data: ${long}\n\ndata: b\n\n`, 65_536)).toEqual([{ id: '', event: 'message', data: 'b' }]);
});

test('random bytes in random pieces never make it throw, and pieces make no difference', () => {
  const piece = fc.oneof(fc.constantFrom('data:', 'id: 1', 'event: e', 'retry:', '\n', '\r', '\r\n', ': ', '\0'), fc.string());
  fc.assert(
    fc.property(fc.array(piece), fc.integer({ min: 1, max: 7 }), (pieces, size) => {
      const text = pieces.join('');
      expect(parse(text, size)).toEqual(parse(text));
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(new SseParser().push(bytes)).toBeInstanceOf(Array);
    }),
  );
});

let daemon: FakeDaemon;
let client: ApiClient;
beforeEach(async () => {
  daemon = await new FakeDaemon().start();
  client = new ApiClient({ socket: daemon.socket });
});
afterEach(() => daemon[Symbol.asyncDispose]());

const listeners = (count: number): Promise<void> =>
  vi.waitFor(() => expect(daemon.streams.size).toBe(count), { timeout: 20_000, interval: 5 });

function follow(options: EventOptions = {}): AsyncGenerator<ApiEvent, void, void> {
  return client.events({ retry: 5, ...options });
}

test('events come as they happen, with kind, time and the rest', async () => {
  const stream = follow();
  const first = stream.next();
  await listeners(1);
  daemon.emit('1', 'health.down', { time: 5, service: 'web', nested: { a: 1 } });
  expect((await first).value).toEqual({ id: '1', kind: 'health.down', time: 5, details: { service: 'web', nested: { a: 1 } } });
  await stream.return();
  await listeners(0);
});

test('a lost connection is made again, from the last event on', async () => {
  const lost: string[] = [];
  const stream = follow({ onLost: (error) => lost.push(error.code) });
  const first = stream.next();
  await listeners(1);
  daemon.emit('41', 'applied', { time: 1 });
  await first;
  const second = stream.next();
  await daemon.stop();
  await vi.waitFor(() => expect(lost.length).toBeGreaterThan(1), { timeout: 20_000 });
  await daemon.start();
  await listeners(1);
  daemon.emit('42', 'applied', { time: 2 });
  expect((await second).value).toMatchObject({ id: '42', time: 2 });
  expect(new Set(lost)).toEqual(new Set(['MILLRACE_E_NO_DAEMON']));
  expect(daemon.seen.at(-1)?.headers['last-event-id']).toBe('41');
  expect(daemon.seen[0]?.headers['last-event-id']).toBeUndefined();
  await stream.return();
});

test('`after` is sent with the first connection', async () => {
  const stream = follow({ after: '7' });
  const first = stream.next();
  await listeners(1);
  expect(daemon.seen[0]?.headers['last-event-id']).toBe('7');
  daemon.emit('8', 'x', { time: 1 });
  await first;
  await stream.return();
});

test('a first connection that fails is an error', async () => {
  await daemon.stop();
  await expect(follow().next()).rejects.toMatchObject({ code: 'MILLRACE_E_NO_DAEMON' });
});

test('a refusal is not asked for again', async () => {
  daemon.answers.events = () => new Refusal(403, 'MILLRACE_E_PERMISSION_DENIED', 'no events for you') as never;
  await expect(follow().next()).rejects.toMatchObject({ code: 'MILLRACE_E_PERMISSION_DENIED' });
  expect(daemon.seen).toHaveLength(1);
});

test('status 204 ends the stream; another type is refused', async () => {
  daemon.raw = (_request, response) => response.writeHead(204).end();
  expect(await follow().next()).toEqual({ done: true, value: undefined });
  daemon.raw = (_request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('x');
  await expect(follow().next()).rejects.toMatchObject({ code: 'MILLRACE_E_API_ANSWER' });
});

test('a signal ends it, while it reads and while it waits for the next try', async () => {
  const stop = new AbortController();
  const reading = follow({ signal: stop.signal }).next();
  await listeners(1);
  stop.abort();
  expect(await reading).toEqual({ done: true, value: undefined });

  await listeners(0);
  const again = new AbortController();
  const waiting = follow({ signal: again.signal, retry: 3_600_000, onLost: () => setImmediate(() => again.abort()) }).next();
  await listeners(1);
  for (const stream of daemon.streams) stream.destroy();
  expect(await waiting).toEqual({ done: true, value: undefined });
});

test('an event that is no JSON object is an error', async () => {
  const next = follow().next();
  await listeners(1);
  for (const stream of daemon.streams) stream.write('data: [1]\n\n');
  await expect(next).rejects.toMatchObject({ code: 'MILLRACE_E_API_ANSWER' });
});
