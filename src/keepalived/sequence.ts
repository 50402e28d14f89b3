// Lines that keepalived repeats: ~SEQ(NAME, START, STEP, END) and ~LST(NAME, VALUE, ...).
// Guarantees: pure; any text gives a sequence or the reason why it is none.
// Thread: any; no state.

/** One turn of a repeated line: the definitions that it sets. */
export type Turn = readonly (readonly [name: string, value: string])[];

export interface Sequence {
  readonly turns: Iterable<Turn>;
  /** What is repeated. */
  readonly rest: string;
}

export interface SequenceFault {
  readonly reason: string;
}

export function isSequence(text: string): boolean {
  return text.startsWith('~SEQ') || text.startsWith('~LST');
}

/** Reads the head of a line that begins with ~SEQ or ~LST. `substitute` puts definitions into the numbers. */
export function parseSequence(text: string, substitute: (text: string) => string): Sequence | SequenceFault {
  return text.startsWith('~SEQ') ? parseSeq(text, substitute) : parseLst(text);
}

const SEQ = /^~SEQ(x?)[ \t]*\([ \t]*([^ \t,(){}]+)[ \t]*,([^()]*)\)[ \t]*(.*)$/s;

function parseSeq(text: string, substitute: (text: string) => string): Sequence | SequenceFault {
  const match = SEQ.exec(text);
  if (match === null) return { reason: 'this is no ~SEQ(NAME, START, STEP, END)' };
  const [, hex, name = '', numbers = '', rest = ''] = match;
  const values = substitute(numbers).split(',').map(parseNumber);
  const known = values.filter((value) => value !== undefined);
  if (known.length !== values.length || known.length > 3) {
    return { reason: '~SEQ takes a name and one to three whole numbers' };
  }
  const range = rangeOf(known);
  if ('reason' in range) return range;
  if (hex === 'x' && (range.start < 0 || range.end < 0)) return { reason: '~SEQx takes positive numbers only' };
  return { turns: count(name, range, hex === 'x' ? 16 : 10), rest };
}

interface Range {
  readonly start: number;
  readonly step: number;
  readonly end: number;
}

/** Numbers of ~SEQ: (end), (start, end) or (start, step, end). */
function rangeOf(numbers: readonly number[]): Range | SequenceFault {
  const [one = 0, two, three] = numbers;
  if (two === undefined) return { start: one < 0 ? -1 : 1, step: one < 1 ? -1 : 1, end: one };
  if (three === undefined) return { start: one, step: one <= two ? 1 : -1, end: two };
  if (two === 0 || (one < three && two < 0) || (one > three && two > 0)) {
    return { reason: `a step of ${two} does not lead from ${one} to ${three}` };
  }
  return { start: one, step: two, end: three };
}

function* count(name: string, { start, step, end }: Range, base: number): Generator<Turn> {
  for (let value = start; step > 0 ? value <= end : value >= end; value += step) yield [[name, value.toString(base)]];
}

/** A whole number as C reads it with base 0: 0x hexadecimal, a leading 0 octal. */
function parseNumber(text: string): number | undefined {
  const match = /^[ \t]*([+-]?)(?:0[xX]([0-9a-fA-F]{1,12})|(0[0-7]{0,15})|([1-9][0-9]{0,14}))[ \t]*$/.exec(text);
  if (match === null) return undefined;
  const [, sign, hex, octal, decimal] = match;
  const value =
    hex !== undefined ? Number.parseInt(hex, 16) : octal !== undefined ? Number.parseInt(octal, 8) : Number(decimal ?? '');
  return sign === '-' ? -value : value;
}

function parseLst(text: string): Sequence | SequenceFault {
  const fault = { reason: 'this is no ~LST(NAME, VALUE, ...) and no ~LST({NAME, NAME}, {VALUE, VALUE}, ...)' };
  const open = /^~LST[ \t]*\(/.exec(text);
  if (open === null) return fault;
  const sets: string[][] = [];
  let at = open[0].length;
  for (;;) {
    const set = /^[ \t]*(?:\{([^{}()]*)\}|([^{},() \t]*))[ \t]*([,)])/.exec(text.slice(at));
    if (set === null) return fault;
    at += set[0].length;
    sets.push(set[1] === undefined ? [set[2] ?? ''] : set[1].split(',').map((value) => value.trim()));
    if (set[3] === ')') break;
  }
  const [names = [], ...values] = sets;
  if (values.length === 0 || names.some((name) => name === '')) return fault;
  if (values.some((set) => set.length > names.length)) return { reason: '~LST has more values than names' };
  // Values that are missing are empty, as keepalived has it.
  const turns = values.map((set): Turn => names.map((name, i) => [name, set[i] ?? '']));
  return { turns, rest: text.slice(at).replace(/^[ \t]+/, '') };
}
