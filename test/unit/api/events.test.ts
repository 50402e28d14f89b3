// Events as a reader sees them over the socket: kinds, ids, coming back, heartbeats, slow readers, and that nothing is left behind.
import { EventEmitter } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { createConnection } from 'node:net';
import { expect, test } from 'vitest';
import { EventHub } from '../../../src/api/events.js';
import type { LoadBalancerEvents } from '../../../src/load-balancer.js';
import { startApi, type TestApi } from './support/api.js';
import { until } from './support/client.js';

interface Reader extends Disposable {
  readonly response: IncomingMessage;
  /** All that has come so far. */
  readonly text: () => string;
  /** Blocks that are events, as fields. */
  readonly events: () => readonly Readonly<Record<string, string>>[];
}

function read(api: TestApi, lastEventId?: string): Promise<Reader> {
  const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: api.socketPath, path: '/api/v1/events', headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('error', () => undefined);
      const events = () =>
        text
          .split('\n\n')
          .slice(0, -1)
          .filter((block) => block.includes('data: '))
          .map((block) =>
            Object.fromEntries(
              block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
            ),
          );
      resolve({ response, text: () => text, events, [Symbol.dispose]: () => sent.destroy() });
    });
    sent.on('error', reject);
    sent.end();
  });
}

const kinds = (reader: Reader) => reader.events().map((event) => event['event']);
const warn = (api: TestApi, message: string) => api.lb.events.emit('warning', { message, remedy: '' });

test('events of all kinds, with ids that count up', async () => {
  await using api = await startApi();
  using reader = await read(api);
  expect(reader.response.headers['content-type']).toContain('text/event-stream');
  await api.ask('PATCH', '/api/v1/services/web/servers/192.0.2.11:8080', { body: { weight: 7 } });
  warn(api, 'line one\nline two');
  const [id = ''] = [...api.checkers.targets.keys()];
  api.checkers.report([{ id, up: false, weight: undefined, reason: 'no answer' } as never]);
  await until(() => kinds(reader).includes('quorum-down'), 'the events');
  expect(kinds(reader)).toEqual(['applied', 'warning', 'server-down', 'quorum-down']);
  const data = reader.events().map((event) => JSON.parse(event['data'] ?? ''));
  expect(data[0]).toMatchObject({ changes: { servicesChanged: ['web'] }, time: expect.any(Number) });
  expect(data[1]).toMatchObject({ message: 'line one\nline two' });
  expect(data[2]).toMatchObject({ service: 'dns', server: '[2001:db8:2::11]:53', reason: 'no answer' });
  const numbers = reader.events().map((event) => Number(event['id']?.split('-')[1]));
  expect(numbers).toEqual([1, 2, 3, 4]);
});

test('a reader that comes back misses nothing, and is told where something is missing', async () => {
  await using api = await startApi();
  const first = await read(api);
  warn(api, 'a');
  await until(() => first.events().length === 1, 'the first event');
  const id = first.events()[0]?.['id'] ?? '';
  first[Symbol.dispose]();
  warn(api, 'b');
  warn(api, 'c');
  using second = await read(api, id);
  await until(() => second.events().length === 2, 'what was missed');
  expect(second.events().map((event) => JSON.parse(event['data'] ?? '').message)).toEqual(['b', 'c']);
  using stranger = await read(api, 'otherprocess-7');
  await until(() => stranger.events().length === 4, 'the gap and what is known');
  expect(kinds(stranger)).toEqual(['gap', 'warning', 'warning', 'warning']);
  expect(stranger.events()[0]).not.toHaveProperty('id');
});

test('the ring is bounded in number and bytes', () => {
  const source = new EventEmitter<LoadBalancerEvents>();
  const hub = new EventHub({ source, now: () => 5, epoch: 'e', maxEvents: 3, maxBytes: 1000 });
  for (let i = 0; i < 5; i++) source.emit('warning', { message: String(i), remedy: '' });
  const messages = (id: string) => hub.missed(id).map((text) => /"message":"([^"]*)"/.exec(text)?.[1]);
  expect(messages('e-5')).toEqual([]);
  expect(messages('e-3')).toEqual(['3', '4']);
  expect(messages('e-2')).toEqual(['2', '3', '4']);
  expect(messages('e-1')).toEqual(['older events are no longer known', '2', '3', '4']);
  expect(messages('e-9')[0]).toBe('the events before are of another process');
  expect(messages('nonsense')[0]).toBe('the events before are of another process');
  expect(hub.missed(undefined)).toEqual([]);
  source.emit('warning', { message: 'x'.repeat(2000), remedy: '' });
  expect(messages('e-5')).toEqual(['x'.repeat(2000)]);
  expect(messages('e-4')[0]).toBe('older events are no longer known');
  hub.close();
  expect(source.eventNames()).toEqual([]);
});

test('a quiet stream is kept open by comments', async () => {
  await using api = await startApi({ parts: { heartbeat: 5 } });
  using reader = await read(api);
  await until(() => (reader.text().match(/^: still here$/gm) ?? []).length >= 3, 'three comments');
  expect(reader.events()).toEqual([]);
});

test('nothing is left when readers go and when the API closes', async () => {
  const api = await startApi();
  const listeners = () => api.lb.events.eventNames().reduce((sum, name) => sum + api.lb.events.listenerCount(name), 0);
  const before = listeners();
  for (let i = 0; i < 20; i++) {
    const reader = await read(api);
    reader[Symbol.dispose]();
  }
  await until(() => api.api.counters().readers === 0, 'the hub to let go');
  expect(listeners()).toBe(before);
  expect(api.api.counters().readersDropped).toBe(0);
  const last = await read(api);
  const ended = new Promise((resolve) => last.response.once('end', resolve));
  await api.api.close();
  await ended;
  expect(api.lb.events.listenerCount('applied')).toBe(0);
  expect(api.lb.events.listenerCount('health')).toBe(0);
  expect(api.lb.events.listenerCount('warning')).toBe(0);
  await api[Symbol.asyncDispose]();
});

test('a reader that does not read is cut off and counted, the others are told and go on', async () => {
  await using api = await startApi();
  const slow = createConnection({ path: api.socketPath });
  slow.on('error', () => undefined);
  slow.pause();
  slow.write('GET /api/v1/events HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(() => api.api.counters().readers === 1, 'the slow reader');
  using good = await read(api);
  let sent = 0;
  await until(() => {
    warn(api, 'x'.repeat(100_000));
    sent += 1;
    return api.api.counters().readersDropped === 1;
  }, 'the slow one to be dropped');
  await until(() => kinds(good).includes('reader-dropped'), 'the others to be told');
  const numbers = good.events().map((event) => Number(event['id']?.split('-')[1]));
  expect(numbers).toEqual(Array.from({ length: sent + 1 }, (_, i) => i + 1));
  expect(api.api.counters().readers).toBe(1);
  slow.destroy();
});

test('no more readers than there is room for', async () => {
  await using api = await startApi();
  const readers = await Promise.all(Array.from({ length: 32 }, () => read(api)));
  const answer = await api.ask('GET', '/api/v1/events');
  expect([answer.status, answer.json.error.code]).toEqual([503, 'MILLRACE_E_API_BUSY']);
  for (const reader of readers) reader[Symbol.dispose]();
  await until(() => api.api.counters().readers === 0, 'them to go');
  using again = await read(api);
  expect(again.response.statusCode).toBe(200);
});
