// The terminal of `millrace top`: the other screen, no cursor, keys one by one, and all of it as it was afterwards.
// Guarantees: leave() restores whatever enter() changed, once; the end of the process does too, so that an exception or a signal does not
// leave a terminal without cursor and echo.
// Thread: main.
import { clearLine, clearScreenDown, cursorTo, emitKeypressEvents } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';
import type { Key } from './keys.js';

export type ScreenInput = Pick<ReadStream, 'on' | 'off' | 'resume' | 'pause' | 'isTTY' | 'setRawMode'> & NodeJS.ReadableStream;
export type ScreenOutput = Pick<WriteStream, 'write' | 'isTTY'> & {
  readonly columns?: number;
  readonly rows?: number;
} & NodeJS.WritableStream;

// xterm's alternate screen, and the cursor (DECTCEM): what every terminal of today has.
const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';

export class Screen {
  readonly #input: ScreenInput;
  readonly #output: ScreenOutput;
  readonly #onKey: (key: Key) => void;
  readonly #exit = (): void => this.leave();
  #inside = false;

  constructor(input: ScreenInput, output: ScreenOutput, onKey: (key: Key) => void) {
    this.#input = input;
    this.#output = output;
    this.#onKey = onKey;
  }

  get columns(): number {
    // A terminal whose size nobody has set says 0.
    return this.#output.columns || 80;
  }

  get rows(): number {
    return this.#output.rows || 24;
  }

  readonly #keypress = (_text: string | undefined, key: Key): void => this.#onKey(key);

  enter(): void {
    if (this.#inside) return;
    this.#inside = true;
    process.once('exit', this.#exit);
    this.#output.write(ENTER);
    if (this.#input.isTTY !== true) return;
    emitKeypressEvents(this.#input);
    this.#input.setRawMode(true);
    this.#input.on('keypress', this.#keypress);
    this.#input.resume();
  }

  leave(): void {
    if (!this.#inside) return;
    this.#inside = false;
    process.off('exit', this.#exit);
    if (this.#input.isTTY === true) {
      this.#input.off('keypress', this.#keypress);
      this.#input.setRawMode(false);
      // A terminal that is still read would keep the process alive.
      this.#input.pause();
    }
    this.#output.write(LEAVE);
  }

  /** Draws over what is there, line by line, so that nothing flickers. */
  draw(lines: readonly string[]): void {
    if (!this.#inside) return;
    lines.forEach((line, row) => {
      cursorTo(this.#output, 0, row);
      this.#output.write(line);
      clearLine(this.#output, 1);
    });
    if (lines.length < this.rows) {
      cursorTo(this.#output, 0, lines.length);
      clearScreenDown(this.#output);
    }
  }
}
