// Golden cases: UDP sessions, and the three rules of its checksum (RFC 768, RFC 8200 8.1).

import { internetChecksum, pseudoHeaderSum } from '../../oracle/checksum.js';
import { ipBytes } from '../../support/packet/index.js';
import { golden } from '../support/case.js';
import { dns6Flow, dnsFlow } from '../support/flow.js';
import { LOCAL, LOCAL_PORT, OTHER_CLIENT, REMOTE_CLIENT, SERVER2 } from '../support/network.js';

const created = { sessions_created: 1, sessions: 1 };

/**
 * A two-byte payload with which the checksum of the datagram local -> server computes to zero, so that ffff must be sent instead.
 * The one's complement sum with a zero payload is completed to ffff.
 */
function payloadForZeroChecksum(): Uint8Array {
  const header = Uint8Array.of(LOCAL_PORT >> 8, LOCAL_PORT & 0xff, 5353 >> 8, 5353 & 0xff, 0, 10, 0, 0);
  const missing = internetChecksum(header, pseudoHeaderSum(ipBytes(LOCAL), ipBytes(SERVER2.address), 17, 10));
  return Uint8Array.of(missing >> 8, missing & 0xff);
}

export const udpCases = [
  golden('udp-v4-conversation', 'A datagram makes a session, its answer comes back from the VIP.', (t) => {
    const flow = dnsFlow();
    t.forward(
      flow.fromClient({ payload: 'question' }),
      flow.fromServer({ payload: 'answer' }),
      flow.fromClient({ payload: 'another' }),
    );
    t.expect(created).server('dns', '192.0.2.12:5353', { connections: 1, inPackets: 2, outPackets: 1, active: 0, inactive: 1 });
  }),
  golden('udp-v6-conversation', 'The same over IPv6.', (t) => {
    const flow = dns6Flow();
    t.forward(
      flow.fromClient({ payload: 'question' }),
      flow.fromServer({ payload: 'answer' }),
      flow.fromClient({ payload: 'another' }),
    );
    t.expect(created);
  }),
  golden('udp-one-way', 'Datagrams that nobody answers leave the session in the one-way state.', (t) => {
    const flow = dnsFlow();
    t.forward(flow.fromClient({ payload: 'one' }), flow.fromClient({ payload: 'two' })).expect(created);
    t.server('dns', '192.0.2.12:5353', { connections: 1, inPackets: 2, outPackets: 0, active: 0, inactive: 1 });
  }),
  golden('udp-client-behind-gateway', 'Answers to a client behind a gateway leave for the gateway.', (t) => {
    const flow = dnsFlow({ client: REMOTE_CLIENT });
    t.forward(flow.fromClient({ payload: 'question' }), flow.fromServer({ payload: 'answer' })).expect(created);
  }),
  golden('udp-empty-and-odd', 'Empty datagrams and payloads of odd length keep right checksums.', (t) => {
    const flow = dnsFlow();
    t.forward(flow.fromClient(), flow.fromServer());
    for (const n of [1, 3, 511]) t.forward(flow.fromClient({ payload: n }), flow.fromServer({ payload: n }));
    t.expect(created);
  }),
  golden('udp-v4-checksum-zero-kept', 'A datagram without checksum over IPv4 stays without checksum in both directions.', (t) => {
    const flow = dnsFlow();
    t.forward(flow.fromClient({ payload: 'none', checksum: 0 }), flow.fromServer({ payload: 'none', checksum: 0 })).expect(
      created,
    );
  }),
  golden('udp-v6-checksum-missing', 'A datagram without checksum over IPv6 is dropped.', (t) => {
    const flow = dns6Flow();
    t.drop('udp_checksum_missing', flow.fromClient({ payload: 'none', checksum: 0 }).arriving);
  }),
  golden(
    'udp-checksum-zero-sent-as-ones',
    'A checksum that becomes zero by translation is sent as ffff, since zero means none.',
    (t) => {
      const flow = dnsFlow();
      t.forward(flow.fromClient({ payload: payloadForZeroChecksum() }, { checksum: 0xffff })).expect(created);
    },
  ),
  golden('udp-wrong-checksum-stays-wrong', 'A wrong UDP checksum is not repaired.', (t) => {
    const flow = dnsFlow();
    t.forward(
      flow.fromClient({ payload: 'damaged', checksumError: 5 }),
      flow.fromServer({ payload: 'too', checksumError: 0x1000 }),
    );
    t.expect(created);
  }),
  golden('udp-length-shorter-than-packet', 'A datagram that ends before its packet does is passed on as it is.', (t) => {
    const flow = dnsFlow();
    const clipped = (step: ReturnType<typeof flow.fromClient>) => {
      for (const bytes of [step.arriving, step.leaving]) bytes.set([0, 12], 14 + 20 + 4);
      return step;
    };
    t.forward(clipped(flow.fromClient({ payload: 'eight by', checksum: 0 }))).expect(created);
  }),
  golden('udp-padding-trimmed', 'Ethernet padding of a short datagram does not go out.', (t) => {
    const flow = dnsFlow();
    const padding = { padTo: 60, padding: 0xee };
    t.forward(flow.fromClient({ payload: 'hi', ...padding }), flow.fromServer({ payload: 'yo', ...padding })).expect(created);
  }),
  golden(
    'udp-two-clients-one-server',
    'With one local port and one server, the second client finds no free pair; the first goes on.',
    (t) => {
      const first = dnsFlow();
      t.forward(first.fromClient({ payload: 'a' }));
      t.drop('local_ports_exhausted', dnsFlow({ client: OTHER_CLIENT }).fromClient({ payload: 'b' }).arriving);
      t.forward(first.fromClient({ payload: 'c' })).expect(created);
    },
  ),
  golden('udp-full-frame', 'A datagram that fills the MTU passes.', (t) => {
    const flow = dnsFlow();
    t.forward(flow.fromClient({ payload: 1472 }), flow.fromServer({ payload: 1472 })).expect(created);
  }),
];
