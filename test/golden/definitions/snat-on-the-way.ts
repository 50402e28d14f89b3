// Golden cases: the outbound gateway and what happens on the way: fragments, ICMP errors, expired TTLs, links that are too narrow, several
// workers, and NAT servers that connect to the outside themselves.

import { golden, type Timeline } from '../support/case.js';
import { type Flow, type FlowOptions, handshake, type Local, type Step, webFlow } from '../support/flow.js';
import { fragmentFromClient, fragmentFromServer, lengthOf, piecesFromClient, ranges } from '../support/fragments.js';
import { errors4, errors6, type IcmpKind, icmpError, quoteOf, quoting } from '../support/icmp.js';
import { errorToServer } from '../support/icmp-flow.js';
import { mtus } from '../support/modes.js';
import {
  CLIENT,
  configWith,
  GATEWAY,
  GATEWAY6,
  LAN_MAC,
  LOCAL_PORT,
  SERVER1,
  SERVER1_V6,
  SERVER2,
  WAN_MAC,
  WEB,
} from '../support/network.js';
import {
  EVERYTHING,
  echo,
  errorFromOutside,
  INSIDE,
  INSIDE6,
  only,
  outbound,
  outbound6,
  PING,
  PING_OUT,
  PONG,
  POOL,
  POOL_B,
  POOL6,
  POOL6_B,
  rule,
} from '../support/snat.js';

const created = { sessions_created: 1, sessions: 1 };
/** Routers on the two sides. */
const far = { mac: GATEWAY.mac, address: '198.18.5.5' };
const far6 = { mac: GATEWAY6.mac, address: '2001:db8:99::5' };
const near = { mac: SERVER1.mac, address: '192.0.2.253' };
const near6 = { mac: SERVER1_V6.mac, address: '2001:db8:2::fd' };
const outside = (flow: Flow) => ({ mac: flow.server.mac, address: flow.server.address });
const inside = (flow: Flow) => ({ mac: flow.client.mac, address: flow.client.address });

const ABOUT_V4: readonly IcmpKind[] = [
  errors4.noNet,
  errors4.noPort,
  errors4.tooBig(1400),
  errors4.timeExceeded,
  errors4.parameter(20),
];
const ABOUT_V6: readonly IcmpKind[] = [
  errors6.noRoute,
  errors6.noPort,
  errors6.tooBig(1280),
  errors6.timeExceeded,
  errors6.parameter(40),
];

function cut(flow: Flow, payload: number, id: number, from: 'client' | 'server' = 'client'): Step[] {
  const make = from === 'client' ? fragmentFromClient : fragmentFromServer;
  return ranges(lengthOf(flow, payload), 1240).map((range) => make(flow, { payload }, range, { id }));
}

/** Fragments in order and with the first one last, both ways, and a whole datagram: one session. */
function fragments(t: Timeline, flow: Flow): void {
  t.forward(...cut(flow, 3000, 0x4711), ...cut(flow, 2500, 0x4242, 'server'));
  for (const from of ['client', 'server'] as const) {
    const [first, second, third] = cut(flow, 3000, 0x4712, from) as [Step, Step, Step];
    t.keep(third.arriving, second.arriving).release(first, third, second);
  }
  t.forward(flow.fromClient({ payload: 'whole' }), flow.fromServer({ payload: 'answer' }));
  t.expect({ ...created, fragments_forwarded: 12 });
}

/** Errors of the outside host and of a router there, and errors of the inside about what came in. */
function errors(t: Timeline, flow: Flow, kinds: readonly IcmpKind[], router: typeof far, insideRouter: typeof near): void {
  const tcp = flow.options.protocol === 'tcp';
  if (tcp) t.forward(...handshake(flow));
  else t.forward(flow.fromClient({ payload: 'question' }), flow.fromServer({ payload: 'answer' }));
  const said = tcp ? { flags: 'PA', seq: 1001, ack: 5001, payload: 'hello' } : { payload: 'question' };
  for (const kind of kinds) {
    t.forward(errorFromOutside(flow, outside(flow), kind, said), errorFromOutside(flow, router, kind, said));
    t.forward(errorToServer(flow, inside(flow), kind, { spec: said }), errorToServer(flow, insideRouter, kind, { spec: said }));
  }
  // A router may quote eight bytes of the transport packet and no more.
  t.forward(errorFromOutside(flow, router, kinds[0] as IcmpKind, said, 8));
  t.expect({ ...created, ...(tcp ? { sessions_active: 1 } : {}), icmp_translated: 4 * kinds.length + 1 });
}

/** What the balancer itself says about a packet of an inside host, from the pool. */
function told(
  t: Timeline,
  reason: string,
  arriving: Uint8Array,
  pool: string,
  about: Flow,
  kind: IcmpKind,
  ports?: string,
): void {
  const ipv6 = pool.includes(':');
  const limit = ipv6 ? 1280 - 48 : 576 - 28;
  const quote = quoteOf(arriving).slice(0, limit);
  const { client, vip } = about;
  const error = icmpError({ mac: LAN_MAC, address: pool }, client, kind, quote, { tos: ipv6 ? 0 : 0xc0, id: t.now & 0xffff });
  const quoted = quoting(pool, client.address, client, vip);
  t.refuse(reason, arriving, error, ports === undefined ? quoted : { ...quoted, inner: { ...quoted.inner, ports } });
}

/** What an error about PING quotes. */
const ECHO = { source: SERVER1.address, destination: CLIENT.address, ports: '>' };

const TWO = { workers: 2, localAddresses: [], services: [] };
const twoWorkers = configWith({
  ...TWO,
  snat: [rule('office', [POOL, POOL_B, POOL6, POOL6_B], { source: INSIDE }, { source: INSIDE6 })],
});

/** A question and its answer, which is sent to both addresses of the pool: the one that has the session takes its own. */
function exchange(t: Timeline, make: (changes: Partial<FlowOptions>) => Flow, pool: readonly [string, string]): void {
  const at = (address: string, name?: string): Local => ({ address, port: LOCAL_PORT, ...(name === undefined ? {} : { name }) });
  const flow = make({ local: at(pool[0], 'own') });
  const [one, other] = pool.map((address) => make({ local: at(address) })) as [Flow, Flow];
  const reply = { flags: 'SA', seq: 5000, ack: 1001, payload: 'answer' };
  t.forward(flow.fromClient({ flags: 'S', payload: 'question' }));
  t.simultaneously(() => t.forward(one.fromServer(reply)).drop('local_no_session', other.fromServer(reply).arriving));
  t.forward(flow.fromClient({ seq: 1001, ack: 5001, payload: 'thanks' }));
  t.expect({ ...created, ...(flow.options.protocol === 'tcp' ? { sessions_active: 1 } : {}) });
}

/** A NAT service on the inside, whose servers the rule lets out, too. */
const natServersGoOut = configWith({
  localAddresses: [],
  services: [{ ...WEB, mode: 'nat' }],
  snat: [rule('office', [POOL], { source: INSIDE })],
});

export const snatOnTheWayCases = [
  golden(
    'snat-fragments-v4',
    'Fragments of both sides and whole datagrams share one session of the outbound gateway.',
    (t) => {
      fragments(t, outbound(CLIENT, { protocol: 'udp', port: 53 }));
    },
    EVERYTHING,
  ),
  golden('snat-fragments-v6', 'The same over IPv6.', (t) => fragments(t, outbound6({ protocol: 'udp', port: 53 })), EVERYTHING),
  golden(
    'snat-fragments-to-another-port',
    'Fragments behind the first one have no port: they come, and are dropped where no rule is for the port of the first one.',
    (t) => {
      const [first, second] = cut(outbound(CLIENT, { protocol: 'udp', port: 54 }), 2000, 9) as [Step, Step];
      t.kernel(first.arriving).drop('fragment_timeout', second.arriving).wait(2.5);
      const allowed = outbound(CLIENT, { protocol: 'udp', port: 53 });
      t.forward(...cut(allowed, 2000, 10));
      t.expect({ ...created, fragments_forwarded: 2 });
    },
    only(rule('names', [POOL], { source: INSIDE, protocol: 'udp', ports: '53-53' })),
  ),
  ...(['tcp', 'udp'] as const).flatMap((protocol) => [
    golden(
      `snat-errors-${protocol}-v4`,
      'Errors from outside reach the inside host about its own packets and keep their source; errors from inside come from the pool.',
      (t) => {
        errors(t, outbound(CLIENT, { protocol }), ABOUT_V4, far, near);
      },
      EVERYTHING,
    ),
    golden(
      `snat-errors-${protocol}-v6`,
      'The same over IPv6.',
      (t) => {
        errors(t, outbound6({ protocol }), ABOUT_V6, far6, near6);
      },
      EVERYTHING,
    ),
  ]),
  golden(
    'snat-errors-echo',
    'An error about an echo request reaches the inside host with its identifier.',
    (t) => {
      t.forward({ arriving: echo(PING).build(), leaving: echo(PING_OUT).build() });
      const known = quoteOf(echo({ ...PING, ttl: 63 }).build());
      t.forward({
        arriving: icmpError(far, { mac: WAN_MAC, address: POOL }, errors4.timeExceeded, quoteOf(echo(PING_OUT).build())),
        leaving: icmpError({ ...far, mac: LAN_MAC }, SERVER1, errors4.timeExceeded, known, { ttl: 63 }),
        nested: { ...quoting(far.address, SERVER1.address, outbound(CLIENT).client, outbound(CLIENT).vip), inner: ECHO },
      });
      t.expect({ ...created, icmp_translated: 1 });
    },
    EVERYTHING,
  ),
  golden(
    'snat-errors-about-no-session',
    'An error between addresses that a rule matches, about a packet that nobody sent, goes no further.',
    (t) => {
      const flow = outbound(CLIENT, { protocol: 'udp', port: 53 });
      t.drop('icmp_no_session', errorFromOutside(flow, far, errors4.noPort).arriving);
      t.drop('icmp_no_session', errorToServer(flow, inside(flow), errors4.noPort).arriving);
    },
    EVERYTHING,
  ),
  golden(
    'snat-ttl-expired',
    'A packet whose last hop this is comes back as time exceeded, from the pool; traceroute from inside shows the gateway.',
    (t) => {
      const tcp = outbound(CLIENT);
      told(t, 'ttl_expired', tcp.fromClient({ flags: 'S', ttl: 1 }).arriving, POOL, tcp, errors4.timeExceeded);
      const udp6 = outbound6({ protocol: 'udp', port: 33434 });
      told(t, 'ttl_expired', udp6.fromClient({ payload: 'probe', ttl: 1 }).arriving, POOL6, udp6, errors6.timeExceeded);
      told(t, 'ttl_expired', echo({ ...PING, ttl: 1 }).build(), POOL, tcp, errors4.timeExceeded, '>');
    },
    EVERYTHING,
  ),
  golden(
    'snat-too-big',
    'A packet that the link outside does not carry is answered from the pool with the size that it carries, or cut where it may be.',
    (t) => {
      const flow = outbound(CLIENT, { protocol: 'udp', port: 53 });
      told(t, 'mtu_exceeded', flow.fromClient({ payload: 1450 }).arriving, POOL, flow, errors4.tooBig(1400));
      t.cut(piecesFromClient(flow, { payload: 1450, dontFragment: false, id: 5 }, 1376));
      const flow6 = outbound6({ protocol: 'udp', port: 53 });
      told(t, 'mtu_exceeded', flow6.fromClient({ payload: 1440 }).arriving, POOL6, flow6, errors6.tooBig(1400));
      t.expect({ sessions_created: 2, sessions: 2 });
    },
    {
      config: configWith({
        services: [],
        localAddresses: [],
        interfaces: mtus(1400, 1500),
        snat: [rule('office', [POOL, POOL6], { source: INSIDE }, { source: INSIDE6 })],
      }),
    },
  ),
  golden(
    'snat-timeouts',
    'A session that is over gives its port back, and what comes for it then is a stranger; the timeouts are those of the protocol.',
    (t) => {
      const datagrams = outbound(CLIENT, { protocol: 'udp', port: 53 });
      t.forward(datagrams.fromClient({ payload: 'question' }))
        .wait(9)
        .forward(datagrams.fromServer({ payload: 'answer' }));
      t.wait(9).forward(datagrams.fromServer({ payload: 'late' }));
      t.wait(12).drop('local_no_session', datagrams.fromServer({ payload: 'too late' }).arriving);
      t.forward(outbound(CLIENT, { protocol: 'udp', port: 53, from: SERVER2 }).fromClient({ payload: 'mine' }));
      t.wait(12);
      t.forward({ arriving: echo(PING).build(), leaving: echo(PING_OUT).build() });
      t.wait(12).drop('local_no_session', echo(PONG).build());
      const [syn, answer, last] = handshake(outbound(CLIENT)) as [Step, Step, Step];
      t.forward(syn, answer, last).wait(25).drop('local_no_session', answer.arriving);
      t.expect({ sessions_created: 4, sessions_expired: 4 });
    },
    {
      config: configWith({
        services: [],
        localAddresses: [],
        sessions: { timeouts: { udp: { oneWay: 10, normal: 10 }, tcp: { established: 20 } } },
        snat: [rule('office', [POOL], { source: INSIDE })],
      }),
    },
  ),
  golden(
    'snat-opened-again',
    'A connection that is over and begins again from the same port has a session of its own.',
    (t) => {
      const flow = outbound(CLIENT);
      t.forward(...handshake(flow), flow.fromServer({ flags: 'R', seq: 5001 }), ...handshake(flow));
      t.expect({ sessions_created: 2, sessions: 1, sessions_active: 1, sessions_expired: 1 });
    },
    EVERYTHING,
  ),
  ...(['flow', 'wrong'] as const).flatMap((steering) =>
    (
      [
        ['tcp', [POOL, POOL_B], outbound.bind(undefined, CLIENT)],
        ['udp', [POOL, POOL_B], outbound.bind(undefined, CLIENT)],
        ['tcp-v6', [POOL6, POOL6_B], outbound6],
        ['udp-v6', [POOL6, POOL6_B], outbound6],
      ] as const
    ).map(([name, pool, make]) =>
      golden(
        `snat-two-workers-${steering === 'flow' ? '' : 'wrong-steering-'}${name}`,
        steering === 'flow'
          ? 'Each worker has addresses of the pool of its own, and answers come to the one that they belong to.'
          : 'Answers that arrive on the wrong worker are handed to the owner of their address.',
        (t) => {
          const protocol = name.startsWith('tcp') ? 'tcp' : 'udp';
          exchange(t, (changes) => make({ protocol, ...changes }), pool);
          if (steering === 'wrong') t.expect({ handoff_sent: 2, handoff_received: 2 });
        },
        { config: twoWorkers, steering },
      ),
    ),
  ),
  golden(
    'snat-nat-server-goes-out',
    'A server in mode nat is a host inside as well: what it begins leaves with an address of the pool, its answers with the VIP.',
    (t) => {
      const served = webFlow({ mode: 'nat' });
      const own = outbound(CLIENT);
      t.forward(...handshake(served), ...handshake(own));
      t.forward(served.fromServer({ flags: 'PA', payload: 'page' }), own.fromServer({ flags: 'PA', payload: 'update' }));
      // From the port of the service a connection may begin, too; what only looks like an answer is none.
      t.forward(outbound(CLIENT, { clientPort: 8080, port: 80 }).fromClient({ flags: 'S' }));
      t.drop('nat_no_session', outbound(CLIENT, { clientPort: 8080, port: 81 }).fromClient({ flags: 'A' }).arriving);
      t.drop('tcp_no_session', outbound(CLIENT, { clientPort: 9000 }).fromClient({ flags: 'A' }).arriving);
      t.expect({ sessions_created: 3, sessions: 3, sessions_active: 3 });
    },
    { config: natServersGoOut },
  ),
];
