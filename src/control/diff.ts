// Says what an apply changed, for events, logs and people; the dataplane itself takes whole tables and keeps what stayed the same.
// Guarantees: pure; a service that only moved in the list is no change.
// Thread: any; no state.
import { isDeepStrictEqual } from 'node:util';
import type { Config, ServiceConfig } from '../config/schema.js';

export interface ConfigChanges {
  readonly servicesAdded: readonly string[];
  readonly servicesRemoved: readonly string[];
  readonly servicesChanged: readonly string[];
  /** Anything else that can change at run time: local addresses, rules of the outbound gateway, routes, neighbours, timeouts. */
  readonly otherChanged: boolean;
}

export function diffConfigs(from: Config, to: Config): ConfigChanges {
  const { services: _before, ...restBefore } = from;
  const { services: _after, ...restAfter } = to;
  return { ...diffServices(from, to), otherChanged: !isDeepStrictEqual(restBefore, restAfter) };
}

function diffServices(from: Config, to: Config): Omit<ConfigChanges, 'otherChanged'> {
  if (sameNames(from.services, to.services)) {
    const changed = to.services.filter(
      (service, i) => service !== from.services[i] && !isDeepStrictEqual(from.services[i], service),
    );
    return { servicesAdded: [], servicesRemoved: [], servicesChanged: changed.map(({ name }) => name) };
  }
  const before = new Map(from.services.map((service) => [service.name, service]));
  const after = new Map(to.services.map((service) => [service.name, service]));
  return {
    servicesAdded: [...after.keys()].filter((name) => !before.has(name)),
    servicesRemoved: [...before.keys()].filter((name) => !after.has(name)),
    servicesChanged: [...after]
      .filter(([name, service]) => before.has(name) && !isDeepStrictEqual(before.get(name), service))
      .map(([name]) => name),
  };
}

/** Whether both lists have the same services in the same order, which most changes leave as it is, and which costs next to nothing to see. */
export function sameNames(a: readonly { readonly name: string }[], b: readonly { readonly name: string }[]): boolean {
  return a.length === b.length && a.every((service, i) => service === b[i] || service.name === b[i]?.name);
}

/**
 * `now` with the services and sections of `before` in it wherever they are equal, so that whoever compares the two next needs to look no
 * deeper than at the objects.
 */
export function shareUnchanged(before: Config, now: Config): Config {
  const inPlace = sameNames(before.services, now.services);
  const known = inPlace ? undefined : new Map(before.services.map((service) => [service.name, service]));
  const services = now.services.map((service, i): ServiceConfig => {
    const old = known === undefined ? before.services[i] : known.get(service.name);
    return old !== undefined && isDeepStrictEqual(old, service) ? old : service;
  });
  const { services: _, ...rest } = now;
  const sections = Object.entries(rest).map(([key, value]): [string, unknown] => {
    const old: unknown = Reflect.get(before, key);
    return [key, isDeepStrictEqual(old, value) ? old : value];
  });
  return { ...(Object.fromEntries(sections) as typeof rest), services };
}

/** One line for a person: "1 service added, 2 changed". */
export function describeChanges(changes: ConfigChanges): string {
  const count = (names: readonly string[], what: string): string[] => (names.length === 0 ? [] : [`${what} ${names.join(', ')}`]);
  const parts = [
    ...count(changes.servicesAdded, 'added'),
    ...count(changes.servicesRemoved, 'removed'),
    ...count(changes.servicesChanged, 'changed'),
    ...(changes.otherChanged ? ['other settings changed'] : []),
  ];
  return parts.length === 0 ? 'nothing changed' : parts.join('; ');
}
