// --watch on a terminal: redraws in place, keeps to its size, and waits for a daemon that is away.
import { PassThrough } from 'node:stream';
import { expect, test, vi } from 'vitest';
import { type View, watch } from '../../../src/cli/remote/show.js';
import { ApiClient } from '../../../src/client/client.js';
import { FakeDaemon } from '../client/support/fake-daemon.js';

const patience = { timeout: 25_000, interval: 5 };

test('a table is drawn again at the same place, cut to the terminal; trouble is said there too', async () => {
  await using daemon = await new FakeDaemon().start();
  const out = Object.assign(new PassThrough(), { isTTY: true as const, columns: 20, rows: 6 });
  let shown = '';
  out.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
  });
  const view: View<unknown> = {
    fetch: (client, signal) => client.call('services', { signal }),
    lines: () => Array.from({ length: 9 }, (_, line) => `line ${line} of a text that is too long`),
  };
  const stop = new AbortController();
  const client = new ApiClient({ socket: daemon.socket });
  const done = watch(client, 'table', view, { out: out as never, seconds: 0.05, signal: stop.signal });
  await vi.waitFor(() => expect(shown.split('\u001b[1;1H').length).toBeGreaterThan(2), patience);
  const lines = (shown.split('\u001b[1;1H\u001b[0J')[1] ?? '').split('\n');
  expect(lines.slice(2)).toEqual(['line 0 of a text tha', 'line 1 of a text tha', '(7 more lines)', '']);
  await daemon.stop();
  await vi.waitFor(() => expect(shown.includes('no daemon')).toBe(true), patience);
  stop.abort();
  await done;
});
