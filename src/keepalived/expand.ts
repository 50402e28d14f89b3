// From files to pieces: reads keepalived.conf and what it includes, and carries out conditions, definitions and repetitions. What comes
// out has words and braces only.
// Guarantees: never throws on any text; bounded in lines, depth and length; keeps every line as it was read, for the remainder.
// Thread: main; reads files while the caller waits.
import { dirname, resolve } from 'node:path';
import { type Definition, Definitions, parseDefinition } from './definitions.js';
import { type FileAccess, findFiles } from './glob.js';
import { findBrace, type Origin, type Piece, stripComment, trimBlanks, wholeLine } from './lexer.js';
import type { Reports } from './report.js';
import { isSequence, parseSequence } from './sequence.js';

/** A line of a file, in the order of reading. */
export interface PhysicalLine extends Origin {
  /** Name of what it defines, or goes on defining. */
  definition?: string;
  /** Left out because of its condition: what would have been there. */
  otherwise?: string;
  /** Includes files, whose lines are those up to `until`, exclusive. */
  include?: { readonly pattern: string; readonly until: number };
}

export interface ExpandOptions {
  /** What stands after `@` in lines that count; keepalived's option -i. Undefined: no line with `@NAME` counts. */
  readonly configId?: string | undefined;
}

export interface Expanded {
  readonly physical: readonly PhysicalLine[];
  readonly pieces: readonly Piece[];
  /** Absolute paths of all files that were read, the first one first. */
  readonly files: readonly string[];
}

/** Most lines after repetitions, and most levels of includes and definitions within each other. */
const MOST_LINES = 1_000_000;
const DEEPEST = 64;

interface Context {
  readonly origin: Origin;
  readonly physical: number;
  readonly folder: string;
  readonly depth: number;
}

/** Reads a file; throws an error of node:fs where that one cannot be read. Includes that cannot be read are reported. */
export function expand(file: string, files: FileAccess, reports: Reports, options: ExpandOptions = {}): Expanded {
  const path = resolve(file);
  return new Expander(files, reports, options).run(path, files.read(path));
}

class Expander {
  readonly #files: FileAccess;
  readonly #reports: Reports;
  readonly #configId: string | undefined;
  readonly #definitions = new Definitions();
  readonly #physical: PhysicalLine[] = [];
  readonly #pieces: Piece[] = [];
  readonly #read: string[] = [];
  #lines = 0;
  #exhausted = false;
  #open: Definition | undefined;

  constructor(files: FileAccess, reports: Reports, options: ExpandOptions) {
    this.#files = files;
    this.#reports = reports;
    this.#configId = options.configId;
  }

  run(path: string, text: string): Expanded {
    this.#file(path, text, 0);
    return { physical: this.#physical, pieces: this.#pieces, files: this.#read };
  }

  #file(path: string, text: string, depth: number): void {
    this.#read.push(path);
    const folder = dirname(path);
    const lines = text.split('\n');
    if (lines.at(-1) === '') lines.pop();
    for (const [index, raw] of lines.entries()) {
      if (this.#exhausted) return;
      const source = raw.replace(/\r+$/, '');
      const origin = { file: path, line: index + 1, source };
      const physical = this.#physical.length;
      this.#physical.push({ ...origin });
      const { text: stripped, continued, openQuote } = stripComment(source);
      if (openQuote)
        this.#fault(origin, 'a double quote has no partner on this line', 'close it; text goes no further than a line');
      if (this.#open !== undefined) this.#continue(this.#open, stripped, continued, origin, physical);
      else this.#line(stripped, continued, { origin, physical, folder, depth });
    }
    this.#open = undefined;
  }

  /** A further line of a definition. An empty line ends it, as in keepalived. */
  #continue(open: Definition, text: string, continued: boolean, origin: Origin, physical: number): void {
    const line = this.#physical[physical];
    if (line !== undefined && origin.source !== '') line.definition = open.name;
    if (text !== '') open.lines.push({ text, origin });
    if (!continued) this.#open = undefined;
  }

  /** A line that no definition continues on. */
  #line(text: string, continued: boolean, context: Context): void {
    this.#process(text, context, continued);
    if (continued && this.#open === undefined) {
      this.#fault(
        context.origin,
        'a backslash at the end goes on with a definition only',
        'write the statement on one line, or take the backslash away',
      );
    }
  }

  #process(line: string, context: Context, continued = false): void {
    let text = trimBlanks(line);
    let from = 0;
    if (context.depth > DEEPEST) {
      this.#fault(
        context.origin,
        `includes, definitions or repetitions are more than ${DEEPEST} deep`,
        'something contains itself',
      );
      return;
    }
    while (text !== '') {
      if (this.#exhausted || this.#countLine(context.origin)) return;
      if (text.startsWith('@')) {
        const rest = this.#condition(text, context);
        if (rest === undefined) return;
        text = rest;
        continue;
      }
      const definition = parseDefinition(text);
      if (definition !== undefined) {
        this.#define(definition.name, definition.value, continued, context);
        return;
      }
      if (isSequence(text)) {
        this.#repeat(text, context);
        return;
      }
      const substituted = this.#substitute(text, context);
      if (substituted.changed) {
        if (substituted.fault !== undefined) return;
        const inner = { ...context, depth: context.depth + 1 };
        this.#process(substituted.text, { ...inner, origin: substituted.origin ?? context.origin });
        for (const body of substituted.tail) this.#process(body.text, { ...inner, origin: body.origin });
        return;
      }
      const include = /^include([rmwba]?)[ \t]+(.*)$/s.exec(text);
      if (include !== null) {
        this.#include(include[2] ?? '', include[1] !== '', context);
        return;
      }
      [text, from] = this.#emit(text, from, context);
    }
  }

  /** What the condition leaves of the line; undefined where the line does not count. */
  #condition(text: string, { origin, physical }: Context): string | undefined {
    const [, negated = '', id = '', rest] = /^@(\^?)([^ \t]*)(?:[ \t]+(.*))?$/s.exec(text) ?? [];
    if (rest === undefined) {
      this.#fault(origin, `nothing stands after the condition ${text}`, 'write @NAME and a statement on one line');
      return undefined;
    }
    if ((this.#configId !== undefined && id === this.#configId) === (negated === '')) return rest;
    const line = this.#physical[physical];
    if (line === undefined) return undefined;
    const definition = parseDefinition(rest);
    if (definition === undefined) line.otherwise = rest;
    else line.definition = definition.name;
    return undefined;
  }

  #define(name: string, value: string, continued: boolean, { origin, physical }: Context): void {
    const line = this.#physical[physical];
    if (line !== undefined) line.definition = name;
    if (continued) this.#open = this.#definitions.begin(name, value, origin);
    else this.#definitions.set(name, value, origin);
  }

  #repeat(text: string, context: Context): void {
    const sequence = parseSequence(text, (part) => this.#substitute(part, context).text);
    if ('reason' in sequence) {
      this.#fault(context.origin, sequence.reason, 'see "Sequence blocks" and "List blocks" in keepalived.conf(5)');
      return;
    }
    for (const turn of sequence.turns) {
      if (this.#exhausted || this.#countLine(context.origin)) return;
      for (const [name, value] of turn) this.#definitions.set(name, value, context.origin);
      this.#process(sequence.rest, { ...context, depth: context.depth + 1 });
    }
  }

  #substitute(text: string, context: Context) {
    const { origin, folder } = context;
    const result = this.#definitions.substitute(text, (name, parameters) => {
      if (name === '_PWD' && parameters === '') return folder;
      if (name === '_INSTANCE' && parameters === '' && this.#configId !== undefined) return this.#configId;
      if (name === '_HASH') return '#';
      if (name === '_BANG') return '!';
      if (name === '_RANDOM' || name === '_ENV' || name === '_INSTANCE') {
        const remedy = name === '_INSTANCE' ? 'say which config-id is meant' : 'write the value that is meant';
        this.#reports.add('unsupported', wholeLine(origin), '', `the value of $${name} is not known here`, remedy);
      }
      return undefined;
    });
    if (result.fault === 'endless') this.#fault(origin, 'definitions refer to each other without end', 'break the circle');
    if (result.fault === 'long') this.#fault(origin, 'the line is too long after substitution', 'split the line');
    return result;
  }

  #include(pattern: string, strict: boolean, context: Context): void {
    const { origin, physical, folder, depth } = context;
    const name = pattern.replace(/^"(.*)"$/s, '$1');
    const found = findFiles(name, folder, this.#files);
    if (found.files.length === 0 && strict) this.#fault(origin, `no file matches ${name}`, 'correct the pattern');
    for (const path of found.files) {
      if (this.#read.length > 10_000) {
        this.#exhaust(origin, 'more than 10000 files are included');
        return;
      }
      if (depth >= DEEPEST) {
        this.#fault(origin, `includes are more than ${DEEPEST} deep`, 'a file includes itself; break the circle');
        continue;
      }
      try {
        const text = this.#files.read(path);
        this.#file(path, text, depth + 1);
      } catch (error) {
        // A folder that a pattern matches is passed over, as keepalived does.
        if (found.wildcard && (error as NodeJS.ErrnoException).code === 'EISDIR') continue;
        const reason = error instanceof Error ? error.message.replace(/, (open|read).*$/, '') : String(error);
        this.#fault(origin, `${path} cannot be read: ${reason}`, 'correct the path or the permissions of the file');
      }
    }
    const line = this.#physical[physical];
    if (line !== undefined) line.include = { pattern: name, until: this.#physical.length };
  }

  /** Adds the piece up to the first brace, or the brace; returns what is left of the line, and from where in the source it is. */
  #emit(text: string, from: number, { origin, physical }: Context): [string, number] {
    const brace = findBrace(text);
    const end = brace === -1 ? text.length : Math.max(1, brace);
    const piece = trimBlanks(text.slice(0, end));
    const at = origin.source.indexOf(text, from);
    this.#pieces.push({ text: piece, origin, offset: at === -1 ? undefined : at, physical });
    return [trimBlanks(text.slice(end)), at === -1 ? 0 : at + end];
  }

  /** True, and reported, when there are too many lines. */
  #countLine(origin: Origin): boolean {
    this.#lines++;
    if (this.#lines > MOST_LINES) this.#exhaust(origin, `the file has more than ${MOST_LINES} lines after repetitions`);
    return this.#exhausted;
  }

  #exhaust(origin: Origin, reason: string): void {
    this.#exhausted = true;
    this.#fault(origin, reason, 'what follows is not read; repeat less, or split the file');
  }

  #fault(origin: Origin, reason: string, remedy: string): void {
    this.#reports.add('syntax', wholeLine(origin), '', reason, remedy);
  }
}
