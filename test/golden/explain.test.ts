// `millrace explain` through the built addon: what it says for each forwarding mode and for packets that are not forwarded, word for word in
// explain/*.txt (`npx vitest run --project golden explain -u` writes them anew; read them before they are committed). That what leaves is
// what the modes demand is proven by the other golden cases; here it is that explain tells it.
import { describe, expect, test } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.js';
import { validateConfig } from '../../src/config/validate.js';
import { type ExplainRequest, explain } from '../../src/explain/explain.js';
import { TCP_FLAGS } from '../../src/explain/frame.js';
import { renderExplanation } from '../../src/explain/render.js';
import { parseSentence } from '../../src/explain/sentence.js';
import { loadNative } from '../../src/native.js';

type Service = ConfigInput['services'][number];

const VIP = '203.0.113.10';
const VIP6 = '2001:db8:f::10';
const WEB: Service = {
  name: 'web',
  address: VIP,
  port: 80,
  protocol: 'tcp',
  scheduler: 'rr',
  servers: [
    { address: '192.0.2.11', port: 8080 },
    { address: '192.0.2.12', port: 8080 },
  ],
};
/** Of modes that leave the destination port as it is. */
const SAME_PORT: Service = { ...WEB, servers: [{ address: '192.0.2.11' }, { address: '192.0.2.12' }] };
const CLIENT_TCP = 'tcp 198.51.100.7:4242 -> 203.0.113.10:80';
const CLIENT6_TCP = 'tcp [2001:db8:1::7]:4242 -> [2001:db8:f::10]:80';

/** Hosts of lan go out with addresses of the pool. */
const OFFICE: NonNullable<ConfigInput['snat']> = [
  { name: 'mail', match: [{ source: '192.0.2.25', protocol: 'tcp', ports: 25, interface: 'lan' }], pool: ['198.51.100.110'] },
  {
    name: 'office',
    match: [{ source: '192.0.2.0/24' }, { source: '2001:db8:2::/64' }],
    pool: ['198.51.100.101', '2001:db8:1::101'],
  },
];
const TWO_WORKERS_OUT: NonNullable<ConfigInput['snat']> = [
  { name: 'office', match: [{ source: '192.0.2.0/24', interface: 'lan' }], pool: ['198.51.100.101', '198.51.100.102'] },
];

function config(services: Service[], rest: Partial<ConfigInput> = {}): ConfigInput {
  return {
    workers: 1,
    interfaces: [
      { name: 'wan', mac: '02:00:00:00:01:01', addresses: ['198.51.100.1/24', '2001:db8:1::1/64'] },
      { name: 'lan', mac: '02:00:00:00:01:02', addresses: ['192.0.2.1/24', '2001:db8:2::1/64'] },
    ],
    localAddresses: ['192.0.2.101', '2001:db8:2::101'],
    localPorts: '61000-61000',
    routes: [{ prefix: '0.0.0.0/0', via: '198.51.100.254', interface: 'wan' }],
    services,
    ...rest,
  };
}

function ask(input: ConfigInput, text: string, request: Omit<ExplainRequest, 'sentence'> = {}) {
  const parsed = parseSentence(text);
  if ('fault' in parsed) throw new Error(parsed.fault.reason);
  return explain(loadNative(), validateConfig(input), { sentence: parsed.sentence, ...request });
}

describe('what is forwarded', () => {
  const cases: readonly (readonly [string, ConfigInput, string])[] = [
    ['fullnat-44', config([WEB]), CLIENT_TCP],
    ['fullnat-66', config([{ ...WEB, address: VIP6, servers: [{ address: '2001:db8:2::11', port: 8080 }] }]), CLIENT6_TCP],
    ['fullnat-64', config([{ ...WEB, address: VIP6 }]), CLIENT6_TCP],
    ['fullnat-46', config([{ ...WEB, servers: [{ address: '2001:db8:2::11', port: 8080 }] }]), CLIENT_TCP],
    ['nat', config([{ ...WEB, mode: 'nat' }]), CLIENT_TCP],
    ['direct', config([{ ...SAME_PORT, mode: 'direct' }]), CLIENT_TCP],
    ['ipip', config([{ ...SAME_PORT, mode: 'ipip' }]), CLIENT_TCP],
    ['gre', config([{ ...SAME_PORT, mode: 'gre' }]), CLIENT_TCP],
    ['gue', config([{ ...SAME_PORT, mode: 'gue' }]), CLIENT_TCP],
    ['l3dsr', config([{ ...SAME_PORT, mode: 'l3dsr', dscp: 5 }]), CLIENT_TCP],
    ['hash-scheduler', config([{ ...WEB, scheduler: 'mh' }]), CLIENT_TCP],
    [
      'two-workers',
      config([WEB], { workers: 2, localAddresses: ['192.0.2.101', '192.0.2.102', '2001:db8:2::101', '2001:db8:2::102'] }),
      CLIENT_TCP,
    ],
    ['through-a-router', config([WEB]), 'tcp 192.0.3.7:4242 -> 203.0.113.10:80'],
    ['udp', config([{ ...WEB, protocol: 'udp', port: 53 }]), 'udp 198.51.100.7:4242 -> 203.0.113.10:53'],
    [
      'a-file-without-a-network',
      config([WEB], { interfaces: [{ name: 'eth0' }, { name: 'eth1' }], routes: [] }),
      'tcp 198.51.100.7:4242 -> 203.0.113.10:80',
    ],
    ['echo', config([WEB]), 'icmp 198.51.100.7 -> 203.0.113.10'],
    ['snat', config([WEB], { snat: OFFICE }), 'tcp 192.0.2.25:40000 -> 192.88.99.1:25'],
    ['snat-v6', config([WEB], { snat: OFFICE }), 'udp [2001:db8:2::25]:40000 -> [2001:db8:1::7]:53'],
    ['snat-echo', config([WEB], { snat: OFFICE }), 'icmp 192.0.2.25 -> 192.88.99.1'],
    [
      'snat-two-workers',
      config([], { workers: 2, localAddresses: [], snat: TWO_WORKERS_OUT }),
      'tcp 192.0.2.25:40000 -> 192.88.99.1:443',
    ],
    [
      'snat-in-a-file-without-a-network',
      config([WEB], { interfaces: [{ name: 'eth0' }, { name: 'eth1' }], routes: [], snat: OFFICE.slice(1) }),
      'tcp 192.0.2.25:40000 -> 192.88.99.1:443',
    ],
    [
      'conditions',
      config([
        {
          ...WEB,
          maxConnections: 1000,
          rateLimit: { packetsPerSecond: 100_000 },
          persistence: { timeout: 300, prefix: 24, group: 'shop' },
          acl: { allow: ['198.51.100.0/24', '198.51.100.0/28'], deny: ['198.51.0.0/16'] },
          servers: [{ address: '192.0.2.11', port: 8080, upperThreshold: 50, rateLimit: { bitsPerSecond: 1_000_000_000 } }],
        },
      ]),
      CLIENT_TCP,
    ],
    [
      'matches',
      config([
        {
          name: 'marked',
          mark: 7,
          match: [
            { destination: '203.0.113.0/28', ports: '8000-8100' },
            { source: '198.51.100.0/24', destination: '203.0.113.0/24', ports: 80, protocol: 'tcp', interface: 'wan' },
            { destination: VIP, protocol: 'udp' },
          ],
          acl: { deny: ['203.0.113.0/24'] },
          servers: [{ address: '192.0.2.11', port: 8080 }],
        },
      ]),
      CLIENT_TCP,
    ],
    ['a-client-beside-snat', config([WEB], { snat: OFFICE }), CLIENT_TCP],
  ];
  test.each(cases)('%s', async (name, input, text) => {
    const said = ask(input, text);
    expect(said.outcome.kind).toMatch(/^(forwarded|answered)$/);
    await expect(`${renderExplanation(said)}\n`).toMatchFileSnapshot(`explain/${name}.txt`);
  });
});

describe('what is not forwarded', () => {
  const drained = { ...WEB, servers: [{ address: '192.0.2.11', port: 8080, weight: 0 }] };
  const far = { ...WEB, servers: [{ address: '192.88.99.1', port: 8080 }] };
  const cases: readonly (readonly [string, ConfigInput, string, Omit<ExplainRequest, 'sentence'>, string])[] = [
    ['drop-no-service', config([WEB]), 'tcp 198.51.100.7:4242 -> 203.0.113.10:81', {}, 'no_service'],
    ['drop-no-server', config([drained]), CLIENT_TCP, {}, 'no_server'],
    ['drop-no-session', config([WEB]), CLIENT_TCP, { tcpFlags: TCP_FLAGS.ack }, 'tcp_no_session'],
    [
      'drop-access',
      config([
        { ...WEB, acl: { allow: ['198.51.0.0/16'], deny: ['198.51.100.0/24'] } },
        { ...WEB, name: 'other', port: 81, acl: { default: 'deny' } },
      ]),
      CLIENT_TCP,
      {},
      'access_denied',
    ],
    ['drop-flags', config([WEB]), CLIENT_TCP, { tcpFlags: TCP_FLAGS.syn | TCP_FLAGS.fin }, 'tcp_flags_invalid'],
    ['drop-port-0', config([WEB]), 'tcp 198.51.100.7:0 -> 203.0.113.10:80', {}, 'port_zero'],
    ['drop-source', config([WEB]), 'tcp 127.0.0.1:4242 -> 203.0.113.10:80', {}, 'source_invalid'],
    ['drop-land', config([WEB]), 'tcp 203.0.113.10:80 -> 203.0.113.10:80', {}, 'land'],
    ['drop-no-route', config([far], { routes: [] }), CLIENT_TCP, {}, 'no_route'],
    ['drop-local-address', config([WEB]), 'udp 192.0.2.11:8080 -> 192.0.2.101:61000', {}, 'local_no_session'],
    ['snat-no-rule', config([WEB], { snat: OFFICE.slice(0, 1) }), 'tcp 192.0.2.25:40000 -> 192.88.99.1:80', {}, 'kernel'],
    [
      'snat-no-session',
      config([WEB], { snat: OFFICE }),
      'tcp 192.0.2.25:40000 -> 192.88.99.1:80',
      { tcpFlags: TCP_FLAGS.ack },
      'tcp_no_session',
    ],
    ['kernel', config([WEB]), 'tcp 198.51.100.7:4242 -> 198.51.100.1:22', {}, 'kernel'],
  ];
  test.each(cases)('%s', async (name, input, text, request, expected) => {
    const said = ask(input, text, request);
    const { outcome } = said;
    expect(outcome.kind === 'dropped' ? outcome.reason : outcome.kind).toBe(expected);
    expect(outcome.kind === 'dropped' ? outcome.text : 'none').not.toBe('');
    // What a reason means is said in counters.def, and is not written down once more here.
    const told = { ...said, outcome: outcome.kind === 'dropped' ? { ...outcome, text: 'as in counters.md' } : outcome };
    await expect(`${renderExplanation(told)}\n`).toMatchFileSnapshot(`explain/${name}.txt`);
  });
});

test('an explanation is the same each time, and its lines fit a terminal of 100 columns', () => {
  const text = renderExplanation(ask(config([WEB]), CLIENT_TCP));
  expect(renderExplanation(ask(config([WEB]), CLIENT_TCP))).toBe(text);
  expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
});

test('an interface that the file does not have is refused with those that it has', () => {
  expect(() => ask(config([WEB]), CLIENT_TCP, { interface: 'dmz' })).toThrow(
    /no interface dmz in the configuration; it has wan, lan/,
  );
});

test('the interface may be chosen', () => {
  expect(ask(config([WEB]), CLIENT_TCP, { interface: 'lan' })).toMatchObject({
    interface: 'lan',
    outcome: { kind: 'forwarded' },
  });
});
