// Golden cases: limits on connections, access lists, and timeouts of a service. Thresholds are those recorded from Linux IPVS 6.1.

import { golden } from '../support/case.js';
import { handshake, local, web6Flow, webFlow } from '../support/flow.js';
import { errors4, tell } from '../support/icmp.js';
import { CLIENT, configWith, OTHER_CLIENT, SERVER1, SERVER2, WEB, WEB6 } from '../support/network.js';

const widePorts = '20000-29999';
const limited = (most: number) => ({ upperThreshold: most, port: 8080 });
const from = (clientPort: number, server = SERVER1) => webFlow({ clientPort, server, local: local(`from ${clientPort}`) });

export const limitCases = [
  golden(
    'threshold-upper',
    'Servers get as many sessions as their thresholds, then clients are refused.',
    (t) => {
      [SERVER2, SERVER1, SERVER2, SERVER1].forEach((server, i) => {
        t.forward(from(40000 + i, server).fromClient({ flags: 'S' }));
      });
      tell(t, 'no_server', webFlow({ clientPort: 40004 }).fromClient({ flags: 'S' }).arriving, errors4.noPort);
      t.expect({ sessions_created: 4, sessions: 4, sessions_active: 4 });
    },
    {
      config: configWith({
        localPorts: widePorts,
        services: [
          {
            ...WEB,
            scheduler: 'rr',
            servers: [
              { address: SERVER1.address, ...limited(2) },
              { address: SERVER2.address, ...limited(2) },
            ],
          },
        ],
      }),
    },
  ),
  golden(
    'connection-limit',
    'A service gets no more sessions than it allows, and as many again when they have gone.',
    (t) => {
      t.forward(from(40000).fromClient({ flags: 'S' }), from(40001).fromClient({ flags: 'S' }));
      tell(t, 'connection_limit', webFlow({ clientPort: 40002 }).fromClient({ flags: 'S' }).arriving, errors4.noPort);
      t.wait(62).forward(from(40003).fromClient({ flags: 'S' }));
      t.expect({ sessions_created: 3, sessions_expired: 2, sessions: 1, sessions_active: 1 });
    },
    { config: configWith({ localPorts: widePorts, services: [{ ...WEB, maxConnections: 2 }] }) },
  ),
  golden(
    'acl-deny',
    'A client that the access list denies begins no session and hears nothing; others do.',
    (t) => {
      t.drop('access_denied', webFlow({ client: OTHER_CLIENT }).fromClient({ flags: 'S' }).arriving);
      t.forward(...handshake(webFlow()));
      t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
    },
    { config: configWith({ services: [{ ...WEB, acl: { deny: [`${OTHER_CLIENT.address}/32`] } }] }) },
  ),
  golden(
    'acl-allow',
    'Where prefixes are allowed, everybody else is denied; the longest prefix decides.',
    (t) => {
      t.drop('access_denied', webFlow({ client: OTHER_CLIENT }).fromClient({ flags: 'S' }).arriving);
      t.forward(...handshake(webFlow()));
      t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
    },
    {
      config: configWith({
        services: [{ ...WEB, acl: { allow: ['198.51.100.0/24', `${CLIENT.address}/32`], deny: [`${OTHER_CLIENT.address}/32`] } }],
      }),
    },
  ),
  golden(
    'acl-v6',
    'The same over IPv6.',
    (t) => {
      t.drop('access_denied', web6Flow().fromClient({ flags: 'S' }).arriving);
    },
    { config: configWith({ services: [{ ...WEB6, acl: { default: 'deny' } }] }) },
  ),
  golden(
    'service-timeouts',
    'A service has timeouts of its own; what it does not set is as for all.',
    (t) => {
      const flow = webFlow();
      t.forward(flow.fromClient({ flags: 'S' })).wait(6);
      t.forward(...handshake(webFlow({ client: OTHER_CLIENT })));
      t.expect({ sessions_created: 2, sessions_expired: 1, sessions: 1, sessions_active: 1 });
    },
    { config: configWith({ services: [{ ...WEB, timeouts: { tcp: { synRecv: 5 } } }] }) },
  ),
];
