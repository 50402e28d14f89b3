// VIPs and local addresses are the balancer's own: it answers for them and announces them, the kernel does not know them.
import { describe, expect, test } from 'vitest';
import { families, interfaces, localAddresses, plans, type Role } from '../../src/lab/addresses.js';
import { Capture } from './support/capture.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const wanMac = '02:00:00:00:01:01';
const lanMac = '02:00:00:00:02:01';

/** Asks the namespace's kernel for the address and returns the link-layer address that it learned. */
async function resolve(role: Role, address: string): Promise<string> {
  const { topology } = lab();
  await topology.ip(role, [`neigh flush to ${address} dev eth0`]);
  // A datagram to the discard port makes the kernel ask; whether it arrives is of no interest.
  await topology.runChecked(role, ['bash', '-c', `echo x > /dev/udp/${address}/9`]);
  let entry = '';
  await expect
    .poll(
      async () => {
        entry = await topology.runChecked(role, ['ip', 'neigh', 'show', address, 'dev', 'eth0']);
        return entry;
      },
      { timeout: 5_000 },
    )
    .toMatch(/lladdr .* REACHABLE|FAILED/);
  return /lladdr (\S+)/.exec(entry)?.[1] ?? entry;
}

describe.each(families)('%s', (family) => {
  test("neighbours learn the balancer's own link-layer address for the VIP and for each local address", async () => {
    await using _balancer = await lab().startBalancer();
    expect(await resolve('client', plans[family].vip)).toBe(wanMac);
    for (const address of localAddresses(family, lab().workers)) expect(await resolve('rs1', address)).toBe(lanMac);
  });

  test('VIPs and local addresses are announced without being asked for', async () => {
    const filter = family === 'ipv4' ? 'arp' : 'icmp6 and ip6[40] == 136';
    await using client = await Capture.start(lab(), 'client', interfaces.client, filter);
    await using server = await Capture.start(lab(), 'rs1', interfaces.server, filter);
    await using _balancer = await lab().startBalancer();
    const announcement = (address: string) =>
      family === 'ipv4'
        ? new RegExp(`who-has ${address} .*tell ${address}[, ]|Reply ${address} is-at`)
        : new RegExp(`> ff02::1: .*neighbor advertisement, .*tgt is ${address}[, ]`);
    const [local = ''] = localAddresses(family, 1);
    expect(await client.packet(announcement(plans[family].vip))).toContain(wanMac);
    expect(await server.packet(announcement(local))).toContain(lanMac);
  });
});

test('the kernel of the balancer has none of the addresses', async () => {
  await using _balancer = await lab().startBalancer();
  const addresses = await lab().topology.runChecked('lb', ['ip', '-o', 'address', 'show']);
  for (const family of families) {
    for (const address of [plans[family].vip, plans[family].routedVip, ...localAddresses(family, lab().workers)]) {
      expect(addresses).not.toContain(`${address}/`);
    }
  }
  expect(addresses).toContain(plans.ipv4.lbWan);
});
