// The effective configuration: file and API together, checked as a whole, and the version that names it.
// Guarantees: pure but for reading file and store; the result has passed the same checks as a file; problems are reported by the names of
// services; services that came out as they were are the same objects, so that comparing and hashing them costs nothing.
// Thread: any; no state but caches.
import { isDeepStrictEqual } from 'node:util';
import type { ConfigPath, Finding } from '../config/finding.js';
import { loadConfig } from '../config/load.js';
import { markChecked, recheck } from '../config/recheck.js';
import type { Config, ConfigInput, ServiceConfig } from '../config/schema.js';
import { findingsError } from '../config/validate.js';
import { canonicalJson, digestOf, sha256 } from './canonical.js';
import { applyOverlay, EMPTY_OVERLAY, isEmpty, type Overlay, prune } from './overlay.js';
import { decodeOverlay, encodeOverlay } from './overlay-json.js';
import { StateFile } from './store.js';

/** Where the overlay lives between two runs. */
export interface OverlayStore {
  /** The empty overlay where there is none. Throws MILLRACE_E_STATE_INVALID. */
  read(): Promise<Overlay>;
  /** Resolves when it would survive a loss of power. Throws MILLRACE_E_STATE_UNWRITABLE or MILLRACE_E_STATE_INVALID; the old one is there then. */
  write(overlay: Overlay): Promise<void>;
}

/** The store in a file. */
export function overlayStore(path: string): OverlayStore {
  const file = new StateFile(path);
  return {
    read: async () => {
      const stored = await file.read();
      return stored === undefined ? EMPTY_OVERLAY : decodeOverlay(stored, path);
    },
    write: (overlay) => file.write(encodeOverlay(overlay)),
  };
}

/** All that is known of what is wanted. */
export interface Desired {
  /** As loadConfig returns it. */
  readonly file: Config;
  readonly overlay: Overlay;
  readonly config: Config;
  readonly version: string;
}

/**
 * What a start finds: the file, and on top of it what the store remembers. `dropped`: what of it came to its end (prune()).
 * @throws errors of loadConfig, of the store, and MILLRACE_E_CONFIG_INVALID where both do not go together.
 */
export async function readDesired(
  configFile: string,
  store: Pick<OverlayStore, 'read'>,
  load: (file: string) => Promise<Config> = loadConfig,
): Promise<Desired & { readonly dropped: readonly string[] }> {
  const file = markChecked(await load(configFile));
  const { overlay, dropped } = prune(await store.read(), file);
  const config = effectiveOf(file, overlay, file);
  return { file, overlay, config, version: versionOf(config, overlay), dropped };
}

/**
 * The checked configuration of file and overlay. `from`: a checked configuration that it has much in common with, such as the one in force;
 * what is the same in both is not checked again. Services are the objects of the file, or those that the overlay derives from them.
 */
export function effectiveOf(file: Config, overlay: Overlay, from: Config): Config {
  if (isEmpty(overlay)) return file;
  const { config } = applyOverlay(file, overlay);
  const result = recheck(config, from);
  if (!('config' in result)) throw findingsError(result.findings.map((finding) => byName(finding, config)));
  const services = result.config.services.map((service, i) => {
    const given = config.services[i] as ServiceConfig | undefined;
    return given !== undefined && given !== service && isDeepStrictEqual(given, service) ? given : service;
  });
  return markChecked({ ...result.config, services });
}

/** "services[3]" says nothing about a list that stands in no file: its name does. */
function byName(finding: Finding, config: ConfigInput): Finding {
  const [first, position, ...rest] = finding.path;
  if (first !== 'services' || typeof position !== 'number') return finding;
  const name = config.services[position]?.name;
  const path: ConfigPath = name === undefined ? finding.path : [first, name, ...rest];
  return { ...finding, path };
}

/** Whether nothing that the dataplane has would change, the order of services included: matches are tried in it. */
export function sameConfig(a: Config, b: Config): boolean {
  if (a === b) return true;
  const { services: ofA, ...restOfA } = a;
  const { services: ofB, ...restOfB } = b;
  if (ofA.length !== ofB.length || !isDeepStrictEqual(restOfA, restOfB)) return false;
  return ofA.every((service, i) => service === ofB[i] || isDeepStrictEqual(service, ofB[i]));
}

/** 16 hexadecimal digits, the same for the same configuration with the same changes of the API in it, also after a restart. */
export function versionOf(config: Config, overlay: Overlay): string {
  const { services, ...rest } = config;
  const parts = [canonicalJson(rest), ...services.map(digestOf)];
  if (!isEmpty(overlay)) parts.push(encodeOverlay(overlay));
  return sha256(parts.join('\n')).slice(0, 16);
}
