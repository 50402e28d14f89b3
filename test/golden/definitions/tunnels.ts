// Golden cases: what tunnels put around packets, and errors about packets in tunnels.

import { golden, type Timeline } from '../support/case.js';
import type { Flow, Step } from '../support/flow.js';
import { forwarded, frame } from '../support/flow.js';
import { fragmentFromClient } from '../support/fragments.js';
import { errors4, errors6, type IcmpKind, icmpError, quoteOf, quoting, tell } from '../support/icmp.js';
import { ALL_MODES, type Families, MODE_NAMES, modeConfig, modeFlow, mtus, SUFFIX } from '../support/modes.js';
import { type Host, SERVER1, SERVER1_V6, SHARED_CONFIG } from '../support/network.js';
import { isTunnel, OVERHEAD } from '../support/tunnel.js';

const created = { sessions_created: 1, sessions: 1 };
const TUNNELS = ALL_MODES.filter(([mode]) => isTunnel(mode)).map(
  ([mode, families]) => [mode as keyof typeof OVERHEAD, families] as const,
);
const overhead = (mode: keyof typeof OVERHEAD, families: Families): number => OVERHEAD[mode] + (families[1] === '6' ? 40 : 20);
const near = { mac: SERVER1.mac, address: '192.0.2.253' };
const near6 = { mac: SERVER1_V6.mac, address: '2001:db8:2::fd' };

const headers = TUNNELS.map(([mode, families]) =>
  golden(
    `tunnel-${mode}-headers-${SUFFIX[families]}`,
    `${MODE_NAMES[mode]} ${families}: DSCP and ECN are copied (RFC 6040), TTL after its decrement, DF as it is; IPv6 may not be cut.`,
    (t) => {
      const flow = modeFlow(mode, families, { protocol: 'udp' });
      for (const tos of [0, 1, 2, 3, 0xb8, 0xba, 0xff]) t.forward(flow.fromClient({ payload: 'x', tos }));
      for (const ttl of [2, 65, 255]) t.forward(flow.fromClient({ payload: 'x', ttl }));
      for (const dontFragment of [true, false, false]) t.forward(flow.fromClient({ payload: 'x', dontFragment }));
      t.forward(
        flow.fromClient({ payload: 'padded', padTo: 100, padding: 0xee }),
        damaged(flow.fromClient({ payload: 'x', checksumError: 1 })),
      );
      t.expect(created);
    },
    { config: modeConfig(mode, families) },
  ),
);

/** A wrong checksum stays as wrong as it came. */
function damaged(step: Step): Step {
  return step.nested === undefined ? step : { ...step, nested: { ...step.nested, damaged: true } };
}

/** An error about a tunnel's packet, and what the client must hear of it. */
function about(
  t: Timeline,
  flow: Flow,
  kind: IcmpKind,
  becomes: IcmpKind,
  { payload = 'question' as string | number, quoted = Number.POSITIVE_INFINITY } = {},
): Step {
  const spec = { payload };
  const outer = quoteOf(flow.fromClient(spec).leaving, quoted);
  const ipv6 = flow.client.address.includes(':');
  const original = frame(flow.options.protocol, flow.client, flow.vip, forwarded(spec)).build();
  const all = flow.fromClient(spec).leaving.length - original.length;
  const ipHeader = flow.server.address.includes(':') ? 40 : 20;
  const inside = original.slice(14, Math.min(original.length, 14 + quoted + ipHeader - all));
  const largest = ipv6 ? 1280 - 48 : 576 - 28;
  return {
    arriving: icmpError(flow.server.address.includes(':') ? near6 : near, flow.local, kind, outer),
    leaving: icmpError(flow.vip, flow.client, becomes, inside.slice(0, largest), {
      ttl: 64,
      tos: ipv6 ? 0 : 0xc0,
      id: t.now & 0xffff,
    }),
    nested: quoting(flow.vip.address, flow.client.address, flow.client, flow.vip),
  };
}

const errors = TUNNELS.map(([mode, families]) =>
  golden(
    `tunnel-${mode}-errors-${SUFFIX[families]}`,
    `${MODE_NAMES[mode]} ${families}: errors about the tunnel's packets become errors about the client's, with what fits through.`,
    (t) => {
      const flow = modeFlow(mode, families, { protocol: 'udp' });
      const [inside, outside] = [families[0] === '6' ? errors6 : errors4, families[1] === '6' ? errors6 : errors4];
      const unreachable = families[0] === '6' ? errors6.noAddress : errors4.noHost;
      const more = overhead(mode, families);
      const least = families[0] === '6' ? 1280 : 68;
      t.forward(flow.fromClient({ payload: 'question' }));
      const play = (kind: IcmpKind, becomes: IcmpKind, payload: string | number = 'question', quoted?: number) =>
        t.forward(about(t, flow, kind, becomes, { payload, ...(quoted === undefined ? {} : { quoted }) }));
      play(outside.tooBig(1400), inside.tooBig(1400 - more), 1300);
      play(outside.tooBig(1300), inside.tooBig(Math.max(least, 1300 - more)));
      play(outside.noPort, unreachable);
      play(outside.timeExceeded, unreachable);
      play(outside.filtered, unreachable, 'question', 12 + more + (families[0] === '6' ? 40 : 20));
      const parameter = about(t, flow, outside.parameter(0), unreachable).arriving;
      t.drop('icmp_unsupported', parameter);
      // Too little is quoted to tell whose it was; and a stranger's packet.
      t.drop('icmp_no_session', about(t, flow, outside.noPort, unreachable, { quoted: OVERHEAD[mode] + 20 }).arriving);
      const other = modeFlow(mode, families, { protocol: 'udp', flow: { clientPort: 40001 } });
      t.drop('icmp_no_session', about(t, other, outside.noPort, unreachable).arriving);
      const elsewhere = modeFlow(mode, families, {
        protocol: 'udp',
        flow: { server: { ...flow.options.server, address: farServer(families) } },
      });
      t.drop('icmp_no_session', about(t, elsewhere, outside.noPort, unreachable).arriving);
      t.expect({ ...created, icmp_translated: 5 });
    },
    { config: modeConfig(mode, families) },
  ),
);

function farServer(families: Families): string {
  return families[1] === '6' ? '2001:db8:2::77' : '192.0.2.77';
}

const ROUTER: Host = { address: '192.0.2.253', mac: '02:00:00:00:0a:fd' };

export const tunnelCases = [
  ...headers,
  ...errors,
  golden(
    'tunnel-error-without-mtu',
    'A router that does not say what fits is taken to mean the next usual size below the packet (RFC 1191 7.1).',
    (t) => {
      const flow = modeFlow('ipip', '44', { protocol: 'udp' });
      t.forward(flow.fromClient({ payload: 1400 }));
      t.forward(about(t, flow, errors4.tooBig(0), errors4.tooBig(1006 - 20), { payload: 1400 }));
      t.forward(about(t, flow, errors4.tooBig(0), errors4.tooBig(68), { payload: 10 }));
      t.expect({ ...created, icmp_translated: 2 });
    },
    { config: modeConfig('ipip', '44') },
  ),
  golden(
    'tunnel-gue-port',
    'GUE goes to the port that the service or the server names.',
    (t) => {
      const flow = modeFlow('gue', '44', { protocol: 'tcp', flow: { tunnelPort: 7777 } });
      t.forward(flow.fromClient({ flags: 'S' })).expect({ ...created, sessions_active: 1 });
      const other = modeFlow('gue', '44', { protocol: 'udp', flow: { tunnelPort: 5555 } });
      t.forward(other.fromClient({ payload: 'question' })).expect(created);
    },
    { config: withPorts() },
  ),
  golden(
    'tunnel-behind-router',
    'A tunnel may lead through routers.',
    (t) => {
      const flow = modeFlow('ipip', '44', { protocol: 'udp', flow: { server: { address: '198.19.0.5', mac: ROUTER.mac } } });
      t.forward(flow.fromClient({ payload: 'question' })).expect(created);
    },
    { config: behindRouter() },
  ),
  golden(
    'tunnel-fragment-cut-again',
    "A client's fragment that does not fit the tunnel becomes smaller ones with its identification, each in an outer packet.",
    (t) => {
      const flow = modeFlow('gre', '44', { protocol: 'udp' });
      const spec = { payload: 2000 };
      const part = (from: number, to: number): Step => fragmentFromClient(flow, spec, { from, to }, { id: 99 });
      const step = Math.floor((1400 - 24 - 20) / 8) * 8;
      t.cut({ arriving: part(0, 1480).arriving, pieces: [part(0, step), part(step, 1480)] }).forward(part(1480, 2008));
      t.expect({ ...created, fragments_forwarded: 2 });
    },
    { config: modeConfig('gre', '44', { interfaces: mtus(1500, 1400) }) },
  ),
  golden(
    'own-error-lengths',
    'Errors of our own quote as much as fits into 576 bytes of IPv4 and 1280 bytes of IPv6.',
    (t) => {
      for (const families of ['44', '66'] as const) {
        const flow = modeFlow('direct', families, { protocol: 'udp' });
        const expired = families === '66' ? errors6.timeExceeded : errors4.timeExceeded;
        for (const payload of [0, 500, 1300, 1400])
          tell(t, 'ttl_expired', flow.fromClient({ payload, ttl: 1 }).arriving, expired);
      }
    },
    { config: { ...SHARED_CONFIG } },
  ),
  golden('own-errors-limited', 'After a hundred errors at once a worker is silent; one more each millisecond.', (t) => {
    const flow = modeFlow('direct', '44', { protocol: 'udp' });
    const expired = () => flow.fromClient({ payload: 'x', ttl: 1 }).arriving;
    t.simultaneously(() => {
      for (let i = 0; i < 100; i++) tell(t, 'ttl_expired', expired(), errors4.timeExceeded);
      t.drop('ttl_expired', expired(), expired());
    });
    tell(t, 'ttl_expired', expired(), errors4.timeExceeded);
    t.simultaneously(() => {
      tell(t, 'ttl_expired', expired(), errors4.timeExceeded);
      t.drop('ttl_expired', expired());
    });
  }),
];

function withPorts() {
  const base = modeConfig('gue', '44');
  const [web, dns] = base.services;
  if (web === undefined || dns === undefined) throw new Error('there are two services');
  const server = dns.servers[0] ?? { address: '' };
  return {
    ...base,
    services: [
      { ...web, tunnelPort: 7777 },
      { ...dns, servers: [{ ...server, tunnelPort: 5555 }] },
    ],
  };
}

function behindRouter() {
  const base = modeConfig('ipip', '44');
  return {
    ...base,
    routes: [...base.routes, { prefix: '198.19.0.0/16', via: ROUTER.address, interface: 'lan' }],
    neighbours: [...base.neighbours, { ...ROUTER, interface: 'lan' }],
    services: base.services.map((service) => ({ ...service, servers: [{ address: '198.19.0.5' }] })),
  };
}
