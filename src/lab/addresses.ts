// The lab's address plan: one place, so that topology, servers, configuration, tests and documentation agree.
// Guarantees: documentation ranges only (RFC 5737, RFC 3849); nothing here exists outside the lab's network namespaces.
// Thread: any; constants and pure functions.

export type Family = 'ipv4' | 'ipv6';
export type Role = 'client' | 'lb' | 'net' | 'rs1' | 'rs2';

export const families: readonly Family[] = ['ipv4', 'ipv6'];
export const roles: readonly Role[] = ['client', 'lb', 'net', 'rs1', 'rs2'];
export const realServerRoles = ['rs1', 'rs2'] as const;
export type RealServerRole = (typeof realServerRoles)[number];

/** Interface names: `wan` and `lan` are the balancer's; `eth0` is everybody's only one. */
export const interfaces = { wan: 'wan', lan: 'lan', client: 'eth0', server: 'eth0', bridge: 'br0', bridgePort: 'to-lb' } as const;

export const httpPort = 80;
export const echoPort = 7;

export interface FamilyPlan {
  readonly prefixLength: number;
  readonly clients: readonly string[];
  readonly lbWan: string;
  readonly lbLan: string;
  /** On the client's own network: found by ARP or neighbour discovery. */
  readonly vip: string;
  /** Behind the balancer's address: found by the client's route. */
  readonly routedVip: string;
  readonly routedPrefix: string;
  readonly servers: Readonly<Record<RealServerRole, string>>;
  readonly localPrefix: string;
}

export const plans: Readonly<Record<Family, FamilyPlan>> = {
  ipv4: {
    prefixLength: 24,
    clients: ['198.51.100.2', '198.51.100.3', '198.51.100.4'],
    lbWan: '198.51.100.1',
    lbLan: '192.0.2.1',
    vip: '198.51.100.10',
    routedVip: '203.0.113.10',
    routedPrefix: '203.0.113.0/24',
    servers: { rs1: '192.0.2.11', rs2: '192.0.2.12' },
    localPrefix: '192.0.2.',
  },
  ipv6: {
    prefixLength: 64,
    clients: ['2001:db8:1::2', '2001:db8:1::3', '2001:db8:1::4'],
    lbWan: '2001:db8:1::1',
    lbLan: '2001:db8:2::1',
    vip: '2001:db8:1::10',
    routedVip: '2001:db8:10::10',
    routedPrefix: '2001:db8:10::/64',
    servers: { rs1: '2001:db8:2::11', rs2: '2001:db8:2::12' },
    localPrefix: '2001:db8:2::',
  },
};

const localsPerWorker = 2;

/** Local addresses of a family, two per worker: number i belongs to worker i modulo `workers`. */
export function localAddresses(family: Family, workers: number): string[] {
  return Array.from({ length: workers * localsPerWorker }, (_, index) => `${plans[family].localPrefix}${101 + index}`);
}

/** The address as it stands in a URL: IPv6 in brackets. */
export function urlHost(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

/** What flow rules of a card would say: packets to a local address arrive on the queue of the worker that owns it. */
export function steeringRules(workers: number): { readonly address: string; readonly queue: number }[] {
  return families.flatMap((family) =>
    localAddresses(family, workers).map((address, index) => ({ address, queue: index % workers })),
  );
}
