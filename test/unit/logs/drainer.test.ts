// What becomes of records, and what is said of those that were lost.
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { Drainer, LONGEST, SHORTEST } from '../../../src/logs/drainer.js';
import type { NativeLogReader } from '../../../src/native-binding.js';
import { recordBytes } from './support/records.js';

class FakeReader implements NativeLogReader {
  readonly queue: Uint8Array[] = [];
  losses = [0n, 0n, 0n];

  drain(into: Uint8Array): number {
    const count = Math.min(this.queue.length, into.length / 64);
    for (const [i, bytes] of this.queue.splice(0, count).entries()) into.set(bytes, i * 64);
    return count;
  }
  lost(): readonly bigint[] {
    return this.losses;
  }
  setRate(): void {}
  close(): void {}
}

function setUp(level = 'info') {
  const reader = new FakeReader();
  const lines: Record<string, unknown>[] = [];
  const state = { wall: 1_700_000_000_000, dropped: 0, error: '', full: false };
  const stream = {
    write: (line: string): void => {
      if (state.full) state.dropped++;
      else lines.push(JSON.parse(line) as Record<string, unknown>);
    },
  };
  const drainer = new Drainer({
    reader,
    vocabulary: {
      events: [
        { name: 'no_server', level: 'warn', value: 'servers', text: 'new session refused' },
        { name: 'access_denied', level: 'info', value: 'none', text: 'client denied' },
      ],
      reasons: [],
      interfaces: [],
    },
    logger: (timestamp) => pino({ level, base: null, timestamp }, stream),
    sink: () => ({ written: 0, dropped: state.dropped, waiting: 0, error: state.error }),
    clocks: () => ({ monotonic: 5000n, wall: state.wall }),
  });
  return { reader, lines, state, drainer };
}

describe('a drainer', () => {
  test('writes each record with the time that it was made at', () => {
    const { reader, lines, state, drainer } = setUp();
    drainer.setNames({ services: new Map([[1, 'web']]), servers: new Map() });
    reader.queue.push(recordBytes({ time: 4900n, service: 1, server: 0xffffffff }), recordBytes({ time: 5000n, event: 1 }));
    drainer.turn();
    expect(lines).toMatchObject([
      { level: 40, time: state.wall - 100, event: 'no_server', service: 'web', msg: 'new session refused' },
      { level: 30, time: state.wall, event: 'access_denied' },
    ]);
    expect(drainer.counts()).toEqual({ records: 2, droppedInRings: 0, suppressed: 0 });
  });

  test('leaves out what is below its level', () => {
    const { reader, lines, drainer } = setUp('warn');
    reader.queue.push(recordBytes({ event: 1 }), recordBytes({ event: 0 }));
    drainer.turn();
    expect(lines.map(({ event }) => event)).toEqual(['no_server']);
  });

  test('looks more often the more there is, within its bounds', () => {
    const { reader, drainer } = setUp();
    let interval = 0;
    for (let i = 0; i < 10; i++) interval = drainer.turn();
    expect(interval).toBe(LONGEST);
    for (let i = 0; i < 10; i++) {
      reader.queue.push(recordBytes({}));
      interval = drainer.turn();
    }
    expect(interval).toBe(SHORTEST);
    for (let i = 0; i < 1500; i++) reader.queue.push(recordBytes({}));
    expect(drainer.turn(), 'more is there than fits').toBe(0);
  });

  test('says once a second what was suppressed and lost, and only what is new', () => {
    const { reader, lines, state, drainer } = setUp();
    reader.losses = [7n, 995n, 0n];
    drainer.turn();
    expect(lines).toEqual([]);
    state.wall += 1000;
    drainer.turn();
    expect(lines).toMatchObject([
      { level: 40, event: 'no_server', suppressed: 995 },
      { level: 40, dropped: 7 },
    ]);
    state.wall += 1000;
    drainer.turn();
    expect(lines).toHaveLength(2);
    reader.losses = [7n, 1000n, 0n];
    state.wall += 1000;
    drainer.turn();
    expect(lines[2]).toMatchObject({ event: 'no_server', suppressed: 5 });
    expect(drainer.counts()).toEqual({ records: 0, droppedInRings: 7, suppressed: 1000 });
  });

  test('says what the destination lost when it works again', () => {
    const { lines, state, drainer } = setUp();
    state.dropped = 40;
    state.error = 'ENOSPC';
    state.wall += 1000;
    drainer.turn();
    expect(lines).toEqual([]);
    state.error = '';
    state.wall += 1000;
    drainer.turn();
    expect(lines).toMatchObject([{ dropped: 40 }]);
    state.wall += 1000;
    drainer.turn();
    expect(lines).toHaveLength(1);
  });

  test('says it again until it is not lost itself', () => {
    const { lines, state, drainer } = setUp();
    state.dropped = 40;
    state.full = true;
    for (let second = 0; second < 3; second++) {
      state.wall += 1000;
      drainer.turn();
    }
    expect(lines).toEqual([]);
    state.full = false;
    state.wall += 1000;
    drainer.turn();
    expect(lines).toMatchObject([{ dropped: 43 }]);
  });
});
