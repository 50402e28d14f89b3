// SCTP in the modes that change its packets and in one that does not, and NAT's way back: what of a real server's packets is the
// balancer's, and a server that is a client of its own VIP.

import { packet } from '../../support/packet/index.js';
import { type GoldenCase, golden } from '../support/case.js';
import { Flow, type FlowOptions, frame, handshake } from '../support/flow.js';
import { DSCP, type Families, isOneWay, modeConfig, modeFlow, SUFFIX } from '../support/modes.js';
import {
  type CaseConfig,
  CLIENT,
  CLIENT6,
  configWith,
  LAN_MAC,
  LOCAL,
  LOCAL_PORT,
  LOCAL6,
  SERVER1,
  SERVER1_V6,
  VIP,
  VIP6,
  WAN_MAC,
} from '../support/network.js';

const CHUNK = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
};
const PORT = 9100;
const SERVER_PORT = 9200;

type SctpMode = 'fullnat' | 'nat' | 'direct' | 'l3dsr';

function sctpFlow(mode: SctpMode, families: Families, changes: Partial<FlowOptions> = {}): Flow {
  const [client, server] = [families[0] === '6', families[1] === '6'];
  return new Flow({
    protocol: 'sctp',
    mode,
    client: client ? CLIENT6 : CLIENT,
    clientPort: 40000,
    vip: client ? VIP6 : VIP,
    vipPort: PORT,
    server: server ? SERVER1_V6 : SERVER1,
    serverPort: isOneWay(mode) ? PORT : SERVER_PORT,
    local: { address: server ? LOCAL6 : LOCAL, port: LOCAL_PORT },
    clientSideMac: WAN_MAC,
    serverSideMac: LAN_MAC,
    ...(mode === 'l3dsr' ? { dscp: DSCP } : {}),
    ...changes,
  });
}

function sctpConfig(mode: SctpMode, families: Families): CaseConfig {
  const { vip, server } = sctpFlow(mode, families).options;
  return configWith({
    services: [
      {
        name: 'diameter',
        address: vip,
        port: PORT,
        protocol: 'sctp',
        mode,
        ...(mode === 'l3dsr' ? { dscp: DSCP } : {}),
        servers: [{ address: server.address, ...(isOneWay(mode) ? {} : { port: SERVER_PORT }) }],
      },
    ],
  });
}

const CARRIED: readonly (readonly [SctpMode, Families])[] = [
  ['fullnat', '44'],
  ['fullnat', '66'],
  ['fullnat', '64'],
  ['fullnat', '46'],
  ['nat', '44'],
  ['nat', '66'],
  ['direct', '44'],
  ['direct', '66'],
  ['l3dsr', '44'],
  ['l3dsr', '66'],
];

const associations = CARRIED.map(
  ([mode, families]): GoldenCase =>
    golden(
      `sctp-${mode}-${SUFFIX[families]}`,
      'An association from INIT to SHUTDOWN-COMPLETE; its checksum is right after every change of ports.',
      (t) => {
        const flow = sctpFlow(mode, families);
        const client = (chunk: number, payload: number): void => void t.forward(flow.fromClient({ chunk, payload }));
        const server = (chunk: number, payload: number): void => {
          if (!isOneWay(mode)) t.forward(flow.fromServer({ chunk, payload }));
        };
        client(CHUNK.init, 16);
        server(CHUNK.initAck, 40);
        client(CHUNK.cookieEcho, 24);
        server(CHUNK.cookieAck, 0);
        client(CHUNK.data, 33);
        server(CHUNK.sack, 12);
        client(CHUNK.shutdown, 4);
        server(CHUNK.shutdownAck, 0);
        client(CHUNK.shutdownComplete, 0);
        t.expect({ sessions_created: 1, sessions: 1 });
      },
      { config: sctpConfig(mode, families) },
    ),
);

/** A server's packets that no client asked for. */
const natWay = golden(
  'nat-other-packets-of-a-server',
  "From a service's port without a session: dropped. From other ports, and to the balancer's own host: the kernel's.",
  (t) => {
    const flow = modeFlow('nat', '44');
    t.forward(...handshake(flow));
    const stray = (port: number): Uint8Array =>
      frame('tcp', { ...flow.server, port }, { ...flow.client, mac: LAN_MAC, port: 40001 }).build();
    t.drop('nat_no_session', stray(flow.server.port));
    t.kernel(stray(22));
    t.kernel(frame('tcp', flow.server, { mac: LAN_MAC, address: '192.0.2.1', port: 50000 }, { flags: 'SA' }).build());
    t.kernel(frame('udp', flow.server, { ...flow.client, mac: LAN_MAC }).build());
    t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
  },
  { config: modeConfig('nat', '44') },
);

const hairpins = (['44', '66'] as const).map((families): GoldenCase => {
  const six = families === '66';
  return golden(
    `nat-hairpin-${SUFFIX[families]}`,
    'A NAT server that is a client of its own VIP comes to it from a local address, so that the answer takes the same way back.',
    (t) => {
      const server = six ? SERVER1_V6 : SERVER1;
      const flow = modeFlow('fullnat', families, { flow: { client: server, clientSideMac: LAN_MAC } });
      t.forward(...handshake(flow));
      t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
    },
    { config: modeConfig('nat', families) },
  );
});

/** VLAN tags: type and control, in front of what stands at byte 12. */
type Tag = readonly [type: number, control: number];

function tagged(bytes: Uint8Array, tags: readonly Tag[]): Uint8Array {
  const words = tags.flat().flatMap((word) => [word >> 8, word & 0xff]);
  return Uint8Array.from([...bytes.subarray(0, 12), ...words, ...bytes.subarray(12)]);
}

const TAGS: Readonly<Record<string, readonly Tag[]>> = {
  'one-tag': [[0x8100, 0x6005]],
  'two-tags': [
    [0x88a8, 0x0007],
    [0x8100, 0x2005],
  ],
};

const vlans = Object.entries(TAGS).flatMap(([name, tags]) =>
  (
    [
      ['fullnat', '44'],
      ['fullnat', '66'],
      ['nat', '44'],
      ['direct', '66'],
    ] as const
  ).map(([mode, families]): GoldenCase => {
    const flow = modeFlow(mode, families);
    return golden(
      `vlan-${name}-${mode}-${SUFFIX[families]}`,
      'Tags are kept as they came; everything behind them is as without.',
      (t) => {
        const steps = isOneWay(mode)
          ? [flow.fromClient({ flags: 'S' }), flow.fromClient({ flags: 'A', payload: 99 })]
          : handshake(flow);
        for (const step of steps)
          t.forward({ ...step, arriving: tagged(step.arriving, tags), leaving: tagged(step.leaving, tags) });
        t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
      },
      { config: modeConfig(mode, families) },
    );
  }),
);

/** IP protocol numbers of IPsec. */
const IPSEC = { esp: 50, ah: 51 } as const;

function ipsecCase(protocol: 'esp' | 'ah', mode: 'nat' | 'direct'): GoldenCase {
  const packetOf = (from: { mac: string; address: string }, to: { mac: string; address: string }, ttl: number): Uint8Array =>
    packet()
      .eth({ source: from.mac, destination: to.mac })
      .ipv4({ source: from.address, destination: to.address, protocol: IPSEC[protocol], ttl })
      .payload(48)
      .build();
  const vip = { mac: WAN_MAC, address: VIP };
  return golden(
    `${protocol}-${mode}-v4`,
    'Packets without ports are balanced by their addresses; what is behind the IP header stays as it is.',
    (t) => {
      const target = mode === 'nat' ? SERVER1.address : VIP;
      for (let i = 0; i < 2; i++)
        t.forward({
          arriving: packetOf(CLIENT, vip, 64),
          leaving: packetOf({ mac: LAN_MAC, address: CLIENT.address }, { mac: SERVER1.mac, address: target }, 63),
        });
      if (mode === 'nat')
        t.forward({
          arriving: packetOf(SERVER1, { mac: LAN_MAC, address: CLIENT.address }, 64),
          leaving: packetOf(vip, CLIENT, 63),
        });
      t.expect({ sessions_created: 1, sessions: 1 });
    },
    {
      config: configWith({
        services: [{ name: 'ipsec', address: VIP, protocol, mode, servers: [{ address: SERVER1.address }] }],
      }),
    },
  );
}

export const protocolCases: readonly GoldenCase[] = [
  ...vlans,
  ipsecCase('esp', 'nat'),
  ipsecCase('esp', 'direct'),
  ipsecCase('ah', 'direct'),
  ...associations,
  golden(
    'sctp-no-session',
    'Only INIT begins an association; everything else without one is dropped.',
    (t) => {
      const flow = sctpFlow('fullnat', '44');
      for (const chunk of [CHUNK.data, CHUNK.initAck, CHUNK.cookieEcho, CHUNK.abort, CHUNK.shutdownComplete])
        t.drop('sctp_no_session', flow.fromClient({ chunk, payload: 12 }).arriving);
    },
    { config: sctpConfig('fullnat', '44') },
  ),
  golden(
    'drop-sctp-header-invalid',
    'An SCTP packet without a chunk, with one shorter than its header or longer than the packet, is dropped.',
    (t) => {
      const flow = sctpFlow('fullnat', '44');
      const whole = flow.fromClient({ chunk: CHUNK.init, payload: 16 }).arriving;
      const withLength = (length: number): Uint8Array => {
        const bytes = Uint8Array.from(whole);
        bytes[14 + 20 + 12 + 3] = length;
        return bytes;
      };
      t.drop('sctp_header_invalid', withLength(3), withLength(21));
      const { client, vip } = flow;
      const none = packet()
        .eth({ source: client.mac, destination: vip.mac })
        .ipv4({ source: client.address, destination: vip.address });
      t.drop('sctp_header_invalid', none.sctp({ sourcePort: client.port, destinationPort: vip.port }).build());
    },
    { config: sctpConfig('fullnat', '44') },
  ),
  golden(
    'sctp-wrong-checksum-stays-wrong',
    'A wrong CRC is wrong by the same bits afterwards.',
    (t) => {
      t.forward(sctpFlow('fullnat', '44').fromClient({ chunk: CHUNK.init, payload: 16, checksumError: 0x00c0ffee }));
      t.expect({ sessions_created: 1, sessions: 1 });
    },
    { config: sctpConfig('fullnat', '44') },
  ),
  natWay,
  ...hairpins,
  golden(
    'nat-hairpin-without-local-address',
    'Without a local address a NAT server cannot be a client of its own VIP; other clients can.',
    (t) => {
      const hairpin = modeFlow('fullnat', '44', { flow: { client: SERVER1, clientSideMac: LAN_MAC } });
      t.drop('hairpin_no_local_port', hairpin.fromClient({ flags: 'S' }).arriving);
      t.forward(modeFlow('nat', '44').fromClient({ flags: 'S' }));
      t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
    },
    { config: modeConfig('nat', '44', { localAddresses: [] }) },
  ),
];
