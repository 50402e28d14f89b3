// Steering decides where packets arrive; the handoff between workers is what makes a wrong arrival harmless.
import { expect, test } from 'vitest';
import { plans } from '../../src/lab/addresses.js';
import type { BalancerStats } from '../../src/lab/balancer-events.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const url = serviceUrl(plans.ipv4.vip);

function handedOver(stats: BalancerStats): number {
  return stats.workers.reduce((sum, worker) => sum + worker.handoffSent, 0);
}

test('with returns steered to their worker, nothing is handed over', async () => {
  await using balancer = await lab().startBalancer();
  const load = await lab().traffic.load({ url, seconds: 2, newConnections: true });
  expect(load.errors).toEqual({});
  expect(load.requests).toBeGreaterThan(0);
  expect(handedOver(await balancer.stats())).toBe(0);
});

test('with returns spread over all workers, they are handed over and no request fails', async () => {
  await using balancer = await lab().startBalancer();
  await lab().steer(false);
  try {
    const load = await lab().traffic.load({ url, seconds: 2, newConnections: true });
    expect(load.errors).toEqual({});
    const stats = await balancer.stats();
    // Every other packet of a return should arrive at the wrong one of two workers.
    expect(handedOver(stats)).toBeGreaterThan(load.requests);
    expect(stats.totals.drops['handoff_ring_full'] ?? 0).toBe(0);
  } finally {
    await lab().steer(true);
  }
});
