// What explain says of the outbound gateway: which rule took the packet, and whose packets are on their way to the outside.
// Guarantees: pure; the rule is the one that the replay counted a connection for, not one that is looked up here.
// Thread: any.
import { type Address, parseAddress, prefixContains } from '../config/address.js';
import { parseVips } from '../config/matching.js';
import type { Config } from '../config/schema.js';
import type { NativeReplayResult } from '../native-binding.js';

type Rule = Config['snat'][number];
type Match = Rule['match'][number];

/** The rule of the outbound gateway that took the packet. */
export interface ExplainedRule {
  readonly name: string;
  /** What it matches, in words. */
  readonly match: string;
  /** Its addresses of the packet's family: one of them is the packet's source from here on. */
  readonly pool: readonly string[];
  /** How answers reach the inside host. */
  readonly answers: string;
}

export function ruleOf(config: Config, result: NativeReplayResult, family: 4 | 6): ExplainedRule | undefined {
  const chosen = result.servers.find((server) => (server.stats.connections ?? 0n) !== 0n);
  const rule = config.snat.find((entry) => entry.name === chosen?.service);
  if (rule === undefined) return undefined;
  const [first] = rule.match;
  return {
    name: rule.name,
    match: rule.match.length === 1 && first !== undefined ? describeMatch(first) : `one of its ${rule.match.length} matches`,
    pool: rule.pool.flatMap((text) => {
      const address = parseAddress(text);
      return address?.family === family ? [address.text] : [];
    }),
    answers: 'the outside answers to the local address; the balancer restores the inside host',
  };
}

function describeMatch({ protocol, source, destination, ports, interface: name }: Match): string {
  return [
    `source ${source}`,
    ...(destination === undefined ? [] : [`destination ${destination}`]),
    ...(ports === undefined || ports === 'any' ? [] : [`port ${ports}`]),
    protocol === 'any' ? 'TCP, UDP and echo' : protocol,
    ...(name === undefined ? [] : [`in by ${name}`]),
  ].join(', ');
}

/** Where inside hosts like this one are, when a packet from there to `destination` is for the outbound gateway. */
export function insideOf(config: Config, source: Address, destination: Address): { readonly interface?: string } | undefined {
  if (isOurs(config, destination)) return undefined;
  const match = config.snat
    .flatMap((rule) => rule.match)
    .find(
      (entry) => contains(entry.source, source) && (entry.destination === undefined || contains(entry.destination, destination)),
    );
  if (match === undefined) return undefined;
  return match.interface === undefined ? {} : { interface: match.interface };
}

function isOurs(config: Config, address: Address): boolean {
  const vips = config.services.flatMap((service) => [
    service.address,
    ...(service.match ?? []).map((match) => match.destination),
  ]);
  const locals = [...config.localAddresses, ...config.snat.flatMap((rule) => rule.pool)];
  return [...vips, ...locals].some((text) => text !== undefined && contains(text, address));
}

function contains(text: string, address: Address): boolean {
  const prefix = parseVips(text);
  return prefix !== undefined && prefixContains(prefix, address);
}
