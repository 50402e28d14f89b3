// Golden cases: which packets are the balancer's at all, and what becomes of those that belong to no service or session.

import { packet } from '../../support/packet/index.js';
import { golden } from '../support/case.js';
import { dns6Flow, dnsFlow, frame, handshake, web6Flow, webFlow } from '../support/flow.js';
import { errors4 } from '../support/icmp.js';
import { errorToClient } from '../support/icmp-flow.js';
import { CLIENT, CLIENT6, configWith, LAN_MAC, LOCAL, LOCAL6, SERVER1, SERVER3, VIP, VIP6, WAN_MAC } from '../support/network.js';

const web = webFlow();
const toUs = { source: CLIENT.mac, destination: WAN_MAC };

export const ownershipCases = [
  golden('kernel-arp', "ARP is the kernel's, even when it asks for a VIP.", (t) => {
    const question = {
      operation: 1,
      senderMac: CLIENT.mac,
      senderIp: CLIENT.address,
      targetMac: '00:00:00:00:00:00',
      targetIp: VIP,
    };
    t.kernel(packet().eth({ source: CLIENT.mac, destination: 'ff:ff:ff:ff:ff:ff' }).arp(question).padTo(60).build());
  }),
  golden('kernel-neighbour-discovery', "Neighbour discovery is the kernel's, by multicast and straight to a VIP.", (t) => {
    const solicit = (destination: string) =>
      packet().eth(toUs).ipv6({ source: CLIENT6.address, destination, hopLimit: 255 }).icmpv6({ type: 135 }).payload(16).build();
    t.kernel(solicit('ff02::1:ff00:10'), solicit(VIP6), solicit(LOCAL6));
  }),
  golden('kernel-other-addresses', "Packets to addresses that are no VIP and no local address are the kernel's.", (t) => {
    for (const address of ['198.51.100.1', '192.0.2.1', '203.0.113.11', '255.255.255.255']) {
      t.kernel(frame('tcp', web.client, { ...web.vip, address }, { flags: 'S' }).build());
    }
    const web6 = web6Flow();
    t.kernel(frame('tcp', web6.client, { ...web6.vip, address: '2001:db8:1::1' }, { flags: 'S' }).build());
    t.kernel(frame('tcp', web6.client, { ...web6.vip, address: '::ffff:203.0.113.10' }, { flags: 'S' }).build());
  }),
  golden('kernel-other-protocols', "Frames that are neither IPv4 nor IPv6 are the kernel's.", (t) => {
    for (const type of [0x88cc, 0x8847, 0x0005])
      t.kernel(
        packet()
          .eth({ ...toUs, type })
          .payload(46)
          .build(),
      );
    t.kernel(
      packet()
        .eth(toUs)
        .vlan({ id: 5 })
        .arp({ operation: 1, senderMac: CLIENT.mac, senderIp: CLIENT.address, targetMac: CLIENT.mac, targetIp: VIP })
        .build(),
    );
  }),
  golden('kernel-truncated-frames', "Frames too short to tell their destination are the kernel's.", (t) => {
    const whole = web.fromClient({ flags: 'S' }).arriving;
    t.kernel(whole.slice(0, 14), whole.slice(0, 33), web6Flow().fromClient({ flags: 'S' }).arriving.slice(0, 53));
  }),
  golden('no-service', 'A VIP without a service on this port and protocol drops the packet.', (t) => {
    t.drop('no_service', frame('tcp', web.client, { ...web.vip, port: 81 }, { flags: 'S' }).build());
    t.drop('no_service', frame('udp', web.client, web.vip).build());
    t.drop('no_service', frame('tcp', web.client, { ...web.vip, port: 53 }, { flags: 'S' }).build());
    const dns6 = dns6Flow();
    t.drop('no_service', frame('udp', dns6.client, { ...dns6.vip, port: 54 }).build());
  }),
  golden('tcp-no-session', 'What cannot open a connection and belongs to none is dropped: ACK, RST, FIN, data, SYN-ACK.', (t) => {
    for (const flags of ['A', 'R', 'RA', 'FA', 'PA']) t.drop('tcp_no_session', web.fromClient({ flags }).arriving);
    t.drop('tcp_no_session', web6Flow().fromClient({ flags: 'A' }).arriving);
  }),
  golden(
    'local-no-session',
    'Packets to a local address that belong to no session are dropped, TCP and UDP, both families.',
    (t) => {
      t.drop('local_no_session', web.fromServer({ flags: 'SA' }).arriving, web.fromServer({ flags: 'S' }).arriving);
      t.drop('local_no_session', dnsFlow().fromServer({ payload: 'late' }).arriving);
      t.drop('local_no_session', web6Flow().fromServer({ flags: 'RA' }).arriving, dns6Flow().fromServer().arriving);
    },
  ),
  golden('reply-from-wrong-port', "A reply from another port of the server is not the session's.", (t) => {
    t.forward(web.fromClient({ flags: 'S' }));
    t.drop('local_no_session', webFlow({ serverPort: 8081 }).fromServer({ flags: 'SA' }).arriving);
    const dns = dnsFlow();
    t.forward(dns.fromClient({ payload: 'question' }));
    t.drop('local_no_session', dnsFlow({ serverPort: 53 }).fromServer({ payload: 'answer' }).arriving);
    t.forward(dns.fromServer({ payload: 'right answer' }), web.fromServer({ flags: 'SA' }));
    t.expect({ sessions_created: 2, sessions: 2, sessions_active: 1 });
  }),
  golden('reply-from-wrong-server', "A reply from another server is not the session's.", (t) => {
    t.forward(...handshake(web)).drop(
      'local_no_session',
      webFlow({ server: SERVER3 }).fromServer({ payload: 'forged' }).arriving,
    );
    t.forward(web.fromServer({ payload: 'real' })).expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
  }),
  golden('reply-to-wrong-local-port', "A reply to another local port, or by another protocol, is not the session's.", (t) => {
    t.forward(...handshake(web));
    t.drop('local_no_session', webFlow({ local: { address: LOCAL, port: 61001 } }).fromServer().arriving);
    t.drop('local_no_session', frame('udp', web.server, web.local).build());
    t.expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
  }),
  golden('client-of-session-by-whole-tuple', "Another client address or client port is not the session's.", (t) => {
    t.forward(...handshake(web));
    t.drop('tcp_no_session', webFlow({ clientPort: 40001 }).fromClient().arriving);
    t.drop('tcp_no_session', webFlow({ client: { ...CLIENT, address: '198.51.100.8' } }).fromClient().arriving);
    t.drop('tcp_no_session', webFlow({ vipPort: 8080 }).fromClient().arriving);
    t.forward(web.fromClient({ payload: 'mine' })).expect({ sessions_created: 1, sessions: 1, sessions_active: 1 });
  }),
  golden('echo-v4', 'Echo requests to a VIP and to a local address are answered, with their data and with TTL 64.', (t) => {
    const ping = (source: string, mac: string, vip: string, viaMac: string, type: number, ttl: number) => {
      const reply = type === 0;
      return packet()
        .eth(reply ? { source: viaMac, destination: mac } : { source: mac, destination: viaMac })
        .ipv4({ source: reply ? vip : source, destination: reply ? source : vip, ttl, id: 0x4242, dontFragment: true, tos: 0x10 })
        .icmp({ type, rest: [0x12, 0x34, 0, 7] })
        .payload('abcdefghijklmnopqrstuvwabcdefghi')
        .build();
    };
    t.answer(ping(CLIENT.address, CLIENT.mac, VIP, WAN_MAC, 8, 57), ping(CLIENT.address, CLIENT.mac, VIP, WAN_MAC, 0, 64));
    t.answer(
      ping(SERVER1.address, SERVER1.mac, LOCAL, LAN_MAC, 8, 64),
      ping(SERVER1.address, SERVER1.mac, LOCAL, LAN_MAC, 0, 64),
    );
  }),
  golden('echo-v6', 'ICMPv6 echo requests to a VIP and to a local address are answered.', (t) => {
    const ping = (vip: string, type: number, payload: string) => {
      const reply = type === 129;
      return packet()
        .eth(reply ? { source: WAN_MAC, destination: CLIENT6.mac } : { source: CLIENT6.mac, destination: WAN_MAC })
        .ipv6({ source: reply ? vip : CLIENT6.address, destination: reply ? CLIENT6.address : vip, hopLimit: 64 })
        .icmpv6({ type, rest: [0xab, 0xcd, 0, 1] })
        .payload(payload)
        .build();
    };
    t.answer(ping(VIP6, 128, 'sixteen bytes...'), ping(VIP6, 129, 'sixteen bytes...'));
    t.answer(ping(LOCAL6, 128, 'odd'), ping(LOCAL6, 129, 'odd'));
  }),
  golden(
    'echo-refused',
    'With echoReplies off, echo requests to VIPs and local addresses are dropped; ICMP errors still find their sessions.',
    (t) => {
      const request4 = (address: string) =>
        packet()
          .eth(toUs)
          .ipv4({ source: CLIENT.address, destination: address })
          .icmp({ type: 8, rest: [0, 1, 0, 1] })
          .build();
      const request6 = (address: string) =>
        packet()
          .eth(toUs)
          .ipv6({ source: CLIENT6.address, destination: address })
          .icmpv6({ type: 128, rest: [0, 1, 0, 1] })
          .build();
      t.drop('echo_refused', request4(VIP), request4(LOCAL), request6(VIP6), request6(LOCAL6));
      const flow = dnsFlow();
      t.forward(flow.fromClient({ payload: 'question' }));
      t.forward(
        errorToClient(flow, flow.server, errors4.noPort, { spec: { payload: 'question' }, becomes: errors4.noPort, now: t.now }),
      );
      t.expect({ sessions_created: 1, sessions: 1, icmp_translated: 1 });
    },
    { config: configWith({ echoReplies: false }) },
  ),
  golden('echo-padding-trimmed', 'The answer to a padded echo request leaves without the padding.', (t) => {
    const ping = (type: number) =>
      packet()
        .eth(type === 0 ? { source: WAN_MAC, destination: CLIENT.mac } : toUs)
        .ipv4(type === 0 ? { source: VIP, destination: CLIENT.address } : { source: CLIENT.address, destination: VIP })
        .icmp({ type, rest: [0, 1, 0, 1] });
    t.answer(ping(8).padTo(60, 0xee).build(), ping(0).build());
  }),
  golden(
    'icmp-unsupported',
    'Other ICMP to our addresses is dropped: redirects, timestamp requests, stray replies, echo with a wrong checksum.',
    (t) => {
      const v4 = { source: CLIENT.address, destination: VIP };
      for (const [type, code] of [
        [0, 0],
        [4, 0],
        [5, 1],
        [13, 0],
        [8, 1],
      ] as const) {
        t.drop('icmp_unsupported', packet().eth(toUs).ipv4(v4).icmp({ type, code }).payload(28).build());
      }
      t.drop('icmp_unsupported', packet().eth(toUs).ipv4(v4).icmp({ type: 8, checksumError: 1 }).payload('ping').build());
      const v6 = { source: CLIENT6.address, destination: VIP6 };
      for (const type of [5, 100, 129])
        t.drop('icmp_unsupported', packet().eth(toUs).ipv6(v6).icmpv6({ type }).payload(48).build());
      t.drop('icmp_unsupported', packet().eth(toUs).ipv6(v6).icmpv6({ type: 128, checksumError: 0x100 }).payload('ping').build());
      t.drop(
        'icmp_unsupported',
        packet()
          .eth(toUs)
          .ipv4({ ...v4, protocol: 1 })
          .payload(7)
          .build(),
      );
    },
  ),
];
