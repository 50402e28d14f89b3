// What the log says of events: state changes with their fields, at a level that an alert can go by.
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { logEvent } from '../../../src/daemon/log.js';
import type { DaemonEvent } from '../../../src/daemon/output.js';

function logged(event: DaemonEvent): Record<string, unknown> {
  const lines: string[] = [];
  logEvent(pino({ base: null }, { write: (line) => lines.push(line) }), event);
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] ?? '');
}

const [info, warn] = [30, 40];

test.each([
  ['server-down', warn, 'is down'],
  ['server-held', warn, 'is kept out'],
  ['server-up', info, 'is up'],
] as const)('%s of health checks', (kind, level, words) => {
  const line = logged({ event: 'health', time: 0, kind, service: 'web', server: '192.0.2.11:80', reason: 'r' });
  expect(line).toMatchObject({ level, component: 'health', kind, service: 'web', real: '192.0.2.11:80' });
  expect(line['msg']).toContain(words);
});

test('a quorum is about the service alone', () => {
  const line = logged({ event: 'health', time: 0, kind: 'quorum-down', service: 'web', server: '', reason: 'weight 0' });
  expect(line).toMatchObject({ level: warn, msg: 'service web has lost its quorum: weight 0' });
  expect(line).not.toHaveProperty('real');
});

test('drain and stop have the number of sessions', () => {
  expect(logged({ event: 'draining', time: 0, signal: 'SIGTERM', sessions: 7n, seconds: 30 })).toMatchObject({
    sessions: 7,
    seconds: 30,
  });
  expect(logged({ event: 'stopping', time: 0, signal: 'SIGTERM', sessions: 2n })).toMatchObject({ sessions: 2 });
  expect(logged({ event: 'stopping', time: 0, signal: 'SIGTERM' })).not.toHaveProperty('sessions');
});
