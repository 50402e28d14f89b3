// What happens, for those who listen: events of the balancer, numbered, the last of them kept for readers that come back.
// Guarantees: a reader that returns with the number of its last event misses nothing that is still in the ring, and is told where
// something is missing; the ring is bounded in number and bytes; after close() nothing of the balancer refers to it.
// Thread: main.
import type { HealthEvent } from '../health/service-judge.js';
import type { AppliedEvent, WarningEvent } from '../load-balancer.js';
import type { ApiBalancer } from './parts.js';

/** One event, as it goes over the wire. */
export interface EncodedEvent {
  readonly number: number;
  readonly text: string;
}

export interface EventHubParts {
  readonly source: ApiBalancer['events'];
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Tells this process's numbers from those of the one before. */
  readonly epoch: string;
  readonly maxEvents?: number;
  readonly maxBytes?: number;
}

type Listener = (event: EncodedEvent) => void;

export class EventHub {
  readonly #parts: EventHubParts;
  readonly #listeners = new Set<Listener>();
  readonly #closers = new Set<() => void>();
  readonly #outbox: EncodedEvent[] = [];
  #delivering = false;
  #ring: EncodedEvent[] = [];
  #bytes = 0;
  #last = 0;
  #dropped = 0;
  #closed = false;
  readonly #health = (event: HealthEvent): void => {
    const { kind, ...fields } = event;
    this.publish(kind, fields);
  };
  readonly #applied = (event: AppliedEvent): void => this.publish('applied', event);
  readonly #warning = (event: WarningEvent): void => this.publish('warning', event);

  constructor(parts: EventHubParts) {
    this.#parts = parts;
    parts.source.on('health', this.#health);
    parts.source.on('applied', this.#applied);
    parts.source.on('warning', this.#warning);
  }

  /** Readers now. */
  get readers(): number {
    return this.#listeners.size;
  }

  /** Readers that were too slow, since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  publish(kind: string, fields: object): void {
    if (this.#closed) return;
    this.#last += 1;
    const event = { number: this.#last, text: this.#encode(kind, fields, this.#last) };
    this.#keep(event);
    this.#outbox.push(event);
    // A reader that is dropped makes an event while another one is under way: readers must see them in the order of their numbers.
    if (this.#delivering) return;
    this.#delivering = true;
    for (let next = this.#outbox.shift(); next !== undefined; next = this.#outbox.shift()) {
      for (const listener of [...this.#listeners]) listener(next);
    }
    this.#delivering = false;
  }

  /** Counts a reader that was too slow, and tells the others. */
  drop(): void {
    this.#dropped += 1;
    this.publish('reader-dropped', { dropped: this.#dropped });
  }

  /**
   * What a reader has missed since the event with this id, as texts; nothing for a reader that comes for the first time (undefined).
   * Begins with an event `gap`, which has no id, where some of it is no longer known.
   */
  missed(lastEventId: string | undefined): readonly string[] {
    if (lastEventId === undefined) return [];
    const [, epoch, digits] = /^([a-z0-9]+)-([0-9]{1,15})$/.exec(lastEventId) ?? [];
    const number = Number(digits);
    const ours = epoch === this.#parts.epoch && number <= this.#last;
    const first = this.#ring[0]?.number ?? this.#last + 1;
    if (ours && number >= first - 1) return this.#ring.slice(number - first + 1).map((event) => event.text);
    const message = ours ? 'older events are no longer known' : 'the events before are of another process';
    return [this.#encode('gap', { message }), ...this.#ring.map((event) => event.text)];
  }

  /** Both are called until unsubscribed, `close` at most once. */
  subscribe(listener: Listener, close: () => void): () => void {
    this.#listeners.add(listener);
    this.#closers.add(close);
    return () => {
      this.#listeners.delete(listener);
      this.#closers.delete(close);
    };
  }

  /** Ends all readers. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { source } = this.#parts;
    source.off('health', this.#health);
    source.off('applied', this.#applied);
    source.off('warning', this.#warning);
    for (const close of [...this.#closers]) close();
    this.#ring = [];
  }

  #keep(event: EncodedEvent): void {
    const { maxEvents = 1024, maxBytes = 1_048_576 } = this.#parts;
    this.#ring.push(event);
    this.#bytes += event.text.length;
    while (this.#ring.length > maxEvents || (this.#bytes > maxBytes && this.#ring.length > 1)) {
      this.#bytes -= this.#ring.shift()?.text.length ?? 0;
    }
  }

  #encode(kind: string, fields: object, number?: number): string {
    const id = number === undefined ? '' : `id: ${this.#parts.epoch}-${number}\n`;
    const data = { time: this.#parts.now(), ...fields };
    return `${id}event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
  }
}
