// The main thread's side: what the thread is told, what becomes of one that dies or does not answer. The thread itself: test/netns/logs.test.ts.
import { EventEmitter } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { LogSource } from '../../../src/control/log-source.js';
import { LogDrain } from '../../../src/logs/log-drain.js';
import type { FromThread, Start, ToThread } from '../../../src/logs/messages.js';
import type { NativeApplyResult } from '../../../src/native-binding.js';

class FakeThread extends EventEmitter {
  readonly heard: ToThread[] = [];
  readonly start: Start;
  terminated = false;
  /** Answers as the thread does; false: a thread that hangs. */
  answering = true;

  constructor(start: Start) {
    super();
    this.start = start;
  }
  postMessage(message: ToThread): void {
    this.heard.push(structuredClone(message));
    if (!this.answering) return;
    const sink = { written: 5, dropped: 6, waiting: 7, error: '' };
    const stats = { records: 1, droppedInRings: 2, suppressed: 3, sink };
    if (message.kind === 'stats') this.say({ kind: 'stats', stats });
    if (message.kind === 'stop') {
      this.say({ kind: 'stopped', stats: { ...stats, records: 9 } });
      this.end();
    }
  }
  say(message: FromThread): void {
    setImmediate(() => this.emit('message', message));
  }
  end(): void {
    setImmediate(() => this.emit('exit', 0));
  }
  async terminate(): Promise<number> {
    this.terminated = true;
    this.end();
    return 1;
  }
  ref(): void {}
  unref(): void {}
}

const config = { destination: 'file', file: '/var/log/x', level: 'info', ratePerSecond: 10 } as const;
const web = { name: 'web', slot: 1, servers: [{ address: '10.0.2.11', port: 80, slot: 4, removed: false }] };
const dns = { name: 'dns', slot: 2, servers: [{ address: 'fd00::1', port: 53, slot: 5, removed: false }] };

function setUp() {
  const threads: FakeThread[] = [];
  const failures: Error[] = [];
  const state: { slots: NativeApplyResult } = { slots: { generation: 1, services: [web] } };
  const source: LogSource = { handle: 7, interfaces: ['wan'], slots: () => state.slots };
  const drain = new LogDrain({
    config,
    failed: (error) => failures.push(error),
    thread: (start) => {
      const thread = new FakeThread(start);
      threads.push(thread);
      return thread as unknown as Worker;
    },
  });
  const begin = async () => {
    const started = drain.start(source);
    threads.at(-1)?.say({ kind: 'started' });
    await started;
    const thread = threads.at(-1);
    if (thread === undefined) throw new Error('no thread was made');
    return thread;
  };
  return { threads, failures, state, source, drain, begin };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a log drain', () => {
  test('gives its thread the handle, the configuration and the names', async () => {
    const { begin, drain } = setUp();
    const thread = await begin();
    expect(thread.start).toEqual({ handle: 7, interfaces: ['wan'], config });
    const services = [{ slot: 1, name: 'web', servers: [{ slot: 4, text: '10.0.2.11:80' }] }];
    expect(thread.heard).toEqual([{ kind: 'names', services }]);
    await drain.stop();
  });

  test('follows changes, and tells only of services that changed', async () => {
    const { begin, drain, state } = setUp();
    const thread = await begin();
    vi.advanceTimersByTime(1000);
    expect(thread.heard).toHaveLength(1);
    state.slots = { generation: 2, services: [web, dns] };
    vi.advanceTimersByTime(250);
    expect(thread.heard[1]).toEqual({
      kind: 'names',
      services: [{ slot: 2, name: 'dns', servers: [{ slot: 5, text: '[fd00::1]:53' }] }],
    });
    drain.setNames({ services: [dns] });
    expect(thread.heard[2]).toEqual({ kind: 'names', services: [{ slot: 1, servers: [] }] });
    await drain.stop();
  });

  test('has the counts of its thread, and those of the end after it', async () => {
    const { begin, drain } = setUp();
    const thread = await begin();
    const expected = { records: 1, droppedInRings: 2, droppedBySink: 6, suppressed: 3, waiting: 7, error: '' };
    expect(await Promise.all([drain.stats(), drain.stats()])).toEqual([expected, expected]);
    expect(thread.heard.filter(({ kind }) => kind === 'stats')).toHaveLength(1);
    expect(await drain.stop()).toEqual({ ...expected, records: 9 });
    expect(await drain.stop()).toEqual(await drain.stats());
  });

  test('that cannot open its destination says which and why, in words of the catalogue', async () => {
    const { drain, source, threads } = setUp();
    const started = drain.start(source);
    threads[0]?.say({ kind: 'refused', code: 'EACCES', message: "EACCES: permission denied, open '/var/log/x'" });
    await expect(started).rejects.toMatchObject({
      code: 'MILLRACE_E_LOG_DESTINATION',
      message: expect.stringContaining('/var/log/x: EACCES'),
    });
  });

  test('of logs that somebody else reads is refused', async () => {
    const { drain, source, threads } = setUp();
    const started = drain.start(source);
    threads[0]?.say({ kind: 'refused', code: 'logs_in_use', message: 'being read already' });
    await expect(started).rejects.toMatchObject({ code: 'MILLRACE_E_LOGS_IN_USE' });
  });

  test('replaces a thread that dies, tells it all names, and says so', async () => {
    const { begin, drain, threads, failures } = setUp();
    const thread = await begin();
    thread.emit('error', new Error('out of memory'));
    thread.emit('exit', 1);
    expect(failures.map(({ message }) => message)).toEqual(['out of memory']);
    expect(threads).toHaveLength(1);
    vi.advanceTimersByTime(1000);
    expect(threads).toHaveLength(2);
    threads[1]?.emit('message', { kind: 'started' });
    expect(threads[1]?.heard).toMatchObject([{ kind: 'names', services: [{ name: 'web' }] }]);
    await drain.stop();
  });

  test('gives up when the dataplane is gone', async () => {
    const { begin, drain, threads, failures } = setUp();
    const thread = await begin();
    thread.emit('exit', 1);
    vi.advanceTimersByTime(1000);
    threads[1]?.emit('message', { kind: 'refused', code: 'not_running', message: 'gone' });
    await vi.waitFor(() => expect(failures).toHaveLength(1));
    vi.advanceTimersByTime(60_000);
    expect(threads).toHaveLength(2);
    await drain.stop();
  });

  test('ends a thread that does not end by itself', async () => {
    const { begin, drain } = setUp();
    const thread = await begin();
    thread.answering = false;
    const asked = drain.stats();
    const stopped = drain.stop(500);
    vi.advanceTimersByTime(2400);
    expect(thread.terminated).toBe(false);
    vi.advanceTimersByTime(200);
    expect(thread.terminated).toBe(true);
    await stopped;
    await asked;
  });
});
