// Lines and words of keepalived.conf: comments, quotes, braces. Facts: keepalived.conf(5) and lib/parser.c of keepalived 2.2.7.
// Guarantees: pure; any text gives words; every word knows its place, exactly where the line was not built from $definitions, else the
// whole line.
// Thread: any; no state.
import type { Place } from './report.js';

export interface Word extends Place {
  readonly text: string;
  /** Whether it stood in double quotes. */
  readonly quoted: boolean;
}

/** Where a piece of text comes from. */
export interface Origin {
  readonly file: string;
  readonly line: number;
  /** The whole line as it stands in the file. */
  readonly source: string;
}

/** A piece of a line after comments, conditions and definitions: a brace alone, or words without braces. */
export interface Piece {
  readonly text: string;
  readonly origin: Origin;
  /** Offset of the text in the source line; undefined when definitions were put in. */
  readonly offset: number | undefined;
  /** Which line of all lines read, from 0; for a line that a definition brought, the line that used it. */
  readonly physical: number;
}

export interface Stripped {
  /** Without comment and without blanks at both ends. */
  readonly text: string;
  /** Whether the line ends with a backslash, which is not part of the text. */
  readonly continued: boolean;
  /** Whether a double quote has no partner. */
  readonly openQuote: boolean;
}

/** Takes the comment from a line: `!` and `#` begin one anywhere outside double quotes unless a backslash precedes them. */
export function stripComment(line: string): Stripped {
  let text = '';
  let quoted = false;
  let continued = false;
  for (let at = 0; at < line.length; at++) {
    const char = line[at] ?? '';
    if (char === '\\') {
      const next = line[at + 1];
      if (next === undefined) {
        continued = true;
        break;
      }
      text += !quoted && (next === '#' || next === '!') ? next : char + next;
      at++;
      continue;
    }
    if (char === '"') quoted = !quoted;
    if (!quoted && (char === '!' || char === '#')) break;
    text += char;
  }
  return { text: trimBlanks(text), continued, openQuote: quoted };
}

/** Only spaces and tabs are blanks between words; what else is white stays part of a word, as keepalived has it. */
export function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text[start])) start++;
  while (end > start && isBlank(text[end - 1])) end--;
  return text.slice(start, end);
}

function isBlank(char: string | undefined): boolean {
  return char === ' ' || char === '\t';
}

/** Offset of the first brace outside double quotes, or -1. */
export function findBrace(text: string): number {
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '{' || char === '}') return at;
    if (char !== '"') continue;
    at = text.indexOf('"', at + 1);
    if (at === -1) return -1;
  }
  return -1;
}

/**
 * Words of a piece, separated by blanks; a double-quoted string is a word by itself, also where it touches others.
 * `onOpenQuote` is called with the word whose quote has no partner.
 */
export function splitWords(piece: Piece, onOpenQuote?: (word: Word) => void): Word[] {
  const { text } = piece;
  const words: Word[] = [];
  let at = 0;
  for (;;) {
    while (isBlank(text[at])) at++;
    if (at >= text.length) return words;
    const start = at;
    if (text[at] === '"') {
      const close = text.indexOf('"', at + 1);
      at = close === -1 ? text.length : close + 1;
      const word = wordAt(piece, text.slice(start + 1, close === -1 ? text.length : close), true, start, at);
      if (close === -1) onOpenQuote?.(word);
      words.push(word);
    } else {
      while (at < text.length && !isBlank(text[at]) && text[at] !== '"') at++;
      words.push(wordAt(piece, text.slice(start, at), false, start, at));
    }
  }
}

function wordAt(piece: Piece, text: string, quoted: boolean, start: number, end: number): Word {
  return { text, quoted, ...placeOf(piece, start, end) };
}

/** The place of the characters from `start` up to `end` of a piece. */
export function placeOf(piece: Piece, start = 0, end = piece.text.length): Place {
  const { file, line, source } = piece.origin;
  if (piece.offset !== undefined) {
    return { file, line, column: piece.offset + start + 1, length: Math.max(1, end - start), source };
  }
  return wholeLine({ file, line, source });
}

/** The place of a whole line, without the blanks around it. */
export function wholeLine(origin: Origin): Place {
  const column = origin.source.length - origin.source.trimStart().length + 1;
  return { ...origin, column, length: Math.max(1, origin.source.trim().length) };
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  E: '\x1b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/**
 * Words of a line that holds a script or a regular expression: both kinds of quotes, which may begin inside a word, and the escapes of
 * keepalived.conf(5), "Quoted strings". Undefined when a quote or a backslash has no partner.
 */
export function splitEscaped(text: string): string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; ) {
    const char = text[at] ?? '';
    if (char === '\\') {
      const escaped = readEscape(text, at + 1);
      if (escaped === undefined) return undefined;
      word = (word ?? '') + escaped.value;
      at = escaped.end;
      continue;
    }
    at++;
    if (quote !== '') {
      if (char === quote) quote = '';
      else word += char;
    } else if (isBlank(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word ??= '';
      if (char === '"' || char === "'") quote = char;
      else word += char;
    }
  }
  if (quote !== '') return undefined;
  if (word !== undefined) words.push(word);
  return words;
}

function readEscape(text: string, at: number): { readonly value: string; readonly end: number } | undefined {
  const char = text[at];
  if (char === undefined) return undefined;
  const digits = /^(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3}))/.exec(text.slice(at, at + 3));
  if (digits !== null) {
    const code = digits[1] === undefined ? Number.parseInt(digits[2] ?? '', 8) : Number.parseInt(digits[1], 16);
    return { value: String.fromCharCode(code & 0xff), end: at + digits[0].length };
  }
  const controlled = char === 'c' ? text[at + 1] : undefined;
  if (controlled !== undefined) return { value: String.fromCharCode(controlled.charCodeAt(0) & 0x1f), end: at + 2 };
  return { value: Object.hasOwn(ESCAPES, char) ? (ESCAPES[char] ?? char) : char, end: at + 1 };
}
