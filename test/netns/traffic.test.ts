// The main job, end to end: real clients, real servers, two workers, both address families.
import { describe, expect, test } from 'vitest';
import { families, localAddresses, plans } from '../../src/lab/addresses.js';
import type { Balancer } from '../../src/lab/balancer.js';
import { accounted, type BalancerStats } from '../../src/lab/balancer-events.js';
import { answeredByAll } from '../../src/lab/demo-report.js';
import type { Lab } from '../../src/lab/lab.js';
import { type LoadResult, serviceUrl } from '../../src/lab/traffic.js';
import { full, useLab } from './support/lab-fixture.js';

const lab = useLab();

async function expectSumsAgree(balancer: Balancer): Promise<BalancerStats> {
  const stats = await balancer.stats(({ totals }) => accounted(totals) === totals.rxPackets);
  const reasons = Object.values(stats.totals.drops).reduce((sum, count) => sum + count, 0);
  expect(reasons).toBe(stats.totals.dropped);
  expect(stats.totals.rxPackets).toBeGreaterThan(0);
  return stats;
}

function expectOnlyLocalAddresses(used: Lab): void {
  const pool = families.flatMap((family) => localAddresses(family, used.workers));
  for (const server of used.servers) {
    const peers = [...server.httpPeers(), ...server.echoPeers()];
    expect(peers.length).toBeGreaterThan(0);
    expect(pool).toEqual(expect.arrayContaining([...new Set(peers.map((peer) => peer.address))]));
    for (const peer of peers) expect(peer.port).toBeGreaterThanOrEqual(1024);
  }
}

describe.each(families)('%s', (family) => {
  const { vip, routedVip } = plans[family];

  test('HTTP to the VIP and to the routed VIP is answered by both real servers, which see only local addresses', async () => {
    await using balancer = await lab().startBalancer();
    for (const address of [vip, routedVip]) {
      const result = await lab().traffic.get(serviceUrl(address), 10);
      expect(result.reasons).toEqual([]);
      expect(answeredByAll(result.byServer)).toBe(true);
    }
    const echo = await lab().traffic.echo(family, 100, 10);
    expect(echo).toMatchObject({ sent: 1000, answered: 1000, failed: 0 });
    expect(answeredByAll(echo.byServer)).toBe(true);
    expectOnlyLocalAddresses(lab());
    const stats = await expectSumsAgree(balancer);
    expect(stats.totals.sessionsCreated).toBe(20 + 100);
    const service = (name: string) => stats.servers.filter((server) => server.service.startsWith(name));
    expect(service('echo').reduce((sum, server) => sum + server.connections, 0)).toBe(100);
  });

  test('no request over new connections fails, and every packet is accounted for', async () => {
    await using balancer = await lab().startBalancer();
    const wanted = full ? 100_000 : 10_000;
    const runs: LoadResult[] = [];
    let requests = 0;
    while (requests < wanted) {
      const load = await lab().traffic.load({
        url: serviceUrl(vip),
        seconds: full ? 10 : 2,
        connections: 64,
        newConnections: true,
      });
      expect(load.errors).toEqual({});
      expect(load.requests).toBeGreaterThan(0);
      requests += load.requests;
      runs.push(load);
    }
    const stats = await expectSumsAgree(balancer);
    // The client takes its ports again after a while: such a connection takes over its old session.
    expect(stats.totals.sessionsCreated).toBeGreaterThan(1_000);
    expect(stats.workers.every((worker) => worker.packets > 0)).toBe(true);
    expectOnlyLocalAddresses(lab());
  });

  test('a large download arrives unchanged', async () => {
    await using balancer = await lab().startBalancer();
    const file = lab().writeFile('large', full ? 1 << 30 : 64 << 20);
    const download = await lab().traffic.download(serviceUrl(vip, '/files/large'));
    expect(download.bytes).toBe(file.bytes);
    expect(download.sha256).toBe(file.sha256);
    await expectSumsAgree(balancer);
  });
});

test('a port without a service is dropped with the reason no_service', async () => {
  await using balancer = await lab().startBalancer();
  const { vip } = plans.ipv4;
  const result = await lab().topology.run('client', ['curl', '-sS', '--max-time', '1', serviceUrl(vip, '/', 81)]);
  expect(result.code).not.toBe(0);
  const stats = await balancer.stats(({ totals }) => (totals.drops['no_service'] ?? 0) > 0);
  expect(Object.keys(stats.totals.drops)).toEqual(['no_service']);
});
