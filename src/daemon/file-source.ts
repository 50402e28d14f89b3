// Where the daemon's configuration comes from: a file of Millrace, or of keepalived.
// Thread: main.
import { loadConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';

export interface FileSource {
  /** Reads and checks the file; rejects with an error of the catalogue. */
  load(file: string, options: { readonly signal?: AbortSignal }): Promise<Config>;
  /** What was loaded last is in force. */
  accepted(): void;
  /** Calls `changed` when something beside the file wants another configuration; the answer is beside() and then a load. */
  follow(changed: () => void): void;
  /** The next load is about what has changed beside the file: the file need not be read. */
  beside(): void;
  close(): void;
}

/** A file of Millrace: nothing beside it counts. */
export const millraceFile: FileSource = {
  load: loadConfig,
  accepted: () => undefined,
  follow: () => undefined,
  beside: () => undefined,
  close: () => undefined,
};
