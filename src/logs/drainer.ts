// Takes records out of the rings and writes them as lines: how often, in which order with what was lost, until it is told to stop.
// Guarantees: never throws; where there is nothing it looks 10 times a second, where there is much without a pause; what was suppressed or
// lost is itself a line, at most once a second.
// Thread: the log thread.
import type { Logger } from 'pino';
import type { NativeLogReader } from '../native-binding.js';
import { type Clocks, formatRecord, type Level, type Names, type Vocabulary } from './format.js';
import { decodeRecord, RECORD_BYTES } from './record.js';
import type { SinkStats } from './sink.js';

/** Milliseconds between looks into the rings. */
export const SHORTEST = 5;
export const LONGEST = 100;
/** Milliseconds between lines about what was lost. */
const TELL_EVERY = 1000;
/** Records of one look. */
const BUFFERED = 1024;

export interface DrainerParts {
  readonly reader: NativeLogReader;
  readonly vocabulary: Vocabulary;
  /** Makes the logger, which asks for each line's time. */
  readonly logger: (timestamp: () => string) => Logger;
  readonly sink: () => SinkStats;
  readonly clocks: () => Clocks;
}

export interface DrainCounts {
  readonly records: number;
  readonly droppedInRings: number;
  readonly suppressed: number;
}

export class Drainer {
  readonly #parts: DrainerParts;
  readonly #log: Logger;
  readonly #buffer = new Uint8Array(BUFFERED * RECORD_BYTES);
  #names: Names = { services: new Map(), servers: new Map() };
  #records = 0;
  #interval = SHORTEST;
  #told: { readonly at: number; readonly lost: readonly bigint[]; readonly dropped: number };
  /** Time of the line that pino is writing. */
  #time = 0;

  constructor(parts: DrainerParts) {
    this.#parts = parts;
    this.#log = parts.logger(() => `,"time":${this.#time}`);
    this.#told = { at: parts.clocks().wall, lost: parts.reader.lost(), dropped: 0 };
  }

  setNames(names: Names): void {
    this.#names = names;
  }

  /** One look. Milliseconds until the next one; 0: at once. */
  turn(): number {
    const count = this.#parts.reader.drain(this.#buffer);
    const clocks = this.#parts.clocks();
    for (let i = 0; i < count; i++) {
      const record = decodeRecord(this.#buffer, i * RECORD_BYTES);
      const { level, time, fields, message } = formatRecord(record, this.#names, this.#parts.vocabulary, clocks);
      this.#write(level, time, fields, message);
    }
    this.#records += count;
    if (clocks.wall - this.#told.at >= TELL_EVERY || clocks.wall < this.#told.at) this.tell();
    if (count === BUFFERED) return 0;
    this.#interval = count > 0 ? Math.max(SHORTEST, this.#interval / 2) : Math.min(LONGEST, this.#interval * 2);
    return this.#interval;
  }

  /** Lines about what has been lost since the last time. */
  tell(): void {
    const { reader, vocabulary, clocks, sink } = this.#parts;
    const { wall } = clocks();
    const lost = reader.lost();
    const { dropped, error } = sink();
    const more = (place: number): number => Number((lost[place] ?? 0n) - (this.#told.lost[place] ?? 0n));
    for (const [number, event] of vocabulary.events.entries()) {
      const suppressed = more(number + 1);
      if (suppressed <= 0) continue;
      this.#write(event.level, wall, { event: event.name, suppressed }, 'further records of this event were not written');
    }
    const inRings = more(0);
    if (inRings > 0) this.#write('warn', wall, { dropped: inRings }, 'records were lost: rings of workers were full');
    this.#told = { at: wall, lost, dropped: this.#tellOfSink(dropped, error, wall) };
  }

  /** How many of the sink's drops have been told. A line that is itself dropped has told nothing. */
  #tellOfSink(dropped: number, error: string, wall: number): number {
    const before = this.#told.dropped;
    // While it fails, a line about that would only be lost as well.
    if (error !== '' || dropped === before) return before;
    this.#write('warn', wall, { dropped: dropped - before }, 'lines were lost: what they are written to did not take them');
    return this.#parts.sink().dropped === dropped ? dropped : before;
  }

  counts(): DrainCounts {
    const [rings = 0n, ...suppressed] = this.#parts.reader.lost();
    return { records: this.#records, droppedInRings: Number(rings), suppressed: Number(suppressed.reduce((a, b) => a + b, 0n)) };
  }

  #write(level: Level, time: number, fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#time = time;
    this.#log[level](fields, message);
  }
}
