// A second way between client and real servers, for the modes in which servers answer clients by themselves, and a client behind a
// link that is narrower than its ends know.
//
//   far eth0 --- narrow client eth0 ----- wan lb lan ----- to-lb net (bridge) ----- eth0 rs1, rs2
//                       client eth1 -------------------- to-client net
//
// Guarantees: none of it is there unless a lab asks for it; without a return path, servers still have no route to the client.
// Thread: the main thread.
import { families, interfaces, narrowMtu, plans, type RealServerRole, type Role, realServerRoles } from './addresses.js';
import { runChecked } from './command.js';
import { addAddress, type LabTopology } from './topology.js';

/** How real servers reach clients: not at all, through the balancer (NAT), or past it (direct routing, tunnels, L3DSR). */
export type ReturnPath = 'none' | 'balancer' | 'direct';

const { back, backPort, bridge, far, narrow } = interfaces;

// Errors are evidence in these labs: each must come. A server may listen on a VIP before it has it.
const chatty = ['net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0'];
const clientSysctls = [...chatty, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.conf.all.rp_filter=0'];
const serverSysctls = [...chatty, 'net.ipv4.ip_nonlocal_bind=1', 'net.ipv6.ip_nonlocal_bind=1'];

/** Adds the client's link into the server network and the client `far`. */
export async function addSecondPath(topology: LabTopology): Promise<void> {
  await topology.addNamespace('far');
  await topology.runChecked('client', ['sysctl', '-qw', ...clientSysctls]);
  for (const role of realServerRoles) await topology.runChecked(role, ['sysctl', '-qw', ...serverSysctls]);
  const link = (name: string, peerRole: 'net' | 'far', peer: string) =>
    `link add name ${name} netns ${topology.namespace('client')} type veth peer name ${peer} netns ${topology.namespace(peerRole)}`;
  const links = [link(back, 'net', backPort), link(narrow, 'far', far)];
  await runChecked(['ip', '-batch', '-'], { input: `${links.join('\n')}\n` });
  await topology.ip('net', [`link set dev ${backPort} master ${bridge}`, `link set dev ${backPort} up`]);
  await topology.ip('client', [
    `link set dev ${narrow} mtu ${narrowMtu}`,
    ...[back, narrow].map((device) => `link set dev ${device} up`),
    ...families.flatMap((family) => [
      addAddress(family, plans[family].clientBack, back),
      `address add ${withLength(plans[family].farRouter, plans[family].farNetwork)} dev ${narrow}`,
    ]),
  ]);
  await topology.ip('far', [
    'link set dev lo up',
    `link set dev ${far} up`,
    ...families.flatMap((family) => [
      `address add ${withLength(plans[family].far, plans[family].farNetwork)} dev ${far}`,
      `route add default via ${plans[family].farRouter}`,
    ]),
  ]);
  await topology.ip(
    'lb',
    families.map((family) => `route add ${plans[family].farNetwork} via ${plans[family].clients[0]}`),
  );
  await topology.ready([
    ['client', back],
    ['net', backPort],
    ['client', narrow],
    ['far', far],
  ]);
}

/** Gives all real servers this way to the clients instead of the one they had. */
export async function setReturnPath(topology: LabTopology, path: ReturnPath): Promise<void> {
  await Promise.all(realServerRoles.map((role) => setPathOf(topology, role, path)));
}

async function setPathOf(topology: LabTopology, role: RealServerRole, path: ReturnPath): Promise<void> {
  for (const family of families) {
    const version = family === 'ipv4' ? '-4' : '-6';
    await topology.run(role, ['ip', version, 'route', 'delete', 'default']);
    const gateway = { none: undefined, balancer: plans[family].lbLan, direct: plans[family].clientBack }[path];
    if (gateway !== undefined) await topology.ip(role, [`route add default via ${gateway}`]);
  }
}

/** Makes client and servers forget what they learned about sizes that fit, so that it has to be told again. */
export async function forgetPathMtus(topology: LabTopology): Promise<void> {
  const flush = async (role: Role) => {
    for (const version of ['-4', '-6']) await topology.run(role, ['ip', version, 'route', 'flush', 'cache']);
  };
  await Promise.all((['client', ...realServerRoles] as const).map(flush));
}

function withLength(address: string, network: string): string {
  return `${address}/${network.split('/')[1]}`;
}
