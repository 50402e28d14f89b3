// Which files an `include` of keepalived.conf names: *, ?, [...] and {a,b}, as glob(3) with GLOB_BRACE.
// Guarantees: sorted, each file once; bounded work for any pattern; a folder that cannot be read has no files.
// Thread: main; reads folders while the caller waits.
import { isAbsolute, join, resolve } from 'node:path';

/** What the parser needs of a file system; tests have one in memory. */
export interface FileAccess {
  /** Text of a file; throws an error of node:fs where it cannot be read. */
  readonly read: (path: string) => string;
  /** Names in a folder; throws where it cannot be read. */
  readonly list: (folder: string) => readonly string[];
}

/** Most patterns that braces may make of one, and most folders that are read for one. */
const LIMIT = 1000;

export interface Found {
  readonly files: readonly string[];
  /** Whether the pattern has characters that match more than one name. */
  readonly wildcard: boolean;
}

/** Absolute paths that a pattern names. A pattern without wildcards names one file, whether it exists or not. */
export function findFiles(pattern: string, folder: string, files: FileAccess): Found {
  const found = new Set<string>();
  const wildcard = /[*?[{]/.test(pattern);
  for (const plain of expandBraces(pattern)) {
    const start = isAbsolute(plain) ? '/' : folder;
    const parts = plain.split('/').filter((part) => part !== '');
    if (!/[*?[]/.test(plain)) found.add(resolve(folder, plain));
    else for (const file of walk(start, parts, files)) found.add(file);
  }
  return { files: [...found].sort(), wildcard };
}

function walk(start: string, parts: readonly string[], files: FileAccess): string[] {
  let paths = [start];
  for (const part of parts) {
    const next: string[] = [];
    for (const path of paths.slice(0, LIMIT)) {
      if (!/[*?[]/.test(part)) next.push(join(path, part));
      else for (const name of namesIn(path, files)) if (matches(part, name)) next.push(join(path, name));
    }
    paths = next;
  }
  return paths;
}

function namesIn(folder: string, files: FileAccess): readonly string[] {
  try {
    return files.list(folder);
  } catch {
    return [];
  }
}

/** Alternatives of {a,b}; a brace without partner stands for itself. */
export function expandBraces(pattern: string): string[] {
  let patterns = [pattern];
  // Outermost first; every round opens one pair, so the work is bounded by the limit and the length.
  for (let round = 0; round < LIMIT; round++) {
    const index = patterns.findIndex((candidate) => alternatives(candidate) !== undefined);
    const candidate = patterns[index];
    const opened = candidate === undefined ? undefined : alternatives(candidate);
    if (opened === undefined || patterns.length + opened.length > LIMIT) return patterns;
    patterns = [...patterns.slice(0, index), ...opened, ...patterns.slice(index + 1)];
  }
  return patterns;
}

function alternatives(pattern: string): string[] | undefined {
  for (let open = pattern.indexOf('{'); open !== -1; open = pattern.indexOf('{', open + 1)) {
    const parts: string[] = [];
    let depth = 0;
    let start = open + 1;
    for (let at = open; at < pattern.length; at++) {
      const char = pattern[at];
      if (char === '{') depth++;
      if (char === '}') depth--;
      if ((char === ',' && depth === 1) || (char === '}' && depth === 0)) {
        parts.push(pattern.slice(start, at));
        start = at + 1;
      }
      if (char === '}' && depth === 0) return parts.map((part) => pattern.slice(0, open) + part + pattern.slice(at + 1));
    }
  }
  return undefined;
}

/** Whether a name matches a pattern of *, ? and [...]; a leading dot only where the pattern has it. */
export function matches(pattern: string, name: string): boolean {
  if (name.startsWith('.') && !pattern.startsWith('.')) return false;
  let at = 0;
  let p = 0;
  let star = -1;
  let starAt = 0;
  while (at < name.length) {
    const step = p < pattern.length && pattern[p] !== '*' ? matchOne(pattern, p, name[at] ?? '') : 0;
    if (step > 0) {
      p += step;
      at++;
    } else if (pattern[p] === '*') {
      star = ++p;
      starAt = at;
    } else if (star !== -1) {
      p = star;
      at = ++starAt;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

/** Characters of the pattern from `p` that match `char`; 0 where they do not. */
function matchOne(pattern: string, p: number, char: string): number {
  if (pattern[p] === '?') return 1;
  const close = pattern[p] === '[' ? pattern.indexOf(']', p + 2) : -1;
  if (close === -1) return pattern[p] === char ? 1 : 0;
  const negated = /[!^]/.test(pattern[p + 1] ?? '');
  const set = pattern.slice(p + (negated ? 2 : 1), close);
  let inside = false;
  for (let i = 0; i < set.length; i++) {
    const low = set[i] ?? '';
    const high = set[i + 1] === '-' && set[i + 2] !== undefined ? (set[i + 2] ?? '') : low;
    if (char >= low && char <= high) inside = true;
    if (high !== low) i += 2;
  }
  return inside === negated ? 0 : close - p + 1;
}
