// The text of a configuration file, and where in it a problem stands.
// Thread: any; immutable.
import type { ConfigProblem } from '../errors.js';

export class SourceText {
  readonly #text: string;
  readonly #file: string;
  /** Offset of the first character of each line. */
  readonly #lineStarts: readonly number[];

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
    const starts = [0];
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
    this.#lineStarts = starts;
  }

  /** A problem with the characters from `start` up to `end` (offsets), as far as they are on one line. */
  problem(start: number, end: number, path: string, reason: string, remedy: string): ConfigProblem {
    const offset = Math.min(Math.max(0, start), this.#text.length);
    const index = this.#lineAt(offset);
    const lineStart = this.#lineStarts[index] ?? 0;
    const source = this.#text.slice(lineStart, (this.#lineStarts[index + 1] ?? this.#text.length + 1) - 1).replace(/\r$/, '');
    const column = Math.min(offset - lineStart, source.length) + 1;
    const length = Math.max(1, Math.min(end - offset, source.length - column + 1));
    return { file: this.#file, line: index + 1, column, path, reason, remedy, source, length };
  }

  /** The characters from `start`, at most `length`. */
  excerpt(start: number, length: number): string {
    return this.#text.slice(start, start + length);
  }

  /** Index of the last line that starts at or before the offset. */
  #lineAt(offset: number): number {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
