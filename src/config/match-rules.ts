// The rules of what services are found by: which keys go together, prefixes and ranges that make sense, and no two services for the
// same packets.
// Guarantees: pure; reports every violation once, at the later of two places that contradict each other.
// Thread: any.
import { addressFault, type Prefix } from './address.js';
import type { Fact, Facts, MatchFacts, ServiceFacts } from './facts.js';
import { type ConfigPath, type Finding, formatPath } from './finding.js';
import { endpointText, isAnyPort, isHost, type Ports, protocolsOf } from './matching.js';
import { present, type Rule, wrong } from './rule.js';

/** Shorter prefixes would draw in multicast, or nearly everything that passes by. */
export const SHORTEST = { 4: 8, 6: 16 } as const;

const shape: Rule = (facts) =>
  facts.services.flatMap((service): Finding[] => {
    const has = (key: string): boolean => service.given.includes(key);
    if (has('match')) {
      return ['address', 'port', 'protocol'].filter(has).map((key) => ({
        path: [...service.path, key],
        at: 'key',
        reason: `a service with a list of matches has no "${key}" of its own`,
        remedy:
          key === 'address' ? 'write it as destination of a match, or remove match' : 'write it into each match, or remove match',
      }));
    }
    const missing = ['address', 'protocol'].filter((key) => !has(key));
    const findings = missing.map((key) =>
      wrong(
        service.path,
        `required key "${key}" is missing`,
        key === 'address'
          ? 'add `address:` with an IPv4 or IPv6 address, such as 192.0.2.1 or 2001:db8::1, or a list of matches under `match:`'
          : 'add `protocol:` with one of tcp, udp, sctp, esp, ah, tcp+udp',
      ),
    );
    if (service.mark !== undefined) {
      const remedy = 'remove it, or say with match which packets the service is for';
      findings.push({
        ...wrong(service.mark.path, 'a mark is a name for a list of matches, and there is none', remedy),
        at: 'key',
      });
    }
    return findings;
  });

interface Claim {
  readonly ports: Ports;
  readonly text: string;
  readonly service: ServiceFacts;
}

function prefixText(prefix: Prefix): string {
  return isHost(prefix) ? prefix.address.text : `${prefix.address.text}/${prefix.length}`;
}

function portsText(ports: Ports): number | string {
  if (isAnyPort(ports)) return 'any';
  return ports[0] === ports[1] ? ports[0] : `${ports[0]}-${ports[1]}`;
}

const uniqueServices: Rule = (facts) => {
  const claims = new Map<string, Claim[]>();
  return facts.services.flatMap((service): Finding[] => {
    const { vips, ports, portGiven, protocol } = service;
    if (vips === undefined || protocol === undefined || (ports === undefined && portGiven)) return [];
    const conflicts = protocolsOf(protocol.value).flatMap((name) => {
      const at = prefixText(vips.value);
      const claim = {
        ports: ports?.value ?? ([0, 65_535] as const),
        text: `${name} ${endpointText(at, ports === undefined ? undefined : portsText(ports.value))}`,
        service,
      };
      const there = claims.get(`${name} ${at}`) ?? [];
      claims.set(`${name} ${at}`, [...there, claim]);
      return there.flatMap((first) => conflict(first, claim, vips, ports));
    });
    return conflicts.slice(0, 1);
  });
};

function conflict(first: Claim, later: Claim, vips: Fact<Prefix>, ports: Fact<Ports> | undefined): Finding[] {
  const place = formatPath(first.service.path);
  const [a, b] = [first.ports, later.ports];
  if (a[0] === b[0] && a[1] === b[1]) {
    const remedy = 'put all servers under one service, or change the address, the port or the protocol';
    return [wrong(vips.path, `a second service for ${later.text} (first at ${place})`, remedy)];
  }
  const isRange = (range: Ports): boolean => range[0] !== range[1] && !isAnyPort(range);
  if (!isRange(a) || !isRange(b) || a[1] < b[0] || b[1] < a[0]) return [];
  const reason = `the range ${b[0]}-${b[1]} overlaps ${a[0]}-${a[1]} of the service at ${place}`;
  return [wrong(ports?.path ?? vips.path, reason, 'give each port to one of the two; a single port may lie inside a range')];
}

const ranges: Rule = (facts) =>
  present(facts.services.flatMap((service) => [service.ports, ...service.matches.map((match) => match.ports)])).flatMap(
    ({ value: [low, high], path }) => {
      if (isAnyPort([low, high]) || low === high) return [];
      if (low > high) return [wrong(path, `the range ${low}-${high} is reversed`, `write ${high}-${low}`)];
      if (low < 1 || high > 65_535)
        return [wrong(path, `the range ${low}-${high} leaves 1-65535`, 'write two ports from 1 to 65535, or any')];
      return [];
    },
  );

/** A prefix as people mean it: not a single address, not half of the network. */
const prefixes: Rule = (facts) => {
  const vips = facts.services.flatMap((service) => present([service.vips, ...service.matches.map((match) => match.destination)]));
  return vips.flatMap(({ value, path }): Finding[] => {
    const { address, length } = value;
    if (isHost(value)) return [];
    const shortest = SHORTEST[address.family];
    if (length < shortest) {
      const remedy = `write a prefix of at least ${shortest} bits; Millrace receives every packet to it`;
      return [wrong(path, `${prefixText(value)} is too much for one service`, remedy)];
    }
    const fault = addressFault(address);
    if (fault === undefined) return [];
    const article = fault === 'unspecified' ? 'an' : 'a';
    return [wrong(path, `service prefix ${prefixText(value)} is ${article} ${fault} prefix`, 'use a unicast prefix')];
  });
};

const hostDestinations: Rule = (facts) =>
  present(facts.services.flatMap((service) => service.matches.map((match) => match.destination))).flatMap(({ value, path }) => {
    const fault = isHost(value) ? addressFault(value.address) : undefined;
    if (fault === undefined) return [];
    const article = fault === 'unspecified' ? 'an' : 'a';
    const remedy = 'use a unicast address that is routed to this network';
    return [wrong(path, `destination ${value.address.text} is ${article} ${fault} address`, remedy)];
  });

export function matchFamilies(matches: readonly MatchFacts[]): Finding[] {
  return matches.flatMap(({ source, destination }) => {
    if (source === undefined || destination === undefined) return [];
    const [from, to] = [source.value.address.family, destination.value.address.family];
    if (from === to) return [];
    const reason = `source ${prefixText(source.value)} is IPv${from}, but destination ${prefixText(destination.value)} is IPv${to}`;
    return [wrong(source.path, reason, 'no packet has both; write one match per family')];
  });
}

const families: Rule = (facts) => facts.services.flatMap((service) => matchFamilies(service.matches));

/** The later of two equal matches is never reached. */
export function equalMatches(matches: readonly MatchFacts[]): Finding[] {
  const seen = new Map<string, ConfigPath>();
  return matches.flatMap((match): Finding[] => {
    const { protocol, source, destination, ports, interface: name } = match;
    if (!match.complete) return [];
    const where = `${source && prefixText(source.value)} ${destination && prefixText(destination.value)} ${ports?.value} ${name?.value}`;
    const keys = protocolsOf(protocol?.value ?? '').map((one) => `${one} ${where}`);
    const first = keys.map((key) => seen.get(key)).find((place) => place !== undefined);
    for (const key of keys) if (!seen.has(key)) seen.set(key, match.path);
    if (first === undefined) return [];
    return [wrong(match.path, `the same packets match at ${formatPath(first)} already`, 'keep the one that is meant')];
  });
}

const uniqueMatches: Rule = (facts) => equalMatches(facts.services.flatMap((service) => service.matches));

const uniqueMarks: Rule = (facts) => {
  const seen = new Map<number, Fact<number>>();
  return present(facts.services.map((service) => service.mark)).flatMap((mark) => {
    const first = seen.get(mark.value);
    if (first === undefined) {
      seen.set(mark.value, mark);
      return [];
    }
    const reason = `mark ${mark.value} is used twice (first at ${formatPath(first.path)})`;
    return [wrong(mark.path, reason, 'give each service a mark of its own, or put both lists of matches under one service')];
  });
};

/** What cannot be done for more than one VIP. */
const singleVip: Rule = (facts: Facts) =>
  facts.services.flatMap((service): Finding[] => {
    const many = service.matches.length > 0 || (service.vips !== undefined && !isHost(service.vips.value));
    if (!many) return [];
    const marked = [service.mode, ...service.servers.map((server) => server.mode)].find((mode) => mode?.value === 'l3dsr');
    if (marked === undefined) return [];
    const remedy = 'use another mode, or a service for each VIP';
    return [wrong(marked.path, 'mode l3dsr needs a service with one address: a DSCP tells the servers one VIP', remedy)];
  });

const quicMatches: Rule = (facts) =>
  facts.services.flatMap((service): Finding[] => {
    if (service.scheduler?.value !== 'quic-cid') return [];
    return service.matches.flatMap(({ protocol }) => {
      if (protocol === undefined || protocol.value === 'udp') return [];
      return [
        wrong(protocol.path, 'scheduler quic-cid needs protocol udp: QUIC runs over UDP', 'write protocol: udp in the match'),
      ];
    });
  });

/** In the order in which they are reported. */
export const MATCH_RULES: readonly Rule[] = [
  shape,
  uniqueServices,
  ranges,
  prefixes,
  hostDestinations,
  families,
  uniqueMatches,
  uniqueMarks,
  singleVip,
  quicMatches,
];
