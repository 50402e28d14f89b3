// Files with access lists: one `allow PREFIX` or `deny PREFIX` per line, `#` begins a comment. They are read with the configuration that
// names them, and their prefixes become part of it.
// Guarantees: every problem has file, line and column; all of a file are reported in one go.
// Thread: any.
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type ConfigProblem, ConfigurationError } from '../errors.js';
import { networkOf, parsePrefix } from './address.js';
import { formatProblems } from './format.js';
import type { Config } from './schema.js';
import { SourceText } from './source-text.js';

export interface AclEntries {
  readonly allow: string[];
  readonly deny: string[];
}

/** What the lines of an access list say, and what is wrong with them. `known`: prefixes that the configuration itself has. */
export function parseAclFile(
  text: string,
  file: string,
  known: readonly string[] = [],
): AclEntries & { problems: ConfigProblem[] } {
  const source = new SourceText(text, file);
  const result = { allow: [] as string[], deny: [] as string[], problems: [] as ConfigProblem[] };
  const seen = new Map<string, string>(known.map((prefix) => [network(prefix) ?? prefix, 'in the configuration']));
  let start = 0;
  text.split('\n').forEach((line, index) => {
    const words = [...line.replace(/#.*$/, '').matchAll(/\S+/g)].map((word) => ({ text: word[0], at: start + word.index }));
    start += line.length + 1;
    const entry = readLine(words, seen);
    if (entry === undefined) return;
    if ('reason' in entry) {
      const { at, text: wrong } = entry.word;
      result.problems.push(source.problem(at, at + wrong.length, '', entry.reason, entry.remedy));
    } else {
      seen.set(entry.prefix, `line ${index + 1}`);
      result[entry.verdict].push(entry.prefix);
    }
  });
  return result;
}

interface Word {
  readonly text: string;
  readonly at: number;
}
type Line =
  | { readonly verdict: 'allow' | 'deny'; readonly prefix: string }
  | { readonly word: Word; readonly reason: string; readonly remedy: string };

/** What a line says, given its words; undefined where it says nothing. */
function readLine([verdict, prefix, extra]: readonly Word[], seen: ReadonlyMap<string, string>): Line | undefined {
  if (verdict === undefined) return undefined;
  const kind = verdict.text;
  if (kind !== 'allow' && kind !== 'deny') {
    return { word: verdict, reason: `expected allow or deny, found "${kind}"`, remedy: 'write allow PREFIX or deny PREFIX' };
  }
  if (prefix === undefined) return { word: verdict, reason: `no prefix after ${kind}`, remedy: `write ${kind} PREFIX` };
  if (extra !== undefined) {
    return { word: extra, reason: `"${extra.text}" stands after the prefix`, remedy: 'write one prefix per line' };
  }
  const parsed = parsePrefix(prefix.text);
  const canonical = network(prefix.text);
  if (parsed === undefined || canonical === undefined) {
    const reason = `expected a prefix such as 192.0.2.0/24, found "${prefix.text}"`;
    return { word: prefix, reason, remedy: 'write an address, a slash and a length' };
  }
  if (networkOf(parsed).value !== parsed.address.value) {
    const reason = `${prefix.text} is not a network: bits after the first ${parsed.length} are set`;
    return { word: prefix, reason, remedy: `write ${canonical}` };
  }
  const first = seen.get(canonical);
  if (first !== undefined) {
    return { word: prefix, reason: `prefix ${canonical} is there already (${first})`, remedy: 'remove one of the two' };
  }
  return { verdict: kind, prefix: canonical };
}

function network(text: string): string | undefined {
  const prefix = parsePrefix(text);
  return prefix === undefined ? undefined : `${networkOf(prefix).text}/${prefix.length}`;
}

/** The configuration with the prefixes of all its access list files in place of their names. */
export async function readAclFiles(
  config: Config,
  configFile: string,
  options: { readonly signal?: AbortSignal },
): Promise<Config> {
  if (!config.services.some((service) => service.acl?.file !== undefined)) return config;
  const problems: ConfigProblem[] = [];
  const services: Config['services'] = [];
  for (const service of config.services) {
    const { file: name, ...acl } = service.acl ?? { allow: [], deny: [] };
    if (name === undefined) {
      services.push(service);
      continue;
    }
    const file = resolve(dirname(configFile), name);
    const entries = parseAclFile(await readText(file, service.name, options), file, [...acl.allow, ...acl.deny]);
    problems.push(...entries.problems);
    services.push({
      ...service,
      acl: { ...acl, allow: [...acl.allow, ...entries.allow], deny: [...acl.deny, ...entries.deny] },
    });
  }
  if (problems.length > 0) throw new ConfigurationError('MILLRACE_E_CONFIG_INVALID', formatProblems(problems), problems);
  return { ...config, services };
}

async function readText(file: string, service: string, options: { readonly signal?: AbortSignal }): Promise<string> {
  try {
    return await readFile(file, { ...options, encoding: 'utf8' });
  } catch (error) {
    options.signal?.throwIfAborted();
    const reason = error instanceof Error ? error.message.replace(/, (open|read).*$/, '') : String(error);
    const message = `${file}, the access list of service "${service}", cannot be read: ${reason}`;
    throw new ConfigurationError('MILLRACE_E_CONFIG_UNREADABLE', message, [], { cause: error });
  }
}
