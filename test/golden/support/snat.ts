// The outbound gateway in golden cases: servers' hosts on the inside connect to clients' hosts on the outside. The flow is that of full NAT
// with the destination in place of the server; its "client" is the inside host. Runs in tests only.

import { packet } from '../../support/packet/index.js';
import type { Step } from './flow.js';
import { type Flow, type FlowOptions, forwarded, frame, type PacketSpec, webFlow } from './flow.js';
import { type IcmpKind, icmpError, quoteOf, quoting } from './icmp.js';
import type { Reporter } from './icmp-flow.js';
import {
  CLIENT,
  CLIENT6,
  configWith,
  type Host,
  LAN_MAC,
  LOCAL_PORT,
  SERVER1,
  SERVER1_V6,
  type SnatConfig,
  WAN_MAC,
} from './network.js';

export const POOL = '198.51.100.101';
export const POOL_B = '198.51.100.102';
export const POOL6 = '2001:db8:1::101';
export const POOL6_B = '2001:db8:1::102';
export const INSIDE = '192.0.2.0/24';
export const INSIDE6 = '2001:db8:2::/64';

export const rule = (
  name: string,
  pool: readonly string[],
  ...match: readonly Readonly<Record<string, string>>[]
): SnatConfig => ({
  name,
  match,
  pool,
});
export const only = (...snat: readonly SnatConfig[]) => ({ config: configWith({ services: [], localAddresses: [], snat }) });
export const EVERYTHING = only(rule('office', [POOL, POOL6], { source: INSIDE }, { source: INSIDE6 }));

/** A connection of an inside host to an outside one. */
export function outbound(outside: Host, changes: Partial<FlowOptions> & { readonly port?: number; readonly from?: Host } = {}) {
  const { port = 443, from = SERVER1, ...others } = changes;
  return webFlow({
    client: from,
    vip: outside.address,
    vipPort: port,
    server: outside,
    serverPort: port,
    local: { address: POOL, port: LOCAL_PORT },
    clientSideMac: LAN_MAC,
    serverSideMac: WAN_MAC,
    ...others,
  });
}
export const outbound6 = (changes: Parameters<typeof outbound>[1] = {}) =>
  outbound(CLIENT6, { from: SERVER1_V6, local: { address: POOL6, port: LOCAL_PORT }, ...changes });

const bytes16 = (value: number) => [value >> 8, value & 0xff];

interface Echo {
  readonly from: string;
  readonly to: string;
  readonly macs: readonly [string, string];
  readonly id: number;
  readonly reply?: boolean;
  readonly ttl: number;
}

/** An echo request or reply over IPv4. */
export function echo({ from, to, macs: [source, destination], id, reply = false, ttl }: Echo) {
  return packet()
    .eth({ source, destination })
    .ipv4({ source: from, destination: to, ttl, id: 7, dontFragment: true })
    .icmp({ type: reply ? 0 : 8, rest: [...bytes16(id), 0, 1] })
    .payload('abcdefgh!');
}
export function echo6({ from, to, macs: [source, destination], id, reply = false, ttl }: Echo) {
  return packet()
    .eth({ source, destination })
    .ipv6({ source: from, destination: to, hopLimit: ttl })
    .icmpv6({ type: reply ? 129 : 128, rest: [...bytes16(id), 0, 1] })
    .payload('abcdefgh!');
}

export const PING = { from: SERVER1.address, to: CLIENT.address, macs: [SERVER1.mac, LAN_MAC], id: 0x1234, ttl: 64 } as const;
export const PING_OUT = { from: POOL, to: CLIENT.address, macs: [WAN_MAC, CLIENT.mac], id: LOCAL_PORT, ttl: 63 } as const;
export const PONG = {
  from: CLIENT.address,
  to: POOL,
  macs: [CLIENT.mac, WAN_MAC],
  id: LOCAL_PORT,
  ttl: 64,
  reply: true,
} as const;
export const PONG_IN = {
  from: CLIENT.address,
  to: SERVER1.address,
  macs: [LAN_MAC, SERVER1.mac],
  id: 0x1234,
  ttl: 63,
  reply: true,
} as const;

/** An error of a router, or of the outside host itself, about a packet of the inside host: it keeps its source. */
export function errorFromOutside(flow: Flow, from: Reporter, kind: IcmpKind, spec: PacketSpec = {}, quoted?: number): Step {
  const sent = flow.fromClient(spec).leaving;
  const known = frame(flow.options.protocol, flow.client, flow.vip, forwarded(spec)).build();
  return {
    arriving: icmpError(from, flow.local, kind, quoteOf(sent, quoted)),
    leaving: icmpError({ ...from, mac: LAN_MAC }, flow.client, kind, quoteOf(known, quoted), { ttl: 63 }),
    nested: quoting(from.address, flow.client.address, flow.client, flow.vip),
  };
}
