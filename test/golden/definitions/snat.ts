// Golden cases: the outbound gateway. Servers' hosts on the inside connect to clients' hosts on the outside; the flow is that of full
// NAT with the destination in place of the server.

import { packet } from '../../support/packet/index.js';
import { golden } from '../support/case.js';
import { type FlowOptions, frame, handshake, webFlow } from '../support/flow.js';
import {
  CLIENT,
  CLIENT6,
  configWith,
  type Host,
  LAN_MAC,
  LOCAL_PORT,
  OTHER_CLIENT,
  SERVER1,
  SERVER1_V6,
  SERVER2,
  type SnatConfig,
  WAN_MAC,
} from '../support/network.js';

const POOL = '198.51.100.101';
const POOL_B = '198.51.100.102';
const POOL6 = '2001:db8:1::101';
const INSIDE = '192.0.2.0/24';
const INSIDE6 = '2001:db8:2::/64';

const rule = (name: string, pool: readonly string[], ...match: readonly Readonly<Record<string, string>>[]): SnatConfig => ({
  name,
  match,
  pool,
});
const only = (...snat: readonly SnatConfig[]) => ({ config: configWith({ services: [], localAddresses: [], snat }) });
const EVERYTHING = only(rule('office', [POOL, POOL6], { source: INSIDE }, { source: INSIDE6 }));

/** A connection of an inside host to an outside one. */
function outbound(outside: Host, changes: Partial<FlowOptions> & { readonly port?: number; readonly from?: Host } = {}) {
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
const outbound6 = (changes: Parameters<typeof outbound>[1] = {}) =>
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
function echo({ from, to, macs: [source, destination], id, reply = false, ttl }: Echo) {
  return packet()
    .eth({ source, destination })
    .ipv4({ source: from, destination: to, ttl, id: 7, dontFragment: true })
    .icmp({ type: reply ? 0 : 8, rest: [...bytes16(id), 0, 1] })
    .payload('abcdefgh!');
}
function echo6({ from, to, macs: [source, destination], id, reply = false, ttl }: Echo) {
  return packet()
    .eth({ source, destination })
    .ipv6({ source: from, destination: to, hopLimit: ttl })
    .icmpv6({ type: reply ? 129 : 128, rest: [...bytes16(id), 0, 1] })
    .payload('abcdefgh!');
}

const PING = { from: SERVER1.address, to: CLIENT.address, macs: [SERVER1.mac, LAN_MAC], id: 0x1234, ttl: 64 } as const;
const PING_OUT = { from: POOL, to: CLIENT.address, macs: [WAN_MAC, CLIENT.mac], id: LOCAL_PORT, ttl: 63 } as const;
const PONG = { from: CLIENT.address, to: POOL, macs: [CLIENT.mac, WAN_MAC], id: LOCAL_PORT, ttl: 64, reply: true } as const;
const PONG_IN = {
  from: CLIENT.address,
  to: SERVER1.address,
  macs: [LAN_MAC, SERVER1.mac],
  id: 0x1234,
  ttl: 63,
  reply: true,
} as const;

/** An ICMP error of `from` about the quoted frame. */
function error(
  from: string,
  to: string,
  macs: readonly [string, string],
  ttl: number,
  type: number,
  code: number,
  quoted: Uint8Array,
) {
  return packet()
    .eth({ source: macs[0], destination: macs[1] })
    .ipv4({ source: from, destination: to, ttl, id: 9 })
    .icmp({ type, code })
    .payload(quoted.slice(14))
    .build();
}

export const snatCases = [
  golden(
    'snat-tcp',
    'A connection of an inside host leaves with an address and port of the pool, and answers find back.',
    (t) => {
      const flow = outbound(CLIENT);
      t.forward(...handshake(flow), flow.fromClient({ flags: 'PA', payload: 'GET / HTTP/1.0\r\n\r\n' }));
      t.forward(flow.fromServer({ flags: 'PA', payload: 'HTTP/1.0 200 OK\r\n\r\n' }));
      t.forward(flow.fromServer({ flags: 'FA' }), flow.fromClient({ flags: 'FA' }), flow.fromServer({ flags: 'A' }));
      t.expect({ sessions_created: 1, sessions: 1 });
      t.server('office', '0.0.0.0:0', { connections: 1, inPackets: 4, outPackets: 4 });
    },
    EVERYTHING,
  ),
  golden(
    'snat-tcp-v6',
    'The same over IPv6.',
    (t) => {
      const flow = outbound6();
      t.forward(...handshake(flow), flow.fromServer({ flags: 'PA', payload: 'hello' }));
      t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
    },
    EVERYTHING,
  ),
  golden(
    'snat-udp',
    'Datagrams of an inside host and their answers; a stranger finds no way in.',
    (t) => {
      const flow = outbound(CLIENT, { protocol: 'udp', port: 53 });
      t.forward(flow.fromClient({ payload: 'question' }), flow.fromServer({ payload: 'answer' }));
      t.drop('local_no_session', outbound(OTHER_CLIENT, { protocol: 'udp', port: 53 }).fromServer({ payload: 'hi' }).arriving);
      t.drop('local_no_session', outbound(CLIENT, { protocol: 'udp', port: 54 }).fromServer({ payload: 'hi' }).arriving);
      t.expect({ sessions_created: 1, sessions: 1 });
    },
    EVERYTHING,
  ),
  golden(
    'snat-udp-v6',
    'Datagrams over IPv6.',
    (t) => {
      const flow = outbound6({ protocol: 'udp', port: 53 });
      t.forward(flow.fromClient({ payload: 'question' }), flow.fromServer({ payload: 'answer' }));
      t.expect({ sessions_created: 1, sessions: 1 });
    },
    EVERYTHING,
  ),
  golden(
    'snat-echo',
    'Echo has its identifier in the place of a port: it is translated, the sequence number is not.',
    (t) => {
      t.forward({ arriving: echo(PING).build(), leaving: echo(PING_OUT).build() });
      t.forward({ arriving: echo(PONG).build(), leaving: echo(PONG_IN).build() });
      t.drop('local_no_session', echo({ ...PONG, id: 4711 }).build());
      t.expect({ sessions_created: 1, sessions: 1 });
    },
    EVERYTHING,
  ),
  golden(
    'snat-echo-v6',
    'ICMPv6 echo, whose checksum covers the addresses.',
    (t) => {
      const [inside, outside] = [SERVER1_V6, CLIENT6];
      t.forward({
        arriving: echo6({ from: inside.address, to: outside.address, macs: [inside.mac, LAN_MAC], id: 77, ttl: 64 }).build(),
        leaving: echo6({ from: POOL6, to: outside.address, macs: [WAN_MAC, outside.mac], id: LOCAL_PORT, ttl: 63 }).build(),
      });
      t.forward({
        arriving: echo6({
          from: outside.address,
          to: POOL6,
          macs: [outside.mac, WAN_MAC],
          id: LOCAL_PORT,
          ttl: 64,
          reply: true,
        }).build(),
        leaving: echo6({
          from: outside.address,
          to: inside.address,
          macs: [LAN_MAC, inside.mac],
          id: 77,
          ttl: 63,
          reply: true,
        }).build(),
      });
      t.expect({ sessions_created: 1, sessions: 1 });
    },
    EVERYTHING,
  ),
  golden(
    'snat-error-about-datagram',
    'An error about a datagram reaches the inside host and quotes the datagram as the host knows it.',
    (t) => {
      const flow = outbound(CLIENT, { protocol: 'udp', port: 53 });
      const step = flow.fromClient({ payload: 'question' });
      t.forward(step);
      const known = frame('udp', flow.client, flow.vip, { payload: 'question', ttl: 63 }).build();
      t.forward({
        arriving: error(CLIENT.address, POOL, [CLIENT.mac, WAN_MAC], 64, 3, 3, step.leaving),
        leaving: error(CLIENT.address, SERVER1.address, [LAN_MAC, SERVER1.mac], 63, 3, 3, known),
      });
      t.expect({ sessions_created: 1, sessions: 1, icmp_translated: 1 });
    },
    EVERYTHING,
  ),
  golden(
    'snat-error-about-echo',
    'An error about an echo request reaches the inside host with its identifier.',
    (t) => {
      t.forward({ arriving: echo(PING).build(), leaving: echo(PING_OUT).build() });
      t.forward({
        arriving: error(CLIENT.address, POOL, [CLIENT.mac, WAN_MAC], 64, 3, 1, echo(PING_OUT).build()),
        leaving: error(CLIENT.address, SERVER1.address, [LAN_MAC, SERVER1.mac], 63, 3, 1, echo({ ...PING, ttl: 63 }).build()),
      });
      t.expect({ sessions_created: 1, sessions: 1, icmp_translated: 1 });
    },
    EVERYTHING,
  ),
  golden(
    'snat-takes-what-matches',
    'Only what a rule matches is taken: source, destination, port, protocol and interface; the rest stays with the kernel.',
    (t) => {
      t.forward(outbound(CLIENT).fromClient({ flags: 'S' }));
      const from = (changes: Parameters<typeof outbound>[1], flow = outbound(CLIENT, changes)) =>
        flow.fromClient({ flags: 'S' }).arriving;
      t.kernel(from({ from: { ...SERVER1, address: '192.0.2.140' } }));
      t.kernel(from({ port: 444 }));
      t.kernel(from({ clientSideMac: WAN_MAC }));
      t.kernel(outbound({ ...CLIENT, address: '198.18.0.1' }).fromClient({ flags: 'S' }).arriving);
      t.kernel(outbound(CLIENT, { protocol: 'udp' }).fromClient({ payload: 'x' }).arriving, echo(PING).build());
      // The balancer's own address, and what goes to all.
      t.kernel(outbound({ ...CLIENT, address: '198.51.100.1' }).fromClient({ flags: 'S' }).arriving);
      t.kernel(from({ clientSideMac: 'ff:ff:ff:ff:ff:ff' }));
      t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
    },
    only(
      rule('office', [POOL], {
        source: '192.0.2.0/25',
        destination: '198.51.100.0/24',
        protocol: 'tcp',
        ports: '440-443',
        interface: 'lan',
      }),
    ),
  ),
  golden(
    'snat-port-per-destination',
    'One local port serves as many destinations as there are, but no destination twice.',
    (t) => {
      t.forward(outbound(CLIENT).fromClient({ flags: 'S' }), outbound(OTHER_CLIENT).fromClient({ flags: 'S' }));
      t.forward(outbound(CLIENT, { port: 80 }).fromClient({ flags: 'S' }));
      t.forward(outbound(CLIENT, { protocol: 'udp' }).fromClient({ payload: 'x' }));
      t.drop('local_ports_exhausted', outbound(CLIENT, { from: SERVER2 }).fromClient({ flags: 'S' }).arriving);
      t.expect({ sessions_created: 4, sessions: 4, sessions_active: 3 });
    },
    EVERYTHING,
  ),
  golden(
    'snat-first-rule-wins',
    'Rules are tried in the order of the file, and each has a pool of its own.',
    (t) => {
      t.forward(...handshake(outbound(CLIENT, { local: { address: POOL_B, port: LOCAL_PORT } })));
      t.forward(...handshake(outbound(CLIENT, { from: SERVER2 })));
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2 });
      t.server('mail', '0.0.0.0:0', { connections: 1 });
    },
    only(rule('mail', [POOL_B], { source: SERVER1.address }), rule('office', [POOL], { source: INSIDE })),
  ),
  golden(
    'snat-needs-a-first-packet',
    'A TCP packet that opens nothing begins no session, nor does an echo reply.',
    (t) => {
      t.drop('tcp_no_session', outbound(CLIENT).fromClient({ flags: 'A' }).arriving);
      t.kernel(echo({ ...PING, reply: true }).build());
      t.expect({});
    },
    EVERYTHING,
  ),
];
