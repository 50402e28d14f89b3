// What the main thread and a health worker say to each other, over a MessagePort.
// Thread: types only.
import type { Change, Standing, TargetStatus } from './runner.js';
import type { CheckTarget } from './target.js';

export type ToWorker =
  | {
      readonly kind: 'set';
      readonly targets: readonly CheckTarget[];
      readonly standings: ReadonlyMap<string, Standing>;
    }
  | { readonly kind: 'remove'; readonly ids: readonly string[] }
  | { readonly kind: 'status'; readonly request: number }
  | { readonly kind: 'stop' };

export interface Lateness {
  readonly checks: number;
  /** Milliseconds. */
  readonly mean: number;
  readonly worst: number;
}

export type FromWorker =
  | { readonly kind: 'changes'; readonly changes: readonly Change[] }
  | { readonly kind: 'status'; readonly request: number; readonly targets: readonly TargetStatus[]; readonly lateness: Lateness };
