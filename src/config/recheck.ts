// Checks a configuration that has much in common with one that was checked before: what a change does not touch is not looked at again.
// The rest of the configuration only matters where it can contradict what is new: services with the same VIP, with a VIP that a new
// server has, with the same mark, the same persistence group or a DSCP. When anything is found, or when more than
// services differ, everything is checked, so that messages are those of a whole check.
// Guarantees: the verdict and the result are those of checkObject; services that are the same objects as in the checked configuration are
// the same objects in the result, all others are copies; the values passed in are not changed.
// Thread: any; the marks hold nothing alive.
import { isDeepStrictEqual } from 'node:util';
import { parseAddress } from './address.js';
import { usesLocalAddress } from './forward-mode.js';
import { parseVips } from './matching.js';
import type { Config, ConfigInput, ServiceConfig } from './schema.js';
import { checkSemantics } from './semantics.js';
import { type CheckResult, checkObject, checkShape, validateConfig } from './validate.js';

type ServiceInput = ConfigInput['services'][number];

const marks = new WeakSet<Config>();

/** Says that a checked configuration is never changed, neither by its maker nor by anybody who has it, so that nobody needs to check it again. */
export function markChecked(config: Config): Config {
  marks.add(config);
  return config;
}

export function isChecked(config: unknown): config is Config {
  return typeof config === 'object' && config !== null && marks.has(config as Config);
}

/** checkObject for `next`, given `from`, which has passed it (or a check as a file) and has not been changed since. */
export function recheck(next: ConfigInput, from: Config): CheckResult {
  return recheckServices(next, from) ?? checkObject(next);
}

/** The checked configuration with a number of workers. Throws what validateConfig throws where that many do not fit it. */
export function withWorkers(config: Config, workers: number): Config {
  const next: Config = { ...config, workers };
  // Of the services, workers only matter to those that need local addresses: one of each family says it all.
  const users = ([4, 6] as const).flatMap(
    (family) => config.services.find((service) => needsLocalAddress(service, family)) ?? [],
  );
  const findings = checkSemantics({ ...next, services: [...new Set(users)] }, []);
  return findings.length === 0 ? next : validateConfig(next);
}

function needsLocalAddress(service: ServiceConfig, family: 4 | 6): boolean {
  return service.servers.some(
    (server) => usesLocalAddress(server.mode ?? service.mode) && server.address.includes(':') === (family === 6),
  );
}

/** undefined: not to be told without a look at everything. */
function recheckServices(next: ConfigInput, from: Config): CheckResult | undefined {
  const { services, ...rest } = next;
  const { services: known, ...restFrom } = from;
  if (!Array.isArray(services) || !isDeepStrictEqual(rest, restFrom)) return undefined;
  const changed = newObjects(services, known);
  const { plain, findings } = checkShape({ interfaces: [{ name: 'any' }], services: changed });
  if (plain === undefined || findings.length > 0) return undefined;
  const fresh = (plain.value as Config).services;
  if (fresh.some((service) => service.acl?.file !== undefined)) return undefined;
  const copies = new Map<ServiceInput, ServiceConfig>(changed.map((service, i) => [service, fresh[i] as ServiceConfig]));
  const all = services.map((service) => copies.get(service) ?? (service as ServiceConfig));
  const renamed = all.some((service, i) => service.name !== known[i]?.name);
  if (renamed && new Set(all.map((service) => service.name)).size < all.length) return undefined;
  const news = newsOf(fresh, known);
  const stale = new Set<ServiceConfig>(fresh);
  const related = all.filter((service) => !stale.has(service) && concerns(service, news));
  // Neighbours can only be in the way of a VIP.
  const neighbours = news.vips.size > 0 ? from.neighbours : [];
  if (checkSemantics({ ...restFrom, neighbours, services: [...fresh, ...related] }, []).length > 0) return undefined;
  return { config: { ...restFrom, services: all }, findings: [] };
}

/** Those of `services` that are none of `known`. */
function newObjects(services: readonly ServiceInput[], known: readonly ServiceInput[]): ServiceInput[] {
  const elsewhere = services.filter((service, i) => service !== known[i]);
  // A set of ten thousand costs more than all the rest of a small change.
  if (services.length === known.length && elsewhere.length <= 16) return elsewhere.filter((service) => !known.includes(service));
  const all = new Set(known);
  return elsewhere.filter((service) => !all.has(service));
}

/** What the changed services have that they did not have before, as far as other services can mind. */
interface News {
  /** Addresses and prefixes, in canonical text. */
  readonly vips: Set<string>;
  readonly servers: Set<string>;
  readonly marks: Set<number>;
  readonly groups: Set<string>;
  dscp: boolean;
}

function newsOf(fresh: readonly ServiceConfig[], known: readonly ServiceConfig[]): News {
  const news: News = {
    vips: new Set(),
    servers: new Set(),
    marks: new Set(),
    groups: new Set(),
    dscp: false,
  };
  const names = new Set(fresh.map((service) => service.name));
  const before = new Map(known.filter((service) => names.has(service.name)).map((service) => [service.name, service]));
  for (const service of fresh) {
    const old = before.get(service.name);
    if (old === undefined || !isDeepStrictEqual(identityOf(old), identityOf(service))) {
      for (const vip of vipsOf(service)) news.vips.add(vip);
    }
    const had = new Set(old === undefined ? [] : addressesOf(old));
    for (const address of addressesOf(service)) if (!had.has(address)) news.servers.add(address);
    if (service.mark !== undefined) news.marks.add(service.mark);
    if (service.persistence?.group !== undefined) news.groups.add(service.persistence.group);
    if (service.dscp !== undefined) news.dscp = true;
  }
  return news;
}

function concerns(service: ServiceConfig, news: News): boolean {
  if (news.vips.size + news.servers.size > 0 && vipsOf(service).some((vip) => news.vips.has(vip) || news.servers.has(vip)))
    return true;
  if (news.vips.size > 0 && addressesOf(service).some((address) => news.vips.has(address))) return true;
  if (service.mark !== undefined && news.marks.has(service.mark)) return true;
  if (service.persistence?.group !== undefined && news.groups.has(service.persistence.group)) return true;
  return news.dscp && service.dscp !== undefined;
}

function identityOf({ address, port, protocol, match }: ServiceConfig): unknown {
  return { address, port, protocol, match };
}

function vipsOf({ address, match }: ServiceConfig): readonly string[] {
  if (match !== undefined) return match.map(({ destination }) => canonical(destination));
  return address === undefined ? [] : [canonical(address)];
}

function addressesOf({ servers, sorryServer }: ServiceConfig): readonly string[] {
  const addresses = servers.map((server) => canonical(server.address));
  return sorryServer === undefined ? addresses : [...addresses, canonical(sorryServer.address)];
}

/** Dotted addresses have one spelling alone. A prefix of a single address is that address. */
function canonical(text: string): string {
  if (!text.includes('/')) return text.includes(':') ? (parseAddress(text)?.text ?? text) : text;
  const prefix = parseVips(text);
  if (prefix === undefined) return text;
  const whole = prefix.length === (prefix.address.family === 4 ? 32 : 128);
  return whole ? prefix.address.text : `${prefix.address.text}/${prefix.length}`;
}
