// The base of a translation: what a keepalived.conf cannot say, from a file of Millrace and from options of the command line.
// Guarantees: a base that is no mapping in YAML is refused with its place; paths in it are absolute afterwards.
// Thread: main; reads files while the caller waits.
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { formatProblems } from '../config/format.js';
import { parseConfig } from '../config/load.js';
import type { ConfigInput } from '../config/schema.js';
import { type ConfigProblem, ConfigurationError } from '../errors.js';

export interface BaseOptions {
  /** A file of Millrace; the keys `interfaces` and `services` may be missing. */
  readonly base?: string | undefined;
  /** Names, beside those of the file. */
  readonly interfaces?: readonly string[] | undefined;
  /** Beside those of the file. */
  readonly localAddresses?: readonly string[] | undefined;
}

export interface Base {
  readonly config: ConfigInput;
  /** Its text, for the places of mistakes. */
  readonly text: string | undefined;
  readonly file: string | undefined;
}

/** @throws ConfigurationError MILLRACE_E_CONFIG_UNREADABLE, or MILLRACE_E_CONFIG_INVALID where the text is not YAML or no mapping. */
export function readBase({ base: file, interfaces = [], localAddresses = [] }: BaseOptions): Base {
  const text = file === undefined ? undefined : readText(file);
  const written = file === undefined || text === undefined ? {} : mappingOf(text, file);
  const links = listOf(written['interfaces']) as ConfigInput['interfaces'];
  const known = new Set(links.map((link) => link?.name));
  const locals = [...new Set([...listOf(written['localAddresses']), ...localAddresses])] as string[];
  const config = {
    ...written,
    interfaces: [...links, ...[...new Set(interfaces)].filter((name) => !known.has(name)).map((name) => ({ name }))],
    ...(locals.length === 0 ? {} : { localAddresses: locals }),
    services: listOf(written['services']).map((service) => withAbsolutePaths(service, file)),
  } as ConfigInput;
  return { config, text, file };
}

/** Reads a text file. @throws ConfigurationError MILLRACE_E_CONFIG_UNREADABLE. */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw unreadable(file, error);
  }
}

export function unreadable(file: string, error: unknown): ConfigurationError {
  const reason = error instanceof Error ? error.message.replace(/, (open|read|scandir).*$/, '') : String(error);
  return new ConfigurationError('MILLRACE_E_CONFIG_UNREADABLE', `${file} cannot be read: ${reason}`, [], { cause: error });
}

function mappingOf(text: string, file: string): Record<string, unknown> {
  const document = parseDocument(text, { prettyErrors: false, uniqueKeys: true, logLevel: 'silent' });
  if (document.errors.length === 0) {
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    if (isMapping(value) && LISTS.every((key) => isListOfMappings(value[key])) && isList(value['localAddresses']))
      return { ...value };
  }
  throw invalid(parseConfig(text, file).problems);
}

/** Keys of the top level that a translation adds to. */
const LISTS = ['interfaces', 'services', 'snat'] as const;

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isList(value: unknown): boolean {
  return value === undefined || Array.isArray(value);
}

function isListOfMappings(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.every(isMapping));
}

export function invalid(problems: readonly ConfigProblem[]): ConfigurationError {
  return new ConfigurationError('MILLRACE_E_CONFIG_INVALID', formatProblems(problems), problems);
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** An access list stands beside the file that names it, wherever the new configuration goes. */
function withAbsolutePaths(service: unknown, file: string | undefined): unknown {
  if (file === undefined || !isMapping(service)) return service;
  const { acl } = service;
  if (!isMapping(acl) || typeof acl['file'] !== 'string') return service;
  return { ...service, acl: { ...acl, file: resolve(dirname(file), acl['file']) } };
}
