// Reads a block by a table of its keywords. What the table does not have is reported, with the keyword that was likely meant.
// Guarantees: no word of a block is passed over in silence: unknown keywords, further words behind a value, blocks where none belongs
// and keywords written twice are all reported.
// Thread: any; no state.
import { suggest } from '../config/suggest.js';
import type { Word } from './lexer.js';
import { type Statement, titleOf } from './parser.js';
import type { Place, ReportKind, Reports } from './report.js';

/** Where reading is: the blocks around it. */
export class Scope {
  readonly reports: Reports;
  readonly path: string;

  constructor(reports: Reports, path = '') {
    this.reports = reports;
    this.path = path;
  }

  inside(statement: Statement): Scope {
    const title = titleOf(statement);
    return new Scope(this.reports, this.path === '' ? title : `${this.path} > ${title}`);
  }

  report(kind: ReportKind, place: Place, reason: string, remedy: string): void {
    this.reports.add(kind, place, this.path, reason, remedy);
  }
}

export interface Keyword<T> {
  readonly read: (target: T, statement: Statement, scope: Scope) => void;
  /** Whether braces follow. */
  readonly block: boolean;
  /** What a further one of the same name in the block does. Default: it replaces the earlier one. */
  readonly again?: 'adds' | 'ignored';
  /** Most words behind the keyword; the reader looks at no others. */
  readonly words: number;
}

export type Keywords<T> = Readonly<Record<string, Keyword<T>>>;

/** A keyword with up to `words` words behind it. */
export function line<T>(words: number, read: Keyword<T>['read'], again?: Keyword<T>['again']): Keyword<T> {
  return { read, words, block: false, ...(again === undefined ? {} : { again }) };
}

/** A keyword that opens a block, with up to `words` words in front of the brace. */
export function block<T>(words: number, read: Keyword<T>['read'], again: Keyword<T>['again'] = 'adds'): Keyword<T> {
  return { read, words, block: true, again };
}

/** A keyword that alone says yes. */
export function flag<T>(set: (target: T) => void): Keyword<T> {
  return line(0, (target) => set(target));
}

/** Where the keywords of what was read stand: beside the model, which has values only. */
const WORDS = new WeakMap<object, Map<string, Word>>();

/** Where a keyword stands in what was read. */
export function wordIn(target: object, name: string): Word | undefined {
  return WORDS.get(target)?.get(name);
}

/** The same; where that itself stands, if the keyword is not in it. */
export function placeIn(target: { readonly at: Word }, name: string): Word {
  return wordIn(target, name) ?? target.at;
}

/** Reads all statements of a block into `target`. */
export function readBlock<T extends object>(statement: Statement, target: T, keywords: Keywords<T>, scope: Scope): void {
  const seen = new Map<string, Word>();
  const words = WORDS.get(target) ?? new Map<string, Word>();
  WORDS.set(target, words);
  for (const child of statement.block ?? []) {
    const name = child.keyword.text;
    const keyword = Object.hasOwn(keywords, name) ? keywords[name] : undefined;
    if (keyword === undefined) {
      reportUnknown(child, Object.keys(keywords), scope);
      continue;
    }
    const earlier = seen.get(name);
    if (earlier !== undefined && keyword.again !== 'adds') {
      const which = keyword.again === 'ignored' ? 'this one is ignored' : 'this one replaces it';
      scope.report('note', child.keyword, `${name} stands on line ${earlier.line} already; ${which}`, 'remove one of the two');
      if (keyword.again === 'ignored') continue;
    }
    seen.set(name, child.keyword);
    words.set(name, child.keyword);
    if (checkShape(child, keyword, scope)) keyword.read(target, child, scope);
  }
}

/** Whether the braces are as they should be; words too many are reported and no reason to pass the statement over. */
function checkShape(
  statement: Statement,
  { block: wanted, words }: Pick<Keyword<never>, 'block' | 'words'>,
  scope: Scope,
): boolean {
  const { keyword, args, block: found } = statement;
  const extra = args[words];
  if (extra !== undefined) {
    scope.report('unknown', extra, `"${extra.text}" stands behind ${keyword.text}, where nothing is expected`, 'take it away');
  }
  if (wanted && found === undefined) {
    scope.report('syntax', keyword, `${keyword.text} has no block`, 'write { and } behind it');
    return false;
  }
  if (!wanted && found !== undefined) {
    scope.report(
      'syntax',
      keyword,
      `${keyword.text} has a block, where none belongs`,
      'take the braces and what is in them away',
    );
  }
  return true;
}

/** Reports that a block is passed over with all its words, because what stands in front of it was refused. */
export function reportLeftOut({ keyword }: Statement, scope: Scope): void {
  scope.report('invalid', keyword, `this ${keyword.text} is left out with all that is in it`, 'correct what stands behind it');
}

/** Reports a keyword that has no place here. */
export function reportUnknown(statement: Statement, known: readonly string[], scope: Scope): void {
  const { keyword } = statement;
  const near = suggest(keyword.text, known);
  const meant = near === undefined ? 'correct or remove it' : `did you mean ${near}?`;
  const remedy = statement.block === undefined ? meant : `${meant} (its block is left out, too)`;
  scope.report('unknown', keyword, `unknown keyword "${keyword.text}"`, remedy);
}
