// What `millrace run` prints: lines that the lab and other programs read, and sentences for people.
import { expect, test } from 'vitest';
import { endpoint } from '../../../src/control/endpoint.js';
import { toJson } from '../../../src/control/json.js';
import { type DaemonEvent, toLine, toSentence } from '../../../src/daemon/output.js';
import { accounted, parseBalancerLine } from '../../../src/lab/balancer-events.js';
import { goodConfig, startTestBalancer } from '../module/support/hosts.js';

async function ready(): Promise<DaemonEvent & { readonly event: 'ready' }> {
  await using balancer = await startTestBalancer();
  const services = goodConfig.services.map(({ name, address, port, protocol, servers }) => ({
    name,
    address,
    port,
    protocol,
    servers: servers.length,
  }));
  return { event: 'ready', time: 5, workers: 2, cpus: [0, 1], interfaces: balancer.lb.stats().interfaces, services };
}

test('a statistics line has what the lab reads, and the sums agree', async () => {
  await using balancer = await startTestBalancer();
  const { binding, lb } = balancer;
  for (const [name, value] of [
    ['rx_packets', 10n],
    ['rx_bytes', 640n],
    ['forwarded', 7n],
    ['consumed', 1n],
    ['held_packets', 1n],
    ['no_route', 1n],
  ] as const) {
    binding.setCounter(1, name, value);
  }
  binding.setServer(0, 0, 'connections', 3n);
  binding.setServer(0, 0, 'active', 2n);
  const line = toLine({ event: 'stats', stats: lb.stats() });
  expect(line).not.toContain('\n');
  const parsed = parseBalancerLine(line);
  expect(parsed).toMatchObject({
    event: 'stats',
    stats: {
      time: 1_700_000_000_000,
      workers: [{ packets: 0 }, { packets: 10, bytes: 640, handoffSent: 0 }],
      totals: { rxPackets: 10, forwarded: 7, consumed: 1, held: 1, dropped: 1, drops: { no_route: 1 }, passedToKernel: 6 },
      servers: [{ service: 'web', server: '192.0.2.11:8080', connections: 3, active: 2 }, { server: '192.0.2.12:80' }],
    },
  });
  if (parsed?.event !== 'stats') throw new Error('not a statistics line');
  expect(accounted(parsed.stats.totals)).toBe(parsed.stats.totals.rxPackets);
});

test('a ready line has the interfaces and the number of workers', async () => {
  const parsed = parseBalancerLine(toLine(await ready()));
  expect(parsed).toMatchObject({
    event: 'ready',
    workers: 2,
    interfaces: [{ name: 'wan', attachMode: 'native', zeroCopy: false, queues: 2 }, { name: 'lan' }],
  });
});

test('each event is one sentence or more for a person', async () => {
  await using balancer = await startTestBalancer();
  const changes = { servicesAdded: ['a'], servicesRemoved: [], servicesChanged: ['b', 'c'], otherChanged: true };
  const sentences = [
    await ready(),
    { event: 'stats', stats: balancer.lb.stats() },
    { event: 'applied', time: 0, generation: 4, changes },
    { event: 'reload-failed', time: 0, code: 'X', message: 'line 3 is wrong', remedy: 'correct it' },
    { event: 'warning', time: 0, message: 'slow', remedy: 'buy' },
    { event: 'health', time: 0, kind: 'server-down', service: 'web', server: '192.0.2.11:80', reason: 'refused' },
    { event: 'health', time: 0, kind: 'quorum-up', service: 'web', server: '', reason: '' },
    { event: 'draining', time: 0, signal: 'SIGTERM', sessions: 1n, seconds: 30 },
    { event: 'stopping', time: 0, signal: 'SIGTERM', sessions: 0n },
    { event: 'stopping', time: 0, signal: 'SIGTERM', sessions: 2n },
    { event: 'stopping', time: 0, signal: 'SIGTERM' },
    { event: 'stopped', time: 0 },
  ] satisfies DaemonEvent[];
  expect(sentences.map(toSentence)).toMatchInlineSnapshot(`
    [
      "millrace: running with 2 workers on CPU 0, 1; wan (XDP native, copy, 2 queues), lan (XDP native, copy, 2 queues)
      web  tcp 203.0.113.10:80, 2 servers",
      "received 0, forwarded 0, dropped 0, to the kernel 6; sessions 0 (0 new since start), 0 servers used",
      "millrace: configuration applied (generation 4): added a; changed b, c; other settings changed",
      "millrace: reload refused, the old configuration stays in force:
    line 3 is wrong
      correct it",
      "millrace: warning: slow
      buy",
      "millrace: service web: server 192.0.2.11:80 is down: refused",
      "millrace: service web has its quorum",
      "millrace: SIGTERM: draining 1 session for at most 30 s (once more: stops now)",
      "millrace: SIGTERM: stopping, no session left (once more: at once)",
      "millrace: SIGTERM: stopping, 2 sessions left (once more: at once)",
      "millrace: SIGTERM: stopping (once more: at once)",
      "millrace: stopped",
    ]
  `);
});

test('numbers beyond 2^53 are strings, all others numbers', () => {
  expect(toJson({ small: 5n, large: 2n ** 53n, list: [1n], text: 'x' })).toBe(
    '{"small":5,"large":"9007199254740992","list":[1],"text":"x"}',
  );
});

test('an IPv6 endpoint has brackets', () => {
  expect(endpoint('2001:db8::1', 80)).toBe('[2001:db8::1]:80');
  expect(endpoint('192.0.2.1', 80)).toBe('192.0.2.1:80');
});
