// A strict reader of Prometheus' text format, so that tests judge what is written independently of what wrote it.
// Throws at anything that the format does not allow: https://prometheus.io/docs/instrumenting/exposition_formats

export interface ParsedFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  /** By `name{labels}`, labels sorted. */
  readonly samples: Map<string, number>;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,?)/;
const VALUE = /^ (?:[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|Nan|NaN)$/;
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  summary: ['', '_sum', '_count'],
  histogram: ['_bucket', '_sum', '_count'],
};

export function parseExposition(text: string): ReadonlyMap<string, ParsedFamily> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const families = new Map<string, ParsedFamily>();
  let current: ParsedFamily | undefined;
  let help: readonly [string, string] | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/s.exec(line);
    if (comment?.[1] === 'HELP') {
      help = [comment[2] ?? '', comment[3] ?? ''];
    } else if (comment?.[1] === 'TYPE') {
      const name = comment[2] ?? '';
      if (help?.[0] !== name || families.has(name)) throw new Error(`a family without help, or twice: ${line}`);
      current = { name, type: comment[3] ?? '', help: help[1], samples: new Map() };
      families.set(name, current);
    } else {
      if (current === undefined) throw new Error(`a sample before any family: ${line}`);
      addSample(current, line);
    }
  }
  return families;
}

function addSample(family: ParsedFamily, line: string): void {
  const name = NAME.exec(line)?.[0] ?? '';
  const suffixes = SUFFIXES[family.type] ?? [''];
  if (!suffixes.some((suffix) => name === `${family.name}${suffix}`)) throw new Error(`a sample of another family: ${line}`);
  let rest = line.slice(name.length);
  const labels: string[] = [];
  if (rest.startsWith('{')) {
    rest = rest.slice(1);
    for (let label = LABEL.exec(rest); label !== null; label = LABEL.exec(rest)) {
      labels.push(`${label[1]}="${label[2]}"`);
      rest = rest.slice(label[0].length);
      if (label[3] === '') break;
    }
    if (!rest.startsWith('}')) throw new Error(`labels are not well formed: ${line}`);
    rest = rest.slice(1);
  }
  if (!VALUE.test(rest)) throw new Error(`not a value: ${line}`);
  const names = labels.map((label) => label.slice(0, label.indexOf('=')));
  if (new Set(names).size !== names.length) throw new Error(`a label twice: ${line}`);
  const key = `${name}{${labels.sort().join(',')}}`;
  if (family.samples.has(key)) throw new Error(`a sample twice: ${line}`);
  family.samples.set(key, Number(rest.slice(1).replace('Inf', 'Infinity')));
}

/** The value of a sample; labels in any order. Throws where there is none. */
export function sample(
  families: ReadonlyMap<string, ParsedFamily>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const key = `${name}{${Object.entries(labels)
    .map(([label, value]) => `${label}="${value}"`)
    .sort()
    .join(',')}}`;
  for (const family of families.values()) {
    const value = family.samples.get(key);
    if (value !== undefined) return value;
  }
  const like = [...families.values()].flatMap(({ samples }) =>
    [...samples.keys()].filter((known) => known.startsWith(`${name}{`)),
  );
  throw new Error(`no sample ${key}; there are: ${like.join(' ')}`);
}
