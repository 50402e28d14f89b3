// Regular expressions of PCRE2, which keepalived has, as JavaScript reads them.
// Guarantees: the result compiles with the flag u, or there is none; it matches what the original matches, as far as a body is text.
// Facts: pcre2pattern(3), pcre2syntax(3); ECMAScript 2023, 22.2.1.
// Thread: any; pure.

export interface Translated {
  readonly pattern: string;
  /** For matchFlags: of i, m and s those that count; may be empty. */
  readonly flags: string;
}

const START = '(?<![^])';
const END = '(?![^])';
/** PCRE2's $ is also in front of a newline that ends the text. */
const END_OR_NEWLINE = `(?=\\n?${END})`;

const CLASSES: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: ' \\t',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`\\{-~',
  space: '\\s',
  upper: 'A-Z',
  word: '\\w',
  xdigit: '0-9A-Fa-f',
};

/** Escapes that JavaScript does not have, outside of a class. */
const ESCAPES: Readonly<Record<string, string>> = {
  A: START,
  z: END,
  Z: END_OR_NEWLINE,
  h: '[ \\t]',
  H: '[^ \\t]',
  N: '[^\\n]',
  R: '(?:\\r\\n|[\\n\\v\\f\\r\\x85])',
  a: '\\x07',
  e: '\\x1b',
};

/** Options of regex_options that are flags here. */
const FLAGS: Readonly<Record<string, string>> = { caseless: 'i', dotall: 's', multiline: 'm' };
/** Options that change nothing about whether a text matches, or are always on here. */
const WITHOUT_EFFECT = [
  'auto_callout',
  'dollar_endonly',
  'dupnames',
  'never_backslash_c',
  'never_ucp',
  'never_utf',
  'no_auto_possess',
  'no_dotstar_anchor',
  'no_start_optimize',
  'ungreedy',
  'use_offset_limit',
  'utf',
];

/** Options for which there is nothing. */
export function optionsWithoutCounterpart(options: readonly string[]): readonly string[] {
  return options.filter((option) => !Object.hasOwn(FLAGS, option) && !WITHOUT_EFFECT.includes(option));
}

/** undefined: JavaScript has no such expression. */
export function translateRegex(source: string, options: readonly string[]): Translated | undefined {
  const flags = new Set(options.flatMap((option) => FLAGS[option] ?? []));
  const [, inline = ''] = /^\(\?([ims]+)\)/.exec(source) ?? [];
  for (const flag of inline) flags.add(flag);
  const body = source.slice(inline === '' ? 0 : inline.length + 3);
  const dollar = flags.has('m') ? '$' : options.includes('dollar_endonly') ? END : END_OR_NEWLINE;
  const pattern = rewrite(body, dollar);
  const found = { pattern, flags: [...flags].sort().join('') };
  return compiles(found) ? found : undefined;
}

/** What regex_no_match, regex_min_offset and regex_max_offset add. Offsets count from the first character. */
export function restrictRegex(
  { pattern, flags }: Translated,
  { noMatch, min, max }: { readonly noMatch: boolean; readonly min: number | undefined; readonly max: number | undefined },
): Translated {
  const offset = min === undefined && max === undefined ? undefined : `{${min ?? 0},${max ?? ''}}`;
  const placed = offset === undefined ? `(?:${pattern})` : `(?<=${START}[^]${offset})(?:${pattern})`;
  if (noMatch) return { pattern: `${START}(?![^]*${placed})`, flags };
  return { pattern: offset === undefined ? pattern : placed, flags };
}

export function compiles({ pattern, flags }: Translated): boolean {
  try {
    new RegExp(pattern, `u${flags}`);
    return true;
  } catch {
    return false;
  }
}

function rewrite(source: string, dollar: string): string {
  let result = '';
  for (let at = 0; at < source.length; ) {
    const char = source[at] ?? '';
    const rest = source.slice(at);
    let taken = 1;
    if (char === '\\') {
      const [text, length] = escapeOf(rest, false);
      result += text;
      taken = length;
    } else if (char === '[') {
      const [text, length] = classOf(rest);
      result += text;
      taken = length;
    } else if (char === '{') {
      const quantifier = /^\{[0-9]+(?:,[0-9]*)?\}/.exec(rest)?.[0];
      result += quantifier ?? '\\{';
      taken = quantifier?.length ?? 1;
    } else if (char === '}' || char === ']') result += `\\${char}`;
    else result += char === '$' ? dollar : char;
    at += taken;
  }
  return result;
}

function escapeOf(rest: string, inClass: boolean): readonly [text: string, length: number] {
  const [next = ''] = rest.slice(1);
  const braced = /^\\x\{([0-9a-fA-F]{1,6})\}/.exec(rest);
  if (braced !== null) return [`\\u{${braced[1]}}`, braced[0].length];
  if (Object.hasOwn(ESCAPES, next) && (!inClass || next === 'a' || next === 'e')) return [ESCAPES[next] ?? '', 2];
  if (inClass && next === 'h') return [' \\t', 2];
  // A sign that is nothing special to JavaScript stands for itself.
  if (/[^A-Za-z0-9]/u.test(next) && !'^$\\.*+?()[]{}|/'.includes(next) && !(inClass && next === '-'))
    return [next, 1 + next.length];
  return [`\\${next}`, 1 + next.length];
}

/** A class from its bracket on. */
function classOf(source: string): readonly [text: string, length: number] {
  const [, open = ''] = /^(\[\^?)/.exec(source) ?? [];
  let result = open;
  let at = open.length;
  for (let first = true; at < source.length; first = false) {
    const char = source[at] ?? '';
    const posix = /^\[:([a-z]+):\]/.exec(source.slice(at));
    const named = posix === null ? undefined : CLASSES[posix[1] ?? ''];
    if (char === ']' && !first) return [`${result}]`, at + 1];
    if (posix !== null && named !== undefined) {
      result += named;
      at += posix[0].length;
    } else if (char === '\\') {
      const [text, length] = escapeOf(source.slice(at), true);
      result += text;
      at += length;
    } else {
      result += char === ']' || char === '[' ? `\\${char}` : char;
      at += 1;
    }
  }
  return [result, at];
}
