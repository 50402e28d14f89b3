// Syntax tree of keepalived.conf: statements, each a line of words, some with a block of further ones.
// Guarantees: any sequence of pieces gives a tree; braces without partner are reported; no recursion, so depth is no danger.
// Thread: any; no state.
import { type Piece, placeOf, splitWords, type Word } from './lexer.js';
import type { Reports } from './report.js';

export interface Statement {
  /** First word. In blocks of values (`virtual_server_group`, `virtual_ipaddress`) it is a value. */
  readonly keyword: Word;
  readonly args: readonly Word[];
  /** The line as it is after substitution, for words that need other rules than those of splitWords. */
  readonly text: string;
  /** Statements between its braces; undefined without braces. */
  readonly block: readonly Statement[] | undefined;
  /** Its pieces: the line, and with a block everything up to the closing brace. Both inclusive. */
  readonly first: number;
  readonly last: number;
}

interface Open {
  keyword: Word;
  args: readonly Word[];
  text: string;
  block: Open[] | undefined;
  first: number;
  last: number;
}

/** The statements of the whole file. */
export function parse(pieces: readonly Piece[], reports: Reports): readonly Statement[] {
  const root: Open[] = [];
  const stack: { owner: Open; outer: Open[] }[] = [];
  let current = root;
  // The statement that a brace would open: the one just before it.
  let candidate: Open | undefined;
  for (const [index, piece] of pieces.entries()) {
    if (piece.text === '{') {
      if (candidate === undefined) {
        reports.add('syntax', placeOf(piece), pathOf(stack), 'a { stands here without a statement in front', 'take it away');
        continue;
      }
      candidate.block = [];
      stack.push({ owner: candidate, outer: current });
      current = candidate.block;
      candidate = undefined;
    } else if (piece.text === '}') {
      const closed = stack.pop();
      candidate = undefined;
      if (closed === undefined) {
        reports.add('syntax', placeOf(piece), '', 'a } closes nothing', 'take it away, or add the { that is missing above');
        continue;
      }
      closed.owner.last = index;
      current = closed.outer;
    } else {
      const statement = statementOf(piece, index, () => pathOf(stack), reports);
      if (statement === undefined) continue;
      current.push(statement);
      candidate = statement;
    }
  }
  for (const { owner } of stack) {
    owner.last = pieces.length - 1;
    const { keyword } = owner;
    reports.add('syntax', keyword, '', `the block of ${keyword.text} is not closed`, 'add the } that is missing');
  }
  return root;
}

function statementOf(piece: Piece, index: number, path: () => string, reports: Reports): Open | undefined {
  const [keyword, ...args] = splitWords(piece, (word) => {
    reports.add('syntax', word, path(), 'a double quote has no partner', 'close it; text goes no further than a line');
  });
  return keyword && { keyword, args, text: piece.text, block: undefined, first: index, last: index };
}

function pathOf(stack: readonly { readonly owner: Open }[]): string {
  return stack.map(({ owner }) => titleOf(owner)).join(' > ');
}

/** How a block is called in reports: its keyword and up to two words. */
export function titleOf(statement: Pick<Statement, 'keyword' | 'args'>): string {
  return [statement.keyword, ...statement.args.slice(0, 2)].map((word) => word.text).join(' ');
}
