// The queue in front of an outlet: nothing waits, nothing grows without bound, nothing is lost that is not counted.
import { describe, expect, test, vi } from 'vitest';
import type { Outlet } from '../../../src/logs/outlet.js';
import { SINK_DEFAULTS, Sink } from '../../../src/logs/sink.js';

/** Takes what the script of a test says: a number of bytes, or an error's code. Afterwards everything. */
class ScriptedOutlet implements Outlet {
  text = '';
  closed = false;
  readonly script: (number | string)[];

  constructor(...script: (number | string)[]) {
    this.script = script;
  }

  async write(bytes: Buffer): Promise<number> {
    const step = this.script.shift() ?? bytes.length;
    if (typeof step === 'string') throw Object.assign(new Error(step), { code: step });
    const taken = Math.min(step, bytes.length);
    this.text += bytes.subarray(0, taken).toString();
    return taken;
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

/** Never answers, as a disk that hangs. */
class HangingOutlet implements Outlet {
  calls = 0;
  closed = false;

  write(): Promise<number> {
    this.calls++;
    return new Promise(() => {});
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

const quick = { ...SINK_DEFAULTS, full: 1, failed: 1 };

describe('a sink', () => {
  test('writes lines in their order, however little its outlet takes at once', async () => {
    const outlet = new ScriptedOutlet(1, 'EAGAIN', 2, 0, 3, 'EAGAIN', 'EAGAIN', 5);
    const sink = new Sink(outlet, quick);
    const lines = Array.from({ length: 20 }, (_, i) => `line ${i}\n`);
    for (const line of lines) sink.write(line);
    await vi.waitFor(() => expect(sink.stats().waiting).toBe(0), 10_000);
    await sink.close(10_000);
    expect(outlet.text).toBe(lines.join(''));
    expect(sink.stats()).toEqual({ written: 20, dropped: 0, waiting: 0, error: '' });
    expect(outlet.closed).toBe(true);
  });

  test('keeps no more than its limit when nothing is taken, and counts the rest', async () => {
    const outlet = new HangingOutlet();
    const sink = new Sink(outlet, { ...quick, limit: 1000 });
    for (let i = 0; i < 10_000; i++) sink.write('0123456789\n');
    await vi.waitFor(() => expect(outlet.calls).toBe(1));
    const { waiting, dropped, written } = sink.stats();
    expect(waiting).toBeLessThanOrEqual(1000);
    expect(waiting).toBeGreaterThan(900);
    expect(dropped).toBe(10_000 - Math.floor(1000 / 11));
    expect(written).toBe(0);
    const begin = performance.now();
    await sink.close(50);
    expect(performance.now() - begin).toBeLessThan(5000);
    expect(outlet.closed, 'a descriptor in use stays open').toBe(false);
    sink.write('late\n');
    expect(sink.stats().dropped).toBeGreaterThan(dropped);
  });

  test('goes on after a disk was full, and a line that was cut stands alone', async () => {
    const outlet = new ScriptedOutlet(12, 'ENOSPC');
    const sink = new Sink(outlet, quick);
    sink.write('first\n');
    await vi.waitFor(() => expect(sink.stats().written).toBe(1), 10_000);
    outlet.script.length = 0;
    outlet.script.push(3, 'ENOSPC', 'ENOSPC');
    sink.write('second\n');
    await vi.waitFor(() => expect(sink.stats().dropped).toBe(1), 10_000);
    sink.write('third\n');
    await vi.waitFor(() => expect(sink.stats().dropped).toBe(2), 10_000);
    sink.write('fourth\n');
    await vi.waitFor(() => expect(sink.stats().written).toBe(2), 10_000);
    expect(outlet.text).toBe('first\nsec\nfourth\n');
    expect(sink.stats().error).toBe('');
    await sink.close(1000);
  });

  test('says what its outlet fails with, and counts every line of a chunk that did not get through', async () => {
    const outlet = new ScriptedOutlet('EIO');
    const sink = new Sink(outlet, { ...quick, failed: 60_000 });
    for (let i = 0; i < 5; i++) sink.write('line\n');
    await vi.waitFor(() => expect(sink.stats().error).toBe('EIO'), 10_000);
    await sink.close(10);
    expect(sink.stats()).toMatchObject({ written: 0, dropped: 5, waiting: 0 });
  });

  test('never loses count, whatever the outlet does', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      let state = seed;
      const random = (n: number): number => {
        state = (state * 48_271) % 2_147_483_647;
        return state % n;
      };
      const script = Array.from({ length: 200 }, () => {
        const roll = random(10);
        return roll === 0 ? 'ENOSPC' : roll === 1 ? 'EAGAIN' : random(40);
      });
      const outlet = new ScriptedOutlet(...script);
      const sink = new Sink(outlet, { limit: 400, chunk: 60, full: 0, failed: 0 });
      const lines = 150;
      for (let i = 0; i < lines; i++) {
        sink.write(`${'x'.repeat(random(20))}${i}\n`);
        if (random(3) === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await sink.close(10_000);
      const { written, dropped, waiting } = sink.stats();
      expect(written + dropped, `seed ${seed}`).toBe(lines);
      expect(waiting).toBe(0);
      // Whole lines are those that end with a number and no other line's beginning.
      const whole = outlet.text.split('\n').filter((line) => /^x*\d+$/.test(line));
      expect(whole.length).toBeGreaterThanOrEqual(written);
    }
  });
});
