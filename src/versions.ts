// What is running, in the manner of process.versions.
// Guarantees: reading `millrace`, `node` and `napi` loads nothing; the versions of the native side appear once the addon is loaded.
// Thread: any.
import { readFileSync } from 'node:fs';
import { loadedNative } from './native.js';

export interface Versions {
  readonly millrace: string;
  readonly node: string;
  /** Node-API version of this Node.js. */
  readonly napi: string;
  /** Of the addon and its libraries; empty until a load balancer was created or a capture replayed. */
  readonly native: Readonly<Record<string, string>>;
}

let ownVersion: string | undefined;

function packageVersion(): string {
  const content: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const version: unknown = typeof content === 'object' && content !== null ? Reflect.get(content, 'version') : undefined;
  return typeof version === 'string' ? version : '';
}

export const versions: Versions = {
  get millrace(): string {
    ownVersion ??= packageVersion();
    return ownVersion;
  },
  get node(): string {
    return process.versions.node;
  },
  get napi(): string {
    return process.versions.napi ?? '';
  },
  get native(): Readonly<Record<string, string>> {
    return loadedNative()?.versions() ?? {};
  },
};
