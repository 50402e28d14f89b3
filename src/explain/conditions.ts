// What explain says of a service's conditions: which of its matches the packet meets, which prefix lets the client in or keeps it out,
// how long the client will keep its server, and what limits there are. The pipeline has decided; this names the lines of the configuration
// that it decided by.
// Guarantees: pure.
// Thread: any.
import { type Address, addressBits, parseAddress, parsePrefix, prefixContains } from '../config/address.js';
import { ANY_PORT, parsePorts, parseVips, protocolsOf } from '../config/matching.js';
import type { Config } from '../config/schema.js';
import type { Sentence } from './sentence.js';

type Service = Config['services'][number];
type Server = Service['servers'][number];
type Match = NonNullable<Service['match']>[number];

export interface Condition {
  readonly kind: 'match' | 'access' | 'persistence' | 'limits';
  readonly text: string;
}

/** Of the service that took the packet. */
export function conditionsOf(service: Service, server: Server | undefined, sentence: Sentence, ingress: string): Condition[] {
  const texts: readonly (readonly [Condition['kind'], string | undefined])[] = [
    ['match', matchText(service, sentence, ingress)],
    ['access', accessText(service, sentence.source.address)],
    ['persistence', persistenceText(service, sentence.source.address)],
    ['limits', limitsText(service, server)],
  ];
  return texts.flatMap(([kind, text]) => (text === undefined ? [] : [{ kind, text }]));
}

/** Of the services that the packet may have been meant for, when an access list has kept it out. */
export function denialsOf(config: Config, sentence: Sentence, ingress: string): Condition[] {
  return config.services
    .filter(
      (service) =>
        service.acl !== undefined && isMeant(service, sentence, ingress) && !decide(service, sentence.source.address).allowed,
    )
    .map((service) => ({ kind: 'access', text: `${service.name}: ${accessText(service, sentence.source.address)}` }));
}

function isMeant(service: Service, sentence: Sentence, ingress: string): boolean {
  if (service.match !== undefined) return service.match.some((match) => isMet(match, sentence, ingress));
  return meets(service.address, service.port, service.protocol ?? 'tcp', sentence);
}

function isMet(match: Match, sentence: Sentence, ingress: string): boolean {
  if (match.interface !== undefined && match.interface !== ingress) return false;
  if (match.source !== undefined && !contains(match.source, sentence.source.address)) return false;
  return meets(match.destination, match.ports, match.protocol, sentence);
}

function meets(vips: string | undefined, ports: number | string | undefined, protocol: string, sentence: Sentence): boolean {
  const [low, high] = parsePorts(ports ?? 'any') ?? ANY_PORT;
  const { address, port } = sentence.destination;
  return (
    vips !== undefined &&
    contains(vips, address) &&
    protocolsOf(protocol).includes(sentence.protocol) &&
    port >= low &&
    port <= high
  );
}

function contains(text: string, address: Address): boolean {
  const prefix = parseVips(text);
  return prefix !== undefined && prefixContains(prefix, address);
}

function matchText({ match, mark }: Service, sentence: Sentence, ingress: string): string | undefined {
  if (match === undefined) return undefined;
  const met = match.flatMap((entry, i) => (isMet(entry, sentence, ingress) ? [`number ${i + 1} (${describe(entry)})`] : []));
  const of = `of its ${match.length} match${match.length === 1 ? '' : 'es'}${mark === undefined ? '' : `, mark ${mark}`}`;
  return `${met.join(' and ')} ${of}`;
}

function describe({ source, destination, ports, protocol, interface: name }: Match): string {
  return [
    ...(source === undefined ? [] : [`source ${source}`]),
    `destination ${destination}`,
    ...(ports === undefined || ports === 'any' ? [] : [`port ${ports}`]),
    protocol,
    ...(name === undefined ? [] : [`in by ${name}`]),
  ].join(', ');
}

interface Decision {
  readonly allowed: boolean;
  /** The longest prefix that holds the client. */
  readonly prefix?: string;
}

function decide({ acl }: Service, client: Address): Decision {
  if (acl === undefined) return { allowed: true };
  const rules = [
    ...acl.allow.map((prefix) => ({ prefix, allowed: true })),
    ...acl.deny.map((prefix) => ({ prefix, allowed: false })),
  ].flatMap(({ prefix, allowed }) => {
    const parsed = parsePrefix(prefix);
    return parsed !== undefined && prefixContains(parsed, client) ? [{ prefix, allowed, length: parsed.length }] : [];
  });
  const longest = rules.sort((a, b) => b.length - a.length)[0];
  if (longest !== undefined) return { allowed: longest.allowed, prefix: longest.prefix };
  return { allowed: (acl.default ?? (acl.allow.length > 0 ? 'deny' : 'allow')) === 'allow' };
}

function accessText(service: Service, client: Address): string | undefined {
  if (service.acl === undefined) return undefined;
  const { allowed, prefix } = decide(service, client);
  const verdict = allowed ? 'allowed' : 'denied';
  return prefix === undefined
    ? `${verdict}: ${client.text} is in no prefix of the list`
    : `${verdict} by ${prefix}, the longest prefix with ${client.text}`;
}

function persistenceText({ persistence }: Service, client: Address): string | undefined {
  if (persistence === undefined) return undefined;
  const length = persistence.prefix ?? addressBits(client.family);
  const whose = length >= addressBits(client.family) ? client.text : `clients of ${client.text}/${length}`;
  const group = persistence.group === undefined ? '' : `, with all services of group ${persistence.group}`;
  return `${whose} would keep the server for ${persistence.timeout} s after its last new connection${group}`;
}

function limitsText(service: Service, server: Server | undefined): string | undefined {
  const parts = [
    ...(service.maxConnections === undefined ? [] : [`service: at most ${service.maxConnections} sessions`]),
    ...rateTexts('service', service.rateLimit),
    ...(server?.upperThreshold === undefined ? [] : [`server: full at ${server.upperThreshold} sessions`]),
    ...rateTexts('server', server?.rateLimit),
  ];
  return parts.length === 0 ? undefined : parts.join('; ');
}

function rateTexts(owner: string, limit: Service['rateLimit']): string[] {
  return [
    ...(limit?.packetsPerSecond === undefined ? [] : [`${owner}: ${limit.packetsPerSecond} packets/s`]),
    ...(limit?.bitsPerSecond === undefined ? [] : [`${owner}: ${limit.bitsPerSecond} bit/s`]),
  ];
}

/** The server of a service that the replay chose. */
export function serverNamed(service: Service, endpoint: string): Server | undefined {
  const address = /^\[?([^\]]*?)\]?:\d+$/.exec(endpoint)?.[1];
  return service.servers.find((entry) => parseAddress(entry.address)?.text === address);
}
