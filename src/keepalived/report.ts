// What is wrong with, or lost from, a keepalived.conf: every place with file, line and column, the reason and what to do.
// Guarantees: a report is a ConfigProblem, so that it is shown like every other one; the same place is not reported twice for one reason,
// however often a ~SEQ line repeats it.
// Thread: any; a Reports object belongs to one reading.
import type { ConfigProblem } from '../errors.js';

/**
 * `syntax`: text that keepalived cannot read, either. `unknown`: a word that keepalived does not have in this place. `invalid`: a word
 * whose value keepalived refuses. `unsupported`: keepalived knows it, what is read here has no place for it. `note`: understood, and
 * worth knowing.
 */
export type ReportKind = 'syntax' | 'unknown' | 'invalid' | 'unsupported' | 'note';

export interface Report extends ConfigProblem {
  readonly kind: ReportKind;
}

/** Characters of a file: line and column count from 1; `source` is the whole line. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly length: number;
  readonly source: string;
}

export class Reports {
  readonly #all: Report[] = [];
  readonly #seen = new Set<string>();

  /** What was reported so far, in the order in which it was found. */
  get all(): readonly Report[] {
    return this.#all;
  }

  /** `path`: the blocks around the place, such as `virtual_server 192.0.2.1 80 > real_server 10.0.0.1 80`; may be empty. */
  add(kind: ReportKind, place: Place, path: string, reason: string, remedy: string): void {
    const { file, line, column, length, source } = place;
    const key = `${file}\n${line}\n${column}\n${reason}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.#all.push({ kind, file, line, column, path, reason, remedy, source, length });
  }
}
