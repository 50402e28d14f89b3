// The lab's address plan: one place, so that topology, servers, configuration, tests and documentation agree.
// Guarantees: documentation ranges only (RFC 5737, RFC 3849); nothing here exists outside the lab's network namespaces.
// Thread: any; constants and pure functions.

export type Family = 'ipv4' | 'ipv6';
export type Role = 'client' | 'far' | 'lb' | 'net' | 'rs1' | 'rs2';

export const families: readonly Family[] = ['ipv4', 'ipv6'];
/** Of every lab; `far` is made with the second path only. */
export const basicRoles: readonly Role[] = ['client', 'lb', 'net', 'rs1', 'rs2'];
export const roles: readonly Role[] = [...basicRoles, 'far'];
export const realServerRoles = ['rs1', 'rs2'] as const;
export type RealServerRole = (typeof realServerRoles)[number];

/** Interface names: `wan` and `lan` are the balancer's; `eth0` is everybody's first. */
export const interfaces = {
  wan: 'wan',
  lan: 'lan',
  client: 'eth0',
  server: 'eth0',
  bridge: 'br0',
  bridgePort: 'to-lb',
  /** The client's second way: into the server network, past the balancer. */
  back: 'eth1',
  backPort: 'to-client',
  /** The client's end of the narrow link to `far`. */
  narrow: 'narrow',
  far: 'eth0',
} as const;

export const httpPort = 80;
export const echoPort = 7;
/** HTTP whose answer is the digest of the request's body. */
export const uploadPort = 8000;
/** SCTP echo. */
export const sctpPort = 5000;
/** UDP; nothing listens here on a real server. */
export const closedPort = 9;
/** With modes that map ports: HTTP and echo are behind these too. */
export const mappedHttpPort = 8080;
export const mappedEchoPort = 7007;
/** What fits through the link between the client and `far`, whose ends do not know of it. */
export const narrowMtu = 1300;

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
  /** The client's address in the server network. */
  readonly clientBack: string;
  /** A client behind the client: network, the client as its router, itself. */
  readonly farNetwork: string;
  readonly farRouter: string;
  readonly far: string;
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
    clientBack: '192.0.2.2',
    farNetwork: '198.51.100.240/28',
    farRouter: '198.51.100.241',
    far: '198.51.100.242',
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
    clientBack: '2001:db8:2::2',
    farNetwork: '2001:db8:3::/64',
    farRouter: '2001:db8:3::1',
    far: '2001:db8:3::2',
  },
};

/** Hosts that servers can run on. */
export type HostRole = RealServerRole | 'client' | 'far';

/** The address by which others know a host. */
export function hostAddress(family: Family, role: HostRole): string {
  const { clients, far, servers } = plans[family];
  if (role === 'client') return clients[0] ?? '';
  return role === 'far' ? far : servers[role];
}

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
