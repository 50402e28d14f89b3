// Golden cases: fragments. Each is sent on as it came, translated, to where the first one of its datagram goes; what comes before the
// first one waits for it, for two seconds at most.

import { golden, type Timeline } from '../support/case.js';
import type { Flow, PacketSpec, Step } from '../support/flow.js';
import { dns6Flow, dnsFlow, frame, web6Flow, webFlow } from '../support/flow.js';
import { fragmentFromClient, fragmentFromServer, fragmentOf, lengthOf, ranges } from '../support/fragments.js';
import { errors4, errors6, tell } from '../support/icmp.js';
import { ALL_MODES, isOneWay, MODE_NAMES, modeConfig, modeFlow, mtus, SUFFIX } from '../support/modes.js';
import { configWith, DNS, LOCAL, LOCAL_B, LOCAL6, LOCAL6_B } from '../support/network.js';

const created = { sessions_created: 1, sessions: 1 };

/** A datagram of `payload` bytes in fragments of `size`, from the client or the server. */
function cut(
  flow: Flow,
  payload: number,
  size: number,
  id = 0x4711,
  spec: PacketSpec = {},
  from: 'client' | 'server' = 'client',
): Step[] {
  const make = from === 'client' ? fragmentFromClient : fragmentFromServer;
  return ranges(lengthOf(flow, payload), size).map((range) => make(flow, { payload, ...spec }, range, { id }));
}

function three(flow: Flow, id?: number): [Step, Step, Step] {
  return cut(flow, 300, 120, id) as [Step, Step, Step];
}

/** The first fragment waits for nobody; both directions where the server answers through the balancer. */
function conversation(t: Timeline, flow: Flow): void {
  t.forward(...cut(flow, 3000, 1240, 0x12345678 & (flow.client.address.includes(':') ? 0xffffffff : 0xffff)));
  let fragments = 3;
  if (!isOneWay(flow.mode)) {
    t.forward(...cut(flow, 2500, 1240, 0x4242, {}, 'server'));
    fragments += 3;
  }
  const [first, second, third] = three(flow, 0x4712);
  t.keep(third.arriving, second.arriving).release(first, third, second);
  t.forward(flow.fromClient({ payload: 'whole' }));
  t.expect({ ...created, fragments_forwarded: fragments + 3 });
}

const perMode = ALL_MODES.map(([mode, families]) =>
  golden(
    `fragments-${mode}-${SUFFIX[families]}`,
    `${MODE_NAMES[mode]} ${families}: fragments in order and with the first one last, and a whole datagram, share one session.`,
    (t) => {
      conversation(t, modeFlow(mode, families, { protocol: 'udp' }));
    },
    { config: modeConfig(mode, families) },
  ),
);

const dns = dnsFlow();
const dns6 = dns6Flow();

export const fragmentCases = [
  ...perMode,
  ...(['direct', 'l3dsr'] as const).map((mode) =>
    golden(
      `fragments-two-workers-${mode}`,
      `${MODE_NAMES[mode]}, two workers: fragments, spread by addresses, and whole datagrams, by ports too, share a session.`,
      (t) => {
        for (const clientPort of [40000, 40001]) {
          const flow = modeFlow(mode, '66', { protocol: 'udp', flow: { clientPort } });
          t.forward(...three(flow, clientPort), flow.fromClient({ payload: 'whole' }), ...three(flow, clientPort + 9));
        }
        for (const clientPort of [40002, 40003]) {
          const flow = modeFlow(mode, '66', { protocol: 'udp', flow: { clientPort } });
          t.forward(flow.fromClient({ payload: 'whole' }), ...three(flow, clientPort), flow.fromClient({ payload: 'whole' }));
        }
        t.expect({ sessions_created: 4, sessions: 4, fragments_forwarded: 18 });
        // The two that begin with a fragment are asked for once round: whoever was asked remembers the first one for two seconds.
        t.expect({ handoff_sent: 10, handoff_received: 10, datagrams_tracked: 4 });
      },
      { config: modeConfig(mode, '66', { workers: 2, localAddresses: [LOCAL, LOCAL_B, LOCAL6, LOCAL6_B] }) },
    ),
  ),
  golden('fragments-middle-first', 'A later fragment that comes before the first one waits and leaves behind it.', (t) => {
    for (const flow of [dns, dns6]) {
      const [first, second, third] = three(flow);
      t.keep(second.arriving).release(first, second).forward(third);
    }
    t.expect({ sessions_created: 2, sessions: 2, fragments_forwarded: 6 });
  }),
  golden('fragments-of-server-first-last', "Fragments of a server's answer wait for their first one like a client's.", (t) => {
    t.forward(dns.fromClient({ payload: 'question' }), dns6.fromClient({ payload: 'question' }));
    for (const flow of [dns, dns6]) {
      const [first, second, third] = cut(flow, 300, 120, 77, {}, 'server') as [Step, Step, Step];
      t.keep(third.arriving, second.arriving).release(first, third, second);
    }
    t.expect({ sessions_created: 2, sessions: 2, fragments_forwarded: 6 });
  }),
  golden('fragments-interleaved', 'Fragments of two datagrams of one flow, and of two flows, may be mixed.', (t) => {
    const [a, b] = [three(dns, 1), three(dns, 2)];
    const other = dns6Flow();
    const c = three(other, 2);
    t.forward(a[0], b[0]).keep(c[1].arriving).forward(b[1], a[1]).release(c[0], c[1]).forward(a[2], c[2], b[2]);
    t.expect({ sessions_created: 2, sessions: 2, fragments_forwarded: 9 });
  }),
  golden('fragments-tcp', 'Fragments of a TCP segment are translated, its checksum with the first one.', (t) => {
    for (const flow of [webFlow(), web6Flow()]) {
      t.forward(flow.fromClient({ flags: 'S' }), flow.fromServer({ flags: 'SA', ack: 1001 }));
      t.forward(...cut(flow, 500, 200, 5, { seq: 1001, ack: 5001 }));
      t.forward(...cut(flow, 500, 200, 6, { seq: 5001, ack: 1501 }, 'server'));
    }
    t.expect({ sessions_created: 2, sessions: 2, sessions_active: 2, fragments_forwarded: 12 });
  }),
  golden(
    'fragments-tos-and-options-kept',
    'TOS, TTL and IPv4 options of each fragment are kept as those of whole packets.',
    (t) => {
      const record = [0x94, 4, 0, 0];
      t.forward(...cut(dns, 300, 120, 9, { tos: 0xb9, ttl: 17, ipOptions: record }));
      t.forward(...cut(dns6, 300, 120, 9, { tos: 0xb9, ttl: 17, flowLabel: 0x12345 }));
      t.expect({ sessions_created: 2, sessions: 2, fragments_forwarded: 6 });
    },
  ),
  golden(
    'fragment-ttl-expired',
    'A first fragment whose TTL ends here is told of; a later one of IPv4 is dropped in silence.',
    (t) => {
      const [first, second] = cut(dns, 300, 120, 9, { ttl: 1 }) as [Step, Step, Step];
      tell(t, 'ttl_expired', first.arriving, errors4.timeExceeded);
      t.drop('ttl_expired', second.arriving);
    },
  ),
  golden('fragment-atomic', 'An IPv6 packet whose fragment header says that it is whole is whole (RFC 6946).', (t) => {
    const whole = (step: Step) => ({
      arriving: fragmentOf(step.arriving, { from: 0, to: 1000 }, { id: 7, more: false }),
      leaving: fragmentOf(step.leaving, { from: 0, to: 1000 }, { id: 7, more: false }),
    });
    t.forward(whole(dns6.fromClient({ payload: 'question' })), whole(dns6.fromServer({ payload: 'answer' })));
    t.expect(created);
  }),
  golden('fragment-first-missing', 'Fragments whose first one does not come within two seconds are dropped.', (t) => {
    const [first, second, third] = three(dns);
    t.drop('fragment_timeout', second.arriving, third.arriving);
    t.wait(2.5).forward(dns.fromClient({ payload: 'later' }));
    const again = three(dns6);
    t.drop('fragment_timeout', again[1].arriving).wait(2.1);
    // Too late for those, and the beginning of a datagram that never ends.
    t.forward(first)
      .wait(3)
      .forward(dns.fromClient({ payload: 'still' }));
    t.expect({ ...created, fragments_forwarded: 1 });
  }),
  golden(
    'fragment-too-late',
    'A fragment that comes two seconds after the others belongs to a datagram of its own, and waits in vain.',
    (t) => {
      const [first, second, third] = three(dns);
      t.forward(first, second).wait(2.1).drop('fragment_timeout', third.arriving).wait(2.1);
      t.forward(dns.fromClient({ payload: 'next' })).expect({ ...created, fragments_forwarded: 2 });
    },
  ),
  golden('fragment-duplicate', 'A fragment that comes twice is sent on once.', (t) => {
    for (const flow of [dns, dns6]) {
      const [first, second, third] = three(flow);
      t.forward(first).drop('fragment_duplicate', first.arriving).forward(second);
      t.drop('fragment_duplicate', second.arriving).forward(third);
    }
    t.expect({ sessions_created: 2, sessions: 2, fragments_forwarded: 6 });
  }),
  golden('fragment-duplicate-waiting', 'A fragment that comes twice while it waits for the first one waits once.', (t) => {
    const [first, second, third] = three(dns);
    t.keep(second.arriving).drop('fragment_duplicate', second.arriving).release(first, second).forward(third);
    t.expect({ ...created, fragments_forwarded: 3 });
  }),
  golden('fragment-overlap', 'From the first overlap on nothing more of a datagram passes (RFC 5722), of IPv4 neither.', (t) => {
    for (const flow of [dns, dns6]) {
      const part = (from: number, to: number) => fragmentFromClient(flow, { payload: 300 }, { from, to }, { id: 3 });
      t.forward(part(0, 120));
      t.drop('fragment_overlap', part(112, 240).arriving, part(240, 308).arriving, part(120, 240).arriving);
    }
    t.expect({ sessions_created: 2, sessions: 2, fragments_forwarded: 2, datagrams_tracked: 2 });
  }),
  golden('fragment-overlap-waiting', 'An overlap among fragments that wait drops those that wait.', (t) => {
    const part = (from: number, to: number) => fragmentFromClient(dns, { payload: 300 }, { from, to }, { id: 3 });
    t.drop('fragment_overlap', part(120, 240).arriving, part(232, 308).arriving, part(0, 120).arriving);
    t.expect({ datagrams_tracked: 1 });
  }),
  golden('fragment-second-end', 'A second last fragment that ends elsewhere, or one behind the end, is an overlap.', (t) => {
    const part = (id: number, from: number, to: number, more: boolean) =>
      fragmentFromClient(dns, { payload: 600 }, { from, to }, { id, more });
    t.forward(part(1, 0, 120, true), part(1, 240, 308, false)).drop('fragment_overlap', part(1, 312, 400, false).arriving);
    t.forward(part(2, 0, 120, true), part(2, 240, 304, false)).drop('fragment_overlap', part(2, 304, 400, true).arriving);
    t.expect({ ...created, fragments_forwarded: 4, datagrams_tracked: 2 });
  }),
  golden('fragment-orphan', 'When the first fragment is refused, the later ones follow it.', (t) => {
    const flow = dnsFlow({ vipPort: 54 });
    const [first, second, third] = three(flow);
    t.drop('no_service', first.arriving).drop('fragment_orphan', second.arriving, third.arriving);
    const other = three(flow, 99);
    t.drop('fragment_orphan', other[1].arriving).drop('no_service', other[0].arriving).drop('fragment_orphan', other[2].arriving);
  }),
  golden(
    'fragment-no-server',
    'A first fragment for a service without servers is answered, later ones are dropped in silence.',
    (t) => {
      const [first, second] = three(dns);
      tell(t, 'no_server', first.arriving, errors4.noPort);
      t.drop('fragment_orphan', second.arriving).expect({ datagrams_tracked: 1 });
    },
    { config: configWith({ services: [{ ...DNS, servers: [] }] }) },
  ),
  golden('fragment-held-full', 'At most 64 fragments of one datagram wait for the first one.', (t) => {
    const flow = dns;
    const parts = ranges(lengthOf(flow, 66 * 8), 8).map((range) =>
      fragmentFromClient(flow, { payload: 66 * 8 }, range, { id: 3 }),
    );
    const [first, ...later] = parts as [Step, ...Step[]];
    t.keep(...later.slice(0, 64).map((step) => step.arriving));
    t.drop('fragment_held_full', ...later.slice(64, 66).map((step) => step.arriving));
    t.release(first, ...later.slice(0, 64)).expect({ ...created, fragments_forwarded: 65 });
  }),
  golden('fragment-table-full', 'When 512 fragments wait, the one that has waited longest makes room for another.', (t) => {
    const lasts = Array.from({ length: 514 }, (_, i) => three(dns, i)[2].arriving);
    t.drop('fragment_table_full', ...lasts.slice(0, 2)).drop('fragment_timeout', ...lasts.slice(2));
  }),
  golden(
    'fragment-search-limited',
    'With several workers, 64 unknown first fragments in one millisecond are searched for, no more.',
    (t) => {
      t.simultaneously(() => {
        for (let i = 0; i < 66; i++) {
          const [first] = three(dnsFlow({ vipPort: 54, clientPort: 1000 + i }), i);
          t.drop(i < 64 ? 'no_service' : 'fragment_search_limited', first.arriving);
        }
      });
      // Each of the 64 is known at home, at the other worker, and at home again.
      t.expect({ handoff_sent: 128, handoff_received: 128, datagrams_tracked: 64 * 3 + 2 });
    },
    { config: configWith({ workers: 2, localAddresses: [LOCAL, LOCAL_B, LOCAL6, LOCAL6_B] }) },
  ),
  golden(
    'fragment-mtu-v6',
    'An IPv6 fragment too big for the next link is refused with the MTU.',
    (t) => {
      const [first] = cut(dns6, 3000, 2000) as [Step, Step];
      tell(t, 'mtu_exceeded', first.arriving, errors6.tooBig(1500));
      t.expect({ ...created, datagrams_tracked: 1 });
    },
    { config: configWith({ interfaces: mtus(3000, 1500) }) },
  ),
  golden(
    'fragment-cut-again',
    'An IPv4 fragment too big for the next link becomes smaller ones with the same identification.',
    (t) => {
      const whole = { payload: 3000, dontFragment: false };
      const [first, last] = cut(dns, 3000, 2000) as [Step, Step];
      const pieces = (['0-1480', '1480-2000'] as const).map((text) => {
        const [from = 0, to = 0] = text.split('-').map(Number);
        return fragmentFromClient(dns, whole, { from, to }, { id: 0x4711, more: true });
      });
      t.cut({ arriving: first.arriving, pieces }).forward(last);
      t.expect({ ...created, fragments_forwarded: 2 });
    },
    { config: configWith({ interfaces: mtus(3000, 1500) }) },
  ),
  golden(
    'fragment-of-4to6-without-checksum',
    'A fragmented IPv4 datagram without UDP checksum cannot become IPv6 (RFC 7915 4.5); a whole one gets its checksum.',
    (t) => {
      const flow = modeFlow('fullnat', '46', { protocol: 'udp' });
      const [first, second] = cut(flow, 300, 160, 1, { checksum: 0 }) as [Step, Step];
      t.drop('udp_checksum_missing', first.arriving).drop('fragment_overlap', second.arriving);
      const whole = flow.fromClient({ payload: 'whole' });
      const bare = frame('udp', flow.client, flow.vip, { payload: 'whole', checksum: 0 }).build();
      t.forward({ ...whole, arriving: bare }).expect({ ...created, datagrams_tracked: 1 });
    },
    { config: modeConfig('fullnat', '46') },
  ),
];
