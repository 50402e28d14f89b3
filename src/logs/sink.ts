// Between pino and an outlet: a bounded queue of lines, written one chunk after the other.
// Guarantees: write() never waits and never throws; no more than `limit` bytes are kept; a line is written whole or counted as dropped, or
// was cut by a full disk and then stands alone. An outlet that fails is tried again.
// Thread: the log thread.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Outlet } from './outlet.js';

export interface SinkOptions {
  /** Most bytes that wait. */
  readonly limit: number;
  /** Most bytes of one write. */
  readonly chunk: number;
  /** Milliseconds until an outlet without room is tried again, and one that fails. */
  readonly full: number;
  readonly failed: number;
}

export const SINK_DEFAULTS: SinkOptions = { limit: 1_048_576, chunk: 65_536, full: 20, failed: 1000 };

export interface SinkStats {
  readonly written: number;
  readonly dropped: number;
  /** Bytes that wait now. */
  readonly waiting: number;
  /** What the outlet failed with last; "" since it works. */
  readonly error: string;
}

export class Sink {
  readonly #outlet: Outlet;
  readonly #options: SinkOptions;
  readonly #queue: Buffer[] = [];
  #waiting = 0;
  #written = 0;
  #dropped = 0;
  #error = '';
  /** A line was cut: the next one must not go on in the middle of it. */
  #torn = false;
  #pump: Promise<void> | undefined;
  readonly #closing = new AbortController();

  constructor(outlet: Outlet, options: SinkOptions = SINK_DEFAULTS) {
    this.#outlet = outlet;
    this.#options = options;
  }

  /** One line with its end; the face that pino knows. */
  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#closing.signal.aborted || this.#waiting + bytes.length > this.#options.limit) {
      this.#dropped++;
      return;
    }
    this.#queue.push(bytes);
    this.#waiting += bytes.length;
    this.#pump ??= this.#run();
  }

  stats(): SinkStats {
    return { written: this.#written, dropped: this.#dropped, waiting: this.#waiting, error: this.#error };
  }

  /** Writes what waits, for `deadline` milliseconds at most; what is left then is dropped. Never rejects. */
  async close(deadline: number): Promise<void> {
    const timeout = new AbortController();
    const late = sleep(deadline, undefined, { signal: timeout.signal }).catch(() => undefined);
    await Promise.race([this.#pump ?? Promise.resolve(), late]);
    timeout.abort();
    this.#closing.abort();
    // A write that hangs in the kernel keeps its descriptor; all else ends at once.
    const ended = await Promise.race([(this.#pump ?? Promise.resolve()).then(() => true), sleep(100, false)]);
    this.#drop(this.#queue.splice(0));
    if (ended) await this.#outlet.close().catch(() => undefined);
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0 && !this.#closing.signal.aborted) await this.#send(this.#take());
    // In the same step as the look at the queue: a line that comes later finds no pump and starts one.
    this.#pump = undefined;
  }

  /** Whole lines, with an end in front where the last one was cut. */
  #take(): Buffer {
    const parts: Buffer[] = [];
    let bytes = 0;
    for (const line of this.#queue) {
      if (bytes > 0 && bytes + line.length > this.#options.chunk) break;
      parts.push(line);
      bytes += line.length;
    }
    this.#queue.splice(0, parts.length);
    this.#waiting -= bytes;
    return Buffer.concat(this.#torn ? [Buffer.from('\n'), ...parts] : parts);
  }

  async #send(chunk: Buffer): Promise<void> {
    const torn = this.#torn;
    this.#waiting += chunk.length;
    let left = chunk;
    while (left.length > 0 && !this.#closing.signal.aborted) {
      const { taken, pause, error } = await this.#try(left);
      this.#waiting -= taken;
      left = left.subarray(taken);
      this.#error = error;
      if (error !== '') break;
      if (pause > 0) await this.#pause(pause);
    }
    this.#waiting -= left.length;
    const sent = chunk.length - left.length;
    const lines = countLines(chunk.subarray(0, sent)) - (torn && sent > 0 ? 1 : 0);
    this.#written += lines;
    this.#dropped += countLines(chunk) - (torn ? 1 : 0) - lines;
    if (sent > 0) this.#torn = chunk[sent - 1] !== NEWLINE;
    if (this.#error !== '') await this.#pause(this.#options.failed);
  }

  async #try(bytes: Buffer): Promise<{ readonly taken: number; readonly pause: number; readonly error: string }> {
    try {
      const taken = await this.#outlet.write(bytes);
      return { taken, pause: taken === 0 ? this.#options.full : 0, error: '' };
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      if (code === 'EAGAIN') return { taken: 0, pause: this.#options.full, error: '' };
      return { taken: 0, pause: 0, error: code };
    }
  }

  async #pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }

  #drop(lines: readonly Buffer[]): void {
    for (const line of lines) this.#waiting -= line.length;
    this.#dropped += lines.length;
  }
}

const NEWLINE = 0x0a;

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (const byte of bytes) if (byte === NEWLINE) lines++;
  return lines;
}
