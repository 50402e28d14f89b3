// Golden cases: where packets go next, and what happens when they cannot.

import { golden } from '../support/case.js';
import { dns6Flow, dnsFlow, handshake, webFlow } from '../support/flow.js';
import { piecesFromClient } from '../support/fragments.js';
import { errors4, errors6, tell } from '../support/icmp.js';
import { configWith, DNS, GATEWAY, type Host, REMOTE_CLIENT, SHARED_CONFIG, SILENT_SERVER, WEB } from '../support/network.js';

const created = { sessions_created: 1, sessions: 1 };
const silent: Host = { address: SILENT_SERVER, mac: '02:00:00:00:00:99' };
const ROUTER: Host = { address: '192.0.2.253', mac: '02:00:00:00:0a:fd' };
const FAR_SERVER: Host = { address: '198.19.0.5', mac: ROUTER.mac };
const wideWan = SHARED_CONFIG.interfaces.map((i) => ({ ...i, mtu: i.name === 'wan' ? 3000 : 1500 }));

export const routingCases = [
  golden(
    'no-route-to-client',
    'Without a route to the client its answers are dropped; what it sends still goes through.',
    (t) => {
      const flow = webFlow({ client: REMOTE_CLIENT });
      t.forward(flow.fromClient({ flags: 'S' })).drop('no_route', flow.fromServer({ flags: 'SA', ack: 1001 }).arriving);
      t.forward(flow.fromClient({ flags: 'S' })).expect({ ...created, sessions_active: 1 });
    },
    { config: configWith({ routes: [] }) },
  ),
  golden(
    'no-route-to-server',
    'Without a route to the server its connections are dropped.',
    (t) => {
      t.drop('no_route', webFlow({ server: FAR_SERVER }).fromClient({ flags: 'S' }).arriving).expect(created);
    },
    { config: configWith({ routes: [], services: [{ ...WEB, servers: [{ address: FAR_SERVER.address, port: 8080 }] }] }) },
  ),
  golden(
    'server-behind-router',
    "A server behind a router is reached through the router's Ethernet address.",
    (t) => {
      t.forward(...handshake(webFlow({ server: FAR_SERVER }))).expect({ ...created, sessions_active: 1 });
    },
    {
      config: configWith({
        routes: [...SHARED_CONFIG.routes, { prefix: '198.19.0.0/16', via: ROUTER.address, interface: 'lan' }],
        neighbours: [...SHARED_CONFIG.neighbours, { ...ROUTER, interface: 'lan' }],
        services: [{ ...WEB, servers: [{ address: FAR_SERVER.address, port: 8080 }] }],
      }),
    },
  ),
  golden(
    'direct-server-behind-router',
    'Direct routing cannot reach a server behind a router: the router would send the packet back to the VIP.',
    (t) => {
      t.drop('server_not_on_link', webFlow().fromClient({ flags: 'S' }).arriving).expect(created);
    },
    {
      config: configWith({
        routes: [...SHARED_CONFIG.routes, { prefix: '198.19.0.0/16', via: ROUTER.address, interface: 'lan' }],
        neighbours: [...SHARED_CONFIG.neighbours, { ...ROUTER, interface: 'lan' }],
        services: [{ ...WEB, mode: 'direct', servers: [{ address: FAR_SERVER.address, port: 80 }] }],
      }),
    },
  ),
  golden(
    'longest-prefix-wins',
    'Of several routes the longest prefix decides.',
    (t) => {
      const near: Host = { address: '198.18.7.9', mac: '02:00:00:00:0c:fd' };
      t.forward(...handshake(webFlow({ client: near }))).expect({ ...created, sessions_active: 1 });
    },
    {
      config: configWith({
        routes: [
          ...SHARED_CONFIG.routes,
          { prefix: '198.18.0.0/16', via: GATEWAY.address, interface: 'wan' },
          { prefix: '198.18.7.0/24', via: '198.51.100.253', interface: 'wan' },
        ],
        neighbours: [...SHARED_CONFIG.neighbours, { address: '198.51.100.253', mac: '02:00:00:00:0c:fd', interface: 'wan' }],
      }),
    },
  ),
  golden(
    'neighbour-unresolved',
    'Packets for a server that does not answer are held and given up after one second.',
    (t) => {
      const flow = webFlow({ server: silent });
      t.drop('neighbour_unresolved', flow.fromClient({ flags: 'S' }).arriving).wait(1.5);
      t.drop('neighbour_unresolved', flow.fromClient({ flags: 'S' }).arriving).expect({ ...created, neighbour_requests: 2 });
    },
    { config: configWith({ services: [{ ...WEB, servers: [{ address: SILENT_SERVER, port: 8080 }] }] }) },
  ),
  golden(
    'held-queue-full',
    'At most eight packets wait for one neighbour; others go on meanwhile.',
    (t) => {
      const flow = dnsFlow({ server: silent });
      for (let i = 0; i < 8; i++) t.drop('neighbour_unresolved', flow.fromClient({ payload: 'held' }).arriving);
      t.drop('held_queue_full', flow.fromClient({ payload: 'one' }).arriving, flow.fromClient({ payload: 'two' }).arriving);
      t.forward(webFlow().fromClient({ flags: 'S' })).expect({
        sessions_created: 2,
        sessions: 2,
        sessions_active: 1,
        neighbour_requests: 10,
      });
    },
    { config: configWith({ services: [WEB, { ...DNS, servers: [{ address: SILENT_SERVER, port: 5353 }] }] }) },
  ),
  golden(
    'mtu-exceeded',
    'A packet with DF that is larger than the outgoing link carries is refused with the MTU; without DF it leaves in pieces.',
    (t) => {
      const flow = dnsFlow();
      t.forward(flow.fromClient({ payload: 1472 }));
      tell(t, 'mtu_exceeded', flow.fromClient({ payload: 1473 }).arriving, errors4.tooBig(1500));
      t.cut(piecesFromClient(flow, { payload: 2000, dontFragment: false }, 1480));
      t.forward(flow.fromServer({ payload: 1472 })).expect(created);
    },
    { config: configWith({ interfaces: wideWan }) },
  ),
  golden(
    'mtu-exceeded-v6',
    'The same over IPv6, where nothing is cut on the way and the limit is 1452 bytes of UDP payload.',
    (t) => {
      const flow = dns6Flow();
      t.forward(flow.fromClient({ payload: 1452 }));
      tell(t, 'mtu_exceeded', flow.fromClient({ payload: 1453 }).arriving, errors6.tooBig(1500));
      t.expect(created);
    },
    { config: configWith({ interfaces: wideWan }) },
  ),
];
