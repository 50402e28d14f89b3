// Reads a configuration file: YAML text in, a checked configuration or a list of problems with their places out.
// Guarantees: every problem has file, line, column, reason and remedy, and all problems of a file are reported in one go; no input
// makes it throw anything but ConfigurationError.
// Thread: any.
import { readFile } from 'node:fs/promises';
import { type Document, isAlias, isMap, isScalar, isSeq, type Node, parseDocument, visit, type YAMLError } from 'yaml';
import { configLoadChannel } from '../diagnostics.js';
import { type ConfigProblem, ConfigurationError } from '../errors.js';
import { readAclFiles } from './acl-file.js';
import { type ConfigPath, type Finding, formatPath } from './finding.js';
import { formatProblems } from './format.js';
import type { Config } from './schema.js';
import { SourceText } from './source-text.js';
import { checkConfig } from './validate.js';

/** Larger files are refused: half a million servers fit in this. */
const MAX_BYTES = 64 * 1024 * 1024;

export type ParseResult =
  | { readonly config: Config; readonly problems: readonly [] }
  | { readonly problems: readonly ConfigProblem[] };

/**
 * Reads and checks a file. Throws ConfigurationError: MILLRACE_E_CONFIG_UNREADABLE when it cannot be read,
 * MILLRACE_E_CONFIG_INVALID with `problems` when it is wrong.
 *
 * @example
 * ```ts
 * const config = await loadConfig('millrace.yaml');
 * console.log(config.services.map((service) => service.name));
 * ```
 */
export async function loadConfig(file: string, options: { readonly signal?: AbortSignal } = {}): Promise<Config> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    const reason = error instanceof Error ? error.message.replace(/, (open|read).*$/, '') : String(error);
    throw new ConfigurationError('MILLRACE_E_CONFIG_UNREADABLE', `${file} cannot be read: ${reason}`, [], { cause: error });
  }
  const result = parseConfig(bytes, file);
  if (configLoadChannel.hasSubscribers) configLoadChannel.publish({ file, problems: result.problems.length });
  if ('config' in result) return readAclFiles(result.config, file, options);
  throw new ConfigurationError('MILLRACE_E_CONFIG_INVALID', formatProblems(result.problems), result.problems);
}

/** Checks the text of a configuration. `file` is only used in messages. */
export function parseConfig(input: Uint8Array | string, file: string): ParseResult {
  let text: string;
  try {
    text = typeof input === 'string' ? input : decode(input);
  } catch (error) {
    const reason = error instanceof RangeError ? error.message : 'the file is not UTF-8 text';
    return { problems: [{ file, line: 1, column: 1, path: '', reason, remedy: 'save it as UTF-8 text', source: '', length: 0 }] };
  }
  const plain = plainJson(text);
  if (plain !== undefined) {
    const result = checkConfig(plain);
    if ('config' in result) return { config: result.config, problems: [] };
  }
  const source = new SourceText(text, file);
  let document: Document;
  let value: unknown;
  try {
    document = parseDocument(text, { prettyErrors: false, uniqueKeys: true });
    // What follows a syntax error is a guess: neither later syntax errors nor what the schema says about it would help.
    const syntax = document.errors.find((error) => error.code !== 'DUPLICATE_KEY');
    const readable = [...document.errors, ...document.warnings].filter(
      (error) => error.code === 'DUPLICATE_KEY' || error.name === 'YAMLWarning',
    );
    const broken = [...(syntax === undefined ? [] : [syntax]), ...readable].map((error) => yamlProblem(error, document, source));
    if (syntax !== undefined) return { problems: sorted(broken) };
    document.options.logLevel = 'silent';
    value = document.toJS({ maxAliasCount: 100 });
    const result = checkConfig(value);
    const problems = sorted([...broken, ...result.findings.map((finding) => locate(finding, document, source))]);
    if ('config' in result && problems.length === 0) return { config: result.config, problems: [] };
    return { problems };
  } catch (error) {
    const reason = error instanceof Error ? describeParserFailure(error) : String(error);
    return { problems: [source.problem(0, 0, '', reason, 'write the configuration in a simpler form')] };
  }
}

/**
 * The value of a text that is JSON, which is YAML as well but is read a hundred times as fast; undefined for all other texts, and for JSON that
 * YAML understands in another way (a key twice). It has no places: who finds something wrong reads the text again as YAML.
 */
function plainJson(text: string): unknown {
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    // A value that was written out again is the text without its blanks, unless a key stood there twice or a number or an escape can be
    // written in several ways.
    return JSON.stringify(value) === text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, '$1') ? value : undefined;
  } catch {
    return undefined;
  }
}

function decode(bytes: Uint8Array): string {
  if (bytes.length > MAX_BYTES) throw new RangeError(`the file has ${bytes.length} bytes, more than ${MAX_BYTES}`);
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

function describeParserFailure(error: Error): string {
  if (error instanceof RangeError) return 'the file is nested too deeply to be read';
  return `the YAML parser gave up: ${firstSentence(error.message)}`;
}

function firstSentence(message: string): string {
  const text = message.split('\n')[0] ?? '';
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** Per code of the YAML parser: reason (its own words where undefined) and remedy. */
const YAML_ADVICE: Readonly<Record<string, readonly [reason: string | undefined, remedy: string]>> = {
  TAB_AS_INDENT: ['the line is indented with a tab', 'indent with spaces'],
  BAD_INDENT: [undefined, 'align the line with its neighbours'],
  BLOCK_AS_IMPLICIT_KEY: [
    'a second key begins inside a value',
    'begin a new line before the second key, or put quotes around a value that contains a colon',
  ],
  BAD_ALIAS: [undefined, 'define the anchor (&name) before the alias (*name)'],
  MULTIPLE_DOCS: ['a second document begins here', 'keep one document per file: remove the "---"'],
  TAG_RESOLVE_FAILED: [undefined, 'remove the tag (the word that begins with "!")'],
  DUPLICATE_KEY: [undefined, 'remove one of the two'],
  BAD_DIRECTIVE: [undefined, 'remove the line that begins with "%"'],
};

function yamlProblem(error: YAMLError, document: Document, source: SourceText): ConfigProblem {
  const [start, end] = error.pos;
  const problem = (from: number, to: number, reason: string, remedy: string): ConfigProblem =>
    source.problem(from, to, '', reason, remedy);
  if (error.code === 'DUPLICATE_KEY') {
    const key = /^[^:\s]*/.exec(source.excerpt(start, 64))?.[0] ?? '';
    const name = key.replace(/^(["'])(.*)\1$/, '$2');
    return problem(start, start + key.length, `key "${name}" stands here twice`, 'remove one of the two');
  }
  if (error.code === 'MISSING_CHAR' && error.message.includes('quote')) {
    // The parser notices at the end of the file; the place of interest is the quote that opens.
    const opened = openQuote(document, start) ?? start;
    return problem(opened, opened + 1, 'a text in quotes begins here and is not closed', 'add the closing quote');
  }
  if (error.code === 'BAD_INDENT' && error.message.startsWith('Flow')) {
    const [what, close] = error.message.startsWith('Flow map') ? ['mapping in braces', '}'] : ['list in brackets', ']'];
    return problem(start, end, `not valid YAML: a ${what} is still open here`, `close it with ${close}`);
  }
  const [reason, remedy] = YAML_ADVICE[error.code] ?? [
    undefined,
    'compare the indentation and the punctuation with the lines around it',
  ];
  return problem(start, end, `not valid YAML: ${reason ?? firstSentence(error.message)}`, remedy);
}

/** Where the quoted text starts that reaches up to `end`. */
function openQuote(document: Document, end: number): number | undefined {
  let found: number | undefined;
  visit(document, {
    Scalar(_, node) {
      const quoted = node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE';
      if (quoted && node.range && node.range[0] < end && node.range[1] >= end) found = node.range[0];
    },
  });
  return found;
}

function locate(finding: Finding, document: Document, source: SourceText): ConfigProblem {
  const [start, end] = rangeOf(finding.path, finding.at, document);
  return source.problem(start, end, formatPath(finding.path), finding.reason, finding.remedy);
}

/** Offsets of the key or the value at `path`; of the nearest thing above it where there is no such text. */
export function rangeOf(path: ConfigPath, at: 'key' | 'value', document: Document): readonly [number, number] {
  let node: unknown = document.contents;
  let range: readonly [number, number] = rangeOfNode(document.contents) ?? [0, 0];
  path.forEach((part, depth) => {
    if (isAlias(node)) node = node.resolve(document);
    if (isSeq(node) && typeof part === 'number') {
      node = node.items[part];
    } else if (isMap(node)) {
      const pair = node.items.find((item) => (isScalar(item.key) ? String(item.key.value) : String(item.key)) === String(part));
      const ofKey = rangeOfNode(pair?.key);
      if (ofKey !== undefined) range = ofKey;
      node = pair?.value;
      if (at === 'key' && depth === path.length - 1) return;
    } else {
      node = undefined;
    }
    // An empty value has a place but no text: its key is the better place to point at.
    const own = rangeOfNode(node);
    if (own !== undefined && own[1] > own[0]) range = own;
  });
  return range;
}

function rangeOfNode(node: unknown): readonly [number, number] | undefined {
  const range = (node as Node | null | undefined)?.range;
  return range === undefined || range === null ? undefined : [range[0], range[1]];
}

function sorted(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
}
