// Golden cases: what servers are told of their clients, byte for byte. Numbers of connections come from an oracle of their own; headers
// stand here as the specification and the field's own programs write them.

import { initialSequence } from '../../oracle/sequence-number.js';
import { mss, rawOption } from '../../support/packet/index.js';
import { golden, type Timeline } from '../support/case.js';
import { dns6Flow, dnsFlow, type Flow, web6Flow, webFlow } from '../support/flow.js';
import { fragmentFromClient } from '../support/fragments.js';
import { CLIENT, configWith, DNS, DNS6, type ServiceConfig, WEB, WEB6 } from '../support/network.js';

const SEED = 1n;

/** The shared configuration, all of whose services have these keys. */
function all(keys: Partial<ServiceConfig>, services: readonly ServiceConfig[] = [WEB, DNS, WEB6, DNS6]) {
  return { config: configWith({ services: services.map((service) => ({ ...service, ...keys })) }) };
}
const tcp = [WEB, WEB6];
const udp = [DNS, DNS6];

const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/** 198.51.100.7:40000 to 203.0.113.10:80 */
const header4 = (transport: number, port: number) =>
  Uint8Array.of(...signature, 0x21, 0x10 | transport, 0, 12, 198, 51, 100, 7, 203, 0, 113, 10, 0x9c, 0x40, port >> 8, port & 255);
/** [2001:db8:1::7]:40000 to [2001:db8:f::10]:80 */
const header6 = (transport: number, port: number) =>
  Uint8Array.of(
    ...[...signature, 0x21, 0x20 | transport, 0, 36],
    ...[0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
    ...[0x20, 1, 0x0d, 0xb8, 0, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10],
    ...[0x9c, 0x40, port >> 8, port & 255],
  );
const text = (words: string) => new TextEncoder().encode(words);
const together = (...parts: readonly Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
const toa4 = rawOption(254, 8, [0x9c, 0x40, 198, 51, 100, 7]);
const toa6 = (kind: number) => rawOption(kind, 20, [0x9c, 0x40, 0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);

/**
 * SYN and SYN-ACK; the first byte of the stream in the server's numbering. `taken`: bytes of the server's window that a header will need.
 */
function opened(t: Timeline, flow: Flow, taken = 0): number {
  const number = initialSequence(SEED, { local: flow.local, server: flow.server }, t.now);
  t.forward(flow.fromClient({ flags: 'S', seq: 1000, options: [mss(1400)] }, { seq: number }));
  const first = (number + 1) >>> 0;
  t.forward(flow.fromServer({ flags: 'SA', seq: 5000, ack: first, options: [mss(1400)] }, { ack: 1001, window: 64240 - taken }));
  return first;
}

const at = (first: number, offset: number) => (first + offset) >>> 0;
const open = { sessions_created: 1, sessions: 1, sessions_active: 1 };

/** A request with TOA, its answer, and the client's word that it has heard it. */
function toaConversation(t: Timeline, flow: Flow, option: Uint8Array): void {
  const first = opened(t, flow);
  t.forward(flow.fromClient({ seq: 1001, ack: 5001 }, { seq: first, options: [option] }));
  t.forward(flow.fromClient({ flags: 'PA', seq: 1001, ack: 5001, payload: 'hello' }, { seq: first, options: [option] }));
  t.forward(flow.fromServer({ flags: 'PA', seq: 5001, ack: at(first, 5), payload: 'world' }, { ack: 1006 }));
  t.forward(flow.fromClient({ seq: 1006, ack: 5006 }, { seq: at(first, 5) }));
  t.expect({ ...open, client_addresses_sent: 2 });
}

function headerConversation(t: Timeline, flow: Flow, header: Uint8Array): void {
  const first = opened(t, flow, header.length);
  t.forward(flow.fromClient({ seq: 1001, ack: 5001 }, { seq: first }));
  const request = { flags: 'PA', seq: 1001, ack: 5001, payload: 'hello' };
  const carried = { seq: first, payload: together(header, text('hello')) };
  t.forward(flow.fromClient(request, carried));
  // Lost, and sent again by a client that knows nothing of a header.
  t.forward(flow.fromClient(request, carried));
  const taken = header.length + 5;
  t.forward(flow.fromServer({ flags: 'PA', seq: 5001, ack: at(first, taken), payload: 'world' }, { ack: 1006 }));
  t.forward(flow.fromClient({ seq: 1006, ack: 5006 }, { seq: at(first, taken) }));
  t.forward(flow.fromClient({ flags: 'FA', seq: 1006, ack: 5006 }, { seq: at(first, taken) }));
  t.expect({ sessions_created: 1, sessions: 1, client_addresses_sent: 2 });
}

export const clientAddressCases = [
  golden(
    'toa-v4',
    'TOA on the last packet of the handshake and until the client has heard the server.',
    (t) => toaConversation(t, webFlow(), toa4),
    all({ clientAddress: { method: 'toa' } }, tcp),
  ),
  golden(
    'toa-v6',
    'TOA of an IPv6 client, as DPVS writes it.',
    (t) => toaConversation(t, web6Flow(), toa6(254)),
    all({ clientAddress: { method: 'toa' } }, tcp),
  ),
  golden(
    'toa-v6-alibaba',
    'TOA of an IPv6 client, as Alibaba LVS writes it.',
    (t) => toaConversation(t, web6Flow(), toa6(253)),
    all({ clientAddress: { method: 'toa', kinds: { ipv6: 253 } } }, tcp),
  ),
  golden(
    'toa-forged',
    'A client that says itself who it is: its option becomes no-operations and gives its place to the right one.',
    (t) => {
      const flow = webFlow();
      const first = opened(t, flow);
      const forged = rawOption(254, 8, [1, 2, 10, 9, 8, 7]);
      t.forward(
        flow.fromClient(
          { seq: 1001, ack: 5001, options: [forged] },
          { seq: first, options: [toa4, ...Array(8).fill(Uint8Array.of(1))] },
        ),
      );
      t.expect({ ...open, client_addresses_sent: 1, forged_addresses_removed: 1 });
    },
    all({ clientAddress: { method: 'toa' } }, tcp),
  ),
  golden('toa-forged-where-none-is-told', 'A client’s own TOA goes where servers are told nothing, too.', (t) => {
    const flow = webFlow();
    const forged = rawOption(254, 8, [1, 2, 10, 9, 8, 7]);
    t.forward(flow.fromClient({ flags: 'S', seq: 1000, options: [forged] }, { options: Array(8).fill(Uint8Array.of(1)) }));
    t.expect({ ...open, forged_addresses_removed: 1 });
  }),
  golden(
    'proxy-v1-tcp',
    'A PROXY header, version 1, in front of the first byte, and again with its retransmission.',
    (t) => headerConversation(t, webFlow(), text('PROXY TCP4 198.51.100.7 203.0.113.10 40000 80\r\n')),
    all({ clientAddress: { method: 'proxy-v1' } }, tcp),
  ),
  golden(
    'proxy-v1-tcp6',
    'The same over IPv6.',
    (t) => headerConversation(t, web6Flow(), text('PROXY TCP6 2001:db8:1::7 2001:db8:f::10 40000 80\r\n')),
    all({ clientAddress: { method: 'proxy-v1' } }, tcp),
  ),
  golden(
    'proxy-v2-tcp',
    'A PROXY header, version 2.',
    (t) => headerConversation(t, webFlow(), header4(1, 80)),
    all({ clientAddress: { method: 'proxy-v2' } }, tcp),
  ),
  golden(
    'proxy-v2-tcp6',
    'The same over IPv6.',
    (t) => headerConversation(t, web6Flow(), header6(1, 80)),
    all({ clientAddress: { method: 'proxy-v2' } }, tcp),
  ),
  golden(
    'proxy-v2-server-first',
    'A server that speaks first gets the header with the last packet of the handshake.',
    (t) => {
      const flow = webFlow();
      const header = header4(1, 80);
      const first = opened(t, flow, header.length);
      t.forward(flow.fromClient({ seq: 1001, ack: 5001 }, { flags: 'PA', seq: first, payload: header }));
      t.forward(
        flow.fromServer({ flags: 'PA', seq: 5001, ack: at(first, header.length), payload: '220 hello\r\n' }, { ack: 1001 }),
      );
      t.forward(flow.fromClient({ seq: 1001, ack: 5012 }, { seq: at(first, header.length) }));
      t.expect({ ...open, client_addresses_sent: 1 });
    },
    all({ clientAddress: { method: 'proxy-v2', serverFirst: true } }, tcp),
  ),
  golden(
    'proxy-v2-udp',
    'A PROXY header in front of each datagram.',
    (t) => {
      for (const payload of ['question', 'another']) {
        t.forward(dnsFlow().fromClient({ payload }, { payload: together(header4(2, 53), text(payload)) }));
      }
      t.forward(dns6Flow().fromClient({ payload: 'question' }, { payload: together(header6(2, 53), text('question')) }));
      t.forward(dnsFlow().fromServer({ payload: 'answer' }));
      t.expect({ sessions_created: 2, sessions: 2, client_addresses_sent: 3 });
    },
    all({ clientAddress: { method: 'proxy-v2' } }, udp),
  ),
  golden(
    'proxy-v2-udp-tlvs',
    'TLVs of the configuration stand behind the addresses.',
    (t) => {
      const tlvs = Uint8Array.of(0xe0, 0, 6, ...text('edge-7'), 0xe1, 0, 2, 0x0a, 0x0b);
      const header = together(header4(2, 53), tlvs);
      header[15] = 12 + tlvs.length;
      t.forward(dnsFlow().fromClient({ payload: 'question' }, { payload: together(header, text('question')) }));
      t.expect({ sessions_created: 1, sessions: 1, client_addresses_sent: 1 });
    },
    all(
      {
        clientAddress: {
          method: 'proxy-v2',
          tlvs: {
            custom: [
              { type: 0xe0, text: 'edge-7' },
              { type: 0xe1, hex: '0a0b' },
            ],
          },
        },
      },
      udp,
    ),
  ),
  golden(
    'proxy-v2-udp-first-one',
    'Only the first datagram of a flow has a header where that is asked for.',
    (t) => {
      t.forward(dnsFlow().fromClient({ payload: 'question' }, { payload: together(header4(2, 53), text('question')) }));
      t.forward(dnsFlow().fromClient({ payload: 'another' }));
      t.expect({ sessions_created: 1, sessions: 1, client_addresses_sent: 1 });
    },
    all({ clientAddress: { method: 'proxy-v2', datagrams: 1 } }, udp),
  ),
  golden(
    'proxy-v2-udp-too-big',
    'A datagram that does not fit with its header is dropped where that is asked for.',
    (t) => {
      t.drop('client_address_too_big', dnsFlow().fromClient({ payload: 1450, dontFragment: false }).arriving);
      t.expect({ sessions_created: 1, sessions: 1 });
    },
    all({ clientAddress: { method: 'proxy-v2', whenTooBig: 'drop' } }, udp),
  ),
  golden(
    'proxy-v2-udp-fragment',
    'A header in a first fragment would push those behind it out of their places.',
    (t) => {
      const whole = { payload: 2000, dontFragment: false };
      t.drop(
        'client_address_fragment',
        fragmentFromClient(dnsFlow(), whole, { from: 0, to: 1400 }, { id: 7, more: true }).arriving,
      );
      t.expect({ sessions_created: 1, sessions: 1, datagrams_tracked: 1 });
    },
    all({ clientAddress: { method: 'proxy-v2' } }, udp),
  ),
  golden(
    'uoa-option',
    'UOA as the first option of the IPv4 header, three times and until the server has answered.',
    (t) => {
      const flow = dnsFlow();
      const uoa = { ipOptions: [31, 8, 0x9c, 0x40, 198, 51, 100, 7] };
      for (const payload of ['one', 'two', 'three', 'four']) t.forward(flow.fromClient({ payload }, uoa));
      t.forward(flow.fromServer({ payload: 'answer' }));
      t.forward(flow.fromClient({ payload: 'five' }));
      t.expect({ sessions_created: 1, sessions: 1, client_addresses_sent: 4 });
    },
    all({ clientAddress: { method: 'uoa', carrier: 'option' } }, [DNS]),
  ),
  golden('uoa-forged', 'A client’s own UOA becomes no-operations.', (t) => {
    t.forward(
      dnsFlow().fromClient({ payload: 'question', ipOptions: [31, 8, 1, 2, 10, 9, 8, 7] }, { ipOptions: Array(8).fill(1) }),
    );
    t.expect({ sessions_created: 1, sessions: 1, forged_addresses_removed: 1 });
  }),
  golden(
    'accept-proxy-udp',
    'A header of a balancer in front is taken off; a datagram without one is dropped.',
    (t) => {
      const flow = dnsFlow();
      t.forward(flow.fromClient({ payload: together(header6(2, 53), text('question')) }, { payload: 'question' }));
      t.drop('proxy_header_malformed', flow.fromClient({ payload: 'question' }).arriving);
      t.expect({ sessions_created: 1, sessions: 1, proxy_headers_accepted: 1 });
    },
    all({ acceptProxy: { from: [CLIENT.address] } }, [DNS]),
  ),
  golden(
    'accept-proxy-tcp',
    'The server hears of the connection’s end of handshake only with what follows the header, and of the client that it names.',
    (t) => {
      const flow = webFlow();
      const header = text('PROXY TCP4 192.0.2.77 192.0.2.99 4711 443\r\n');
      const first = opened(t, flow);
      t.keep(flow.fromClient({ seq: 1001, ack: 5001 }).arriving);
      t.drop(
        'proxy_header_out_of_order',
        flow.fromClient({ flags: 'PA', seq: 1001 + header.length, ack: 5001, payload: 'hello' }).arriving,
      );
      const toa = rawOption(254, 8, [0x12, 0x67, 192, 0, 2, 77]);
      t.forward(
        flow.fromClient(
          { flags: 'PA', seq: 1001, ack: 5001, payload: together(header, text('hello')) },
          { seq: first, payload: 'hello', options: [toa] },
        ),
      );
      t.forward(flow.fromServer({ seq: 5001, ack: at(first, 5) }, { ack: 1001 + header.length + 5 }));
      t.expect({ ...open, consumed: 1, proxy_headers_accepted: 1, client_addresses_sent: 1 });
    },
    all({ clientAddress: { method: 'toa' }, acceptProxy: { from: [CLIENT.address] } }, [WEB]),
  ),
];
