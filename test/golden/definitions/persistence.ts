// Golden cases: persistence by client, and the switches of how a connection begins: one-packet scheduling, sloppy TCP, connection reuse.
// The sequences are those recorded from Linux IPVS 6.1: with three servers, rr gives 3 2 1.

import { golden, type Timeline } from '../support/case.js';
import { dnsFlow, type FlowOptions, local, web6Flow, webFlow } from '../support/flow.js';
import {
  CLIENT,
  CLIENT6,
  configWith,
  DNS,
  type Host,
  LOCAL,
  LOCAL_B,
  LOCAL6,
  LOCAL6_B,
  OTHER_CLIENT,
  REMOTE_CLIENT,
  REMOTE_CLIENT6,
  SERVER1,
  SERVER1_V6,
  SERVER2,
  SERVER2_V6,
  SERVER3,
  type ServiceConfig,
  WEB,
  WEB6,
} from '../support/network.js';

const SERVERS: readonly Host[] = [SERVER1, SERVER2, SERVER3];
const servers = (port: number) => SERVERS.map(({ address }) => ({ address, port }));

function web(changes: Partial<ServiceConfig>): ServiceConfig {
  return { ...WEB, scheduler: 'rr', servers: servers(8080), ...changes };
}

function persistent(persistence: NonNullable<ServiceConfig['persistence']>, more: readonly ServiceConfig[] = []) {
  return { config: configWith({ localPorts: '20000-29999', services: [web({ persistence }), ...more] }) };
}

/** SYNs from ports of their own: the client, and which server must get each, from 1. */
function opened(
  t: Timeline,
  connections: readonly (readonly [Host, number])[],
  changes: Partial<FlowOptions> = {},
  from = 40000,
) {
  connections.forEach(([client, server], i) => {
    const flow = webFlow({
      client,
      clientPort: from + i,
      server: SERVERS[server - 1] ?? SERVER1,
      local: local(`${from + i}`),
      ...changes,
    });
    t.forward(flow.fromClient({ flags: 'S' }));
  });
}

function opens(count: number, templates: number) {
  return { sessions_created: count, sessions: count, sessions_active: count, templates_created: templates };
}

const direct = { mode: 'direct', servers: SERVERS.map(({ address }) => ({ address })) } as const;
const directFlow = (server: Host, changes: Partial<FlowOptions> = {}) =>
  webFlow({ mode: 'direct', server, serverPort: 80, ...changes });

export const persistenceCases = [
  golden(
    'persistence-client-keeps-server',
    'All connections of a client go to one server, other clients get the next ones.',
    (t) => {
      opened(t, [
        [CLIENT, 3],
        [CLIENT, 3],
        [OTHER_CLIENT, 2],
        [CLIENT, 3],
        [OTHER_CLIENT, 2],
        [REMOTE_CLIENT, 1],
      ]);
      t.expect(opens(6, 3));
      t.server('web', '192.0.2.13:8080', { connections: 3, active: 3 });
    },
    persistent({ timeout: 300 }),
  ),
  golden(
    'persistence-network-is-one-client',
    'With prefix 24 all addresses of a /24 network are one client.',
    (t) => {
      opened(t, [
        [CLIENT, 3],
        [OTHER_CLIENT, 3],
        [REMOTE_CLIENT, 2],
        [OTHER_CLIENT, 3],
      ]);
      t.expect(opens(4, 2));
    },
    persistent({ timeout: 300, prefix: 24 }),
  ),
  golden(
    'persistence-v6-prefix',
    'IPv6 clients of one /64 network are one client.',
    (t) => {
      const from = (client: Host, clientPort: number, server: Host) =>
        web6Flow({ client, clientPort, server, local: local(`${clientPort}`, true) }).fromClient({ flags: 'S' });
      t.forward(from(CLIENT6, 40000, SERVER2_V6), from(REMOTE_CLIENT6, 40001, SERVER1_V6), from(CLIENT6, 40002, SERVER2_V6));
      t.expect(opens(3, 2));
    },
    {
      config: configWith({
        localPorts: '20000-29999',
        services: [
          {
            ...WEB6,
            scheduler: 'rr',
            persistence: { timeout: 300, prefix: 64 },
            servers: [SERVER1_V6, SERVER2_V6].map(({ address }) => ({ address, port: 8080 })),
          },
        ],
      }),
    },
  ),
  golden(
    'persistence-ends-with-its-timeout',
    'A client whose connections are over and whose timeout has run out is scheduled anew.',
    (t) => {
      const first = webFlow({ server: SERVER3, local: local('first') });
      t.forward(first.fromClient({ flags: 'S' }), first.fromClient({ flags: 'A', seq: 1001, ack: 5001 }));
      t.forward(first.fromClient({ flags: 'R', seq: 1001 })).wait(19);
      opened(t, [[CLIENT, 3]], {}, 50000);
      t.forward(webFlow({ clientPort: 50000, server: SERVER3, local: local('50000') }).fromClient({ flags: 'A' }));
      t.forward(webFlow({ clientPort: 50000, server: SERVER3, local: local('50000') }).fromClient({ flags: 'R' })).wait(21);
      opened(t, [[CLIENT, 2]], {}, 50001);
      t.expect({ ...opens(3, 2), sessions: 1, sessions_active: 1, sessions_expired: 2, templates_expired: 1 });
    },
    persistent({ timeout: 20 }),
  ),
  golden(
    'persistence-lasts-while-connections-do',
    'An open connection holds its client longer than the timeout.',
    (t) => {
      const first = webFlow({ server: SERVER3, local: local('first') });
      t.forward(first.fromClient({ flags: 'S' }), first.fromClient({ flags: 'A', seq: 1001, ack: 5001 })).wait(300);
      opened(t, [[CLIENT, 3]], {}, 50000);
      opened(t, [[OTHER_CLIENT, 2]], {}, 50001);
      t.expect(opens(3, 2));
    },
    persistent({ timeout: 20 }),
  ),
  golden(
    'persistence-group',
    'Services of a group send a client to one host, whichever it asks first.',
    (t) => {
      opened(t, [
        [CLIENT, 3],
        [OTHER_CLIENT, 2],
      ]);
      const other = { vipPort: 81, serverPort: 8081 };
      opened(t, [[CLIENT, 3]], other, 40010);
      opened(t, [[OTHER_CLIENT, 2]], other, 40011);
      opened(t, [[REMOTE_CLIENT, 3]], other, 40012);
      opened(t, [[REMOTE_CLIENT, 3]], {}, 40013);
      t.expect(opens(6, 3));
    },
    persistent({ timeout: 300, group: 'shop' }, [
      web({ name: 'web81', port: 81, servers: servers(8081), persistence: { timeout: 300, group: 'shop' } }),
    ]),
  ),
  golden(
    'persistence-over-two-workers',
    'Connections of a client that reach different workers meet one server.',
    (t) => {
      const connections = Array.from({ length: 12 }, (): [Host, number] => [CLIENT, 3]);
      opened(t, connections);
      t.expect(opens(12, 1));
    },
    {
      config: configWith({
        workers: 2,
        localAddresses: [LOCAL, LOCAL_B, LOCAL6, LOCAL6_B],
        localPorts: '20000-29999',
        // With all clients on the first server in the list it does not matter which worker schedules the first one.
        services: [
          web({
            scheduler: 'fo',
            persistence: { timeout: 300 },
            servers: servers(8080).map((s, i) => ({ ...s, weight: i + 1 })),
          }),
        ],
      }),
    },
  ),
  golden(
    'one-packet-each-datagram',
    'With onePacket every datagram of a flow is scheduled, and no session is left.',
    (t) => {
      for (const server of [SERVER3, SERVER2, SERVER1, SERVER3, SERVER2, SERVER1]) {
        t.forward(dnsFlow({ mode: 'direct', server, serverPort: 53 }).fromClient({ payload: 'log line' }));
      }
      t.expect({ sessions_created: 6, sessions_expired: 6 });
      t.server('dns', '192.0.2.11:53', { connections: 2, inPackets: 2, active: 0, inactive: 0 });
    },
    { config: configWith({ services: [{ ...DNS, ...direct, scheduler: 'rr', onePacket: true }] }) },
  ),
  golden(
    'sloppy-takes-connections-up',
    'With sloppyTcp an ACK in the middle of a connection begins a session, a reset does not.',
    (t) => {
      const flow = directFlow(SERVER3);
      t.forward(flow.fromClient({ seq: 777, payload: 'in the middle' }), flow.fromClient({ seq: 790, payload: 'and on' }));
      t.drop('tcp_no_session', directFlow(SERVER3, { clientPort: 40001 }).fromClient({ flags: 'R' }).arriving);
      t.forward(directFlow(SERVER2, { clientPort: 40002 }).fromClient({ flags: 'FA' }));
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 1 });
    },
    { config: configWith({ services: [web({ ...direct, sloppyTcp: true })] }) },
  ),
  golden(
    'conn-reuse-mode-0',
    'With connReuseMode 0 a SYN from the ports of a connection that was reset goes to the same server.',
    (t) => {
      const flow = webFlow({ server: SERVER3, local: local('the only one') });
      t.forward(flow.fromClient({ flags: 'S', seq: 1000 }), flow.fromClient({ flags: 'A', seq: 1001, ack: 5001 }));
      t.forward(flow.fromClient({ flags: 'R', seq: 1001 }), flow.fromClient({ flags: 'S', seq: 90000 }));
      t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
    },
    { config: configWith({ services: [web({ connReuseMode: 0 })] }) },
  ),
  golden(
    'conn-reuse-mode-2',
    'With connReuseMode 2 a SYN in FIN_WAIT is scheduled anew where only the client is seen.',
    (t) => {
      const [first, second] = [directFlow(SERVER3), directFlow(SERVER2)];
      t.forward(first.fromClient({ flags: 'S', seq: 1000 }), first.fromClient({ flags: 'A', seq: 1001, ack: 5001 }));
      t.forward(first.fromClient({ flags: 'FA', seq: 1001, ack: 5001 }), second.fromClient({ flags: 'S', seq: 90000 }));
      t.expect({ sessions_created: 2, sessions_expired: 1, sessions: 1, sessions_active: 1 });
    },
    { config: configWith({ services: [web({ ...direct, connReuseMode: 2 })] }) },
  ),
];
