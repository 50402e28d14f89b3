// Golden cases: the outbound gateway, TCP, UDP and echo, and which packets its rules take.

import { golden } from '../support/case.js';
import { handshake } from '../support/flow.js';
import { CLIENT, CLIENT6, LAN_MAC, LOCAL_PORT, OTHER_CLIENT, SERVER1, SERVER1_V6, SERVER2, WAN_MAC } from '../support/network.js';
import {
  EVERYTHING,
  echo,
  echo6,
  INSIDE,
  only,
  outbound,
  outbound6,
  PING,
  PING_OUT,
  PONG,
  PONG_IN,
  POOL,
  POOL_B,
  POOL6,
  rule,
} from '../support/snat.js';

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
