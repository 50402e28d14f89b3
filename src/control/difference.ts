// What a reload from one configuration to another would change, key by key, for a person to read before it happens.
// Guarantees: pure; servers are compared with those of the same address and port, wherever they stand in the list; what is named as fixed
// makes a running balancer refuse the whole reload.
// Thread: any; no state.
import { isDeepStrictEqual } from 'node:util';
import type { Config, ServiceConfig } from '../config/schema.js';
import { serverKey } from './availability.js';
import { diffConfigs } from './diff.js';
import { FIXED_PATHS } from './fixed.js';

/** One key that differs; a side that is absent has no such key. */
export interface KeyChange {
  /** From the service, or from the top: "scheduler", "servers.192.0.2.1:80.weight", "sessions.timeouts". */
  readonly path: string;
  readonly from?: unknown;
  readonly to?: unknown;
}

export interface ServiceChange {
  readonly name: string;
  readonly keys: readonly KeyChange[];
}

export interface ConfigDifference {
  readonly servicesAdded: readonly { readonly name: string; readonly servers: number }[];
  readonly servicesRemoved: readonly { readonly name: string; readonly servers: number }[];
  readonly servicesChanged: readonly ServiceChange[];
  /** Services that stay stand in another order; only services with matches mind. */
  readonly orderChanged: boolean;
  /** Of the top level, what can change while traffic runs. */
  readonly otherChanged: readonly KeyChange[];
  /** Of the top level, what cannot. */
  readonly needsRestart: readonly KeyChange[];
}

/** `to` as a reload would find it while `from` runs. */
export function configDifference(from: Config, to: Config): ConfigDifference {
  const changes = diffConfigs(from, to);
  const before = new Map(from.services.map((service) => [service.name, service]));
  const after = new Map(to.services.map((service) => [service.name, service]));
  const count = (all: ReadonlyMap<string, ServiceConfig>, names: readonly string[]) =>
    names.map((name) => ({ name, servers: all.get(name)?.servers.length ?? 0 }));
  const { services: _from, ...restFrom } = from;
  const { services: _to, ...restTo } = to;
  const top = keyChanges('', comparable(restFrom), comparable(restTo));
  const staying = (of: Config, other: ReadonlyMap<string, unknown>) =>
    of.services.map(({ name }) => name).filter((name) => other.has(name));
  return {
    servicesAdded: count(after, changes.servicesAdded),
    servicesRemoved: count(before, changes.servicesRemoved),
    servicesChanged: changes.servicesChanged.map((name) => ({
      name,
      keys: serviceChanges(before.get(name), after.get(name)),
    })),
    orderChanged: !isDeepStrictEqual(staying(from, after), staying(to, before)),
    otherChanged: top.filter(({ path }) => !FIXED_PATHS.has(path)),
    needsRestart: top.filter(({ path, to: wanted }) => FIXED_PATHS.has(path) && !(path === 'workers' && wanted === 'auto')),
  };
}

/** A running balancer keeps its interfaces by name; their addresses are for replay. `auto` workers keep their number. */
function comparable(config: Omit<Config, 'services'>): Omit<Config, 'services' | 'interfaces'> & { interfaces: unknown } {
  return { ...config, interfaces: config.interfaces.map((entry) => entry.name) };
}

function serviceChanges(from: ServiceConfig | undefined, to: ServiceConfig | undefined): KeyChange[] {
  if (from === undefined || to === undefined) return [];
  const { servers: ofFrom, ...restFrom } = from;
  const { servers: ofTo, ...restTo } = to;
  const before = new Map(ofFrom.map((server) => [serverKey(from, server), server]));
  const after = new Map(ofTo.map((server) => [serverKey(to, server), server]));
  const servers = [...new Set([...before.keys(), ...after.keys()])].flatMap((key): KeyChange[] => {
    const [old, now] = [before.get(key), after.get(key)];
    const path = `servers.${key}`;
    if (old === undefined) return [{ path, to: now }];
    if (now === undefined) return [{ path, from: old }];
    return keyChanges(`${path}.`, old, now);
  });
  const keys = [...keyChanges('', restFrom, restTo), ...servers];
  // Nothing but the places of servers in the list, which schedulers go by.
  return keys.length > 0 ? keys : [{ path: 'servers', from: [...before.keys()], to: [...after.keys()] }];
}

/** Mappings are compared key by key, lists as a whole. */
function keyChanges(prefix: string, from: object, to: object): KeyChange[] {
  return [...new Set([...Object.keys(from), ...Object.keys(to)])].flatMap((key): KeyChange[] => {
    const [old, now]: unknown[] = [Reflect.get(from, key), Reflect.get(to, key)];
    if (isDeepStrictEqual(old, now)) return [];
    const path = `${prefix}${key}`;
    if (isMapping(old) && isMapping(now)) return keyChanges(`${path}.`, old, now);
    return [{ path, ...(old === undefined ? {} : { from: old }), ...(now === undefined ? {} : { to: now }) }];
  });
}

function isMapping(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isSame(difference: ConfigDifference): boolean {
  const { orderChanged, ...lists } = difference;
  return !orderChanged && Object.values(lists).every((list) => list.length === 0);
}

/** Longest value that is shown; the rest of a longer one would hide the other lines. */
const VALUE_WIDTH = 60;

/** Lines for a person; empty where nothing differs. */
export function describeDifference(difference: ConfigDifference): string[] {
  const lines: string[] = [];
  const servers = (n: number): string => `${n} server${n === 1 ? '' : 's'}`;
  for (const added of difference.servicesAdded) lines.push(`+ service ${added.name} (${servers(added.servers)})`);
  for (const removed of difference.servicesRemoved) lines.push(`- service ${removed.name} (${servers(removed.servers)})`);
  for (const { name, keys } of difference.servicesChanged) {
    lines.push(`~ service ${name}`, ...keys.map((key) => `    ${describeKey(key)}`));
  }
  if (difference.orderChanged) lines.push('~ order of services');
  lines.push(...difference.otherChanged.map((key) => `~ ${describeKey(key)}`));
  if (difference.needsRestart.length > 0) {
    lines.push('needs a restart; a running balancer refuses the whole reload because of:');
    lines.push(
      ...difference.needsRestart.map((key) => `! ${describeKey(key)}${dependsOnHost(key) ? ', unless it runs with that' : ''}`),
    );
  }
  return lines;
}

/** What one of the files leaves to the host may come out the same. */
function dependsOnHost({ path, from, to }: KeyChange): boolean {
  return (path === 'workers' && from === 'auto') || (path === 'cpus' && (from === undefined || to === undefined));
}

function describeKey(change: KeyChange): string {
  const side = (name: 'from' | 'to'): string => (Object.hasOwn(change, name) ? shortened(change[name]) : 'not set');
  return `${change.path}: ${side('from')} -> ${side('to')}`;
}

function shortened(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length <= VALUE_WIDTH ? text : `${text.slice(0, VALUE_WIDTH - 3)}...`;
}
