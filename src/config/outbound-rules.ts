// The rules of the outbound gateway: what its matches may say, and whose its addresses are.
// Guarantees: pure; reports every violation once, at the later of two places that contradict each other.
// Thread: any.
import { addressFault, networkOf, prefixContains } from './address.js';
import type { Fact, OutboundFacts } from './facts.js';
import { type Finding, formatPath } from './finding.js';
import { equalMatches, matchFamilies, SHORTEST } from './match-rules.js';
import { isAnyPort, isHost } from './matching.js';
import { present, type Rule, wrong } from './rule.js';

/** As XdpAttachment::kMaxOutboundRules in native/ports/xdp_attachment.h; `tcp+udp` takes two. */
const MOST_MATCHES = 64;

const names: Rule = (facts) => {
  const seen = new Map<string, Fact<string>>();
  for (const name of present(facts.services.map((service) => service.name))) seen.set(name.value, name);
  return present(facts.outbound.map((rule) => rule.name)).flatMap((name) => {
    const first = seen.get(name.value);
    seen.set(name.value, first ?? name);
    if (first === undefined) return [];
    const reason = `the name "${name.value}" is used twice (first at ${formatPath(first.path)})`;
    return [wrong(name.path, reason, 'give each rule and each service a name of its own')];
  });
};

const matches: Rule = (facts) => {
  const all = facts.outbound.flatMap((rule) => rule.matches);
  const rules = all.reduce((sum, match) => sum + (match.protocol?.value === 'tcp+udp' ? 2 : 1), 0);
  const tooMany =
    rules <= MOST_MATCHES
      ? []
      : [
          wrong(
            ['snat'],
            `${rules} matches in all rules; at most ${MOST_MATCHES} are possible`,
            'write shorter prefixes, or protocol: any',
          ),
        ];
  return [...tooMany, ...matchFamilies(all), ...equalMatches(all), ...all.flatMap(networksAndPorts)];
};

function networksAndPorts({ source, destination, ports, protocol, path }: OutboundFacts['matches'][number]): Finding[] {
  const findings = present([source, destination]).flatMap(({ value, path: place }): Finding[] => {
    const network = networkOf(value);
    if (network.value === value.address.value) return [];
    const reason = `${value.address.text}/${value.length} is not a network: bits after the first ${value.length} are set`;
    return [wrong(place, reason, `write ${network.text}/${value.length}`)];
  });
  if (source !== undefined) {
    const { address, length } = source.value;
    const fault = addressFault(address);
    if (length < SHORTEST[address.family]) {
      findings.push(
        wrong(
          source.path,
          `${address.text}/${length} is more than the inside`,
          `write a prefix of at least ${SHORTEST[address.family]} bits`,
        ),
      );
    } else if (fault !== undefined) {
      findings.push(
        wrong(source.path, `no host has ${fault} addresses that others can answer to`, 'write the prefix of the inside hosts'),
      );
    }
  }
  if (ports === undefined) return findings;
  const [low, high] = ports.value;
  const given = ports.path !== path;
  if (given && low > high) findings.push(wrong(ports.path, `the range ${low}-${high} is reversed`, `write ${high}-${low}`));
  else if (given && !isAnyPort(ports.value) && (low < 1 || high > 65_535))
    findings.push(wrong(ports.path, `the range ${low}-${high} leaves 1-65535`, 'write two ports from 1 to 65535, or any'));
  else if (given && protocol?.value === 'icmp') findings.push(wrong(ports.path, 'echo has no ports', 'remove the key ports'));
  return findings;
}

/** Every address of a pool has one owner, and no other part of the configuration uses it. */
const pools: Rule = (facts) => {
  if (facts.outbound.length === 0) return [];
  const owners = new Map<string, string>();
  for (const item of facts.interfaces) {
    for (const prefix of item.addresses) owners.set(prefix.value.address.text, `interface address at ${formatPath(prefix.path)}`);
  }
  for (const service of facts.services) {
    const vips = present([service.vips, ...service.matches.map((match) => match.destination)]);
    for (const vip of vips)
      if (isHost(vip.value)) owners.set(vip.value.address.text, `service address at ${formatPath(vip.path)}`);
    for (const server of present(service.servers.map((entry) => entry.address)))
      owners.set(server.value.text, `server at ${formatPath(server.path)}`);
  }
  for (const via of present(facts.routes.map((route) => route.via)))
    owners.set(via.value.text, `gateway at ${formatPath(via.path)}`);
  for (const neighbour of present(facts.neighbours.map((entry) => entry.address)))
    owners.set(neighbour.value.text, `neighbour at ${formatPath(neighbour.path)}`);
  for (const local of facts.localAddresses) owners.set(local.value.text, `local address at ${formatPath(local.path)}`);
  return facts.outbound.flatMap((rule) =>
    rule.pool.flatMap(({ value, path }): Finding[] => {
      const fault = addressFault(value);
      if (fault !== undefined) {
        const article = fault === 'unspecified' ? 'an' : 'a';
        return [
          wrong(
            path,
            `address ${value.text} is ${article} ${fault} address`,
            'use a unicast address that is routed to this network',
          ),
        ];
      }
      const inside = rule.matches.find((match) => match.source !== undefined && prefixContains(match.source.value, value));
      if (inside?.source !== undefined && isHost(inside.source.value)) {
        return [
          wrong(path, `address ${value.text} is also an inside host (${formatPath(inside.source.path)})`, 'use another address'),
        ];
      }
      const owner = owners.get(value.text);
      owners.set(value.text, owner ?? `address of the pool at ${formatPath(path)}`);
      if (owner === undefined) return [];
      return [wrong(path, `address ${value.text} is also the ${owner}`, 'use an address that nothing else uses')];
    }),
  );
};

const poolSizes: Rule = (facts) =>
  facts.outbound.flatMap((rule) =>
    ([4, 6] as const).flatMap((family): Finding[] => {
      const user = rule.matches.find((match) => match.source?.value.address.family === family);
      if (user === undefined || !rule.poolComplete) return [];
      const have = rule.pool.filter((address) => address.value.family === family).length;
      const need = facts.workers?.value ?? 1;
      if (have >= need) return [];
      const found = have === 0 ? `no IPv${family} address` : `only ${have} IPv${family} address${have === 1 ? '' : 'es'}`;
      const reason = `${found} for ${need} worker${need === 1 ? '' : 's'}, but ${formatPath(user.path)} has IPv${family} hosts; each worker needs one of its own`;
      return [
        wrong(
          [...rule.path, 'pool'],
          reason,
          have === 0 ? `add IPv${family} addresses` : `add ${need - have} more, or set workers to ${have}`,
        ),
      ];
    }),
  );

/** In the order in which they are reported. */
export const OUTBOUND_RULES: readonly Rule[] = [names, matches, pools, poolSizes];
