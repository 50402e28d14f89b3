// Limits, access lists and removal, as real clients meet them.
import { expect, test } from 'vitest';
import { plans } from '../../src/lab/addresses.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const { vip } = plans.ipv4;
const curl = (...more: string[]) => lab().topology.run('client', ['curl', '-sS', '--max-time', '5', ...more, serviceUrl(vip)]);

test('servers get as many connections as their thresholds, over all workers, and further clients are refused at once', async () => {
  lab().writeConfig({ serverKeys: ['upperThreshold: 5'] });
  await using balancer = await lab().startBalancer();
  // Sessions count until TIME_WAIT is over, longer than this takes.
  const answers = [];
  for (let i = 0; i < 14; i++) answers.push((await curl()).code);
  expect(answers.filter((code) => code === 0)).toHaveLength(10);
  expect(answers.filter((code) => code === 7)).toHaveLength(4);
  const { totals } = await balancer.stats(({ totals }) => Number(totals.drops?.no_server ?? 0) >= 4);
  expect(Number(totals.sessions_created)).toBe(10);
});

test('an access list denies new connections', async () => {
  lab().writeConfig({ serviceKeys: ['acl: { deny: [0.0.0.0/0] }'] });
  await using balancer = await lab().startBalancer();
  expect((await curl('--max-time', '1')).code).toBe(28);
  lab().writeConfig({ serviceKeys: ['acl: { allow: [0.0.0.0/0] }'] });
  await balancer.reload();
  expect((await curl()).code).toBe(0);
});

test('curl sees a reset at once when the servers of its download are removed', async () => {
  lab().writeConfig({ serviceKeys: ['onRemoval: reset'] });
  await using balancer = await lab().startBalancer();
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
