// The records that the addon writes are those that TypeScript reads, and readers of logs that are not there are refused.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { RECORD_BYTES, RECORD_LAYOUT } from '../../src/logs/record.js';
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
