// Golden cases: limits on connections, access lists, and timeouts of a service. Thresholds are those recorded from Linux IPVS 6.1.

import { golden } from '../support/case.js';
import { dns6Flow, dnsFlow, handshake, local, web6Flow, webFlow } from '../support/flow.js';
import { fragmentFromClient } from '../support/fragments.js';
import { errors4, tell } from '../support/icmp.js';
import {
  CLIENT,
  configWith,
  DNS,
  DNS6,
  OTHER_CLIENT,
  type RateLimit,
  SERVER1,
  SERVER2,
  type ServiceConfig,
  WEB,
  WEB6,
} from '../support/network.js';

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
  ...(['service', 'server'] as const).flatMap((owner) => [
    golden(
      `rate-packets-${owner}`,
      `A ${owner} lets pass as many packets as its limit says, in each direction, and ten more after a pause; a client without room begins no session.`,
      (t) => {
        const flow = dnsFlow();
        for (let i = 0; i < 10; i++) t.forward(flow.fromClient({ payload: 'question' }));
        t.drop(`${owner}_packet_rate`, flow.fromClient({ payload: 'question' }).arriving);
        t.drop(`${owner}_packet_rate`, dnsFlow({ clientPort: 40007 }).fromClient({ payload: 'question' }).arriving);
        // Answers have a budget of their own.
        for (let i = 0; i < 10; i++) t.forward(flow.fromServer({ payload: 'answer' }));
        t.drop(`${owner}_packet_rate`, flow.fromServer({ payload: 'answer' }).arriving);
        t.wait(1).forward(flow.fromClient({ payload: 'question' }));
        t.drop(`${owner}_packet_rate`, flow.fromClient({ payload: 'question' }).arriving);
        t.expect({ sessions_created: 1, sessions: 1 });
      },
      { config: configWith({ services: [rated(DNS, owner, { packetsPerSecond: 1 })] }) },
    ),
    golden(
      `rate-bits-${owner}`,
      `A ${owner} lets pass as many bits as its limit says: 16 KiB after a pause, then a packet of 1,024 bytes a second at 8,192 bit/s.`,
      (t) => {
        const flow = dns6Flow();
        const question = () => flow.fromClient({ payload: 1024 - 48 });
        for (let i = 0; i < 16; i++) t.forward(question());
        t.drop(`${owner}_bandwidth`, question().arriving);
        t.wait(1).forward(question());
        t.drop(`${owner}_bandwidth`, question().arriving);
        // What is smaller may still fit a little later.
        t.wait(0.5).forward(flow.fromClient({ payload: 100 }));
        t.expect({ sessions_created: 1, sessions: 1 });
      },
      { config: configWith({ services: [rated(DNS6, owner, { bitsPerSecond: 8192 })] }) },
    ),
  ]),
  golden(
    'rate-fragments',
    'Every fragment is a packet.',
    (t) => {
      const flow = dnsFlow();
      const spec = { payload: 2000 };
      for (let i = 0; i < 9; i++) t.forward(flow.fromClient({ payload: 'question' }));
      t.forward(fragmentFromClient(flow, spec, { from: 0, to: 1000 }, { id: 7 }));
      t.drop('service_packet_rate', fragmentFromClient(flow, spec, { from: 1000, to: 2008 }, { id: 7 }).arriving);
      t.expect({ sessions_created: 1, sessions: 1, fragments_forwarded: 1 });
    },
    { config: configWith({ services: [rated(DNS, 'service', { packetsPerSecond: 1 })] }) },
  ),
];

function rated(service: ServiceConfig, owner: 'service' | 'server', rateLimit: RateLimit): ServiceConfig {
  if (owner === 'service') return { ...service, rateLimit };
  return { ...service, servers: service.servers.map((server) => ({ ...server, rateLimit })) };
}
