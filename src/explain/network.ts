// What a running balancer learns from the kernel and its neighbours, and a file does not say: Ethernet addresses, and routes where the file
// has none. Explain fills the gaps with invented ones and says which, so that the rest of the way can be shown.
// Guarantees: pure; nothing that the file says is replaced.
// Thread: any.
import { type Address, networkOf, parseAddress, parseMac, parsePrefix, prefixContains } from '../config/address.js';
import type { Config } from '../config/schema.js';
import { insideOf } from './outbound.js';

export interface AssumedNetwork {
  readonly config: Config;
  /** Sentences for a person. */
  readonly assumptions: readonly string[];
  /** Addresses whose Ethernet address is invented, by that. */
  readonly asked: ReadonlyMap<string, string>;
  /** Name of the interface that packets from the client come in by. */
  readonly ingress: string;
  /** Ethernet address of the client, or of the router that leads to it. */
  readonly clientMac: string;
}

type Neighbour = Config['neighbours'][number];
type Route = Config['routes'][number];

/** The network that a packet from `client` to `destination` meets. */
export function assumeNetwork(config: Config, client: Address, destination: Address, ingress?: string): AssumedNetwork {
  const assumptions: string[] = [];
  const interfaces = config.interfaces.map((entry, i) =>
    entry.mac === undefined ? { ...entry, mac: invented(0xfe, i + 1) } : entry,
  );
  const nameless = config.interfaces.filter((entry) => entry.mac === undefined).map((entry) => entry.name);
  if (nameless.length > 0) assumptions.push(`the file has no mac for ${nameless.join(', ')}: an invented one stands there`);

  const routes: Route[] = [...config.routes];
  const neighbours: Neighbour[] = [...config.neighbours];
  const unknownNetwork = routes.length === 0 && interfaces.every((entry) => (entry.addresses ?? []).length === 0);
  if (unknownNetwork) assumptions.push('the file has neither addresses nor routes: every address is taken for a neighbour');

  const servers = config.services.flatMap((service) => service.servers.map((server) => server.address));
  const [near, far] = [interfaces[0]?.name ?? '', interfaces.at(-1)?.name ?? ''];
  const inside = insideOf(config, client, destination);
  const clientSide = ingress ?? (inside === undefined ? near : (inside.interface ?? far));
  const targets = [
    { text: client.text, side: clientSide },
    ...(inside === undefined ? [] : [{ text: destination.text, side: clientSide === near ? far : near }]),
    ...servers.map((text) => ({ text, side: far })),
  ];
  const asked = new Map<string, string>();
  let clientHop: { readonly address: string; readonly side: string } = { address: client.text, side: clientSide };
  for (const [number, { text, side }] of targets.entries()) {
    const address = parseAddress(text);
    if (address === undefined) continue;
    let hop = nextHop(address, interfaces, routes);
    if (hop === undefined && unknownNetwork) {
      routes.push({ prefix: `${address.text}/${address.family === 4 ? 32 : 128}`, interface: side });
      hop = { address: address.text, side };
    }
    if (hop === undefined) continue;
    if (number === 0) clientHop = hop;
    if (macOf(neighbours, hop) !== undefined) continue;
    const mac = invented(0xff, neighbours.length + 1);
    neighbours.push({ address: hop.address, mac, interface: hop.side });
    asked.set(mac, hop.address);
  }
  return {
    config: { ...config, interfaces, routes, neighbours },
    assumptions,
    asked,
    ingress: ingress ?? clientHop.side,
    clientMac: macOf(neighbours, clientHop) ?? invented(0xfd, 1),
  };
}

function nextHop(address: Address, interfaces: Config['interfaces'], routes: readonly Route[]) {
  for (const entry of interfaces) {
    for (const text of entry.addresses ?? []) {
      const prefix = parsePrefix(text);
      if (prefix !== undefined && prefixContains(prefix, address)) return { address: address.text, side: entry.name };
    }
  }
  const best = routes
    .flatMap((route) => {
      const prefix = parsePrefix(route.prefix);
      if (prefix === undefined) return [];
      return prefixContains({ address: networkOf(prefix), length: prefix.length }, address)
        ? [{ route, length: prefix.length }]
        : [];
    })
    .sort((a, b) => b.length - a.length)[0];
  if (best === undefined) return undefined;
  const via = best.route.via === undefined ? undefined : parseAddress(best.route.via)?.text;
  return { address: via ?? address.text, side: best.route.interface };
}

function macOf(neighbours: readonly Neighbour[], hop: { readonly address: string; readonly side: string }): string | undefined {
  const found = neighbours.find((entry) => parseAddress(entry.address)?.text === hop.address && entry.interface === hop.side);
  return found === undefined ? undefined : (parseMac(found.mac) ?? found.mac);
}

/** Locally administered, so nobody's. */
function invented(kind: number, number: number): string {
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  return `02:00:00:${hex(kind)}:${hex(number >> 8)}:${hex(number & 0xff)}`;
}
