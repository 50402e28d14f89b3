// A service or a section in a YAML file, for `millrace apply`: reading it, and the places of what the daemon finds wrong with it.
// Guarantees: only errors of the catalogue leave; any text is either read or refused with its place.
// Thread: main.
import { readFileSync } from 'node:fs';
import { type Document, parseDocument } from 'yaml';
import type { ConfigPath } from '../../config/finding.js';
import { formatProblems } from '../../config/format.js';
import { rangeOf } from '../../config/load.js';
import { SourceText } from '../../config/source-text.js';
import { ConfigurationError } from '../../errors.js';

export interface ConfigPart {
  readonly kind: 'service' | 'section';
  /** Of the service or of the section. */
  readonly name: string;
  readonly value: unknown;
  readonly source: SourceText;
  readonly document: Document;
  /** Where `value` stands in the document. */
  readonly at: ConfigPath;
}

/** Reads the file ("-": standard input): a section if its name is given, else a service. */
export function readPart(file: string, section?: string): ConfigPart {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/, (open|read).*$/, '') : String(error);
    throw new ConfigurationError('MILLRACE_E_CONFIG_UNREADABLE', `${file} cannot be read: ${reason}`, [], { cause: error });
  }
  return parsePart(text, file === '-' ? '(standard input)' : file, section);
}

/** Like readPart, for a text. */
export function parsePart(text: string, file: string, section?: string): ConfigPart {
  const source = new SourceText(text, file);
  const wrong = (reason: string, remedy: string, [start, end]: readonly [number, number] = [0, 0]): ConfigurationError => {
    const problems = [source.problem(start, end, '', reason, remedy)];
    return new ConfigurationError('MILLRACE_E_CONFIG_INVALID', formatProblems(problems), problems);
  };
  let document: Document;
  let value: unknown;
  try {
    document = parseDocument(text, { prettyErrors: false });
    const [fault] = document.errors;
    if (fault !== undefined) throw wrong(`not valid YAML: ${fault.message.split('\n')[0]}`, 'correct the line', fault.pos);
    document.options.logLevel = 'silent';
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    throw wrong(
      `the YAML parser gave up: ${error instanceof Error ? error.message : String(error)}`,
      'write it in a simpler form',
    );
  }
  const keys = isMapping(value) ? Object.keys(value) : [];
  if (section !== undefined) {
    // With its key, as it stands in the configuration file, or without.
    const inner = isMapping(value) && keys.length === 1 ? value[section] : undefined;
    if (value === null || value === undefined) throw wrong('the file is empty', `write what ${section} is to be`);
    return { kind: 'section', name: section, value: inner ?? value, source, document, at: inner === undefined ? [] : [section] };
  }
  const listed = isMapping(value) && keys.length === 1 && Array.isArray(value['services']) ? value['services'] : undefined;
  if (listed !== undefined && listed.length !== 1)
    throw wrong(`the file has ${listed.length} services`, 'keep one service; a whole configuration is read by `millrace reload`');
  const service: unknown = listed === undefined ? value : listed[0];
  const name = isMapping(service) ? service['name'] : undefined;
  if (typeof name !== 'string' || name === '')
    throw wrong('this is no service: a mapping with `name` is needed', 'write one service as it stands under `services`');
  return { kind: 'service', name, value: service, source, document, at: listed === undefined ? [] : ['services', 0] };
}

/** The error with the places of its problems in the file; all other errors as they are. */
export function locateProblems(error: unknown, part: ConfigPart): unknown {
  if (!(error instanceof ConfigurationError) || error.problems.length === 0) return error;
  const problems = error.problems.map(({ path, reason, remedy }) => {
    const inside = parsePath(path);
    const [first, second] = inside;
    // The daemon names places from the top of its whole configuration, or from the top of what it was sent.
    let local = inside;
    if (part.kind === 'service' && first === 'services' && typeof second === 'number') local = inside.slice(2);
    else if (part.kind === 'section' && first === part.name) local = inside.slice(1);
    else if (part.kind === 'service' && first === 'services' && second === part.name) local = inside.slice(2);
    const [start, end] = rangeOf([...part.at, ...local], 'value', part.document);
    return part.source.problem(start, end, path, reason, remedy);
  });
  return new ConfigurationError(error.code, formatProblems(problems), problems, { cause: error, remedy: error.remedy });
}

/** The way back of formatPath(): `services[0].servers[1].weight`. What cannot be read ends the path. */
export function parsePath(text: string): ConfigPath {
  const path: (string | number)[] = [];
  const step = /\[([0-9]{1,9})\]|\[("(?:[^"\\]|\\.)*")\]|\.?([^.[\]"]+)/y;
  for (let match = step.exec(text); match !== null; match = step.exec(text)) {
    const [, index, quoted, word] = match;
    if (index !== undefined) path.push(Number(index));
    else if (quoted !== undefined) path.push(unquote(quoted));
    else if (word !== undefined) path.push(word);
  }
  return path;
}

function unquote(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return text;
  }
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
