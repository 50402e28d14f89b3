// What each operation of the API does to the overlay.
// Guarantees: pure; all operations of a call are in the result, or the call throws and there is no result; what operations bring with them
// (services, servers, sections) is checked against the schema first, so that an overlay holds nothing of another form; an overlay in which
// nothing has changed is the same object.
// Thread: any; no state.
import { isDeepStrictEqual } from 'node:util';
import type { ConfigPath } from '../config/finding.js';
import type { Config, ServerConfig, ServiceConfig } from '../config/schema.js';
import { suggest } from '../config/suggest.js';
import { checkShape, findingsError } from '../config/validate.js';
import { serverKey } from '../control/availability.js';
import { checkWeight, findServer, type ServerRef, serviceNotFound } from '../control/edit.js';
import { createError } from '../errors.js';
import type { Operation, Section } from './desired.js';
import {
  deriveService,
  EMPTY_OVERLAY,
  type Overlay,
  SECTIONS,
  type ServerEntry,
  type ServiceEntry,
  servicesByName,
  setEntry,
} from './overlay.js';

const NO_ENTRY: ServiceEntry = { servers: new Map() };

/** Operations that leave everything but weights as it is. */
export function changesWeightsOnly(
  operation: Operation,
): operation is Operation & { readonly op: 'set-weight' | 'drain' | 'undrain' } {
  return operation.op === 'set-weight' || operation.op === 'drain' || operation.op === 'undrain';
}

/**
 * The overlay after the operations, in their order.
 * @throws MILLRACE_E_CONFIG_INVALID for what has not the form of the configuration; MILLRACE_E_INPUT_INVALID for names of what is not there.
 */
export function applyOperations(overlay: Overlay, operations: readonly Operation[], file: Config): Overlay {
  let next = overlay;
  for (const operation of operations) next = applyOne(next, operation, file);
  return next;
}

function applyOne(overlay: Overlay, operation: Operation, file: Config): Overlay {
  switch (operation.op) {
    case 'put-service':
      return putService(overlay, operation.service);
    case 'delete-service': {
      const { name } = operation;
      existing(overlay, name, file);
      return withEntry(overlay, name, servicesByName(file).has(name) ? { deleted: true, servers: new Map() } : NO_ENTRY);
    }
    case 'put-server':
      return putServer(overlay, operation.service, operation.server, file);
    case 'delete-server':
      return deleteServer(overlay, operation.service, operation.server, file);
    case 'set-weight':
      return setWeight(overlay, operation.service, operation.server, operation.weight, file);
    case 'drain':
      return drain(overlay, operation.service, operation.server, file);
    case 'undrain':
      return undrain(overlay, operation.service, operation.server, file);
    case 'set-section':
      return setSection(overlay, operation.section, operation.value);
    case 'reset':
      return reset(overlay, operation.service, file);
    default:
      throw createError('MILLRACE_E_INPUT_INVALID', `there is no operation "${String(Reflect.get(operation, 'op'))}"`);
  }
}

function putService(overlay: Overlay, input: unknown): Overlay {
  const service = shapedService(input);
  const before = overlay.services.get(service.name) ?? NO_ENTRY;
  const keys = new Set(service.servers.map((server) => serverKey(service, server)));
  // A drain is there until it is undone, whoever writes the service anew meanwhile.
  const drains = [...before.servers].flatMap(([key, said]): [string, ServerEntry][] =>
    said.drained && keys.has(key) ? [[key, { drained: true }]] : [],
  );
  return withEntry(overlay, service.name, {
    put: service,
    ...(before.drained ? { drained: true } : {}),
    servers: new Map(drains),
  });
}

function putServer(overlay: Overlay, name: string, input: unknown, file: Config): Overlay {
  const { service, entry } = existing(overlay, name, file);
  const server = shapedServer(name, input);
  const key = serverKey(service, server);
  if (entry.put !== undefined) {
    const known = entry.put.servers.some((candidate) => serverKey(service, candidate) === key);
    const servers = known
      ? entry.put.servers.map((candidate) => (serverKey(service, candidate) === key ? server : candidate))
      : [...entry.put.servers, server];
    return withEntry(overlay, name, { ...entry, put: { ...entry.put, servers } });
  }
  return withServer(overlay, name, entry, key, { put: server, ...drainOf(entry, key) });
}

function deleteServer(overlay: Overlay, name: string, ref: ServerRef, file: Config): Overlay {
  const { service, entry } = existing(overlay, name, file);
  const key = serverKey(service, findServer(service, ref));
  if (entry.put !== undefined) {
    const servers = entry.put.servers.filter((candidate) => serverKey(service, candidate) !== key);
    return withServer(overlay, name, { ...entry, put: { ...entry.put, servers } }, key, {});
  }
  const inFile = servicesByName(file)
    .get(name)
    ?.servers.some((candidate) => serverKey(service, candidate) === key);
  return withServer(overlay, name, entry, key, inFile ? { deleted: true } : {});
}

function setWeight(overlay: Overlay, name: string, ref: ServerRef, weight: number, file: Config): Overlay {
  const { service, entry } = existing(overlay, name, file);
  const key = serverKey(service, findServer(service, ref));
  checkWeight(weight);
  if (entry.put !== undefined) {
    const servers = entry.put.servers.map((candidate) =>
      serverKey(service, candidate) === key ? { ...candidate, weight } : candidate,
    );
    return withEntry(overlay, name, { ...entry, put: { ...entry.put, servers } });
  }
  const said = entry.servers.get(key) ?? {};
  const now = said.put === undefined ? { ...said, weight } : { ...said, put: { ...said.put, weight } };
  return withServer(overlay, name, entry, key, now);
}

function drain(overlay: Overlay, name: string, ref: ServerRef | undefined, file: Config): Overlay {
  const { service, entry } = existing(overlay, name, file);
  if (ref === undefined) return withEntry(overlay, name, { ...entry, drained: true, servers: undrained(entry.servers) });
  const key = serverKey(service, findServer(service, ref));
  if (entry.drained) return overlay;
  return withServer(overlay, name, entry, key, { ...entry.servers.get(key), drained: true });
}

function undrain(overlay: Overlay, name: string, ref: ServerRef | undefined, file: Config): Overlay {
  const waiting = overlay.services.get(name);
  const service = effective(overlay, name, file);
  // What waits for a service or a server to come back can be undone meanwhile.
  if (service === undefined && waiting === undefined) throw unknown(overlay, name, file);
  const entry = waiting ?? NO_ENTRY;
  if (ref === undefined) {
    const { drained: _, ...rest } = entry;
    return withEntry(overlay, name, { ...rest, servers: undrained(entry.servers) });
  }
  const key = drainedKey(name, service, entry, ref);
  if (!entry.drained) {
    const { drained: _, ...said } = entry.servers.get(key) ?? {};
    return withServer(overlay, name, entry, key, said);
  }
  // All but this one stay drained, each by itself from now on.
  const { drained: _, ...rest } = entry;
  const servers = new Map(entry.servers);
  for (const other of keysOf(service)) {
    if (other !== key) servers.set(other, { ...servers.get(other), drained: true });
  }
  return withEntry(overlay, name, { ...rest, servers });
}

function setSection(overlay: Overlay, section: Section, value: unknown): Overlay {
  if (!SECTIONS.includes(section)) {
    throw createError('MILLRACE_E_INPUT_INVALID', `"${section}" cannot be set as a whole while traffic runs`, {
      remedy: `What can be: ${SECTIONS.join(', ')}.`,
    });
  }
  const now = shaped({ [section]: value }, [section], [section]);
  if (overlay.sections.has(section) && isDeepStrictEqual(overlay.sections.get(section), now)) return overlay;
  return { ...overlay, sections: new Map(overlay.sections).set(section, now) };
}

function reset(overlay: Overlay, name: string | undefined, file: Config): Overlay {
  if (name === undefined) return overlay.services.size + overlay.sections.size === 0 ? overlay : EMPTY_OVERLAY;
  if (!overlay.services.has(name) && !servicesByName(file).has(name)) throw unknown(overlay, name, file);
  return withEntry(overlay, name, NO_ENTRY);
}

function effective(overlay: Overlay, name: string, file: Config): ServiceConfig | undefined {
  const entry = overlay.services.get(name);
  const ofFile = servicesByName(file).get(name);
  return entry === undefined ? ofFile : deriveService(name, ofFile, entry).service;
}

function existing(overlay: Overlay, name: string, file: Config): { service: ServiceConfig; entry: ServiceEntry } {
  const service = effective(overlay, name, file);
  if (service === undefined) throw unknown(overlay, name, file);
  return { service, entry: overlay.services.get(name) ?? NO_ENTRY };
}

function unknown(overlay: Overlay, name: string, file: Config): Error {
  const all = new Set([...servicesByName(file).keys(), ...overlay.services.keys()]);
  const names = [...all].filter((candidate) => effective(overlay, candidate, file) !== undefined);
  const near = suggest(name, names);
  if (near === undefined) return serviceNotFound(name, names);
  return createError('MILLRACE_E_INPUT_INVALID', `there is no service "${name}"`, { remedy: `Did you mean "${near}"?` });
}

function keysOf(service: ServiceConfig | undefined): string[] {
  return service === undefined ? [] : service.servers.map((server) => serverKey(service, server));
}

/** The key of the server that is meant: one of the service's, or one that the service does not have at the moment but the API speaks of. */
function drainedKey(name: string, service: ServiceConfig | undefined, entry: ServiceEntry, ref: ServerRef): string {
  const keys = [...new Set([...keysOf(service), ...entry.servers.keys()])];
  const servers = keys.map((key) => {
    const colon = key.lastIndexOf(':');
    return { address: key.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(key.slice(colon + 1)), key };
  });
  return findServer({ name, servers }, ref).key;
}

function drainOf(entry: ServiceEntry, key: string): { drained?: true } {
  return entry.servers.get(key)?.drained ? { drained: true } : {};
}

function undrained(servers: ReadonlyMap<string, ServerEntry>): ReadonlyMap<string, ServerEntry> {
  const rest = [...servers].map(([key, { drained: _, ...said }]): [string, ServerEntry] => [key, said]);
  return new Map(rest.filter(([, said]) => Object.keys(said).length > 0));
}

function withServer(overlay: Overlay, name: string, entry: ServiceEntry, key: string, said: ServerEntry): Overlay {
  const servers = new Map(entry.servers);
  if (Object.keys(said).length > 0) servers.set(key, said);
  else servers.delete(key);
  return withEntry(overlay, name, { ...entry, servers });
}

function withEntry(overlay: Overlay, name: string, entry: ServiceEntry): Overlay {
  if (isDeepStrictEqual(overlay.services.get(name) ?? NO_ENTRY, entry)) return overlay;
  const services = new Map(overlay.services);
  setEntry(services, name, entry);
  return { ...overlay, services };
}

function shapedService(input: unknown): ServiceConfig {
  const name: unknown = typeof input === 'object' && input !== null ? Reflect.get(input, 'name') : undefined;
  const place = ['services', typeof name === 'string' ? name : 'new'];
  return shaped({ services: [input] }, ['services', 0], place) as ServiceConfig;
}

function shapedServer(service: string, input: unknown): ServerConfig {
  const address: unknown = typeof input === 'object' && input !== null ? Reflect.get(input, 'address') : undefined;
  const place = ['services', service, 'servers', typeof address === 'string' ? address : 'new'];
  return shaped({ services: [{ name: 'any', servers: [input] }] }, ['services', 0, 'servers', 0], place) as ServerConfig;
}

/** What stands at `path` of a part of a configuration, defaults filled in; findings about it are reported at `place`. */
function shaped(part: Readonly<Record<string, unknown>>, path: ConfigPath, place: ConfigPath): unknown {
  const { plain, findings } = checkShape({ interfaces: [{ name: 'any' }], services: [], ...part });
  if (findings.length > 0) {
    throw findingsError(findings.map((finding) => ({ ...finding, path: [...place, ...finding.path.slice(path.length)] })));
  }
  let value: unknown = plain?.value;
  for (const step of path) value = Reflect.get(value as object, step);
  // As it is after it was on disk: keys that are undefined are not there.
  return JSON.parse(JSON.stringify(value));
}
