// Golden cases: TCP connections from their first SYN to their end, both families, and what must not be touched on the way.

import { linuxSynOptions, mss, nop, sack, timestamps, windowScale } from '../../support/packet/index.js';
import { golden } from '../support/case.js';
import { closedByClient, handshake, web6Flow, webFlow } from '../support/flow.js';
import { configWith, GATEWAY, OTHER_CLIENT, REMOTE_CLIENT, REMOTE_CLIENT6, SERVER1, SERVER2, WEB } from '../support/network.js';

const ended = { sessions_created: 1, sessions: 1 };
const open = { ...ended, sessions_active: 1 };

function conversation(flow: ReturnType<typeof webFlow>) {
  return [
    flow.fromClient({ flags: 'S', seq: 1000, options: linuxSynOptions(1000), dontFragment: true, id: 1 }),
    flow.fromServer({ flags: 'SA', seq: 5000, ack: 1001, options: linuxSynOptions(1000), id: 0 }),
    flow.fromClient({ flags: 'A', seq: 1001, ack: 5001, options: [nop(), nop(), timestamps(1001, 2001)], id: 2 }),
    flow.fromClient({ flags: 'PA', seq: 1001, ack: 5001, payload: 'GET / HTTP/1.0\r\n\r\n', id: 3 }),
    flow.fromServer({ flags: 'A', seq: 5001, ack: 1019, id: 77 }),
    flow.fromServer({ flags: 'PA', seq: 5001, ack: 1019, payload: 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello', id: 78 }),
    flow.fromClient({ flags: 'A', seq: 1019, ack: 5045, options: [nop(), nop(), sack([5100, 5200])], id: 4 }),
    flow.fromClient({ flags: 'FA', seq: 1019, ack: 5045, id: 5 }),
    flow.fromServer({ flags: 'FA', seq: 5045, ack: 1020, id: 79 }),
    flow.fromClient({ flags: 'A', seq: 1020, ack: 5046, id: 6 }),
  ];
}

export const tcpCases = [
  golden('tcp-v4-conversation', 'An IPv4 connection carries a request and its answer, and both sides close it.', (t) => {
    t.forward(...conversation(webFlow())).expect(ended);
    t.server('web', '192.0.2.11:8080', { connections: 1, inPackets: 6, outPackets: 4, active: 0, inactive: 1 });
  }),
  golden('tcp-v6-conversation', 'An IPv6 connection carries a request and its answer, and both sides close it.', (t) => {
    t.forward(...conversation(web6Flow())).expect(ended);
    t.server('web6', '[2001:db8:2::11]:8080', { connections: 1, inPackets: 6, outPackets: 4, active: 0, inactive: 1 });
  }),
  golden(
    'tcp-v4-client-behind-gateway',
    'Answers to a client behind a gateway leave for the Ethernet address of the gateway.',
    (t) => {
      t.forward(...handshake(webFlow({ client: REMOTE_CLIENT }))).expect(open);
    },
  ),
  golden(
    'tcp-v6-client-behind-gateway',
    'Answers to an IPv6 client behind a gateway leave for the Ethernet address of the gateway.',
    (t) => {
      t.forward(...handshake(web6Flow({ client: REMOTE_CLIENT6 }))).expect(open);
    },
  ),
  golden(
    'tcp-return-by-route',
    'A client whose SYN came from an unexpected router is answered by the route, not by where the SYN came from.',
    (t) => {
      const flow = webFlow({ client: REMOTE_CLIENT });
      const strange = webFlow({ client: { ...REMOTE_CLIENT, mac: OTHER_CLIENT.mac } });
      t.forward(strange.fromClient({ flags: 'S' }), flow.fromServer({ flags: 'SA', ack: 1001 })).expect(open);
    },
  ),
  golden('tcp-syn-retransmitted', 'A repeated SYN belongs to the session that the first one made.', (t) => {
    const flow = webFlow();
    t.forward(flow.fromClient({ flags: 'S' }))
      .wait(1)
      .forward(flow.fromClient({ flags: 'S' }))
      .wait(2);
    t.forward(flow.fromClient({ flags: 'S' }), flow.fromServer({ flags: 'SA', ack: 1001 })).expect(open);
    t.server('web', '192.0.2.11:8080', { connections: 1, inPackets: 3, outPackets: 1 });
  }),
  golden('tcp-syn-with-data', 'A SYN that carries data (TCP Fast Open, RFC 7413) is forwarded with its data.', (t) => {
    t.forward(webFlow().fromClient({ flags: 'S', payload: 'early data', options: [mss(1000)] })).expect(open);
  }),
  golden('tcp-syn-with-ecn', 'A SYN that asks for ECN (flags E and C, RFC 3168) opens a connection like any other.', (t) => {
    const flow = webFlow();
    t.forward(flow.fromClient({ flags: 'SEC' }), flow.fromServer({ flags: 'SAE', ack: 1001 })).expect(open);
  }),
  golden('tcp-reset-by-server', 'A server that refuses the connection is heard by the client.', (t) => {
    const flow = webFlow();
    t.forward(flow.fromClient({ flags: 'S' }), flow.fromServer({ flags: 'RA', seq: 0, ack: 1001, window: 0 })).expect(ended);
  }),
  golden('tcp-reset-by-client', 'A reset from the client reaches the server and makes the session inactive.', (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow), flow.fromClient({ flags: 'R', seq: 1001, ack: 0, window: 0 })).expect(ended);
  }),
  golden(
    'tcp-half-close',
    'After the client has sent its FIN the server still sends data, and the client acknowledges it.',
    (t) => {
      const flow = webFlow();
      t.forward(...handshake(flow), flow.fromClient({ flags: 'FA', seq: 1001, ack: 5001 }));
      t.forward(flow.fromServer({ flags: 'A', seq: 5001, ack: 1002 }));
      t.forward(flow.fromServer({ flags: 'PA', seq: 5001, ack: 1002, payload: 1000 }));
      t.forward(flow.fromClient({ flags: 'A', seq: 1002, ack: 6001 })).expect(ended);
    },
  ),
  golden('tcp-close-by-server', 'The server closes first, then the client.', (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow), flow.fromServer({ flags: 'FA', seq: 5001, ack: 1001 }));
    t.forward(flow.fromClient({ flags: 'FA', seq: 1001, ack: 5002 }), flow.fromServer({ flags: 'A', seq: 5002, ack: 1002 }));
    t.expect(ended);
  }),
  golden(
    'tcp-fields-kept',
    'Sequence numbers, window, urgent pointer, flags, id, TOS and the missing DF bit are passed on as they came.',
    (t) => {
      const flow = webFlow();
      const odd = {
        seq: 0xfffffff0,
        ack: 0x80000001,
        window: 1,
        urgent: 77,
        tos: 0xb9,
        id: 0xffff,
        dontFragment: false,
        payload: 'odd',
      };
      t.forward(...handshake(flow));
      t.forward(flow.fromClient({ flags: 'PAUEC', ...odd }), flow.fromServer({ flags: 'PAUC', ...odd }));
      t.expect(open);
    },
  ),
  golden('tcp-v6-fields-kept', 'Traffic class and flow label of IPv6 are passed on as they came.', (t) => {
    const flow = web6Flow();
    t.forward(...handshake(flow));
    t.forward(flow.fromClient({ tos: 0xb9, flowLabel: 0xabcde }), flow.fromServer({ tos: 3, flowLabel: 0xfffff })).expect(open);
  }),
  golden('tcp-v4-options-kept', 'IPv4 options (timestamp, router alert) stay where they are.', (t) => {
    const flow = webFlow();
    const ipOptions = [0x44, 8, 5, 0, 1, 2, 3, 4, 0x94, 4, 0, 0];
    t.forward(flow.fromClient({ flags: 'S', ipOptions }), flow.fromServer({ flags: 'SA', ack: 1001, ipOptions: [1, 1, 1, 0] }));
    t.expect(open);
  }),
  golden(
    'tcp-v6-extensions-kept',
    'Hop-by-hop and destination options stay in front of the TCP header, which is found behind them.',
    (t) => {
      const flow = web6Flow();
      const extensions = [
        { kind: 0, data: [1, 4, 0, 0, 0, 0] },
        { kind: 60, data: [1, 12] },
      ];
      t.forward(
        flow.fromClient({ flags: 'S', extensions }),
        flow.fromServer({ flags: 'SA', ack: 1001, extensions: [{ kind: 60, data: [1, 4] }] }),
      );
      t.expect(open);
    },
  ),
  golden(
    'tcp-wrong-checksum-stays-wrong',
    'A wrong TCP checksum is not repaired: the receiver must find the same error.',
    (t) => {
      const flow = webFlow();
      t.forward(...handshake(flow));
      t.forward(flow.fromClient({ flags: 'PA', payload: 'damaged', checksumError: 0x0101 }));
      t.forward(flow.fromServer({ flags: 'PA', payload: 'damaged too', checksumError: 0x4000 })).expect(open);
    },
  ),
  golden('tcp-v6-wrong-checksum-stays-wrong', 'A wrong TCP checksum over IPv6 is not repaired either.', (t) => {
    const flow = web6Flow();
    t.forward(...handshake(flow));
    t.forward(
      flow.fromClient({ payload: 'damaged', checksumError: 1 }),
      flow.fromServer({ payload: 'x', checksumError: 0x8000 }),
    );
    t.expect(open);
  }),
  golden('tcp-many-checksums', 'Payloads of every length from 0 to 64 bytes keep right checksums in both directions.', (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow));
    for (let n = 0; n <= 64; n++)
      t.forward(flow.fromClient({ payload: n, id: n }), flow.fromServer({ payload: n, id: 0xff00 + n }));
    t.expect(open);
  }),
  golden('tcp-full-frames', 'Frames that fill the MTU of 1500 bytes pass in both directions.', (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow), flow.fromClient({ payload: 1460 }), flow.fromServer({ payload: 1460 })).expect(open);
  }),
  golden('tcp-padding-trimmed', 'Ethernet padding of short frames is not counted as data and does not go out.', (t) => {
    const flow = webFlow();
    const padding = { padTo: 60, padding: 0xee };
    t.forward(flow.fromClient({ flags: 'S', ...padding }), flow.fromServer({ flags: 'SA', ack: 1001, ...padding }));
    t.forward(flow.fromClient({ flags: 'PA', payload: 'hi', ...padding })).expect(open);
  }),
  golden(
    'tcp-local-port-reused-towards-two-servers',
    'One local address and port serves two connections to two servers at once.',
    (t) => {
      const second = webFlow({ client: OTHER_CLIENT, server: SERVER1 });
      const first = webFlow({ server: SERVER2 });
      t.forward(...handshake(first), ...handshake(second));
      t.forward(first.fromServer({ payload: 'for the first' }), second.fromServer({ payload: 'for the second' }));
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2 });
    },
    {
      config: configWith({
        services: [{ ...WEB, scheduler: 'rr', servers: [SERVER1, SERVER2].map((s) => ({ address: s.address, port: 8080 })) }],
      }),
    },
  ),
  golden(
    'tcp-local-port-reused-towards-two-ports',
    'Two services on one server share a local port, because the server ports differ.',
    (t) => {
      const first = webFlow();
      const second = webFlow({ vipPort: 81, serverPort: 8081 });
      t.forward(
        ...handshake(first),
        ...handshake(second),
        first.fromServer({ payload: 'a' }),
        second.fromServer({ payload: 'b' }),
      );
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2 });
    },
    {
      config: configWith({
        services: [WEB, { ...WEB, name: 'web81', port: 81, servers: [{ address: SERVER1.address, port: 8081 }] }],
      }),
    },
  ),
  golden(
    'tcp-same-client-port-to-two-services',
    'One client port talks to two services: two sessions.',
    (t) => {
      const second = webFlow({ vipPort: 81, server: SERVER2 });
      t.forward(...handshake(webFlow()), ...handshake(second)).expect({
        sessions_created: 2,
        sessions: 2,
        sessions_active: 2,
      });
    },
    {
      config: configWith({
        services: [WEB, { ...WEB, name: 'web81', port: 81, servers: [{ address: SERVER2.address, port: 8080 }] }],
      }),
    },
  ),
  golden('tcp-reopened-in-time-wait', 'A new SYN from the ports of a closed connection begins a session of its own.', (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow), ...closedByClient(flow)).wait(5);
    t.forward(flow.fromClient({ flags: 'S', seq: 90000 }), flow.fromServer({ flags: 'SA', seq: 70000, ack: 90001 }));
    t.forward(flow.fromClient({ flags: 'A', seq: 90001, ack: 70001 })).expect({
      ...open,
      sessions_created: 2,
      sessions_expired: 1,
    });
  }),
  golden(
    'tcp-one-armed',
    'With clients and servers on one interface, packets leave where they came from.',
    (t) => {
      const flow = webFlow({
        server: { ...SERVER1, address: '198.51.100.11' },
        serverSideMac: '02:00:00:00:01:01',
        local: { address: '198.51.100.101', port: 61000 },
      });
      t.forward(...handshake(flow), ...closedByClient(flow)).expect(ended);
    },
    {
      config: configWith({
        interfaces: [{ name: 'wan', mac: '02:00:00:00:01:01', mtu: 1500, addresses: ['198.51.100.1/24'] }],
        localAddresses: ['198.51.100.101'],
        routes: [{ prefix: '0.0.0.0/0', via: GATEWAY.address, interface: 'wan' }],
        neighbours: [
          { address: '198.51.100.7', mac: '02:00:00:00:0c:07', interface: 'wan' },
          { address: '198.51.100.11', mac: SERVER1.mac, interface: 'wan' },
          { address: GATEWAY.address, mac: GATEWAY.mac, interface: 'wan' },
        ],
        services: [{ ...WEB, servers: [{ address: '198.51.100.11', port: 8080 }] }],
      }),
    },
  ),
  golden(
    'tcp-options-on-data',
    'Options of segments that are not SYN are not read, even malformed ones, and pass unchanged.',
    (t) => {
      const flow = webFlow();
      t.forward(...handshake(flow), flow.fromClient({ options: [Uint8Array.of(2, 4, 5, 0xb4), Uint8Array.of(99, 40)] }));
      t.forward(flow.fromServer({ options: [windowScale(3), nop()] })).expect(open);
    },
  ),
];
