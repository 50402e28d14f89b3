// What there is in the network namespace: links, addresses, ways out. Read by `ip -json`.
// Guarantees: changes nothing; addresses in canonical text.
// Thread: the main thread.
import { parseAddress } from '../config/address.js';
import { type Host, ipChecked } from './host.js';

export interface Link {
  readonly name: string;
  /** Bytes of the largest IP packet. */
  readonly mtu: number;
  readonly up: boolean;
  readonly loopback: boolean;
}

export interface OwnAddress {
  readonly device: string;
  readonly address: string;
  readonly length: number;
}

export interface NetworkFacts {
  readonly links: readonly Link[];
  readonly addresses: readonly OwnAddress[];
  /** Devices of default routes. */
  readonly defaultDevices: { readonly ipv4: readonly string[]; readonly ipv6: readonly string[] };
  /** Addresses that the kernel answers neighbour discovery for although it does not have them. */
  readonly proxied: readonly string[];
}

export async function readNetwork(host: Host): Promise<NetworkFacts> {
  const links = records(await ipChecked(host, ['-json', 'address', 'show']));
  return {
    links: links.map((link) => ({
      name: text(link, 'ifname'),
      mtu: Number(link['mtu']),
      up: flags(link).includes('UP'),
      loopback: flags(link).includes('LOOPBACK'),
    })),
    addresses: links.flatMap((link) => list(link['addr_info']).map((info) => ownAddress(text(link, 'ifname'), info))),
    defaultDevices: {
      ipv4: devices(await ipChecked(host, ['-4', '-json', 'route', 'show', 'default'])),
      ipv6: devices(await ipChecked(host, ['-6', '-json', 'route', 'show', 'default'])),
    },
    proxied: records(await ipChecked(host, ['-json', 'neighbour', 'show', 'proxy'])).map((entry) =>
      canonical(text(entry, 'dst')),
    ),
  };
}

/** Devices by which these addresses are reached; those without a way are left out. */
export async function devicesTowards(host: Host, addresses: readonly string[]): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const address of addresses) {
    const result = await host.ip(['-json', 'route', 'get', address]);
    if (result.code === 0) for (const device of devices(result.stdout)) found.add(device);
  }
  return [...found];
}

type JsonRecord = Readonly<Record<string, unknown>>;

function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null;
}

function list(value: unknown): readonly JsonRecord[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

/** `ip` prints nothing at all instead of an empty list. */
function records(json: string): readonly JsonRecord[] {
  return json.trim() === '' ? [] : list(JSON.parse(json));
}

function text(record: JsonRecord, key: string): string {
  const value = record[key];
  return typeof value === 'string' ? value : '';
}

function flags(link: JsonRecord): readonly unknown[] {
  const value = link['flags'];
  return Array.isArray(value) ? value : [];
}

function canonical(address: string): string {
  return parseAddress(address)?.text ?? address;
}

function ownAddress(device: string, info: JsonRecord): OwnAddress {
  return { device, address: canonical(text(info, 'local')), length: Number(info['prefixlen']) };
}

/** A route with several next hops has a device for each of them. */
function devices(json: string): readonly string[] {
  const routes = records(json).flatMap((route) => [route, ...list(route['nexthops'])]);
  return [...new Set(routes.map((route) => text(route, 'dev')).filter((device) => device !== ''))];
}
