// What stays with keepalived once load balancing has left: the same file without virtual servers and what belongs to them.
// Guarantees: lines that stay are as they were written, with comments, conditions and definitions; an include stays unless a file behind
// it has something to leave, then its lines stand in its place; definitions that nothing uses any more leave, too.
// Thread: any; pure.
import { dirname, isAbsolute, join } from 'node:path';
import type { Expanded, PhysicalLine } from './expand.js';
import type { Statement } from './parser.js';

/**
 * The text of the file that stays. `leaves` says which statements go, at the top (no parent) and two levels below;
 * `instead` has the line that comes in the place of one that goes.
 */
export function remainderOf(
  expanded: Expanded,
  statements: readonly Statement[],
  leaves: (statement: Statement, parent: Statement | undefined) => boolean,
  instead: ReadonlyMap<Statement, string> = new Map(),
): string {
  const { physical, pieces } = expanded;
  const gone = new Uint8Array(pieces.length);
  /** Lines between the first and the last of something that goes: comments and the like go with it. */
  const inside = new Uint8Array(physical.length);
  const replaced = new Map<number, string>();
  const remove = (statement: Statement) => {
    const line = instead.get(statement);
    if (line !== undefined) replaced.set(statement.first, line);
    gone.fill(1, statement.first, statement.last + 1);
    const [from, to] = [pieces[statement.first]?.physical ?? 0, pieces[statement.last]?.physical ?? 0];
    inside.fill(1, from, to + 1);
  };
  for (const statement of statements) {
    if (leaves(statement, undefined)) remove(statement);
    else {
      for (const child of statement.block ?? []) {
        if (leaves(child, statement)) remove(child);
        else for (const inner of child.block ?? []) if (leaves(inner, child)) remove(inner);
      }
    }
  }

  const byLine = new Map<number, { kept: string[]; gone: number }>();
  pieces.forEach((piece, index) => {
    const entry = byLine.get(piece.physical) ?? { kept: [], gone: 0 };
    const text = gone[index] === 1 ? replaced.get(index) : piece.text;
    if (gone[index] === 1) entry.gone++;
    if (text !== undefined) entry.kept.push(text);
    byLine.set(piece.physical, entry);
  });

  const home = dirname(expanded.files[0] ?? '');
  const lines: { text: string; definition: string | undefined }[] = [];
  for (let index = 0; index < physical.length; index++) {
    const line = physical[index];
    if (line === undefined) continue;
    const entry = byLine.get(index);
    if (line.include !== undefined) {
      const { until } = line.include;
      // Within a block that goes, its lines go one by one.
      if (inside[index] === 1) continue;
      if (inside.subarray(index + 1, until).includes(1)) lines.push({ text: `# ${line.source.trim()}`, definition: undefined });
      else {
        lines.push({ text: relocated(line, home), definition: undefined });
        index = until - 1;
      }
    } else if (entry === undefined || entry.gone === 0) {
      const drops = inside[index] === 1 && (entry === undefined || entry.kept.length === 0) && line.definition === undefined;
      if (!drops) lines.push({ text: relocated(line, home), definition: line.definition });
    } else {
      // A line that is in part for keepalived: its words as they are after substitution.
      for (const text of entry.kept) lines.push({ text, definition: undefined });
    }
  }
  return tidy(withoutUnused(lines));
}

/** A line of an included file that now stands in the main one: paths that were relative to its folder. */
function relocated(line: PhysicalLine, home: string): string {
  const folder = dirname(line.file);
  if (folder === home) return line.source;
  if (line.include !== undefined && !isAbsolute(line.include.pattern)) {
    return line.source.replace(line.include.pattern, () => join(folder, line.include?.pattern ?? ''));
  }
  return line.source.replaceAll(/\$\{_PWD\}|\$_PWD(?=[ \t]|$)/g, () => folder);
}

type KeptLine = { readonly text: string; readonly definition: string | undefined };

/** Drops definitions whose name is in no other line that stays; one that only such a definition uses goes with it. */
function withoutUnused(lines: readonly KeptLine[]): string[] {
  const bodies = new Map<string, string[]>();
  const used = new Set<string>();
  const queue: string[] = [];
  const use = (text: string) => {
    for (const [, name = ''] of text.matchAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)/g)) {
      if (used.has(name)) continue;
      used.add(name);
      queue.push(name);
    }
  };
  for (const { text, definition } of lines) {
    if (definition === undefined) use(text);
    else {
      const body = bodies.get(definition);
      if (body === undefined) bodies.set(definition, [text]);
      else body.push(text);
    }
  }
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) for (const text of bodies.get(name) ?? []) use(text);
  return lines.filter(({ definition }) => definition === undefined || used.has(definition)).map(({ text }) => text);
}

/** One empty line where blocks between several have gone, none at the ends. */
function tidy(lines: readonly string[]): string {
  const kept = lines.filter((line, i) => line.trim() !== '' || (lines[i - 1] ?? '').trim() !== '');
  const text = kept.join('\n').trim();
  return text === '' ? '' : `${text}\n`;
}
