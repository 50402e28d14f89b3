// Limits on connections and rates, access lists, persistence and removal, as real clients meet them.
import { expect, test } from 'vitest';
import { plans } from '../../src/lab/addresses.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const { vip } = plans.ipv4;
const curl = (...more: string[]) => lab().topology.run('client', ['curl', '-sS', '--max-time', '5', ...more, serviceUrl(vip)]);

test('servers get as many connections as their thresholds, over all workers, and further clients are refused at once', async () => {
  await using balancer = await lab().startBalancer(lab().writeConfig({ serverKeys: ['upperThreshold: 5'] }));
  // Sessions count until TIME_WAIT is over, longer than this takes.
  const answers = [];
  for (let i = 0; i < 14; i++) answers.push((await curl()).code);
  expect(answers.filter((code) => code === 0)).toHaveLength(10);
  expect(answers.filter((code) => code === 7)).toHaveLength(4);
  const { totals } = await balancer.stats(({ totals }) => Number(totals.drops.no_server ?? 0) >= 4);
  expect(totals.sessionsCreated).toBe(10);
});

test('an access list denies new connections', async () => {
  await using balancer = await lab().startBalancer(lab().writeConfig({ serviceKeys: ['acl: { deny: [0.0.0.0/0] }'] }));
  expect((await curl('--max-time', '1')).code).toBe(28);
  await balancer.stats(({ totals }) => Number(totals.drops.access_denied ?? 0) > 0);
  lab().writeConfig({ serviceKeys: ['acl: { allow: [0.0.0.0/0] }'] });
  await balancer.reload();
  expect((await curl()).code).toBe(0);
});

test('curl sees a reset at once when the servers of its download are removed', async () => {
  await using balancer = await lab().startBalancer(lab().writeConfig({ serviceKeys: ['onRemoval: reset'] }));
  lab().writeFile('large', 64 << 20);
  const url = serviceUrl(vip, '/files/large');
  const download = lab().topology.run('client', [
    'curl',
    '-sS',
    '--limit-rate',
    '2M',
    '--max-time',
    '60',
    '-o',
    '/dev/null',
    url,
  ]);
  download.catch(() => {});
  await balancer.stats(({ totals }) => totals.forwarded > 100);
  lab().writeConfig({ serviceKeys: ['onRemoval: reset'], httpServers: [] });
  await balancer.reload();
  const result = await download;
  expect(result.code).toBe(56);
  expect(result.stderr).toContain('reset');
});

test('a persistent client stays with its server over connections and workers', async () => {
  await using balancer = await lab().startBalancer(lab().writeConfig({ serviceKeys: ['persistence: { timeout: 60 }'] }));
  const { byServer, reasons } = await lab().traffic.get(serviceUrl(vip), 24);
  expect(reasons).toEqual([]);
  expect(Object.values(byServer)).toEqual([24]);
  const { workers } = await balancer.stats(({ totals }) => totals.sessionsCreated === 24);
  expect(workers.filter(({ packets }) => packets > 0).length, 'both workers had connections').toBe(2);
});

test('a download through a service with a bandwidth takes as long as that asks for, and what is dropped is counted at the service', async () => {
  const bitsPerSecond = 40_000_000;
  const config = lab().writeConfig({ serviceKeys: [`rateLimit: { bitsPerSecond: ${bitsPerSecond} }`] });
  await using balancer = await lab().startBalancer(config);
  const file = lab().writeFile('limited', 8 << 20);
  const begin = performance.now();
  expect(await lab().traffic.download(serviceUrl(vip, '/files/limited'), { timeout: 60_000 })).toMatchObject(file);
  const seconds = (performance.now() - begin) / 1000;
  // The burst is the traffic of 100 ms.
  expect(seconds).toBeGreaterThan((file.bytes * 8) / bitsPerSecond - 0.1);
  await balancer.stats(({ totals, services }) => {
    const dropped = totals.drops.service_bandwidth ?? 0;
    return dropped > 0 && services.find(({ service }) => service === 'http')?.rateLimitedOut === dropped;
  });
});
