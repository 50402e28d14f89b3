// Values of keepalived.conf: numbers, times, addresses, scripts, hexadecimal patterns. A value that keepalived refuses is reported and
// gives undefined, so that what it was meant for stays unset, as keepalived has it.
// Thread: any; no state.
import { type Address, addressBits, parseAddress } from '../config/address.js';
import type { Scope } from './block.js';
import { splitEscaped, type Word } from './lexer.js';
import type { HexPattern, Script } from './model.js';
import type { Statement } from './parser.js';

/** Largest 32-bit number. */
export const MOST_U32 = 4_294_967_295;

/** The word behind the keyword; reported when there is none. `what`: what is expected, such as "a number from 1 to 65535". */
export function wordOf(statement: Statement, scope: Scope, what: string, index = 0): Word | undefined {
  const word = statement.args[index];
  if (word === undefined) {
    const { keyword } = statement;
    scope.report('invalid', keyword, `${keyword.text} needs ${what}`, `write ${what} behind it`);
  }
  return word;
}

export function refuse(word: Word, scope: Scope, what: string): undefined {
  scope.report('invalid', word, `expected ${what}, found "${word.text}"`, `write ${what}; keepalived ignores the word as it is`);
  return undefined;
}

/** A whole number in decimal. */
export function readNumber(statement: Statement, scope: Scope, min: number, max: number, index = 0): number | undefined {
  const what = `a number from ${min} to ${max}`;
  const word = wordOf(statement, scope, what, index);
  if (word === undefined) return undefined;
  const value = /^[+-]?[0-9]{1,15}$/.test(word.text) ? Number(word.text) : Number.NaN;
  return value >= min && value <= max ? value : refuse(word, scope, what);
}

/** Seconds, with up to six digits behind the point. */
export function readTimer(statement: Statement, scope: Scope, min: number): number | undefined {
  const what = min > 0 ? 'a time in seconds above 0' : 'a time in seconds';
  const word = wordOf(statement, scope, what);
  if (word === undefined) return undefined;
  const value = /^(?:[0-9]{1,10}(?:\.[0-9]*)?|\.[0-9]+)$/.test(word.text) ? Number(word.text) : Number.NaN;
  return value >= min && value <= MOST_U32 ? value : refuse(word, scope, what);
}

/** Shortest time of keepalived that is not 0. */
export const SHORTEST_TIME = 0.000_001;

/** on, true, yes, off, false, no; nothing means yes. */
export function readBoolean(statement: Statement, scope: Scope): boolean | undefined {
  const [word] = statement.args;
  if (word === undefined || /^(?:on|true|yes)$/.test(word.text)) return true;
  return /^(?:off|false|no)$/.test(word.text) ? false : refuse(word, scope, 'on or off');
}

export function readText(statement: Statement, scope: Scope, what: string): string | undefined {
  return wordOf(statement, scope, what)?.text;
}

export function readAddress(statement: Statement, scope: Scope): Address | undefined {
  const word = wordOf(statement, scope, 'an IP address');
  return word && (parseAddress(word.text) ?? refuse(word, scope, 'an IP address'));
}

export function readPort(statement: Statement, scope: Scope): number | undefined {
  return readNumber(statement, scope, 1, 65_535);
}

export function readChoice<T extends string>(statement: Statement, scope: Scope, choices: readonly T[]): T | undefined {
  const what = `one of ${choices.join(', ')}`;
  const word = wordOf(statement, scope, what);
  return word && (choices.find((choice) => choice === word.text) ?? refuse(word, scope, what));
}

/** The port of an address; absent and 0 are no port. `false`: it was refused. */
export function readOptionalPort(word: Word | undefined, scope: Scope): number | undefined | false {
  if (word === undefined || /^0+$/.test(word.text)) return undefined;
  const port = /^[0-9]{1,5}$/.test(word.text) ? Number(word.text) : 65_536;
  if (port <= 65_535) return port;
  refuse(word, scope, 'a port from 1 to 65535');
  return false;
}

/** First and last address of `A`, `A-B`, `A-N` (last part of A replaced) and, where `cidr` says so, `A/LENGTH`. */
export function readRange(word: Word, scope: Scope, cidr: boolean): { first: Address; last: Address } | undefined {
  const what = `an address or a range of addresses such as 192.0.2.1-10${cidr ? ' or 192.0.2.8/29' : ''}`;
  const [, text = '', kind, end = ''] = /^([^/-]*)(?:([/-])(.*))?$/s.exec(word.text) ?? [];
  const first = parseAddress(text);
  if (first === undefined) return refuse(word, scope, what);
  if (kind === undefined) return { first, last: first };
  const last = kind === '-' ? lastOfRange(first, text, end) : cidr ? lastOfNetwork(first, end) : undefined;
  if (last === undefined || last.family !== first.family || last.value < first.value) return refuse(word, scope, what);
  return { first, last };
}

function lastOfRange(first: Address, text: string, end: string): Address | undefined {
  const whole = parseAddress(end);
  if (whole !== undefined) return whole;
  const valid = first.family === 4 ? /^[0-9]{1,3}$/.test(end) : /^[0-9a-fA-F]{1,4}$/.test(end);
  return valid ? parseAddress(text.slice(0, text.lastIndexOf(first.family === 4 ? '.' : ':') + 1) + end) : undefined;
}

/** The last address of a network whose host bits are 0 in `first`. */
function lastOfNetwork(first: Address, length: string): Address | undefined {
  const bits = addressBits(first.family);
  if (!/^[1-9][0-9]{0,2}$/.test(length) || Number(length) > bits) return undefined;
  const hosts = (1n << BigInt(bits - Number(length))) - 1n;
  if ((first.value & hosts) !== 0n) return undefined;
  const value = first.value | hosts;
  if (first.family === 4) return parseAddress([24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.'));
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  return parseAddress(groups.join(':'));
}

/** A script with its arguments in quotes, and the user and group it runs as. */
export function readScript(statement: Statement, scope: Scope): Script | undefined {
  const at = statement.keyword;
  const words = splitEscaped(statement.text);
  if (words === undefined) {
    scope.report('syntax', at, `the quotes behind ${at.text} do not pair`, 'close the quote, and write \\" for one inside');
    return undefined;
  }
  const [, command, user, group, extra] = words;
  if (command === undefined || command === '') {
    scope.report('invalid', at, `${at.text} names no script`, 'write the path of the script behind it');
    return undefined;
  }
  if (extra !== undefined) {
    const reason = `"${extra}" stands behind the script, its user and its group`;
    scope.report('unknown', at, reason, 'put the script and its arguments in quotes together');
  }
  return { at, command, ...(user === undefined ? {} : { user }), ...(group === undefined ? {} : { group }) };
}

/**
 * Bytes in hexadecimal, in any grouping: a blank ends a byte, so that a digit alone is a byte. With `wildcards`, an X is a digit that
 * does not count.
 */
export function readHex(statement: Statement, scope: Scope, wildcards: boolean): HexPattern | undefined {
  const bytes: number[] = [];
  const ignored: number[] = [];
  for (const word of statement.args) {
    for (const part of word.text.split(/[ \t]+/)) {
      if (!(wildcards ? /^[0-9a-fA-FxX]*$/ : /^[0-9a-fA-F]*$/).test(part)) return refuse(word, scope, 'hexadecimal digits');
      for (const [pair] of part.matchAll(/..?/g)) {
        bytes.push(Number.parseInt(pair.replaceAll(/x/gi, '0'), 16));
        ignored.push(Number.parseInt(pair.replaceAll(/[^xX]/g, '0').replaceAll(/x/gi, 'f'), 16));
      }
    }
  }
  return { bytes, ignored };
}
