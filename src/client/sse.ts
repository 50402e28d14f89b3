// Server-sent events: bytes in any pieces in, events out (WHATWG HTML, section 9.2).
// Guarantees: never throws; a piece may end anywhere, even within a character; what is larger than MAX_EVENT is passed over and not kept.
// Thread: main; no I/O.
import { StringDecoder } from 'node:string_decoder';

export interface ServerSentEvent {
  /** Of this event or of the last one before it that had one. */
  readonly id: string;
  /** "message" where the stream does not say. */
  readonly event: string;
  readonly data: string;
}

const MAX_EVENT = 4 * 1024 * 1024;

export class SseParser {
  readonly #decoder = new StringDecoder('utf8');
  #line = '';
  #overflow = false;
  #begun = false;
  #afterCr = false;
  #event = '';
  #data: string[] = [];
  #size = 0;
  #id: string;
  /** Milliseconds to wait before the next connection, where the daemon said so. */
  retry: number | undefined;

  /** `id` is the last one of a connection before. */
  constructor(id = '') {
    this.#id = id;
  }

  /** Takes the next bytes; the events that are complete with them. */
  push(bytes: Uint8Array): ServerSentEvent[] {
    const events: ServerSentEvent[] = [];
    let text = this.#decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (!this.#begun && text !== '') {
      this.#begun = true;
      if (text.startsWith('\ufeff')) text = text.slice(1);
    }
    if (this.#afterCr && text !== '') {
      // CR and LF of one line end came in two pieces.
      if (text.startsWith('\n')) text = text.slice(1);
      this.#afterCr = false;
    }
    let from = 0;
    for (const { index, 0: end } of text.matchAll(/\r\n|\r|\n/g)) {
      this.#take(text.slice(from, index));
      from = index + end.length;
      this.#afterCr = end === '\r' && from === text.length;
      const event = this.#endLine();
      if (event !== undefined) events.push(event);
    }
    this.#take(text.slice(from));
    return events;
  }

  #take(part: string): void {
    if (this.#line.length + part.length > MAX_EVENT) this.#overflow = true;
    else this.#line += part;
  }

  #endLine(): ServerSentEvent | undefined {
    const line = this.#line;
    this.#line = '';
    if (line === '' && !this.#overflow) return this.#dispatch();
    if (!this.#overflow && !line.startsWith(':')) this.#field(line);
    if (this.#size > MAX_EVENT) this.#overflow = true;
    if (this.#overflow) {
      this.#overflow = false;
      this.#data = [];
      this.#size = 0;
    }
    return undefined;
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') {
      this.#data.push(value);
      this.#size += value.length + 1;
    } else if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
    else if (name === 'retry' && /^[0-9]{1,9}$/.test(value)) this.retry = Number(value);
  }

  #dispatch(): ServerSentEvent | undefined {
    const event = { id: this.#id, event: this.#event === '' ? 'message' : this.#event, data: this.#data.join('\n') };
    const complete = this.#data.length > 0;
    this.#event = '';
    this.#data = [];
    this.#size = 0;
    return complete ? event : undefined;
  }
}
