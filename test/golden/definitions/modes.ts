// Golden cases: a TCP connection and a UDP exchange in every mode and every pair of families that it carries.

import { linuxSynOptions } from '../../support/packet/index.js';
import { golden, type Timeline } from '../support/case.js';
import type { Flow } from '../support/flow.js';
import { piecesFromClient, piecesFromServer } from '../support/fragments.js';
import { errors4, errors6, tell } from '../support/icmp.js';
import { ALL_MODES, type Families, isOneWay, MODE_NAMES, modeConfig, modeFlow, mtus, SUFFIX } from '../support/modes.js';
import { SERVER1, SERVER2, SERVER3 } from '../support/network.js';
import { OVERHEAD } from '../support/tunnel.js';

const created = { sessions_created: 1, sessions: 1 };
const LINK = 1500;
/** IP and TCP headers. */
const headers = (family: string | undefined): number => (family === '6' ? 60 : 40);

/** What a SYN may announce: that whole packets fit both links, where both ways pass here. */
function largestSegment(flow: Flow, families: Families): number {
  const offered = LINK - headers(families[0]);
  return isOneWay(flow.mode) ? offered : Math.min(offered, LINK - headers(families[1]));
}
function overheadOf(flow: Flow, families: Families): number {
  if (!(flow.mode in OVERHEAD)) return 0;
  return OVERHEAD[flow.mode as keyof typeof OVERHEAD] + (families[1] === '6' ? 40 : 20);
}

function tcp(t: Timeline, flow: Flow, families: Families): void {
  const offered = LINK - headers(families[0]);
  const fitting = largestSegment(flow, families);
  const answered = LINK - headers(families[1]);
  t.forward(flow.fromClient({ flags: 'S', options: linuxSynOptions(offered), tos: 0x10 }, { options: linuxSynOptions(fitting) }));
  if (!isOneWay(flow.mode))
    t.forward(
      flow.fromServer({ flags: 'SA', ack: 1001, options: linuxSynOptions(answered) }, { options: linuxSynOptions(fitting) }),
    );
  t.forward(flow.fromClient({ flags: 'A', seq: 1001, ack: 5001 }));
  t.forward(flow.fromClient({ flags: 'PA', seq: 1001, ack: 5001, payload: 'GET / HTTP/1.1\r\n\r\n', ttl: 2 }));
  if (!isOneWay(flow.mode)) t.forward(flow.fromServer({ flags: 'PA', seq: 5001, ack: 1019, payload: 1001, ttl: 255 }));
  t.forward(flow.fromClient({ flags: 'FA', seq: 1019, ack: 6002 }));
  if (!isOneWay(flow.mode)) t.forward(flow.fromServer({ flags: 'FA', seq: 6002, ack: 1020 }));
  const clampedBack = !isOneWay(flow.mode) && fitting < answered ? 1 : 0;
  const clamped = (fitting < offered ? 1 : 0) + clampedBack;
  t.expect({ ...created, ...(clamped === 0 ? {} : { mss_clamped: clamped }) });
}

function udp(t: Timeline, flow: Flow): void {
  t.forward(flow.fromClient({ payload: 'question', tos: 0xb9, ttl: 17 }));
  if (!isOneWay(flow.mode)) t.forward(flow.fromServer({ payload: 'answer', tos: 0x2a, ttl: 255 }));
  t.forward(flow.fromClient({ payload: '', dontFragment: false }), flow.fromClient({ payload: 'odd', dontFragment: false }));
  t.forward(flow.fromClient({ payload: 1200 })).expect(created);
}

const conversations = ALL_MODES.flatMap(([mode, families]) =>
  (['tcp', 'udp'] as const).map((protocol) =>
    golden(
      `mode-${mode}-${protocol}-${SUFFIX[families]}`,
      `${MODE_NAMES[mode]} ${families}: a ${protocol === 'tcp' ? 'TCP connection' : 'UDP exchange'} from its first packet to its last.`,
      (t) => {
        const flow = modeFlow(mode, families, { protocol });
        if (protocol === 'tcp') tcp(t, flow, families);
        else udp(t, flow);
      },
      { config: modeConfig(mode, families) },
    ),
  ),
);

/** Options and extension headers stay where the header stays. */
const kept = ALL_MODES.map(([mode, families]) =>
  golden(
    `options-${mode}-${SUFFIX[families]}`,
    `${MODE_NAMES[mode]} ${families}: IPv4 options and IPv6 extension headers are kept, between the families left out.`,
    (t) => {
      const flow = modeFlow(mode, families, { protocol: 'udp' });
      const spec =
        families[0] === '6'
          ? {
              extensions: [
                { kind: 0, data: [1, 4] },
                { kind: 60, data: [1, 12] },
              ],
              flowLabel: 0xabcde,
            }
          : { ipOptions: [0x94, 4, 0, 0, 1, 1, 0x44, 8, 5, 0, 0, 0, 0, 9] };
      t.forward(flow.fromClient({ payload: 'with', ...spec }), flow.fromClient({ payload: 'without' }));
      t.expect(created);
    },
    { config: modeConfig(mode, families) },
  ),
);

/** Bytes that a packet grows by on its way to the server. */
function growth(flow: Flow, families: Families): number {
  if (flow.crossFamily) return families === '64' ? -20 : 20;
  return overheadOf(flow, families);
}

const pathMtu = ALL_MODES.map(([mode, families]) =>
  golden(
    `mtu-${mode}-${SUFFIX[families]}`,
    `${MODE_NAMES[mode]} ${families}: a packet that just fits the server's link passes, one byte more is refused with what fits.`,
    (t) => {
      const flow = modeFlow(mode, families, { protocol: 'udp' });
      const fits = 1400 - growth(flow, families);
      const payload = fits - (families[0] === '6' ? 48 : 28);
      t.forward(flow.fromClient({ payload }));
      const error = families[0] === '6' ? errors6.tooBig(fits) : errors4.tooBig(fits);
      tell(t, 'mtu_exceeded', flow.fromClient({ payload: payload + 1 }).arriving, error);
      t.forward(flow.fromClient({ payload: 'and on' })).expect(created);
    },
    { config: modeConfig(mode, families, { interfaces: mtus(1500, 1400) }) },
  ),
);

/** Of pieces all but the last carry a multiple of 8 bytes; what the family or the tunnel adds is subtracted first. */
function stepOf(flow: Flow, mtu: number, families: Families): number {
  const room = flow.crossFamily ? mtu - 48 : mtu - overheadOf(flow, families) - 20;
  return Math.floor(room / 8) * 8;
}

const cutToFit = ALL_MODES.filter(([, families]) => families[0] === '4').map(([mode, families]) =>
  golden(
    `cut-${mode}-${SUFFIX[families]}`,
    `${MODE_NAMES[mode]} ${families}: an IPv4 packet without DF that is too big for the server's link leaves in pieces.`,
    (t) => {
      const flow = modeFlow(mode, families, { protocol: 'udp' });
      const step = stepOf(flow, 1400, families);
      for (const payload of [1472, 3000]) t.cut(piecesFromClient(flow, { payload, dontFragment: false, id: payload }, step));
      t.expect(created);
    },
    { config: modeConfig(mode, families, { interfaces: mtus(3500, 1400) }) },
  ),
);

export const modeCases = [
  ...conversations,
  ...kept,
  ...pathMtu,
  ...cutToFit,
  golden(
    'mtu-answer-6to4',
    "An IPv4 server's answer with DF that is too big for the IPv6 client's link is refused with what fits, without DF cut.",
    (t) => {
      const flow = modeFlow('fullnat', '64', { protocol: 'udp' });
      t.forward(flow.fromClient({ payload: 'question' }));
      t.forward(flow.fromServer({ payload: 1400 - 48 }));
      tell(t, 'mtu_exceeded', flow.fromServer({ payload: 1400 - 47 }).arriving, errors4.tooBig(1380));
      t.cut(piecesFromServer(flow, { payload: 1472, dontFragment: false }, 1352));
      t.expect(created);
    },
    { config: modeConfig('fullnat', '64', { interfaces: mtus(1400, 1500) }) },
  ),
  golden(
    'mtu-answer-4to6',
    "An IPv6 server's answer that is too big for the IPv4 client's link is refused with what fits.",
    (t) => {
      const flow = modeFlow('fullnat', '46', { protocol: 'udp' });
      t.forward(flow.fromClient({ payload: 'question' }));
      t.forward(flow.fromServer({ payload: 1400 - 28 }));
      tell(t, 'mtu_exceeded', flow.fromServer({ payload: 1400 - 27 }).arriving, errors6.tooBig(1420));
      t.expect(created);
    },
    { config: modeConfig('fullnat', '46', { interfaces: mtus(1400, 1500) }) },
  ),
  golden(
    'modes-mixed',
    'Servers of one service may have different modes: each gets its packets in its own.',
    (t) => {
      (['direct', 'ipip', 'nat'] as const).forEach((mode, i) => {
        const server = [SERVER1, SERVER2, SERVER3][i] ?? SERVER1;
        const flow = modeFlow(mode, '44', { protocol: 'udp', flow: { clientPort: 40000 + i, server } });
        t.forward(flow.fromClient({ payload: 'question', tos: 3 }));
        if (isOneWay(mode)) t.forward(flow.fromClient({ payload: 'again' }));
      });
      t.expect({ sessions_created: 3, sessions: 3 });
    },
    { config: mixed() },
  ),
];

/** One server per mode behind one service. */
function mixed() {
  const base = modeConfig('direct', '44');
  const [, dns] = base.services;
  if (dns === undefined) throw new Error('there is a UDP service');
  // IPVS asks the server added last first.
  const servers = [
    { address: SERVER3.address, mode: 'nat' as const, port: 8053 },
    { address: SERVER2.address, mode: 'ipip' as const },
    { address: SERVER1.address, mode: 'direct' as const },
  ];
  return { ...base, services: [{ ...dns, scheduler: 'rr' as const, servers }] };
}
