// Golden cases: the MSS option of SYN and SYN-ACK is lowered to what both links carry (RFC 9293 3.7.1), and only then.

import {
  linuxSynOptions,
  mss,
  nop,
  rawOption,
  sackPermitted,
  type TcpOption,
  timestamps,
  windowScale,
} from '../../support/packet/index.js';
import { golden } from '../support/case.js';
import { web6Flow, webFlow } from '../support/flow.js';
import { MODE_NAMES, modeConfig, modeFlow, mtus } from '../support/modes.js';
import { configWith, SHARED_CONFIG } from '../support/network.js';

const created = { sessions_created: 1, sessions: 1, sessions_active: 1 };
const withMtus = (wan: number, lan: number) =>
  configWith({ interfaces: SHARED_CONFIG.interfaces.map((i) => ({ ...i, mtu: i.name === 'wan' ? wan : lan })) });
const narrowLan = { config: withMtus(1500, 1400) };

const syn = (options: readonly TcpOption[]) => ({ flags: 'S', options });
const synAck = (options: readonly TcpOption[]) => ({ flags: 'SA', ack: 1001, options });

export const mssCases = [
  golden(
    'mss-v4-lowered',
    'MSS of SYN and SYN-ACK becomes the smaller MTU less 40 bytes.',
    (t) => {
      const flow = webFlow();
      t.forward(flow.fromClient(syn(linuxSynOptions(1460)), { options: linuxSynOptions(1360) }));
      t.forward(flow.fromServer(synAck(linuxSynOptions(8960)), { options: linuxSynOptions(1360) }));
      t.expect({ ...created, mss_clamped: 2 });
    },
    narrowLan,
  ),
  golden(
    'mss-v6-lowered',
    'Over IPv6, MSS of SYN and SYN-ACK becomes the smaller MTU less 60 bytes.',
    (t) => {
      const flow = web6Flow();
      t.forward(flow.fromClient(syn(linuxSynOptions(1440)), { options: linuxSynOptions(1340) }));
      t.forward(flow.fromServer(synAck(linuxSynOptions(8940)), { options: linuxSynOptions(1340) }));
      t.expect({ ...created, mss_clamped: 2 });
    },
    narrowLan,
  ),
  golden(
    'mss-lowered-by-client-side',
    'The link towards the client counts as much as the link towards the server.',
    (t) => {
      const flow = webFlow();
      t.forward(flow.fromClient(syn([mss(1460)]), { options: [mss(1240)] }));
      t.forward(flow.fromServer(synAck([mss(1460)]), { options: [mss(1240)] }));
      t.expect({ ...created, mss_clamped: 2 });
    },
    { config: withMtus(1280, 1500) },
  ),
  golden(
    'mss-fitting-kept',
    'An MSS that both links carry is not changed, not even when it equals the limit.',
    (t) => {
      const flow = webFlow();
      t.forward(flow.fromClient(syn([mss(1360)])), flow.fromServer(synAck([mss(536)]))).expect(created);
    },
    narrowLan,
  ),
  golden(
    'mss-absent-stays-absent',
    'A SYN without MSS option gets none.',
    (t) => {
      const flow = webFlow();
      t.forward(flow.fromClient(syn([])), flow.fromServer(synAck([sackPermitted(), nop(), nop()]))).expect(created);
    },
    narrowLan,
  ),
  golden(
    'mss-at-odd-offset',
    'An MSS option at an odd byte offset is lowered with the right checksum.',
    (t) => {
      const flow = webFlow();
      const around = (m: number) => [nop(), mss(m), windowScale(7), sackPermitted(), timestamps(1, 2)];
      t.forward(flow.fromClient(syn(around(1460)), { options: around(1360) }));
      t.forward(flow.fromServer(synAck([windowScale(7), mss(9000)]), { options: [windowScale(7), mss(1360)] }));
      t.expect({ ...created, mss_clamped: 2 });
    },
    narrowLan,
  ),
  golden(
    'mss-behind-end-of-options',
    'What looks like an MSS option behind the end of options is padding and stays.',
    (t) => {
      t.forward(webFlow().fromClient(syn([Uint8Array.of(0), mss(1460)]))).expect(created);
    },
    narrowLan,
  ),
  golden(
    'mss-of-wrong-length',
    'An option of kind 2 whose length is not 4 is no MSS (RFC 9293 3.2) and stays.',
    (t) => {
      t.forward(webFlow().fromClient(syn([rawOption(2, 6, [0x05, 0xb4, 0x05, 0xb4])]))).expect(created);
    },
    narrowLan,
  ),
  golden(
    'mss-of-data-kept',
    'Only SYN and SYN-ACK are looked at: the same bytes on a data segment stay.',
    (t) => {
      const flow = webFlow();
      t.forward(flow.fromClient(syn([])), flow.fromServer(synAck([])), flow.fromClient({ options: [mss(1460)] }));
      t.expect(created);
    },
    narrowLan,
  ),
  golden(
    'mss-wrong-checksum-stays-wrong',
    'Lowering the MSS of a damaged SYN keeps the checksum wrong by the same amount.',
    (t) => {
      const flow = webFlow();
      t.forward(flow.fromClient({ ...syn([mss(1460)]), checksumError: 0x0202 }, { options: [mss(1360)] }));
      t.expect({ ...created, mss_clamped: 1 });
    },
    narrowLan,
  ),
  ...(['direct', 'ipip', 'gre', 'gue', 'l3dsr'] as const).map((mode) =>
    golden(
      `mss-${mode}-kept`,
      `${MODE_NAMES[mode]}: the MSS of a SYN stays, however narrow the link to the server: it limits packets that take another way.`,
      (t) => {
        const flow = modeFlow(mode, '44', { protocol: 'tcp' });
        t.forward(flow.fromClient(syn(linuxSynOptions(1460)))).expect(created);
      },
      { config: modeConfig(mode, '44', { interfaces: mtus(1500, 1300) }) },
    ),
  ),
];
