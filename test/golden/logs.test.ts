// The addon's side of logs: records are as TypeScript reads them, readers of logs that are not there are refused, sockets never block.
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { openDescriptor } from '../../src/logs/outlet.js';
import { RECORD_BYTES, RECORD_LAYOUT } from '../../src/logs/record.js';
import { SINK_DEFAULTS, Sink } from '../../src/logs/sink.js';
import { loadNative } from '../../src/native.js';

test('fields of records are where TypeScript looks for them', () => {
  const { fields, recordBytes } = loadNative().logInfo();
  expect(recordBytes).toBe(RECORD_BYTES);
  const layout = Object.fromEntries(fields.map(({ name, offset, bytes }) => [name, [offset, bytes]]));
  expect(layout).toEqual(RECORD_LAYOUT);
});

test('events are those of the list, in its order', () => {
  const text = readFileSync(new URL('../../native/core/log_events.def', import.meta.url), 'utf8');
  const listed = [...text.matchAll(/^MILLRACE_LOG_EVENT\((\w+), (\w+), (\w+), "([^"]*)"\)$/gm)].map(
    ([, name, level, value, help]) => ({ name, level, value, text: help }),
  );
  expect(listed.length).toBeGreaterThan(10);
  expect(loadNative().logInfo().events).toEqual(listed);
});

test('the logs of a dataplane that is not there cannot be opened', () => {
  expect(() => loadNative().openLogs(4_294_967_295, 10)).toThrow(expect.objectContaining({ code: 'not_running' }));
});

test('bytes for a descriptor that is no socket are refused with the reason', () => {
  expect(loadNative().sendNow(-1, Buffer.from('x'))).toBe(-9);
});

test('a socket that nobody reads, as the journal that hangs, blocks nobody and gets what is new when it is read again', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-logs-'));
  const server = createServer({ pauseOnConnect: true }).listen(join(folder, 'journal'));
  await once(server, 'listening');
  const client = connect(join(folder, 'journal'));
  const [[peer]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [[Socket], unknown];
  const fd = (Reflect.get(client, '_handle') as { readonly fd: number }).fd;
  const sink = new Sink(openDescriptor(fd, loadNative().sendNow), { ...SINK_DEFAULTS, limit: 100_000, full: 1 });
  const line = `${'x'.repeat(99)}\n`;
  await vi.waitFor(() => {
    // As much as may wait; what the socket's buffer takes makes room for more, until it is full as well.
    for (let i = 0; i < 1000; i++) sink.write(line);
    expect(sink.stats().written).toBeGreaterThan(0);
    const before = sink.stats();
    expect(before.waiting).toBeGreaterThan(99_000);
    expect(before.dropped).toBeGreaterThan(2000);
  }, 20_000);
  expect(sink.stats()).toMatchObject({ error: '' });
  let received = '';
  peer.on('data', (bytes) => {
    received += bytes.toString();
  });
  peer.resume();
  await vi.waitFor(() => expect(sink.stats().waiting).toBe(0), 10_000);
  await sink.close(1000);
  const { written } = sink.stats();
  await vi.waitFor(() => expect(received.length).toBe(written * line.length), 10_000);
  client.destroy();
  peer.destroy();
  server.close();
  rmSync(folder, { recursive: true });
});
