// Changes under load: what is added or removed does not touch the connections of others.
import { describe, expect, test } from 'vitest';
import type { ForwardMode } from '../../src/config/forward-mode.js';
import { plans } from '../../src/lab/addresses.js';
import type { LabConfigOptions } from '../../src/lab/config.js';
import { answeredByAll } from '../../src/lab/demo-report.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab({ secondPath: true });
const { vip, routedVip } = plans.ipv4;
const extraHttpPort = 8080;

test('services and servers come and go under load, and no request of another service fails', async () => {
  await using balancer = await lab().startBalancer();
  const load = lab().traffic.load({ url: serviceUrl(vip), seconds: 8, connections: 32, newConnections: true });
  load.catch(() => {});
  await balancer.stats(({ totals }) => totals.forwarded > 1_000);

  for (let round = 0; round < 3; round++) {
    lab().writeConfig({ extraHttpPort });
    await balancer.reload();
    const there = await lab().traffic.get(serviceUrl(vip, '/', extraHttpPort), 4);
    expect(there.reasons).toEqual([]);
    lab().writeConfig();
    await balancer.reload();
    const gone = await lab().topology.run('client', ['curl', '-sS', '--max-time', '0.5', serviceUrl(vip, '/', extraHttpPort)]);
    expect(gone.code).toBe(28);
  }
  const result = await load;
  expect(result.errors).toEqual({});
  expect(result.requests).toBeGreaterThan(0);
});

test('a server with weight 0 gets no new connection, keeps those that it has, and comes back', async () => {
  await using balancer = await lab().startBalancer();
  const keepAlive = lab().traffic.load({ url: serviceUrl(vip), seconds: 6, connections: 16 });
  keepAlive.catch(() => {});
  await balancer.stats(({ totals }) => totals.forwarded > 1_000);

  lab().writeConfig({ weights: { rs2: 0 } });
  await balancer.reload();
  const drained = await lab().traffic.get(serviceUrl(routedVip), 10);
  expect(drained.reasons).toEqual([]);
  expect(drained.byServer).toEqual({ rs1: 10 });

  lab().writeConfig();
  await balancer.reload();
  const back = await lab().traffic.get(serviceUrl(routedVip), 10);
  // Two workers, each with its own place in the weighted turn, which begins anew with a changed weight: shares of ten are not exact.
  expect(back.reasons).toEqual([]);
  expect(back.byServer['rs1']).toBeGreaterThanOrEqual(2);
  expect(back.byServer['rs2']).toBeGreaterThanOrEqual(2);
  expect((await keepAlive).errors).toEqual({});
});

test("a server that is removed under load fails no request of the service's other connections", async () => {
  await using balancer = await lab().startBalancer();
  const load = lab().traffic.load({ url: serviceUrl(routedVip), seconds: 6, connections: 32, newConnections: true });
  load.catch(() => {});
  await balancer.stats(({ totals }) => totals.forwarded > 1_000);
  for (let round = 0; round < 3; round++) {
    lab().writeConfig({ httpServers: ['rs1'] });
    await balancer.reload();
    lab().writeConfig();
    await balancer.reload();
  }
  expect((await load).errors).toEqual({});
});

test('a wrong configuration is refused and the old one stays in force', async () => {
  await using balancer = await lab().startBalancer();
  lab().writeConfig({ weights: { rs1: -1 } });
  await expect(balancer.reload()).rejects.toThrow(/refused/);
  const result = await lab().traffic.get(serviceUrl(vip), 4);
  expect(result.reasons).toEqual([]);
  lab().writeConfig();
});

const modes: readonly ForwardMode[] = ['fullnat', 'direct', 'gue'];

describe.each(modes)('%s: weights, a removal and a re-addition in mid-traffic', (mode) => {
  test('fail no request, neither on connections that are kept alive nor on new ones', async () => {
    await lab().useMode(mode);
    await using balancer = await lab().startBalancer(lab().writeConfig({ mode }));
    const apply = async (options: Omit<LabConfigOptions, 'workers'>) => {
      lab().writeConfig({ mode, ...options });
      await balancer.reload();
      const result = await lab().traffic.get(serviceUrl(vip), 8);
      expect(result.reasons).toEqual([]);
      return result.byServer;
    };
    const seconds = 8;
    const keepAlive = lab().traffic.load({ url: serviceUrl(vip), seconds, connections: 16 });
    const fresh = lab().traffic.load({ url: serviceUrl(routedVip), seconds, connections: 8, newConnections: true });
    for (const load of [keepAlive, fresh]) load.catch(() => {});
    await balancer.stats(({ totals }) => totals.forwarded > 1_000);

    for (let round = 0; round < 2; round++) {
      expect(answeredByAll(await apply({ weights: { rs2: 3 } }))).toBe(true);
      expect(await apply({ weights: { rs2: 0 } })).toEqual({ rs1: 8 });
      expect(await apply({ httpServers: ['rs1'] })).toEqual({ rs1: 8 });
      expect(answeredByAll(await apply({}))).toBe(true);
    }
    for (const load of [await keepAlive, await fresh]) {
      expect(load.errors).toEqual({});
      // Not more: a server in TIME_WAIT lets a port that the balancer of the test before has used wait for the client's second SYN.
      expect(load.requests).toBeGreaterThan(100);
    }
    const drops = { ...(await balancer.stats()).totals.drops };
    // Servers still try to reach clients of connections that the balancer of the test before had.
    delete drops['local_no_session'];
    expect(drops).toEqual({});
  });
});
