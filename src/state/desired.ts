// What is wanted: the file, and on top of it what was changed through the API since. The API wins over the file, key by key; health
// checks come on top of both and are not part of this.
// Thread: types only; desired-state.ts implements them on the main thread.
import type { Config } from '../config/schema.js';
import type { ConfigChanges } from '../control/diff.js';
import type { ServerInput, ServerRef, ServiceInput } from '../control/edit.js';

/** Keys of the top level that can be set as a whole while traffic runs. */
export type Section = 'localAddresses' | 'tunnelSources' | 'echoReplies' | 'routes' | 'neighbours' | 'snat' | 'sessions';

/** One change. All of a request's changes come together or not at all. */
export type Operation =
  /** Adds the service, or replaces it as a whole, servers included. */
  | { readonly op: 'put-service'; readonly service: ServiceInput }
  | { readonly op: 'delete-service'; readonly name: string }
  | { readonly op: 'put-server'; readonly service: string; readonly server: ServerInput }
  | { readonly op: 'delete-server'; readonly service: string; readonly server: ServerRef }
  | { readonly op: 'set-weight'; readonly service: string; readonly server: ServerRef; readonly weight: number }
  /** Weight 0 until undrained, whatever the file says; without `server` all servers of the service. */
  | { readonly op: 'drain'; readonly service: string; readonly server?: ServerRef }
  | { readonly op: 'undrain'; readonly service: string; readonly server?: ServerRef }
  | { readonly op: 'set-section'; readonly section: Section; readonly value: unknown }
  /** Forgets what the API has changed about a service, or all of it. */
  | { readonly op: 'reset'; readonly service?: string };

export type Origin = 'file' | 'api';

export interface ChangeOptions {
  /** Says what would change and changes nothing. */
  readonly dryRun?: boolean;
  /** The version that the change was made for; another one in force is MILLRACE_E_VERSION_CONFLICT. */
  readonly expected?: string;
  readonly signal?: AbortSignal;
}

export interface ChangeResult {
  /** The version in force afterwards; of a dry run the one in force. */
  readonly version: string;
  readonly changes: ConfigChanges;
  readonly dryRun: boolean;
  /** API changes that had nothing to hold on to any more, such as the weight of a server that left the file: one sentence each. */
  readonly stale: readonly string[];
}

export interface DesiredState {
  /** Changes with every change of the configuration: a hash, 16 hexadecimal digits. */
  readonly version: string;
  /** File and API together, defaults filled in. */
  readonly config: Config;
  /** Where each thing comes from, by "services.NAME", "services.NAME.servers.ADDRESS:PORT" (of a weight or a drain alone with ".weight"
   * after it) and names of sections. What is not here is the file's. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** Rejects with an error of the catalogue; nothing has changed then. Resolves when all workers have the change and it is on disk. */
  change(operations: readonly Operation[], options?: ChangeOptions): Promise<ChangeResult>;
  /** Reads the file again, as SIGHUP does; changes of the API stay. */
  reload(options?: ChangeOptions): Promise<ChangeResult>;
}
