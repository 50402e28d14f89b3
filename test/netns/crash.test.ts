// What is left when the balancer is killed without a chance to clean up.
import { expect, test } from 'vitest';
import { interfaces, plans } from '../../src/lab/addresses.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { Capture } from './support/capture.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const { vip, lbWan } = plans.ipv4;

/** curl's exit code: 7 means that a reset came back, so the kernel at the other end got the request and answered it. */
async function askKernel(): Promise<number> {
  const { code } = await lab().topology.run('client', ['curl', '-sS', '--max-time', '1', serviceUrl(lbWan, '/', 9)]);
  return code;
}

test("killed under load: the interfaces are the kernel's again, no client is reset, and a restart needs no cleaning", async () => {
  const { topology, traffic } = lab();
  await using capture = await Capture.start(
    lab(),
    'client',
    interfaces.client,
    `src host ${vip} and tcp[tcpflags] & tcp-rst != 0`,
  );
  await using balancer = await lab().startBalancer();
  expect(await askKernel()).toBe(7);

  const running = new AbortController();
  const load = traffic.load({ url: serviceUrl(vip), seconds: 30, connections: 32, signal: running.signal });
  load.catch(() => {});
  await balancer.stats(({ totals }) => totals.forwarded > 1_000);
  await balancer.process.stop('SIGKILL');

  for (const device of [interfaces.wan, interfaces.lan]) {
    await expect.poll(() => topology.runChecked('lb', ['ip', '-d', 'link', 'show', 'dev', device])).not.toContain('prog/xdp');
  }
  expect(await askKernel()).toBe(7);

  // wrk goes on with its retransmissions: this is when a kernel that felt responsible would send resets.
  const probe = await topology.run('client', ['curl', '-sS', '--max-time', '2', serviceUrl(vip)]);
  expect(probe.code).toBe(28);
  running.abort();
  await load.catch(() => {});
  expect(await capture.stop()).toEqual([]);

  await using again = await lab().startBalancer();
  const result = await traffic.get(serviceUrl(vip), 10);
  expect(result.reasons).toEqual([]);
  await again.stats(({ totals }) => totals.forwarded > 0);
});

test('stopped in good order: no client is reset, and the interfaces carry no program', async () => {
  await using capture = await Capture.start(
    lab(),
    'client',
    interfaces.client,
    `src host ${vip} and tcp[tcpflags] & tcp-rst != 0`,
  );
  await using balancer = await lab().startBalancer();
  const running = new AbortController();
  const load = lab().traffic.load({ url: serviceUrl(vip), seconds: 30, signal: running.signal });
  load.catch(() => {});
  await balancer.stats(({ totals }) => totals.forwarded > 1_000);
  expect(await balancer.process.stop('SIGTERM')).toBe(0);
  const link = await lab().topology.runChecked('lb', ['ip', '-d', 'link', 'show']);
  expect(link).not.toContain('prog/xdp');
  const probe = await lab().topology.run('client', ['curl', '-sS', '--max-time', '1', serviceUrl(vip)]);
  expect(probe.code).toBe(28);
  running.abort();
  await load.catch(() => {});
  expect(await capture.stop()).toEqual([]);
});
