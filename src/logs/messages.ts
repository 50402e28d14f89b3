// What the main thread and the log thread say to each other.
// Thread: both; types only.
import type { LogsConfig } from '../config/schema-logs.js';
import type { DrainCounts } from './drainer.js';
import type { SinkStats } from './sink.js';

export interface Start {
  readonly handle: number;
  readonly interfaces: readonly string[];
  readonly config: LogsConfig;
}

/** A service as it is from now on; no name: it is gone. */
export interface NamedService {
  readonly slot: number;
  readonly name?: string;
  readonly servers: readonly { readonly slot: number; readonly text: string }[];
}

export type ToThread =
  | { readonly kind: 'names'; readonly services: readonly NamedService[] }
  | { readonly kind: 'stats' }
  | { readonly kind: 'stop'; readonly deadline: number };

export interface ThreadStats extends DrainCounts {
  readonly sink: SinkStats;
}

export type FromThread =
  | { readonly kind: 'started' }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  | { readonly kind: 'stats' | 'stopped'; readonly stats: ThreadStats };
