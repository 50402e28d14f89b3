// Statistics: native memory in, typed sums out. The counter list is read from native/core/counters.def, as the addon's is.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PLAIN_COUNTERS } from '../../../src/control/counter-names.js';
import { StatsReader, toCounterSet, unaccountedPackets } from '../../../src/control/stats.js';
import { countersFromDefinition, FakeBinding } from './support/fake-binding.js';
import { startTestBalancer } from './support/hosts.js';

const info = countersFromDefinition();

test('the typed names are the plain counters of counters.def, in its order', () => {
  expect(info.filter((counter) => counter.kind === 'counter').map((counter) => counter.name)).toEqual([...PLAIN_COUNTERS]);
});

test('each worker has its own counters and the totals are their sums', async () => {
  await using balancer = await startTestBalancer();
  const { binding, lb } = balancer;
  binding.setCounter(0, 'rx_packets', 10n);
  binding.setCounter(1, 'rx_packets', 2n ** 63n);
  binding.setCounter(1, 'forwarded', 5n);
  binding.setCounter(0, 'no_route', 1n);
  binding.setCounter(1, 'no_route', 2n);
  binding.setCounter(1, 'fragment_tiny', 4n);
  const stats = lb.stats();
  expect(stats.time).toBe(1_700_000_000_000);
  expect(stats.workers.map((worker) => worker.rxPackets)).toEqual([10n, 2n ** 63n]);
  expect(stats.totals).toMatchObject({
    rxPackets: 2n ** 63n + 10n,
    forwarded: 5n,
    dropped: 7n,
    drops: { no_route: 3n, fragment_tiny: 4n },
  });
  expect(stats.workers[0]?.drops).toEqual({ no_route: 1n });
  expect(stats.totals.passedToKernel).toBe(6n);
});

test('counters of a server are summed over the workers', async () => {
  await using balancer = await startTestBalancer();
  const { binding, lb } = balancer;
  binding.setServer(0, 1, 'connections', 3n);
  binding.setServer(1, 1, 'connections', 4n);
  binding.setServer(1, 1, 'outBytes', 1500n);
  expect(lb.stats().servers).toMatchObject([
    { service: 'web', address: '192.0.2.11', port: 8080, connections: 0n },
    { service: 'web', address: '192.0.2.12', port: 80, connections: 7n, outBytes: 1500n, removed: false },
  ]);
});

test('what limits on rates have dropped is summed over the workers, by service and by server', async () => {
  await using balancer = await startTestBalancer();
  const { binding, lb } = balancer;
  binding.setRate('service', 0, 0, 'droppedIn', 3n);
  binding.setRate('service', 1, 0, 'droppedIn', 4n);
  binding.setRate('service', 1, 0, 'droppedOut', 5n);
  binding.setRate('server', 1, 1, 'droppedOut', 6n);
  const { services, servers } = lb.stats();
  expect(services).toEqual([{ service: 'web', rateLimitedIn: 7n, rateLimitedOut: 5n, clientAddressNoRoom: 0n }]);
  expect(servers.map(({ rateLimitedIn, rateLimitedOut }) => [rateLimitedIn, rateLimitedOut])).toEqual([
    [0n, 0n],
    [0n, 6n],
  ]);
});

test('after close the statistics are those of the end, and native memory is not read again', async () => {
  const { binding, lb } = await startTestBalancer();
  binding.setCounter(0, 'rx_packets', 10n);
  await lb.close();
  binding.setCounter(0, 'rx_packets', 99n);
  expect(lb.stats().totals.rxPackets).toBe(10n);
});

test('a server slot beyond the memory counts as zero', () => {
  const binding = new FakeBinding();
  const dataplane = {
    counters: () => new ArrayBuffer(8 * info.length),
    serverStats: () => new ArrayBuffer(64),
    serverRates: () => new ArrayBuffer(64),
    serviceRates: () => new ArrayBuffer(64),
    serviceCrowded: () => new ArrayBuffer(64),
    interfaces: () => [],
  };
  const reader = new StatsReader({ dataplane, counterInfo: binding.info, workers: 1, now: () => 0 });
  const slots = {
    services: [{ name: 's', slot: 0, servers: [{ address: '192.0.2.1', port: 1, slot: 9, removed: true }] }],
  };
  expect(reader.read(slots).servers).toMatchObject([{ connections: 0n, removed: true }]);
});

test('an addon without a counter that has a type is refused', () => {
  const counterInfo = info.filter((counter) => counter.name !== 'rx_packets');
  const empty = () => new ArrayBuffer(8);
  const dataplane = {
    counters: empty,
    serverStats: empty,
    serverRates: empty,
    serviceRates: empty,
    serviceCrowded: empty,
    interfaces: () => [],
  };
  expect(() => new StatsReader({ dataplane, counterInfo, workers: 0, now: () => 0 })).toThrow('rx_packets');
});

const slotValues = fc.array(fc.bigInt({ min: 0n, max: 2n ** 60n }), { minLength: info.length, maxLength: info.length });

test('whatever the counters are: drops add up, totals are the sums of the workers, and the accounting is linear', () => {
  fc.assert(
    fc.property(fc.array(slotValues, { minLength: 1, maxLength: 4 }), (memory) => {
      const workers = memory.map((slots) => toCounterSet(info, (index) => slots[index] ?? 0n));
      const total = toCounterSet(info, (index) => memory.reduce((sum, slots) => sum + (slots[index] ?? 0n), 0n));
      for (const set of [...workers, total]) {
        expect(Object.values(set.drops).reduce((sum, value) => sum + value, 0n)).toBe(set.dropped);
      }
      expect(workers.reduce((sum, worker) => sum + worker.dropped, 0n)).toBe(total.dropped);
      expect(workers.reduce((sum, worker) => sum + worker.rxPackets, 0n)).toBe(total.rxPackets);
      expect(workers.reduce((sum, worker) => sum + unaccountedPackets(worker), 0n)).toBe(unaccountedPackets(total));
    }),
    { numRuns: 50 },
  );
});

test('a packet that is counted in but not out is unaccounted for', () => {
  const slots = (values: Record<string, bigint>) => toCounterSet(info, (index) => values[info[index]?.name ?? ''] ?? 0n);
  expect(
    unaccountedPackets(
      slots({ rx_packets: 5n, handoff_received: 1n, forwarded: 3n, handoff_sent: 1n, no_route: 1n, held_packets: 1n }),
    ),
  ).toBe(0n);
  expect(unaccountedPackets(slots({ rx_packets: 5n, forwarded: 4n }))).toBe(1n);
});
