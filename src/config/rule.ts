// What the semantic rules share: their type, and how they report.
// Thread: any; pure.
import type { Fact, Facts } from './facts.js';
import type { ConfigPath, Finding } from './finding.js';

/** One rule: everything in the facts that breaks it. */
export type Rule = (facts: Facts) => Finding[];

/** A finding about the value at `path`. */
export function wrong(path: ConfigPath, reason: string, remedy: string): Finding {
  return { path, at: 'value', reason, remedy };
}

/** The facts that are known. */
export function present<T>(facts: readonly (Fact<T> | undefined)[]): Fact<T>[] {
  return facts.filter((fact) => fact !== undefined);
}
