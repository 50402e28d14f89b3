// Reads a configuration file: YAML text in, a checked configuration or a list of problems with their places out.
// Guarantees: every problem has file, line, column, reason and remedy, and all problems of a file are reported in one go; no input
// makes it throw anything but ConfigurationError.
// Thread: any.
import { readFile } from 'node:fs/promises';
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLError } from 'yaml';
import { configLoadChannel } from '../diagnostics.js';
import { type ConfigProblem, ConfigurationError } from '../errors.js';
import { type ConfigPath, type Finding, formatPath } from './finding.js';
import { formatProblems } from './format.js';
import type { Config } from './schema.js';
import { checkConfig } from './validate.js';

/** Larger files are refused: half a million servers fit in this. */
const MAX_BYTES = 64 * 1024 * 1024;

export type ParseResult = { readonly config: Config; readonly problems: readonly [] } | { readonly problems: readonly ConfigProblem[] };

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
  if ('config' in result) return result.config;
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
  const lines = new LineCounter();
  let document: Document;
  let value: unknown;
  try {
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, logLevel: 'silent' });
    const broken = [...document.errors, ...document.warnings].map((error) => yamlProblem(error, text, lines, file));
    // After a syntax error the structure is a guess: what the schema says about it would mislead.
    if (document.errors.some((error) => error.code !== 'DUPLICATE_KEY')) return { problems: sorted(broken) };
    value = document.toJS({ maxAliasCount: 100 });
    const result = checkConfig(value);
    const problems = sorted([...broken, ...result.findings.map((finding) => locate(finding, document, text, lines, file))]);
    if ('config' in result && problems.length === 0) return { config: result.config, problems: [] };
    return { problems };
  } catch (error) {
    const reason = error instanceof Error ? describeParserFailure(error) : String(error);
    return { problems: [problemAt(0, 0, text, lines, file, '', reason, 'write the configuration in a simpler form')] };
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

const YAML_REMEDIES: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'indent with spaces',
  BAD_INDENT: 'align the line with its neighbours, and close every bracket',
  MISSING_CHAR: 'add the missing character',
  BLOCK_AS_IMPLICIT_KEY: 'begin a new line before the second key, or put quotes around a value that contains a colon',
  BAD_ALIAS: 'define the anchor (&name) before the alias (*name)',
  MULTIPLE_DOCS: 'keep one document per file: remove the second "---"',
  TAG_RESOLVE_FAILED: 'remove the tag (the word that begins with "!")',
  DUPLICATE_KEY: 'remove one of the two',
  BAD_DIRECTIVE: 'remove the line that begins with "%"',
};

function yamlProblem(error: YAMLError, text: string, lines: LineCounter, file: string): ConfigProblem {
  const [start, end] = error.pos;
  const key = /^[^:\s]*/.exec(text.slice(start, start + 64))?.[0] ?? '';
  const reason = error.code === 'DUPLICATE_KEY' ? `key "${key}" stands here twice` : `not valid YAML: ${firstSentence(error.message)}`;
  const remedy = YAML_REMEDIES[error.code] ?? 'compare the indentation and the punctuation of this line with those around it';
  return problemAt(start, error.code === 'DUPLICATE_KEY' ? start + key.length : end, text, lines, file, '', reason, remedy);
}

function locate(finding: Finding, document: Document, text: string, lines: LineCounter, file: string): ConfigProblem {
  const [start, end] = rangeOf(finding.path, finding.at, document);
  return problemAt(start, end, text, lines, file, formatPath(finding.path), finding.reason, finding.remedy);
}

/** Offsets of the key or the value at `path`; of the nearest thing above it where there is no such text. */
function rangeOf(path: ConfigPath, at: 'key' | 'value', document: Document): readonly [number, number] {
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

function problemAt(
  start: number,
  end: number,
  text: string,
  lines: LineCounter,
  file: string,
  path: string,
  reason: string,
  remedy: string,
): ConfigProblem {
  const offset = Math.min(start, text.length);
  const lineStart = text.lastIndexOf('\n', offset - 1) + 1;
  const nextBreak = text.indexOf('\n', offset);
  const source = text.slice(lineStart, nextBreak === -1 ? text.length : nextBreak).replace(/\r$/, '');
  const column = offset - lineStart + 1;
  const length = Math.max(1, Math.min(end - offset, source.length - column + 1));
  return { file, line: lines.linePos(offset).line || 1, column, path, reason, remedy, source, length };
}

function sorted(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
}
