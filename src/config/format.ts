// How problems of a configuration are shown to a person: place, reason, the line with a caret, the remedy.
// Thread: any; pure.
import type { ConfigProblem } from '../errors.js';

/** Longest part of a source line that is shown. */
const SOURCE_WIDTH = 110;

/** Paints parts of the text; the identity where colours are off. */
export interface ProblemStyle {
  readonly place: (text: string) => string;
  readonly caret: (text: string) => string;
  readonly remedy: (text: string) => string;
}

const PLAIN: ProblemStyle = { place: (text) => text, caret: (text) => text, remedy: (text) => text };

/**
 * ```text
 * millrace.yaml:12:9: unknown key "weigth"
 *    12 |         weigth: 1
 *       |         ^^^^^^
 *       = did you mean "weight"?
 * ```
 */
export function formatProblem(problem: ConfigProblem, style: ProblemStyle = PLAIN): string {
  const { file, line, column, path, reason, remedy } = problem;
  if (line === 0) return `${style.place(path === '' ? 'configuration' : path)}: ${reason}\n      ${style.remedy(`= ${remedy}`)}`;
  const number = String(line).padStart(5);
  // Tabs are kept in front of the caret, so that it stands below the same place whatever a tab is wide.
  const from = Math.max(0, column - 1 + Math.min(problem.length, 60) - SOURCE_WIDTH);
  const source = printable(problem.source.slice(from, from + SOURCE_WIDTH));
  const indent = printable(problem.source.slice(from, column - 1)).replaceAll(/[^\t]/g, ' ');
  const caret = '^'.repeat(Math.max(1, Math.min(problem.length, SOURCE_WIDTH - indent.length)));
  return [
    `${style.place(`${file}:${line}:${column}`)}: ${reason}`,
    `${number} | ${source}`,
    `      | ${indent}${style.caret(caret)}`,
    `      ${style.remedy(`= ${remedy}`)}`,
  ].join('\n');
}

/** All problems and their number. */
export function formatProblems(problems: readonly ConfigProblem[], style: ProblemStyle = PLAIN): string {
  const file = problems[0]?.file ?? '';
  const count = `${problems.length} problem${problems.length === 1 ? '' : 's'}${file === '' ? '' : ` in ${file}`}`;
  return `${problems.map((problem) => formatProblem(problem, style)).join('\n\n')}\n\n${count}`;
}

/** Control characters of a file must not reach a terminal. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is being replaced
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '?');
}
