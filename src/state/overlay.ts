// What the API has changed, and what it makes of the configuration file: the one place where it is decided who wins.
// The rule: the API wins over the file, key by key. Keys are: a service as a whole, a server as a whole, a server's weight, whether a server
// is drained, and a section of the top level. What the API has not touched is the file's, also in a service that it has touched.
// Guarantees: pure; an overlay and its entries are never changed, a new one shares what stayed the same; no entry is lost because the file
// has nothing for it at the moment, but for deletions of what the file does not have any more: there the two agree.
// Thread: any; no state but caches.
import type { Config, ConfigInput, ServerConfig, ServiceConfig } from '../config/schema.js';
import { serverKey } from '../control/availability.js';
import type { Origin, Section } from './desired.js';

/** What the API says of one server of a service that is the file's. */
export interface ServerEntry {
  /** In place of the file's server, or beside the file's servers. */
  readonly put?: ServerConfig;
  readonly deleted?: true;
  /** In place of the file's weight; never beside `put`, which has its own. */
  readonly weight?: number;
  /** Weight 0, and what it would be otherwise stays known. */
  readonly drained?: true;
}

/** What the API says of one service. */
export interface ServiceEntry {
  /** In place of the file's service, servers included. `servers` then holds nothing but drains. */
  readonly put?: ServiceConfig;
  readonly deleted?: true;
  /** All servers, also those that come later. */
  readonly drained?: true;
  /** By serverKey(). */
  readonly servers: ReadonlyMap<string, ServerEntry>;
}

export interface Overlay {
  /** By name, in the order in which they were added: that of services that the file does not have. */
  readonly services: ReadonlyMap<string, ServiceEntry>;
  readonly sections: ReadonlyMap<Section, unknown>;
}

export const SECTIONS: readonly Section[] = [
  'localAddresses',
  'tunnelSources',
  'echoReplies',
  'routes',
  'neighbours',
  'snat',
  'sessions',
];

export const EMPTY_OVERLAY: Overlay = { services: new Map(), sections: new Map() };

export function isEmpty(overlay: Overlay): boolean {
  return overlay.services.size === 0 && overlay.sections.size === 0;
}

/** One sentence about something that is not as the file has it. */
export interface Remark {
  /** "services.NAME", "services.NAME.servers.ADDRESS:PORT", the same with ".weight", a section; empty: about something that is gone. */
  readonly key: string;
  readonly text: string;
}

/** One service with what the API says of it. */
export interface Derived {
  /** undefined: there is no such service. */
  readonly service: ServiceConfig | undefined;
  /** Keys that are the API's. */
  readonly origins: readonly string[];
  readonly remarks: readonly Remark[];
  /** Entries that have nothing to hold on to. */
  readonly stale: readonly string[];
}

export interface Applied {
  /** Not checked as a whole yet. */
  readonly config: ConfigInput;
  readonly origins: ReadonlyMap<string, Origin>;
  readonly remarks: readonly Remark[];
  readonly stale: readonly string[];
}

const indexes = new WeakMap<Config, ReadonlyMap<string, ServiceConfig>>();
const derivations = new WeakMap<ServiceEntry, { readonly file: ServiceConfig | undefined; readonly derived: Derived }>();

/** The services of a checked configuration by name. */
export function servicesByName(config: Config): ReadonlyMap<string, ServiceConfig> {
  let index = indexes.get(config);
  if (index === undefined) {
    index = new Map(config.services.map((service) => [service.name, service]));
    indexes.set(config, index);
  }
  return index;
}

/** The file's service, if it has one, with what the API says of it. */
export function deriveService(name: string, file: ServiceConfig | undefined, entry: ServiceEntry): Derived {
  const known = derivations.get(entry);
  if (known !== undefined && known.file === file) return known.derived;
  const derived = derive(name, file, entry);
  derivations.set(entry, { file, derived });
  return derived;
}

function derive(name: string, file: ServiceConfig | undefined, entry: ServiceEntry): Derived {
  const path = `services.${name}`;
  const origins: string[] = [];
  const remarks: Remark[] = [];
  const base = entry.put ?? (entry.deleted ? undefined : file);
  if (base === undefined) {
    if (entry.deleted && file !== undefined) {
      remarks.push({ key: '', text: `service "${name}" of the file is deleted through the API` });
      return { service: undefined, origins, remarks, stale: [] };
    }
    return { service: undefined, origins, remarks, stale: staleOfAbsent(name, entry) };
  }
  if (entry.put !== undefined) {
    origins.push(path);
    remarks.push({
      key: path,
      text: `${file === undefined ? 'added' : 'put in place of the one of the file'} through the API`,
    });
  }
  const rest = new Map(entry.servers);
  const present = (server: ServerConfig, key: string, said: ServerEntry | undefined): ServerConfig => {
    const place = `${path}.servers.${key}`;
    const wanted = said?.put ?? (said?.weight === undefined ? server : { ...server, weight: said.weight });
    if (entry.put !== undefined || said?.put !== undefined) origins.push(place);
    if (said?.put !== undefined) {
      const text = said.put === server ? 'added through the API' : 'put in place of the one of the file through the API';
      remarks.push({ key: place, text });
    }
    const drained = entry.drained ?? said?.drained ?? false;
    if (drained || said?.weight !== undefined) {
      origins.push(`${place}.weight`);
      const text = drained
        ? `drained through the API; otherwise ${wanted.weight}`
        : `set through the API; the file has ${server.weight}`;
      remarks.push({ key: `${place}.weight`, text });
    }
    return drained ? { ...wanted, weight: 0 } : wanted;
  };
  const servers: ServerConfig[] = [];
  for (const server of base.servers) {
    const key = serverKey(base, server);
    const said = rest.get(key);
    rest.delete(key);
    if (said?.deleted)
      remarks.push({ key: '', text: `server ${key} of service "${name}" of the file is deleted through the API` });
    else servers.push(present(server, key, said));
  }
  const stale: string[] = [];
  for (const [key, said] of rest) {
    if (said.put !== undefined) servers.push(present(said.put, key, said));
    else stale.push(staleOf(name, key, said, `service "${name}" has no such server at the moment`));
  }
  const same = servers.length === base.servers.length && servers.every((server, i) => server === base.servers[i]);
  return { service: same ? base : { ...base, servers }, origins, remarks, stale };
}

function staleOfAbsent(name: string, entry: ServiceEntry): readonly string[] {
  const why = `there is no service "${name}" at the moment`;
  return [
    ...(entry.deleted ? [`the deletion of service "${name}" through the API has nothing to delete`] : []),
    ...(entry.drained ? [`the drain of all servers of service "${name}" waits: ${why}`] : []),
    ...[...entry.servers].map(([key, said]) => staleOf(name, key, said, why)),
  ];
}

function staleOf(name: string, key: string, said: ServerEntry, why: string): string {
  const parts = [
    ...(said.put === undefined ? [] : ['the definition']),
    ...(said.deleted ? ['the deletion'] : []),
    ...(said.weight === undefined ? [] : [`the weight ${said.weight}`]),
    ...(said.drained ? ['the drain'] : []),
  ];
  return `${parts.join(' and ')} of server ${key} of service "${name}" waits: ${why}`;
}

/** File and API together. */
export function applyOverlay(file: Config, overlay: Overlay): Applied {
  const origins = new Map<string, Origin>();
  const remarks: Remark[] = [];
  const stale: string[] = [];
  const fromFile = servicesByName(file);
  const take = (name: string, entry: ServiceEntry): ServiceConfig[] => {
    const derived = deriveService(name, fromFile.get(name), entry);
    for (const key of derived.origins) origins.set(key, 'api');
    remarks.push(...derived.remarks);
    stale.push(...derived.stale);
    return derived.service === undefined ? [] : [derived.service];
  };
  const services: ServiceConfig[] = [];
  for (const service of file.services) {
    const entry = overlay.services.get(service.name);
    if (entry === undefined) services.push(service);
    else services.push(...take(service.name, entry));
  }
  for (const [name, entry] of overlay.services) {
    if (!fromFile.has(name)) services.push(...take(name, entry));
  }
  for (const section of overlay.sections.keys()) {
    origins.set(section, 'api');
    remarks.push({ key: section, text: 'set through the API' });
  }
  return { config: { ...file, ...Object.fromEntries(overlay.sections), services }, origins, remarks, stale };
}

/** Entries that have nothing to hold on to, one sentence each; what applyOverlay says of them, without the rest. */
export function staleEntries(file: Config, overlay: Overlay): readonly string[] {
  const fromFile = servicesByName(file);
  return [...overlay.services].flatMap(([name, entry]) => deriveService(name, fromFile.get(name), entry).stale);
}

/**
 * The overlay without deletions that a new file has made itself: of services that it does not have, and of servers that a service of it
 * does not have. `dropped`: one sentence for each.
 */
export function prune(overlay: Overlay, file: Config): { readonly overlay: Overlay; readonly dropped: readonly string[] } {
  const fromFile = servicesByName(file);
  const services = new Map(overlay.services);
  const dropped: string[] = [];
  for (const [name, entry] of overlay.services) {
    const service = fromFile.get(name);
    if (entry.deleted && service === undefined) {
      dropped.push(`the deletion of service "${name}" through the API is forgotten: the file does not have it any more`);
      services.delete(name);
      continue;
    }
    if (service === undefined || ![...entry.servers.values()].some((said) => said.deleted)) continue;
    const keys = new Set(service.servers.map((server) => serverKey(service, server)));
    const gone = [...entry.servers].filter(([key, said]) => said.deleted && !keys.has(key)).map(([key]) => key);
    if (gone.length === 0) continue;
    for (const key of gone) {
      dropped.push(
        `the deletion of server ${key} of service "${name}" through the API is forgotten: the file does not have it any more`,
      );
    }
    setEntry(services, name, { ...entry, servers: new Map([...entry.servers].filter(([key]) => !gone.includes(key))) });
  }
  return dropped.length === 0 ? { overlay, dropped } : { overlay: { ...overlay, services }, dropped };
}

/** Puts an entry in its place, or takes the place away where the entry says nothing. */
export function setEntry(services: Map<string, ServiceEntry>, name: string, entry: ServiceEntry): void {
  const says = entry.put !== undefined || entry.deleted || entry.drained || entry.servers.size > 0;
  if (says) services.set(name, entry);
  else services.delete(name);
}
