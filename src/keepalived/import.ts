// From files to a configuration: reads a keepalived.conf and a base, translates, and writes it down as a person would.
// Guarantees: what is written passes `millrace check`; where that cannot be, an error of the catalogue says what is missing.
// Thread: main; reads files while the caller waits.
import { hostname } from 'node:os';
import { Document, isMap, isSeq } from 'yaml';
import { readAclFiles } from '../config/acl-file.js';
import { type Finding, formatPath } from '../config/finding.js';
import { parseConfig } from '../config/load.js';
import type { Config, ConfigInput } from '../config/schema.js';
import type { ConfigProblem } from '../errors.js';
import { type Base, type BaseOptions, invalid, readBase, unreadable } from './base.js';
import { type KeepalivedFile, loadKeepalived } from './load.js';
import type { Report } from './report.js';
import { type Translation, translate } from './translate.js';

export interface ImportOptions extends BaseOptions {
  /** What stands behind `@` in lines that count; default: the host name up to its first dot, as keepalived has it. */
  readonly configId?: string | undefined;
}

export interface Imported {
  readonly file: KeepalivedFile;
  readonly input: ConfigInput;
  readonly config: Config;
  readonly origins: Translation['origins'];
  readonly reports: readonly Report[];
}

/**
 * Reads and translates. @throws ConfigurationError: MILLRACE_E_CONFIG_UNREADABLE, or MILLRACE_E_CONFIG_INVALID with what is wrong in the
 * base or missing; what is wrong in keepalived.conf is in the reports.
 */
export function importKeepalived(path: string, options: ImportOptions): Imported {
  const base = readBase(options);
  const file = readKeepalived(path, options.configId ?? hostname().split('.')[0]);
  const { input, config, origins, reports, problems } = translate(file, { base: base.config });
  if (config === undefined) throw invalid(problems.map((problem) => placed(problem, base, file)));
  return { file, input, config, origins, reports };
}

/** As loadConfig does it for a file of Millrace, access lists included. `tell` gets the reports. */
export async function loadFromKeepalived(
  path: string,
  options: ImportOptions & { readonly signal?: AbortSignal | undefined },
  tell: (reports: readonly Report[]) => void,
): Promise<Imported> {
  const imported = importKeepalived(path, options);
  const { signal } = options;
  const config = await readAclFiles(imported.config, options.base ?? path, signal === undefined ? {} : { signal });
  tell(imported.reports);
  return { ...imported, config };
}

function readKeepalived(path: string, configId: string | undefined): KeepalivedFile {
  try {
    return loadKeepalived(path, { configId });
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** What only the operator can say, and how; and otherwise the place in the base. */
function placed({ path, reason, remedy }: Finding, { text, file }: Base, keepalived: KeepalivedFile): ConfigProblem {
  const [key] = path;
  const where = { file: '', line: 0, column: 0, path: formatPath(path), source: '', length: 0 };
  if (key === 'interfaces' && path.length === 1) {
    const vrrp = vrrpInterfaces(keepalived);
    const seen = vrrp.length === 0 ? '' : ` (VRRP uses ${vrrp.join(', ')})`;
    return {
      ...where,
      reason: 'keepalived.conf does not say where packets come in',
      remedy: `give --interface NAME, or --base FILE${seen}`,
    };
  }
  if (key === 'localAddresses' && path.length === 1) {
    return { ...where, reason, remedy: `${remedy}: give --local-address ADDRESS, or --base FILE` };
  }
  const known = text === undefined || file === undefined ? [] : parseConfig(text, file).problems;
  return known.find((problem) => problem.path === where.path && problem.reason === reason) ?? { ...where, reason, remedy };
}

function vrrpInterfaces({ kept }: KeepalivedFile): string[] {
  const names = kept
    .filter(({ keyword }) => keyword.text === 'vrrp_instance')
    .flatMap(({ block }) => block ?? [])
    .filter(({ keyword }) => keyword.text === 'interface')
    .flatMap(({ args }) => args[0]?.text ?? []);
  return [...new Set(names)];
}

/** The text of the configuration, with the place in keepalived.conf in front of each service. */
export function writeImported({ input, origins, file }: Imported, base: string | undefined): string {
  const [main = 'keepalived.conf'] = file.files;
  const document = new Document(input, { aliasDuplicateObjects: false });
  const from = base === undefined ? main : `${main} and ${base}`;
  document.commentBefore = ` Made by "millrace import" from ${from}.`;
  for (const list of ['services', 'snat']) {
    const items = document.get(list);
    if (!isSeq(items)) continue;
    for (const item of items.items) {
      const origin = isMap(item) ? origins.get(String(item.get('name'))) : undefined;
      if (origin === undefined || !isMap(item)) continue;
      const source = origin.source.replace(/\s*\{.*$/, '').trim();
      item.commentBefore = ` ${origin.file}:${origin.line}: ${source.replaceAll(/[^ -~]/g, '?')}`;
    }
  }
  return document.toString({ lineWidth: 120 });
}
