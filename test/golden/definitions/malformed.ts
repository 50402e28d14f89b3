// Golden cases: packets to addresses of ours that no sound host sends. One reason each; nothing leaves, nothing is remembered.

import { packet, rawOption } from '../../support/packet/index.js';
import { golden } from '../support/case.js';
import { dns6Flow, dnsFlow, type Endpoint, frame, type PacketSpec, web6Flow, webFlow } from '../support/flow.js';
import { errors4, errors6, tell } from '../support/icmp.js';
import { CLIENT, CLIENT6, VIP, VIP6, WAN_MAC } from '../support/network.js';

const web = webFlow();
const web6 = web6Flow();
const eth = { source: CLIENT.mac, destination: WAN_MAC };
const v4 = { source: CLIENT.address, destination: VIP };
const v6 = { source: CLIENT6.address, destination: VIP6 };
const syn = { sourcePort: 40000, destinationPort: 80, flags: 'S' };
const ask = { sourcePort: 40000, destinationPort: 53 };

const ipv4 = (fields: Partial<Parameters<ReturnType<typeof packet>['ipv4']>[0]>) =>
  packet()
    .eth(eth)
    .ipv4({ ...v4, ...fields });
const ipv6 = (fields: Partial<Parameters<ReturnType<typeof packet>['ipv6']>[0]> = {}) =>
  packet()
    .eth(eth)
    .ipv6({ ...v6, ...fields });
const from = (address: string, spec: PacketSpec = { flags: 'S' }) =>
  frame('tcp', { ...web.client, address }, web.vip, spec).build();
const from6 = (address: string) => frame('tcp', { ...web6.client, address }, web6.vip, { flags: 'S' }).build();

export const malformedCases = [
  golden('drop-ipv4-header-invalid', 'An IPv4 version that is not 4 and a header shorter than 20 bytes are dropped.', (t) => {
    t.drop(
      'ipv4_header_invalid',
      ipv4({ version: 5 }).tcp(syn).build(),
      ipv4({ ihl: 4 }).tcp(syn).build(),
      ipv4({ ihl: 0 }).tcp(syn).build(),
    );
  }),
  golden(
    'drop-ipv4-length-invalid',
    'A total length shorter than the header or longer than the frame is dropped, a cut frame too.',
    (t) => {
      t.drop('ipv4_length_invalid', ipv4({ totalLength: 19 }).tcp(syn).build(), ipv4({ totalLength: 41 }).tcp(syn).build());
      t.drop(
        'ipv4_length_invalid',
        ipv4({ ihl: 15, totalLength: 40 }).tcp(syn).build(),
        ipv4({}).tcp(syn).payload(100).truncate(60).build(),
      );
    },
  ),
  golden('drop-ipv4-checksum-wrong', 'A wrong IPv4 header checksum is dropped, whatever it is wrong by.', (t) => {
    for (const checksumError of [1, 0x0100, 0x8000, 0xfffe])
      t.drop('ipv4_checksum_wrong', ipv4({ checksumError }).tcp(syn).build());
    t.drop('ipv4_checksum_wrong', ipv4({ checksum: 0 }).tcp(syn).build());
  }),
  golden('drop-ipv4-options-invalid', 'IPv4 options that overrun the header, or have a length below 2, are dropped.', (t) => {
    for (const options of [
      [7, 5, 4, 0],
      [7, 1, 4, 0],
      [1, 1, 1, 7],
      [0x44, 0, 5, 0],
    ]) {
      t.drop('ipv4_options_invalid', ipv4({ options }).tcp(syn).build());
    }
  }),
  golden('drop-ipv6-header-invalid', 'An IPv6 version that is not 6 is dropped.', (t) => {
    t.drop('ipv6_header_invalid', ipv6({ version: 4 }).tcp(syn).build(), ipv6({ version: 7 }).tcp(syn).build());
  }),
  golden('drop-ipv6-length-invalid', 'An IPv6 payload length longer than the frame is dropped.', (t) => {
    t.drop(
      'ipv6_length_invalid',
      ipv6({ payloadLength: 21 }).tcp(syn).build(),
      ipv6().tcp(syn).payload(50).truncate(100).build(),
    );
  }),
  golden(
    'drop-ipv6-extension-invalid',
    'Extension headers that overrun, repeat too often, stand in the wrong place or route by type 0 are dropped.',
    (t) => {
      t.drop('ipv6_extension_invalid', ipv6().extension({ kind: 60, length: 200 }).tcp(syn).build());
      const seven = ipv6();
      for (let i = 0; i < 7; i++) seven.extension({ kind: 60, data: [1, 4] });
      t.drop('ipv6_extension_invalid', seven.tcp(syn).build());
      t.drop(
        'ipv6_extension_invalid',
        ipv6()
          .extension({ kind: 60, data: [1, 4] })
          .extension({ kind: 0, data: [1, 4] })
          .tcp(syn)
          .build(),
      );
      t.drop(
        'ipv6_extension_invalid',
        ipv6()
          .extension({ kind: 43, data: [0, 1, 0, 0, 0, 0] })
          .tcp(syn)
          .build(),
      );
      t.drop('ipv6_extension_invalid', ipv6({ nextHeader: 60 }).build());
    },
  ),
  golden('drop-source-invalid', 'Source addresses that no host may have (RFC 6890) are dropped.', (t) => {
    for (const address of ['0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255']) {
      t.drop('source_invalid', from(address));
    }
    for (const address of ['::', '::1', 'ff02::1', '::ffff:198.51.100.7']) t.drop('source_invalid', from6(address));
  }),
  golden(
    'drop-fragment-invalid',
    'Fragments that are empty, end beyond 65535 bytes, or have no whole units are dropped.',
    (t) => {
      const udp = { protocol: 17, id: 9 };
      t.drop('fragment_invalid', ipv4({ ...udp, moreFragments: true }).build());
      t.drop('fragment_invalid', ipv4({ ...udp, fragmentOffset: 8 }).build());
      t.drop(
        'fragment_invalid',
        ipv4({ ...udp, moreFragments: true, fragmentOffset: 8 })
          .payload(63)
          .build(),
      );
      t.drop(
        'fragment_invalid',
        ipv4({ ...udp, fragmentOffset: 8191 })
          .payload(8)
          .build(),
      );
      const part = (data: number[]) => ipv6().extension({ kind: 44, nextHeader: 17, data });
      t.drop('fragment_invalid', part([0, 1, 0, 0, 0, 9]).payload(12).build());
      t.drop('fragment_invalid', part([0, 0x48, 0, 0, 0, 9]).build());
      t.drop('fragment_invalid', part([0xff, 0xf8, 0, 0, 0, 9]).payload(8).build());
    },
  ),
  golden(
    'drop-fragment-tiny',
    'First fragments that hide a part of the transport header, or would overwrite it, are dropped.',
    (t) => {
      t.drop('fragment_tiny', ipv4({ protocol: 6, moreFragments: true }).payload(8).build());
      t.drop('fragment_tiny', ipv4({ protocol: 6, moreFragments: true }).payload(16).build());
      const options = Array.from({ length: 20 }, () => Uint8Array.of(1));
      const long = ipv4({})
        .tcp({ ...syn, options })
        .build()
        .slice(34, 34 + 24);
      t.drop('fragment_tiny', ipv4({ protocol: 6, moreFragments: true }).payload(long).build());
      t.drop('fragment_tiny', ipv4({ protocol: 6, fragmentOffset: 1 }).payload(16).build());
      const cut = ipv6().extension({ kind: 44, nextHeader: 6, data: [0, 1, 0, 0, 0, 9] });
      t.drop('fragment_tiny', cut.payload(16).build());
      const hidden = ipv6().extension({ kind: 44, nextHeader: 60, data: [0, 1, 0, 0, 0, 9] });
      t.drop('fragment_tiny', hidden.payload(Uint8Array.of(17, 3, 1, 4, 0, 0, 0, 0)).build());
    },
  ),
  golden('drop-fragment-unsupported', 'Fragments of what has no ports, ICMP among it, are dropped.', (t) => {
    for (const protocol of [1, 47]) t.drop('fragment_unsupported', ipv4({ protocol, moreFragments: true }).payload(64).build());
    t.drop('fragment_unsupported', ipv4({ protocol: 47, fragmentOffset: 8 }).payload(64).build());
    t.drop(
      'fragment_unsupported',
      ipv6()
        .extension({ kind: 44, nextHeader: 58, data: [0, 1, 0, 0, 0, 9] })
        .payload(64)
        .build(),
    );
  }),
  golden(
    'drop-ttl-expired',
    'TTL or hop limit of 0 and 1 ends here, in both directions, and the sender is told; 2 arrives as 1.',
    (t) => {
      for (const ttl of [1, 0]) {
        tell(t, 'ttl_expired', web.fromClient({ flags: 'S', ttl }).arriving, errors4.timeExceeded);
        tell(t, 'ttl_expired', web6.fromClient({ flags: 'S', ttl }).arriving, errors6.timeExceeded);
      }
      t.forward(web.fromClient({ flags: 'S', ttl: 2 }), web6.fromClient({ flags: 'S', ttl: 2 }));
      tell(t, 'ttl_expired', web.fromServer({ flags: 'SA', ttl: 1 }).arriving, errors4.timeExceeded);
      tell(t, 'ttl_expired', web6.fromServer({ flags: 'SA', ttl: 1 }).arriving, errors6.timeExceeded);
      t.forward(web.fromServer({ flags: 'SA', ttl: 2 }), web6.fromServer({ flags: 'SA', ttl: 255 }));
      t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2 });
    },
  ),
  golden(
    'drop-protocol-unsupported',
    'Protocols without ports that we translate are dropped: GRE, ICMP of the other family, none at all.',
    (t) => {
      for (const protocol of [47, 58]) t.drop('protocol_unsupported', ipv4({ protocol }).payload(24).build());
      for (const nextHeader of [47, 59, 1]) t.drop('protocol_unsupported', ipv6({ nextHeader }).payload(24).build());
    },
  ),
  golden(
    'drop-tcp-header-invalid',
    'A TCP header that is cut, shorter than 20 bytes or longer than the packet is dropped.',
    (t) => {
      t.drop(
        'tcp_header_invalid',
        ipv4({})
          .tcp({ ...syn, dataOffset: 4 })
          .build(),
        ipv4({})
          .tcp({ ...syn, dataOffset: 6 })
          .build(),
      );
      t.drop('tcp_header_invalid', ipv4({ protocol: 6 }).payload(19).build(), ipv6({ nextHeader: 6 }).build());
      t.drop(
        'tcp_header_invalid',
        ipv6()
          .tcp({ ...syn, dataOffset: 15 })
          .payload(39)
          .build(),
      );
    },
  ),
  golden(
    'drop-tcp-flags-invalid',
    'Flag combinations of scanners are dropped: none, SYN with FIN, SYN with RST, FIN alone, all.',
    (t) => {
      for (const flags of ['', 'P', 'U', 'SF', 'SR', 'F', 'FPU', 'FSRPAUEC'])
        t.drop('tcp_flags_invalid', web.fromClient({ flags }).arriving);
      t.drop('tcp_flags_invalid', web6.fromClient({ flags: 'SFA' }).arriving);
    },
  ),
  golden('drop-tcp-options-invalid', 'Options of a SYN that overrun the header are dropped.', (t) => {
    t.drop('tcp_options_invalid', web.fromClient({ flags: 'S', options: [rawOption(2, 40, [5, 0xb4])] }).arriving);
    t.drop('tcp_options_invalid', web.fromClient({ flags: 'S', options: [rawOption(2, 0, [5, 0xb4])] }).arriving);
    t.drop('tcp_options_invalid', web6.fromClient({ flags: 'S', options: [Uint8Array.of(1, 1, 1, 8)] }).arriving);
  }),
  golden('drop-udp-length-invalid', 'A UDP length below 8 or beyond the packet, and a cut header, are dropped.', (t) => {
    t.drop(
      'udp_length_invalid',
      ipv4({})
        .udp({ ...ask, length: 7 })
        .payload('x')
        .build(),
      ipv4({})
        .udp({ ...ask, length: 10 })
        .payload('x')
        .build(),
    );
    t.drop(
      'udp_length_invalid',
      ipv4({ protocol: 17 }).payload(7).build(),
      ipv6()
        .udp({ ...ask, length: 0 })
        .payload('x')
        .build(),
    );
  }),
  golden('drop-port-zero', 'Port 0 as source or destination is dropped.', (t) => {
    const zero = (flow: { client: Endpoint; vip: Endpoint }, protocol: 'tcp' | 'udp') => [
      frame(protocol, { ...flow.client, port: 0 }, flow.vip, { flags: 'S' }).build(),
      frame(protocol, flow.client, { ...flow.vip, port: 0 }, { flags: 'S' }).build(),
    ];
    t.drop('port_zero', ...zero(web, 'tcp'), ...zero(web6, 'tcp'), ...zero(dnsFlow(), 'udp'), ...zero(dns6Flow(), 'udp'));
  }),
  golden('drop-land', 'A packet from the VIP and port to the same VIP and port is dropped.', (t) => {
    t.drop('land', frame('tcp', { ...web.vip, mac: CLIENT.mac }, web.vip, { flags: 'S' }).build());
    t.drop('land', frame('tcp', { ...web6.vip, mac: CLIENT.mac }, web6.vip, { flags: 'S' }).build());
    const dns = dnsFlow();
    t.drop('land', frame('udp', { ...dns.vip, mac: CLIENT.mac }, dns.vip).build());
  }),
  golden('drop-first-reason-wins', 'A packet with several faults is counted once, under the first reason of the list.', (t) => {
    t.drop(
      'ipv4_checksum_wrong',
      ipv4({ checksumError: 1, ttl: 1, moreFragments: true })
        .tcp({ ...syn, flags: '' })
        .build(),
    );
    t.drop('source_invalid', ipv4({ source: '127.0.0.1', ttl: 1, moreFragments: true }).tcp(syn).build());
    t.drop('fragment_invalid', ipv4({ ttl: 1, moreFragments: true }).tcp(syn).build());
    tell(t, 'ttl_expired', ipv4({ ttl: 1, protocol: 47 }).payload(8).build(), errors4.timeExceeded);
    t.drop(
      'tcp_flags_invalid',
      ipv4({})
        .tcp({ ...syn, sourcePort: 0, flags: '' })
        .build(),
    );
    t.drop('ipv6_length_invalid', ipv6({ source: '::', payloadLength: 900, hopLimit: 1 }).tcp(syn).build());
    t.drop('source_invalid', ipv6({ source: 'ff02::1', hopLimit: 1 }).extension({ kind: 44 }).tcp(syn).build());
  }),
  golden('drop-does-not-touch-session', 'A malformed packet of a live session is dropped and the session goes on.', (t) => {
    t.forward(web.fromClient({ flags: 'S' }), web.fromServer({ flags: 'SA', ack: 1001 }), web.fromClient());
    t.drop('tcp_flags_invalid', web.fromClient({ flags: 'FS' }).arriving, web.fromServer({ flags: '' }).arriving);
    t.forward(web.fromClient({ payload: 'still' }), web.fromServer({ payload: 'here' }));
    t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
  }),
];
