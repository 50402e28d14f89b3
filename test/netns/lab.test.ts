// The lab itself: if it is not what it claims to be, no other result means anything.
import { expect, test } from 'vitest';
import { interfaces, localAddresses, plans } from '../../src/lab/addresses.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { useLab } from './support/lab-fixture.js';
import { compileForeignXdp } from './support/xdp-object.js';

const lab = useLab();

/** Packets that XDP saw per receive queue of one of the balancer's interfaces. */
async function received(device: string): Promise<number[]> {
  const statistics = await lab().topology.runChecked('lb', ['ethtool', '-S', device]);
  return [...statistics.matchAll(/rx_queue_\d+_xdp_packets: (\d+)/g)].map((match) => Number(match[1]));
}

test('without a balancer, nothing gets from the client to a real server or back', async () => {
  const { topology } = lab();
  const { code } = await topology.run('client', ['curl', '-sS', '--max-time', '1', serviceUrl(plans.ipv4.servers.rs1)]);
  expect(code).not.toBe(0);
  const route = await topology.run('rs1', ['ip', 'route', 'get', plans.ipv4.clients[0] ?? '']);
  expect(route.code).not.toBe(0);
  expect(route.stderr).toContain('unreachable');
});

test('packets to a local address arrive on the queue of the worker that owns it, clients are spread over all queues', async () => {
  const { topology, workers } = lab();
  const object = await compileForeignXdp(lab().directory);
  const { wan, lan } = interfaces;
  await topology.ip(
    'lb',
    [wan, lan].map((device) => `link set dev ${device} xdp obj ${object} sec xdp`),
  );
  try {
    for (const [index, address] of localAddresses('ipv4', workers).entries()) {
      await topology.ip('rs1', [`neigh replace ${address} lladdr 02:00:00:00:02:01 dev eth0`]);
      const before = await received(lan);
      const datagrams = 50;
      await topology.runChecked('rs1', ['bash', '-c', `for i in $(seq ${datagrams}); do echo x > /dev/udp/${address}/9; done`]);
      const after = await received(lan);
      const arrived = after.map((count, queue) => count - (before[queue] ?? 0));
      expect(arrived[index % workers]).toBeGreaterThanOrEqual(datagrams);
      expect(arrived.filter((count) => count >= datagrams)).toHaveLength(1);
      await topology.ip('rs1', [`neigh delete ${address} dev eth0`]);
    }
    await topology.runChecked('client', ['bash', '-c', 'for i in $(seq 200); do echo x > /dev/udp/198.51.100.1/9; done']);
    for (const count of await received(wan)) expect(count).toBeGreaterThan(50);
  } finally {
    await topology.ip(
      'lb',
      [wan, lan].map((device) => `link set dev ${device} xdp off`),
    );
  }
});

test('every link of the lab delivers packets as a card would: nothing is left to offload', async () => {
  const features = ['tx-checksumming', 'tcp-segmentation-offload', 'generic-segmentation-offload', 'generic-receive-offload'];
  for (const [role, device] of [
    ['client', 'eth0'],
    ['lb', 'wan'],
    ['lb', 'lan'],
    ['rs1', 'eth0'],
    ['rs2', 'eth0'],
  ] as const) {
    const text = await lab().topology.runChecked(role, ['ethtool', '-k', device]);
    for (const feature of features) expect(text).toMatch(new RegExp(`^${feature}: off`, 'm'));
  }
});
