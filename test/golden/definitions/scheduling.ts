// Golden cases: which server a new connection gets. The sequences are those recorded from Linux IPVS 6.1: the server added last is
// asked first, and wrr begins its first round at level 1.

import type { SchedulerName } from '../../../src/config/scheduler-names.js';
import { maglevSlot, maglevTable } from '../../oracle/maglev.js';
import { golden, type Timeline } from '../support/case.js';
import { dnsFlow, handshake, local, webFlow } from '../support/flow.js';
import { errors4, tell } from '../support/icmp.js';
import {
  CLIENT,
  configWith,
  DNS,
  type Host,
  OTHER_CLIENT,
  SERVER1,
  SERVER2,
  SERVER3,
  type ServiceConfig,
  WEB,
} from '../support/network.js';

const SERVERS: readonly Host[] = [SERVER1, SERVER2, SERVER3];
const widePorts = '20000-29999';

function balanced(scheduler: SchedulerName, ...weights: readonly number[]) {
  return balancedWith({ scheduler }, ...weights);
}

function balancedWith(scheduling: Pick<ServiceConfig, 'scheduler' | 'schedulerOptions'>, ...weights: readonly number[]) {
  const servers = weights.map((weight, i) => ({ address: SERVERS[i]?.address ?? '', port: 8080, weight }));
  return { config: configWith({ localPorts: widePorts, services: [{ ...WEB, ...scheduling, servers }] }) };
}

/** Servers that Maglev's table of 4093 slots has for the client's ports from 40000 on, as connections() takes them. */
function maglevOrder(weights: readonly number[], count: number): string {
  const number = (address: string) => address.split('.').reduce((value, byte) => value * 256 + Number(byte), 0);
  const servers = weights
    .map((weight, i) => ({ name: i + 1, address: number(SERVERS[i]?.address ?? ''), port: 8080, weight }))
    .reverse();
  const table = maglevTable(servers, 4093);
  const keys = Array.from({ length: count }, (_, i) => number(CLIENT.address) + 40000 + i);
  return keys.map((key) => servers[table[maglevSlot(key, 4093)] ?? 0]?.name).join(' ');
}

/** One SYN after the other from one client; `order` names the server that must get each, from 1. */
function connections(t: Timeline, order: string): void {
  const numbers = order.split(' ').map(Number);
  numbers.forEach((number, i) => {
    const server = SERVERS[number - 1] ?? SERVER1;
    t.forward(webFlow({ clientPort: 40000 + i, server, local: local(`connection ${i + 1}`) }).fromClient({ flags: 'S' }));
  });
  t.expect({ sessions_created: numbers.length, sessions: numbers.length, sessions_active: numbers.length });
  for (const number of new Set(numbers)) {
    const connections = numbers.filter((n) => n === number).length;
    t.server('web', `192.0.2.1${number}:8080`, { connections, inPackets: connections, active: connections, inactive: 0 });
  }
}

export const schedulingCases = [
  golden(
    'rr-order',
    'rr asks the servers in turn, the one listed last first, whatever their weights.',
    (t) => {
      connections(t, '3 2 1 3 2 1 3 2 1');
    },
    balanced('rr', 4, 3, 2),
  ),
  golden(
    'rr-reused-client-port',
    'A client that reuses the ports of a connection that was reset is scheduled anew, at once.',
    (t) => {
      const first = webFlow({ clientPort: 40000, server: SERVER2, local: local('first') });
      const second = webFlow({ clientPort: 40000, server: SERVER1, local: local('second') });
      t.forward(first.fromClient({ flags: 'S', seq: 1000 }), first.fromClient({ flags: 'A', seq: 1001, ack: 5001 }));
      t.forward(first.fromClient({ flags: 'R', seq: 1001 }), second.fromClient({ flags: 'S', seq: 90000 }));
      t.expect({ sessions_created: 2, sessions_expired: 1, sessions: 1, sessions_active: 1 });
      t.server('web', '192.0.2.11:8080', { connections: 1, inPackets: 1, active: 1, inactive: 0 });
      t.server('web', '192.0.2.12:8080', { connections: 1, inPackets: 3, active: 0, inactive: 0 });
    },
    balanced('rr', 1, 1),
  ),
  golden(
    'rr-skips-weight-zero',
    'rr passes over a server with weight 0.',
    (t) => {
      connections(t, '3 1 3 1 3 1');
    },
    balanced('rr', 7, 0, 3),
  ),
  golden(
    'wrr-order-4-3-2',
    'wrr with weights 4, 3, 2 gives the sequence of IPVS.',
    (t) => {
      connections(t, '3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1');
    },
    balanced('wrr', 4, 3, 2),
  ),
  golden(
    'wrr-order-10-5',
    'wrr with weights 10 and 5 gives the sequence of IPVS.',
    (t) => {
      connections(t, '2 1 1 2 1 1 2 1 1');
    },
    balanced('wrr', 10, 5),
  ),
  golden(
    'wrr-order-7-0-3',
    'wrr with weights 7, 0, 3 gives the sequence of IPVS and never the second server.',
    (t) => {
      connections(t, '3 1 1 1 1 1 3 1 3 1 3 1 1 1 1 1 3 1 3 1');
    },
    balanced('wrr', 7, 0, 3),
  ),
  golden(
    'wrr-equal-weights',
    'wrr with equal weights is rr.',
    (t) => {
      connections(t, '3 2 1 3 2 1');
    },
    balanced('wrr', 1, 1, 1),
  ),
  golden(
    'wlc-order-of-open-connections',
    'wlc with weights 4, 3, 2 gives open connections in the sequence of IPVS.',
    (t) => {
      connections(t, '3 2 1 1 2 3 1 2 1 3 2 1 1 2 3 1 2 1');
    },
    balanced('wlc', 4, 3, 2),
  ),
  golden(
    'lc-order-of-open-connections',
    'lc spreads open connections evenly, whatever the weights.',
    (t) => {
      connections(t, '3 2 1 3 2 1 3 2 1');
    },
    balanced('lc', 4, 3, 2),
  ),
  golden(
    'sed-order-of-open-connections',
    'sed with weights 4, 3, 2 gives open connections in the sequence of IPVS.',
    (t) => {
      connections(t, '1 2 3 1 2 1 3 2 1 1 2 3 1 2 1 3 2 1');
    },
    balanced('sed', 4, 3, 2),
  ),
  golden(
    'nq-order-of-open-connections',
    'nq gives every idle server one connection first, and goes on as sed.',
    (t) => {
      connections(t, '3 2 1 1 2 1 3 2 1 1 2 3 1 2 1 3 2 1');
    },
    balanced('nq', 4, 3, 2),
  ),
  golden(
    'fo-takes-the-highest-weight',
    'fo gives everything to the server with the highest weight.',
    (t) => {
      connections(t, '1 1 1 1 1 1');
    },
    balanced('fo', 4, 3, 2),
  ),
  golden(
    'ovf-fills-one-server-after-the-other',
    'ovf fills the servers one after the other, each with one connection more than its weight, and then refuses.',
    (t) => {
      connections(t, '1 1 1 2 2');
      tell(t, 'no_server', webFlow({ clientPort: 50000 }).fromClient({ flags: 'S' }).arriving, errors4.noPort);
    },
    balanced('ovf', 2, 1, 0),
  ),
  golden(
    'mh-by-address-and-port',
    'mh with the port in its key gives each client port the server that an independent Maglev table has for it.',
    (t) => {
      connections(t, maglevOrder([4, 3, 2], 12));
    },
    balancedWith({ scheduler: 'mh', schedulerOptions: { port: true } }, 4, 3, 2),
  ),
  golden(
    'quic-cid-follows-a-client-that-moves',
    'A QUIC client that comes from another port stays with the server that its connection id names (DPVS format).',
    (t) => {
      // 192.0.2.12:4433: two bytes of the address, and the port.
      const shortHeader = new Uint8Array([0x43, 0xa5, 0x30, 0x20, 0xc1, 0x15, 0x1b, 1, 2, 3, 4, 0, 0x11, 0x22, 0x33]);
      [50_000, 50_001, 50_000, 50_002].forEach((clientPort) => {
        const flow = dnsFlow({ clientPort, vipPort: 443, serverPort: 4433, server: SERVER2, local: local(`path ${clientPort}`) });
        t.forward(flow.fromClient({ payload: shortHeader }));
      });
      t.expect({ sessions_created: 3, sessions: 3 });
    },
    {
      config: configWith({
        localPorts: widePorts,
        services: [
          {
            ...DNS,
            name: 'quic',
            port: 443,
            scheduler: 'quic-cid',
            schedulerOptions: { connectionId: 'dpvs' },
            servers: SERVERS.map((s) => ({ address: s.address, port: 4433 })),
          },
        ],
      }),
    },
  ),
  golden(
    'rr-udp',
    'UDP sessions are spread as connections are.',
    (t) => {
      [SERVER3, SERVER2, SERVER1, SERVER3].forEach((server, i) => {
        t.forward(
          dnsFlow({ clientPort: 40000 + i, server, local: local(`datagram ${i + 1}`) }).fromClient({ payload: 'question' }),
        );
      });
      t.expect({ sessions_created: 4, sessions: 4 });
    },
    {
      config: configWith({
        localPorts: widePorts,
        services: [{ ...DNS, scheduler: 'rr', servers: SERVERS.map((s) => ({ address: s.address, port: 5353 })) }],
      }),
    },
  ),
  golden(
    'no-server-all-weights-zero',
    'With all weights 0 a new connection has no server, and its client is told so.',
    (t) => {
      tell(t, 'no_server', webFlow().fromClient({ flags: 'S' }).arriving, errors4.noPort);
      tell(t, 'no_server', webFlow({ clientPort: 1 }).fromClient({ flags: 'S' }).arriving, errors4.noPort);
    },
    balanced('wrr', 0, 0),
  ),
  golden(
    'no-server-empty-list',
    'A service without servers refuses new connections and datagrams.',
    (t) => {
      tell(t, 'no_server', webFlow().fromClient({ flags: 'S' }).arriving, errors4.noPort);
      tell(t, 'no_server', dnsFlow().fromClient({ payload: 'question' }).arriving, errors4.noPort);
    },
    {
      config: configWith({
        services: [
          { ...WEB, servers: [] },
          { ...DNS, servers: [] },
        ],
      }),
    },
  ),
  golden(
    'local-ports-exhausted',
    'When every local port towards a server is in use, new connections are dropped and old ones go on.',
    (t) => {
      const flow = webFlow();
      t.forward(...handshake(flow)).drop(
        'local_ports_exhausted',
        webFlow({ client: OTHER_CLIENT }).fromClient({ flags: 'S' }).arriving,
      );
      t.forward(flow.fromClient({ payload: 'still here' })).expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
    },
  ),
  golden('local-port-free-again', 'A local port is free again when its session has gone.', (t) => {
    t.forward(webFlow().fromClient({ flags: 'S' })).wait(62);
    t.forward(...handshake(webFlow({ client: OTHER_CLIENT })));
    t.expect({ sessions_created: 2, sessions_expired: 1, sessions: 1, sessions_active: 1 });
  }),
  golden(
    'session-table-full',
    'When the session table is full, new connections are dropped.',
    (t) => {
      for (let i = 0; i < 64; i++)
        t.forward(webFlow({ clientPort: 40000 + i, local: local(`connection ${i + 1}`) }).fromClient({ flags: 'S' }));
      t.drop('session_table_full', webFlow({ clientPort: 50000 }).fromClient({ flags: 'S' }).arriving);
      t.expect({ sessions_created: 64, sessions: 64, sessions_active: 64 });
    },
    { config: configWith({ localPorts: widePorts, sessions: { maxPerWorker: 64 } }) },
  ),
];
