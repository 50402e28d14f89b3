// Golden cases: ICMP errors about sessions, in every mode, and those that are nobody's.

import { packet } from '../../support/packet/index.js';
import { golden, type Timeline } from '../support/case.js';
import { dns6Flow, dnsFlow, type Flow, frame, handshake, web6Flow, webFlow } from '../support/flow.js';
import { fragmentOf } from '../support/fragments.js';
import { errors4, errors6, type IcmpKind, icmpError, quoteOf, quoting } from '../support/icmp.js';
import { type ErrorSpec, errorToClient, errorToOneWayServer, errorToServer, type Reporter } from '../support/icmp-flow.js';
import { ALL_MODES, type Families, isOneWay, MODE_NAMES, modeConfig, modeFlow, SUFFIX } from '../support/modes.js';
import {
  CLIENT,
  GATEWAY,
  GATEWAY6,
  LAN_MAC,
  LOCAL,
  LOCAL_B,
  LOCAL6,
  LOCAL6_B,
  SERVER1,
  SERVER1_V6,
  WAN_MAC,
} from '../support/network.js';

const created = { sessions_created: 1, sessions: 1 };
const active = { ...created, sessions_active: 1 };
const dns = dnsFlow();
const dns6 = dns6Flow();
/** Routers on the two sides. */
const near = { mac: SERVER1.mac, address: '192.0.2.253' };
const near6 = { mac: SERVER1_V6.mac, address: '2001:db8:2::fd' };
const far = { mac: GATEWAY.mac, address: '198.18.5.5' };
const far6 = { mac: GATEWAY6.mac, address: '2001:db8:99::5' };

const SAME_4: readonly IcmpKind[] = [
  errors4.noNet,
  errors4.noHost,
  errors4.noProtocol,
  errors4.noPort,
  errors4.tooBig(1400),
  errors4.filtered,
  errors4.timeExceeded,
  errors4.reassembly,
  errors4.parameter(20),
];
const SAME_6: readonly IcmpKind[] = [
  errors6.noRoute,
  errors6.filtered,
  errors6.noAddress,
  errors6.noPort,
  errors6.tooBig(1280),
  errors6.timeExceeded,
  errors6.parameter(40),
  errors6.nextHeader(6),
];

/** RFC 7915 4.2: what comes as ICMPv4 and leaves as ICMPv6. */
const TO_6: readonly (readonly [IcmpKind, IcmpKind])[] = [
  [errors4.noNet, errors6.noRoute],
  [errors4.noHost, errors6.noRoute],
  [errors4.noProtocol, errors6.nextHeader(6)],
  [errors4.noPort, errors6.noPort],
  [errors4.tooBig(1400), errors6.tooBig(1420)],
  // Nobody may be told less than 1280, and a router that does not say how much gets the next usual size below the packet's.
  [errors4.tooBig(600), errors6.tooBig(1280)],
  [errors4.tooBig(0), errors6.tooBig(1280)],
  [{ type: 3, code: 5 }, errors6.noRoute],
  [{ type: 3, code: 9 }, errors6.filtered],
  [{ type: 3, code: 10 }, errors6.filtered],
  [{ type: 3, code: 12 }, errors6.noRoute],
  [errors4.filtered, errors6.filtered],
  [{ type: 3, code: 15 }, errors6.filtered],
  [errors4.timeExceeded, errors6.timeExceeded],
  [errors4.reassembly, { type: 3, code: 1 }],
  [errors4.parameter(0), errors6.parameter(0)],
  [errors4.parameter(9), errors6.parameter(6)],
  [errors4.parameter(12), errors6.parameter(8)],
  [errors4.parameter(16), errors6.parameter(24)],
];
/** RFC 7915 5.2: what comes as ICMPv6 and leaves as ICMPv4. */
const TO_4: readonly (readonly [IcmpKind, IcmpKind])[] = [
  [errors6.noRoute, errors4.noHost],
  [errors6.filtered, { type: 3, code: 10 }],
  [{ type: 1, code: 2 }, errors4.noHost],
  [errors6.noAddress, errors4.noHost],
  [errors6.noPort, errors4.noPort],
  [errors6.tooBig(1420), errors4.tooBig(1400)],
  [errors6.tooBig(1280), errors4.tooBig(1260)],
  [errors6.timeExceeded, errors4.timeExceeded],
  [{ type: 3, code: 1 }, errors4.reassembly],
  [errors6.parameter(0), errors4.parameter(0)],
  [errors6.parameter(6), errors4.parameter(9)],
  [errors6.parameter(7), errors4.parameter(8)],
  [errors6.parameter(8), errors4.parameter(12)],
  [errors6.parameter(24), errors4.parameter(16)],
  [errors6.nextHeader(6), errors4.noProtocol],
];
/** What has nothing to say in the other family. */
const NOTHING_IN_6: readonly IcmpKind[] = [
  { type: 3, code: 14 },
  errors4.parameter(4),
  errors4.parameter(25),
  { type: 12, code: 1 },
];
const NOTHING_IN_4: readonly IcmpKind[] = [
  errors6.parameter(2),
  errors6.parameter(40),
  { type: 4, code: 2 },
  { type: 1, code: 5 },
];

const side = (families: Families, end: 'client' | 'server'): '4' | '6' => families[end === 'client' ? 0 : 1] as '4' | '6';

/** All errors of a family, and what they are called where they go. */
function kinds(from: '4' | '6', to: '4' | '6'): readonly (readonly [IcmpKind, IcmpKind])[] {
  if (from === to) return (from === '4' ? SAME_4 : SAME_6).map((kind) => [kind, kind] as const);
  return from === '4' ? TO_6 : TO_4;
}

type Make = (flow: Flow, from: Reporter, kind: IcmpKind, options?: ErrorSpec) => ReturnType<typeof errorToClient>;

function play(t: Timeline, flow: Flow, make: Make, from: Reporter, list: ReturnType<typeof kinds>): void {
  const spec = { payload: 'question' };
  t.forward(flow.fromClient(spec));
  for (const [kind, becomes] of list)
    t.forward(make(flow, from, kind, { spec, becomes, now: t.now, header: { ttl: 61, tos: 0xc0 } }));
  t.forward(flow.fromClient({ payload: 'and on' })).expect({ ...created, icmp_translated: list.length });
}

const TWO_WAY = [
  ['fullnat', '44'],
  ['fullnat', '66'],
  ['fullnat', '64'],
  ['fullnat', '46'],
  ['nat', '44'],
  ['nat', '66'],
] as const;

const toClients = TWO_WAY.map(([mode, families]) =>
  golden(
    `icmp-to-client-${mode}-${SUFFIX[families]}`,
    `${MODE_NAMES[mode]} ${families}: every error about a client's packet reaches the client, from the VIP and about what the client sent.`,
    (t) => {
      const flow = modeFlow(mode, families, { protocol: 'udp' });
      const [there, here] = [side(families, 'server'), side(families, 'client')];
      play(t, flow, errorToClient, there === '4' ? near : near6, kinds(there, here));
      const useless = there === here ? [] : there === '4' ? NOTHING_IN_6 : NOTHING_IN_4;
      const from = there === '4' ? near : near6;
      for (const kind of useless)
        t.drop('icmp_unsupported', errorToClient(flow, from, kind, { spec: { payload: 'x' } }).arriving);
    },
    { config: modeConfig(mode, families) },
  ),
);

const toServers = TWO_WAY.map(([mode, families]) =>
  golden(
    `icmp-to-server-${mode}-${SUFFIX[families]}`,
    `${MODE_NAMES[mode]} ${families}: every error about an answer of the server reaches the server, about what the server sent.`,
    (t) => {
      const flow = modeFlow(mode, families, { protocol: 'udp' });
      const [there, here] = [side(families, 'client'), side(families, 'server')];
      play(t, flow, errorToServer, there === '4' ? far : far6, kinds(there, here));
    },
    { config: modeConfig(mode, families) },
  ),
);

const toOneWayServers = ALL_MODES.filter(([mode]) => isOneWay(mode)).map(([mode, families]) =>
  golden(
    `icmp-to-server-${mode}-${SUFFIX[families]}`,
    `${MODE_NAMES[mode]} ${families}: errors about what the server answered by itself go to the server as the client's packets do.`,
    (t) => {
      const flow = modeFlow(mode, families, { protocol: 'udp' });
      const from = side(families, 'client') === '4' ? far : far6;
      const list = side(families, 'client') === '4' ? SAME_4 : SAME_6;
      t.forward(flow.fromClient({ payload: 'question', dontFragment: true }));
      for (const kind of list)
        t.forward(errorToOneWayServer(flow, from, kind, { header: { ttl: 61, tos: 0xc1, dontFragment: true } }));
      t.expect({ ...created, icmp_translated: list.length });
    },
    { config: modeConfig(mode, families) },
  ),
);

export const icmpCases = [
  ...toClients,
  ...toServers,
  ...toOneWayServers,
  golden(
    'icmp-about-tcp',
    'Errors about TCP packets are translated, whether they quote 8 bytes of the segment or all of it.',
    (t) => {
      for (const [flow, lan, wan, tooBig] of [
        [webFlow(), near, far, errors4.tooBig(1400)],
        [web6Flow(), near6, far6, errors6.tooBig(1400)],
      ] as const) {
        t.forward(...handshake(flow));
        for (const quoted of [8, 16, 20, undefined]) {
          const options = { spec: { payload: 'data', seq: 1001, ack: 5001 }, ...(quoted === undefined ? {} : { quoted }) };
          t.forward(errorToClient(flow, lan, tooBig, options), errorToServer(flow, wan, tooBig, options));
        }
      }
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2, icmp_translated: 16 });
    },
  ),
  golden('icmp-about-packet-with-options', 'Options and extension headers of the quoted packet are kept.', (t) => {
    const spec4 = { payload: 'question', ipOptions: [0x94, 4, 0, 0] };
    const spec6 = { payload: 'question', extensions: [{ kind: 60, data: [1, 4] }] };
    t.forward(dns.fromClient(spec4), dns6.fromClient(spec6));
    t.forward(
      errorToClient(dns, near, errors4.noPort, { spec: spec4 }),
      errorToServer(dns, far, errors4.noPort, { spec: spec4 }),
    );
    t.forward(
      errorToClient(dns6, near6, errors6.noPort, { spec: spec6 }),
      errorToServer(dns6, far6, errors6.noPort, { spec: spec6 }),
    );
    t.expect({ sessions_created: 2, sessions: 2, icmp_translated: 4 });
  }),
  golden('icmp-about-udp-without-checksum', 'A quoted datagram without UDP checksum stays without one.', (t) => {
    const spec = { payload: 'question', checksum: 0 };
    t.forward(dns.fromClient(spec), errorToClient(dns, near, errors4.noPort, { spec }));
    t.expect({ ...created, icmp_translated: 1 });
  }),
  golden(
    'icmp-about-first-fragment',
    "An error about a first fragment is translated; one about a later fragment is nobody's.",
    (t) => {
      const spec = { payload: 400, dontFragment: false };
      const part = (whole: Uint8Array, from: number) =>
        quoteOf(fragmentOf(whole, { from, to: from + 200 }, { id: 5, more: true }), 40);
      t.forward(dns.fromClient(spec));
      const error = (whole: Uint8Array, from: number, ttl: number, source: Reporter, to: { mac: string; address: string }) =>
        icmpError(source, to, errors4.reassembly, part(whole, from), { ttl });
      const sent = dns.fromClient(spec).leaving;
      const original = frame('udp', dns.client, dns.vip, { ...spec, ttl: 63 }).build();
      t.forward({
        arriving: error(sent, 0, 64, near, dns.local),
        leaving: error(original, 0, 63, { mac: WAN_MAC, address: dns.vip.address }, dns.client),
        nested: quoting(dns.vip.address, dns.client.address, dns.client, dns.vip),
      });
      t.drop('icmp_quote_invalid', error(sent, 200, 64, near, dns.local)).expect({ ...created, icmp_translated: 1 });
    },
  ),
  golden('icmp-extensions', 'Extensions behind the quote (RFC 4884) are kept where the family stays.', (t) => {
    const behind = Uint8Array.of(0x20, 0, 0xff, 0xff, 0, 8, 1, 1, 0, 1, 0x41, 0x42);
    const spec = { payload: 100 };
    t.forward(dns.fromClient(spec));
    t.forward(errorToClient(dns, near, { type: 11, code: 0, rest: 32 * 0x10000 }, { spec, behind }));
    t.expect({ ...created, icmp_translated: 1 });
  }),
  golden(
    'icmp-extensions-6to4',
    'Between the families extensions behind the quote (RFC 4884) are left out.',
    (t) => {
      const flow = modeFlow('fullnat', '64', { protocol: 'udp' });
      const spec = { payload: 100 };
      const behind = Uint8Array.of(0x20, 0, 0xff, 0xff, 0, 8, 1, 1, 0, 1, 0x41, 0x42);
      t.forward(flow.fromClient(spec));
      t.forward(
        errorToClient(flow, near, { type: 11, code: 0, rest: 32 * 0x10000 }, { spec, behind, becomes: errors6.timeExceeded }),
      );
      t.expect({ ...created, icmp_translated: 1 });
    },
    { config: modeConfig('fullnat', '64') },
  ),
  golden('icmp-checksum-wrong', 'An error with a wrong checksum is dropped, of both families.', (t) => {
    t.forward(dns.fromClient({ payload: 'q' }), dns6.fromClient({ payload: 'q' }));
    const header = { checksumError: 0x0101 };
    t.drop('icmp_checksum_wrong', errorToClient(dns, near, errors4.noPort, { header }).arriving);
    t.drop('icmp_checksum_wrong', errorToServer(dns, far, errors4.noPort, { header }).arriving);
    t.drop('icmp_checksum_wrong', errorToClient(dns6, near6, errors6.noPort, { header }).arriving);
    t.expect({ sessions_created: 2, sessions: 2 });
  }),
  golden(
    'icmp-quote-invalid',
    'An error whose quote is cut before the ports, inconsistent, or from somebody else is dropped.',
    (t) => {
      t.forward(dns.fromClient({ payload: 'question' }));
      const about = quoteOf(dns.fromClient({ payload: 'question' }).leaving);
      const bad = (quote: Uint8Array, to = dns.local) => t.drop('icmp_quote_invalid', icmpError(near, to, errors4.noPort, quote));
      const changed = (at: number, value: number) => Uint8Array.from(about, (byte, i) => (i === at ? value : byte));
      for (const length of [0, 19, 20, 27]) bad(about.slice(0, length));
      bad(changed(0, 0x65));
      bad(changed(0, 0x44));
      bad(changed(0, 0x4f));
      bad(changed(3, 24));
      bad(changed(7, 9));
      bad(about, { ...dns.vip, mac: LAN_MAC });
      const about6 = quoteOf(dns6.fromClient({ payload: 'question' }).leaving);
      for (const quote of [about6.slice(0, 47), Uint8Array.from(about6, (byte, i) => (i === 6 ? 60 : byte))]) {
        t.drop('icmp_quote_invalid', icmpError(near6, dns6.local, errors6.noPort, quote));
      }
      t.expect(created);
    },
  ),
  golden('icmp-no-session', 'An error about a packet of no session is dropped, at a VIP and at a local address.', (t) => {
    t.drop(
      'icmp_no_session',
      errorToClient(dns, near, errors4.noPort).arriving,
      errorToServer(dns, far, errors4.noPort).arriving,
    );
    t.drop('icmp_no_session', errorToClient(dns6, near6, errors6.noPort).arriving);
    t.forward(dns.fromClient({ payload: 'question' }));
    const other = dnsFlow({ clientPort: 40001 });
    t.drop('icmp_no_session', errorToServer(other, far, errors4.noPort).arriving).expect(created);
  }),
  golden('icmp-does-not-keep-a-session', 'An error neither prolongs a session nor changes its state.', (t) => {
    const flow = webFlow();
    t.forward(flow.fromClient({ flags: 'S' })).wait(50);
    t.forward(errorToClient(flow, near, errors4.timeExceeded, { spec: { flags: 'S' } })).wait(11);
    t.drop('icmp_no_session', errorToClient(flow, near, errors4.timeExceeded, { spec: { flags: 'S' } }).arriving);
    t.expect({ sessions_created: 1, sessions_expired: 1, icmp_translated: 1 });
  }),
  golden('icmp-padding-trimmed', 'Padding behind a short error is not sent on and not summed up.', (t) => {
    const step = errorToClient(dns, near, errors4.noPort, { spec: { payload: '' }, quoted: 8 });
    const padded = new Uint8Array(step.arriving.length + 6).fill(0xee);
    padded.set(step.arriving);
    t.forward(dns.fromClient({ payload: '' }), { ...step, arriving: padded }).expect({ ...created, icmp_translated: 1 });
  }),
  golden('icmp-error-about-error', 'An error about an ICMP packet concerns nobody.', (t) => {
    const ping = packet()
      .eth({ source: LAN_MAC, destination: SERVER1.mac })
      .ipv4({ source: LOCAL, destination: SERVER1.address });
    t.drop('icmp_no_session', icmpError(near, dns.local, errors4.noPort, quoteOf(ping.icmp({ type: 0 }).payload(32).build())));
  }),
  golden('icmp-ttl-expired', 'An error whose TTL ends here is dropped, and nobody is told; with 2 it leaves with 1.', (t) => {
    for (const [flow, lan, wan, kind] of [
      [dns, near, far, errors4.noPort],
      [dns6, near6, far6, errors6.noPort],
    ] as const) {
      t.forward(flow.fromClient({ payload: 'q' }));
      for (const ttl of [1, 0]) {
        t.drop('ttl_expired', errorToClient(flow, lan, kind, { header: { ttl } }).arriving);
        t.drop('ttl_expired', errorToServer(flow, wan, kind, { header: { ttl } }).arriving);
      }
      t.forward(errorToClient(flow, lan, kind, { header: { ttl: 2 } }), errorToServer(flow, wan, kind, { header: { ttl: 2 } }));
    }
    t.expect({ sessions_created: 2, sessions: 2, icmp_translated: 4 });
  }),
  golden('icmp-redirect', 'A redirect is for hosts on its link: it is dropped, also when it is about a session.', (t) => {
    t.forward(webFlow().fromClient({ flags: 'S' }));
    t.drop('icmp_unsupported', errorToServer(webFlow(), { ...far, mac: CLIENT.mac }, { type: 5, code: 1 }).arriving).expect(
      active,
    );
  }),
  golden(
    'icmp-other-worker',
    'An error about a session of another worker finds it.',
    (t) => {
      for (let i = 0; i < 8; i++) {
        const flow = modeFlow('direct', '44', { protocol: 'udp', flow: { clientPort: 40000 + i } });
        t.forward(flow.fromClient({ payload: 'question' }), errorToOneWayServer(flow, far, errors4.noPort));
      }
      // Errors come to one worker, by their own addresses; two of the sessions are on the other.
      t.expect({ sessions_created: 8, sessions: 8, icmp_translated: 8, handoff_sent: 2, handoff_received: 2 });
    },
    { config: modeConfig('direct', '44', { workers: 2, localAddresses: [LOCAL, LOCAL_B, LOCAL6, LOCAL6_B] }) },
  ),
];
