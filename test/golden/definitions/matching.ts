// Golden cases: services that are more than one address and port: any port, ranges, prefixes of VIPs, lists of matches, two protocols.

import { golden } from '../support/case.js';
import { frame, handshake, local, web6Flow, webFlow } from '../support/flow.js';
import {
  CLIENT,
  configWith,
  OTHER_CLIENT,
  REMOTE_CLIENT,
  SERVER1,
  SERVER1_V6,
  SERVER2,
  SERVER3,
  type ServiceConfig,
  SHARED_CONFIG,
  VIP,
} from '../support/network.js';

const clientAt = (port: number) => ({ ...CLIENT, port });
const ONE = [{ address: SERVER1.address }];
const TWO = [{ address: SERVER2.address }];
const THREE = [{ address: SERVER3.address }];

/** A service of TCP with servers that receive the port that the client asked for, unless it says otherwise. */
function service(name: string, changes: Partial<ServiceConfig>): ServiceConfig {
  return { name, address: VIP, protocol: 'tcp', servers: ONE, ...changes };
}

function only(...services: readonly ServiceConfig[]) {
  return { config: configWith({ services }) };
}

/** A connection whose port the server receives as it is. */
function to(vipPort: number, changes: Parameters<typeof webFlow>[0] = {}) {
  return webFlow({ vipPort, serverPort: vipPort, ...changes });
}

const NET = '203.0.113.0/24';
const NET6 = '2001:db8:f::/48';
/** Further addresses of the kernel per interface. */
const KERNEL: Readonly<Record<string, readonly string[]>> = { wan: ['203.0.113.1/32'] };

const byClient: ServiceConfig = {
  name: 'by-client',
  mark: 7,
  match: [{ source: '198.51.100.7', destination: NET, protocol: 'tcp' }],
  servers: TWO,
};
const others: ServiceConfig = { name: 'others', match: [{ destination: NET }], servers: THREE };

export const matchingCases = [
  golden(
    'any-port',
    'A service of any port takes every port, and its server receives the port that the client asked for.',
    (t) => {
      t.forward(...handshake(to(1)), ...handshake(to(65_535, { clientPort: 40_001 })));
      t.drop('no_service', frame('udp', clientAt(53), { mac: to(1).vip.mac, address: VIP, port: 53 }).build());
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2 });
    },
    only(service('all', { port: 'any' })),
  ),
  golden(
    'any-port-to-one-server-port',
    'A service of any port whose server has a port sends every connection there.',
    (t) => {
      const first = webFlow({ vipPort: 7, local: local('first') });
      const second = webFlow({ vipPort: 7000, clientPort: 40_001, local: local('second') });
      t.forward(first.fromClient({ flags: 'S' }), second.fromClient({ flags: 'S' }));
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2 });
    },
    {
      config: configWith({
        localPorts: '61000-61099',
        services: [service('all', { port: 'any', servers: [{ address: SERVER1.address, port: 8080 }] })],
      }),
    },
  ),
  golden(
    'any-port-shares-a-server',
    'A local port towards a server is not used twice, whether its service has one port or any.',
    (t) => {
      const exact = webFlow({ vipPort: 80, serverPort: 8080, local: local('exact') });
      const wide = webFlow({ vipPort: 8080, serverPort: 8080, clientPort: 40_001, local: local('wide') });
      const third = webFlow({ vipPort: 8080, serverPort: 8080, clientPort: 40_002 });
      t.forward(exact.fromClient({ flags: 'S' }), wide.fromClient({ flags: 'S' }));
      t.drop('local_ports_exhausted', third.fromClient({ flags: 'S' }).arriving);
      t.forward(to(9090, { clientPort: 40_003, local: local('other') }).fromClient({ flags: 'S' }));
      t.expect({ sessions_created: 3, sessions: 3, sessions_active: 3 });
    },
    {
      config: configWith({
        localPorts: '61000-61001',
        services: [
          service('web', { port: 80, servers: [{ address: SERVER1.address, port: 8080 }] }),
          service('all', { port: 'any' }),
        ],
      }),
    },
  ),
  golden(
    'port-range',
    'A range takes its first and its last port and none beside them.',
    (t) => {
      t.forward(...handshake(to(8000)), ...handshake(to(8100, { clientPort: 40_001 })));
      t.drop('no_service', to(7999).fromClient({ flags: 'S' }).arriving, to(8101).fromClient({ flags: 'S' }).arriving);
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2 });
    },
    only(service('range', { port: '8000-8100' })),
  ),
  golden(
    'port-before-range-before-any',
    'Of services with one VIP the one with the port wins, then the range, then any port.',
    (t) => {
      t.forward(to(8080, { server: SERVER1 }).fromClient({ flags: 'S' }));
      t.forward(to(8081, { server: SERVER2 }).fromClient({ flags: 'S' }));
      t.forward(to(9000, { server: SERVER3 }).fromClient({ flags: 'S' }));
      t.expect({ sessions_created: 3, sessions: 3, sessions_active: 3 });
    },
    only(
      service('any', { port: 'any', servers: THREE }),
      service('range', { port: '8000-8100', servers: TWO }),
      service('port', { port: 8080, servers: ONE }),
    ),
  ),
  golden(
    'vip-prefix',
    'Every address of a prefix is a VIP, and each client hears from the one that it asked.',
    (t) => {
      t.forward(...handshake(to(80, { vip: '203.0.113.0' })));
      t.forward(...handshake(to(81, { vip: '203.0.113.99' })));
      t.forward(...handshake(to(82, { vip: '203.0.113.255' })));
      t.kernel(webFlow({ vip: '203.0.114.0' }).fromClient({ flags: 'S' }).arriving);
      t.drop('no_service', webFlow({ vip: '203.0.113.99', vipPort: 83 }).fromClient({ flags: 'S' }).arriving);
      t.expect({ sessions_created: 3, sessions: 3, sessions_active: 3 });
    },
    only(service('net', { address: NET, port: '80-82' })),
  ),
  golden(
    'vip-prefix-v6',
    'The same over IPv6: a prefix of VIPs with any port.',
    (t) => {
      const flow = (vip: string, port: number) => web6Flow({ vip, vipPort: port, serverPort: port });
      t.forward(...handshake(flow('2001:db8:f::', 80)), ...handshake(flow('2001:db8:f:ffff::1', 443)));
      t.kernel(web6Flow({ vip: '2001:db8:10::1' }).fromClient({ flags: 'S' }).arriving);
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2 });
    },
    only(service('net6', { address: NET6, port: 'any', servers: [{ address: SERVER1_V6.address }] })),
  ),
  golden(
    'vip-prefix-longest-wins',
    'The longest prefix that has the port wins; a single address is the longest of all.',
    (t) => {
      t.forward(webFlow({ vip: '203.0.113.10', serverPort: 80, server: SERVER1 }).fromClient({ flags: 'S' }));
      t.forward(webFlow({ vip: '203.0.113.11', serverPort: 80, server: SERVER2 }).fromClient({ flags: 'S' }));
      t.forward(webFlow({ vip: '203.0.113.200', serverPort: 80, server: SERVER3 }).fromClient({ flags: 'S' }));
      t.forward(to(443, { vip: '203.0.113.10', server: SERVER3 }).fromClient({ flags: 'S' }));
      t.expect({ sessions_created: 4, sessions: 4, sessions_active: 4 });
    },
    only(
      service('net', { address: NET, port: 'any', servers: THREE }),
      service('half', { address: '203.0.113.0/25', port: 80, servers: TWO }),
      service('host', { port: 80, servers: ONE }),
    ),
  ),
  golden(
    'vip-prefix-kernel-address',
    'An address of the kernel inside a prefix of VIPs stays with the kernel.',
    (t) => {
      t.kernel(webFlow({ vip: '203.0.113.1' }).fromClient({ flags: 'S' }).arriving);
      t.forward(webFlow({ vip: '203.0.113.2', serverPort: 80 }).fromClient({ flags: 'S' }));
      t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
    },
    {
      config: configWith({
        interfaces: SHARED_CONFIG.interfaces.map((item) => ({
          ...item,
          addresses: [...item.addresses, ...(KERNEL[item.name] ?? [])],
        })),
        services: [service('net', { address: NET, port: 80 })],
      }),
    },
  ),
  golden(
    'match-by-client',
    'Matches are tried in the order of the file: one client has servers of its own, everybody else the others.',
    (t) => {
      t.forward(...handshake(to(80, { server: SERVER2 })));
      t.forward(...handshake(to(80, { client: OTHER_CLIENT, server: SERVER3, vip: '203.0.113.77' })));
      t.forward(to(4000, { client: REMOTE_CLIENT, server: SERVER3 }).fromClient({ flags: 'S' }));
      t.expect({ sessions_created: 3, sessions: 3, sessions_active: 3 });
    },
    only(byClient, others),
  ),
  golden(
    'match-by-ports-and-protocol',
    'A match says ports, protocol and interface; what no match wants is dropped.',
    (t) => {
      t.forward(to(8000).fromClient({ flags: 'S' }), to(8010, { clientPort: 40_001 }).fromClient({ flags: 'S' }));
      t.drop('no_service', to(8011).fromClient({ flags: 'S' }).arriving);
      t.drop('no_service', frame('udp', clientAt(40_000), { mac: to(1).vip.mac, address: VIP, port: 8000 }).build());
      // The same packet by the other interface.
      const inside = to(8000, { client: { ...SERVER3 }, clientSideMac: to(1).local.mac, clientPort: 40_009 });
      t.drop('no_service', inside.fromClient({ flags: 'S' }).arriving);
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2 });
    },
    only({
      name: 'ports',
      match: [{ destination: VIP, protocol: 'tcp', ports: '8000-8010', interface: 'wan' }],
      servers: ONE,
    }),
  ),
  golden(
    'match-after-addresses',
    'A service with an address goes before every match.',
    (t) => {
      t.forward(webFlow({ serverPort: 80, server: SERVER1 }).fromClient({ flags: 'S' }));
      t.forward(to(81, { server: SERVER2 }).fromClient({ flags: 'S' }));
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2 });
    },
    only({ name: 'rest', match: [{ destination: VIP }], servers: TWO }, service('web', { port: 80, servers: ONE })),
  ),
  golden(
    'tcp-and-udp-in-one-service',
    'One service for both protocols: each has its sessions, and the same local port serves both.',
    (t) => {
      const tcp = to(53);
      const udp = to(53, { protocol: 'udp' });
      t.forward(...handshake(tcp), udp.fromClient({ payload: 'question' }), udp.fromServer({ payload: 'answer' }));
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 1 });
      t.server('dns', `${SERVER1.address}:53`, { connections: 2 });
    },
    only(service('dns', { port: 53, protocol: 'tcp+udp' })),
  ),
];
