// Definitions of keepalived.conf: $NAME=VALUE, of one line or several, and their use as $NAME and ${NAME}.
// Guarantees: bounded: what refers to itself or grows without end is an error and not a hang.
// Thread: any; a Definitions object belongs to one reading.
import type { Origin } from './lexer.js';

/** A line of a definition's value, with the place where it was written. */
export interface BodyLine {
  readonly text: string;
  readonly origin: Origin;
}

export interface Definition {
  readonly name: string;
  readonly lines: BodyLine[];
  /** Whether the value has lines of its own, each of which is read as a line of the file. */
  readonly multiline: boolean;
}

export interface Substituted {
  readonly text: string;
  /** Lines that follow this one, from a definition of several lines. */
  readonly tail: readonly BodyLine[];
  readonly changed: boolean;
  /** Where the text was written, if all of it comes from a definition of several lines. */
  readonly origin?: Origin;
  /** Why it was given up. */
  readonly fault?: 'endless' | 'long';
}

/** Longest line after substitution, in characters; keepalived 2.2.7 ends at 1024. */
const LONGEST_LINE = 65_536;
/** Most substitutions within one line. */
const MOST_SUBSTITUTIONS = 1000;

const DEFINITION = /^\$([A-Za-z_][A-Za-z0-9_]*)=[ \t]*(.*)$/s;
const USE = /\$(?:\{([A-Za-z_][A-Za-z0-9_]*)((?:[ \t]+[A-Za-z0-9_]+)*)\}|([A-Za-z_][A-Za-z0-9_]*)(?=[ \t,)]|$))/y;

/** Name and value of a line that defines something; undefined for any other line. */
export function parseDefinition(text: string): { readonly name: string; readonly value: string } | undefined {
  const match = DEFINITION.exec(text);
  return match === null ? undefined : { name: match[1] ?? '', value: match[2] ?? '' };
}

export class Definitions {
  readonly #byName = new Map<string, Definition>();

  set(name: string, value: string, origin: Origin): void {
    this.#byName.set(name, { name, lines: [{ text: value, origin }], multiline: false });
  }

  /** Begins a definition of several lines; add() appends to it. */
  begin(name: string, firstLine: string, origin: Origin): Definition {
    const lines = firstLine === '' ? [] : [{ text: firstLine, origin }];
    const definition = { name, lines, multiline: true };
    this.#byName.set(name, definition);
    return definition;
  }

  /**
   * Puts values in place of names, from left to right, values of values too. A name without a value stays as it is. A definition of
   * several lines counts at the end of the line only. `builtin` gives the values of names that begin with an underscore.
   */
  substitute(text: string, builtin: (name: string, parameters: string) => string | undefined): Substituted {
    let current = text;
    let count = 0;
    let at = current.indexOf('$');
    while (at !== -1) {
      USE.lastIndex = at;
      const match = USE.exec(current);
      const name = match?.[1] ?? match?.[3];
      const definition = name === undefined || (match?.[2] ?? '') !== '' ? undefined : this.#byName.get(name);
      const after = at + (match?.[0].length ?? 0);
      const value =
        definition === undefined
          ? name === undefined
            ? undefined
            : builtin(name, match?.[2] ?? '')
          : definition.multiline
            ? undefined
            : (definition.lines[0]?.text ?? '');
      if (definition?.multiline && after === current.length) {
        const [first, ...tail] = definition.lines;
        const moved = at === 0 && first !== undefined ? { origin: first.origin } : {};
        return { text: current.slice(0, at) + (first?.text ?? ''), tail, changed: true, ...moved };
      }
      if (value === undefined) {
        at = current.indexOf('$', at + 1);
        continue;
      }
      count++;
      if (count > MOST_SUBSTITUTIONS) return { text: current, tail: [], changed: true, fault: 'endless' };
      current = current.slice(0, at) + value + current.slice(after);
      if (current.length > LONGEST_LINE) return { text: '', tail: [], changed: true, fault: 'long' };
      at = current.indexOf('$', at);
    }
    return { text: current, tail: [], changed: count > 0 };
  }
}
