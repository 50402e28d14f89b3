// The lab's wires: five network namespaces on one machine that look to the balancer like a client network and a server network.
//
//   client eth0 ----- wan lb lan ----- to-lb net (bridge) ----- eth0 rs1
//                                                  +----------- eth0 rs2
//
// Guarantees: `create` returns when every link carries packets, or removes what it made and throws; disposal removes everything,
// and removing twice is harmless. Real servers have no route to the client, so an answer that arrives went through the balancer; modes
// in which servers answer by themselves add one (second-path.ts).
// Thread: the main thread; the work is done by `ip`, `ethtool` and `sysctl` in child processes.
import { existsSync } from 'node:fs';
import { basicRoles, type Family, families, interfaces, plans, type Role, realServerRoles, roles } from './addresses.js';
import { type CommandOptions, type CommandResult, run, runChecked } from './command.js';
import { LabError } from './lab-error.js';
import { ManagedProcess, type ProcessOptions } from './managed-process.js';

export interface TopologyOptions {
  /** Goes before each namespace's name. */
  readonly prefix?: string;
  /** Receive and transmit queues of the balancer's interfaces. */
  readonly queues: number;
}

export const defaultPrefix = 'millrace-';

// XDP sees frames as a card would deliver them only if the sender's kernel leaves nothing to offload. The last two are 802.1ad's.
const offloads = ['tx', 'rx', 'tso', 'gso', 'gro', 'rxvlan', 'txvlan', 'tx-vlan-stag-hw-insert', 'rx-vlan-stag-hw-parse'];
const offloadsOff = offloads.flatMap((feature) => [feature, 'off']);

/** Of every namespace of the lab. */
const everywhere = [
  'net.ipv6.conf.all.accept_dad=0',
  'net.ipv6.conf.default.accept_dad=0',
  'net.ipv6.conf.all.accept_ra=0',
  'net.ipv6.conf.default.accept_ra=0',
  'net.ipv6.conf.default.router_solicitations=0',
];
const sysctls: Readonly<Record<Role, readonly string[]>> = {
  // Enough ports and quick reuse, so that the client is never what limits a run with a new connection per request.
  client: ['net.ipv4.ip_local_port_range=1024 65535', 'net.ipv4.tcp_tw_reuse=1'],
  far: [],
  // The kernel must not forward: what passes the balancer passed through AF_XDP.
  lb: ['net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0'],
  net: ['net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1'],
  rs1: ['net.core.somaxconn=4096', 'net.ipv4.tcp_max_syn_backlog=4096'],
  rs2: ['net.core.somaxconn=4096', 'net.ipv4.tcp_max_syn_backlog=4096'],
};

const tryAgain = 'run "millrace lab down" and try again; if it stays, "dmesg" may say why';

/** Ethernet addresses that tests and static entries can rely on. */
export const macs = {
  wan: '02:00:00:00:01:01',
  client: '02:00:00:00:01:02',
  lan: '02:00:00:00:02:01',
  rs1: '02:00:00:00:02:11',
  rs2: '02:00:00:00:02:12',
} as const;

export class LabTopology implements AsyncDisposable {
  readonly prefix: string;
  readonly queues: number;

  private constructor(prefix: string, queues: number) {
    this.prefix = prefix;
    this.queues = queues;
  }

  /** Makes the namespaces and links and waits until all carry packets. */
  static async create(options: TopologyOptions): Promise<LabTopology> {
    const topology = new LabTopology(options.prefix ?? defaultPrefix, options.queues);
    const there = topology.existing();
    if (there.length > 0) {
      throw new LabError(`network namespaces of a lab are already there: ${there.join(', ')}`, 'run "millrace lab down" first');
    }
    try {
      await topology.#make();
    } catch (error) {
      await topology[Symbol.asyncDispose]();
      throw error;
    }
    return topology;
  }

  /** A handle on a topology that another process made. */
  static open(options: TopologyOptions): LabTopology {
    return new LabTopology(options.prefix ?? defaultPrefix, options.queues);
  }

  namespace(role: Role): string {
    return `${this.prefix}${role}`;
  }

  /** Names of this lab's namespaces that exist. */
  existing(): string[] {
    return roles.map((role) => this.namespace(role)).filter((name) => existsSync(`/run/netns/${name}`));
  }

  /** The command line that runs `argv` inside a namespace. */
  argv(role: Role, argv: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.namespace(role), ...argv];
  }

  run(role: Role, argv: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return run(this.argv(role, argv), options);
  }

  runChecked(role: Role, argv: readonly string[], options?: CommandOptions): Promise<string> {
    return runChecked(this.argv(role, argv), options);
  }

  start(name: string, role: Role, argv: readonly string[], options?: ProcessOptions): ManagedProcess {
    return ManagedProcess.start(name, this.argv(role, argv), options);
  }

  /** Several `ip` commands in one process; the first that fails ends it. */
  ip(role: Role, commands: readonly string[]): Promise<string> {
    return runChecked(['ip', '-n', this.namespace(role), '-batch', '-'], { input: `${commands.join('\n')}\n` });
  }

  /** Process ids inside the namespaces, other processes' children included. */
  async processes(): Promise<number[]> {
    const lists = await Promise.all(this.existing().map((name) => run(['ip', 'netns', 'pids', name])));
    return lists.flatMap((list) => list.stdout.split('\n').filter(Boolean).map(Number));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.existing()) await run(['ip', 'netns', 'delete', name]);
  }

  async #make(): Promise<void> {
    for (const role of basicRoles) await this.addNamespace(role);
    await runChecked(['ip', '-batch', '-'], { input: `${this.#links().join('\n')}\n` });
    await Promise.all([
      this.ip('net', this.#bridge()),
      this.ip('client', this.#client()),
      this.ip('lb', this.#balancer()),
      ...realServerRoles.map((role) => this.ip(role, this.#server(role))),
    ]);
    await this.ready(this.#veths());
  }

  /** Makes a namespace with what all of the lab have in common. */
  async addNamespace(role: Role): Promise<void> {
    await runChecked(['ip', 'netns', 'add', this.namespace(role)]);
    await this.runChecked(role, ['sysctl', '-qw', ...everywhere, ...sysctls[role]]);
  }

  /** Leaves nothing to offload on these devices and resolves when all carry packets. */
  async ready(devices: readonly (readonly [Role, string])[]): Promise<void> {
    await Promise.all(devices.map(([role, device]) => this.runChecked(role, ['ethtool', '-K', device, ...offloadsOff])));
    await Promise.all(devices.map(([role, device]) => this.waitForCarrier(role, device)));
  }

  /** Resolves when the link is up and carries packets; woken by the kernel's link events. */
  async waitForCarrier(role: Role, device: string, timeout = 10_000): Promise<void> {
    const deadline = Date.now() + timeout;
    const monitor = this.start(`link monitor of ${device}`, role, ['ip', '-o', 'monitor', 'link']);
    let wake = () => {};
    monitor.onLine(() => wake());
    try {
      for (;;) {
        // An event from before the monitor listened is not repeated: hence the upper bound on the wait.
        const event = new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, 50);
        });
        const state = await this.runChecked(role, ['ip', '-o', 'link', 'show', 'dev', device]);
        if (state.includes('LOWER_UP') && state.includes('state UP')) return;
        if (Date.now() > deadline)
          throw new LabError(`${device} in ${this.namespace(role)} has no carrier: ${state.trim()}`, tryAgain);
        await event;
      }
    } finally {
      await monitor.stop('SIGKILL');
    }
  }

  #links(): string[] {
    const many = `numtxqueues ${this.queues} numrxqueues ${this.queues}`;
    const link = (role: Role, name: string, mac: string, peerRole: Role, peer: string, peerMac: string, queues: string) =>
      `link add name ${name} address ${mac} netns ${this.namespace(role)} ${queues} type veth ` +
      `peer name ${peer} ${peerMac ? `address ${peerMac} ` : ''}netns ${this.namespace(peerRole)} ${queues}`;
    return [
      link('lb', interfaces.wan, macs.wan, 'client', interfaces.client, macs.client, many),
      link('lb', interfaces.lan, macs.lan, 'net', interfaces.bridgePort, '', many),
      ...realServerRoles.map((role) => link(role, interfaces.server, macs[role], 'net', `to-${role}`, '', '')),
    ];
  }

  #veths(): [Role, string][] {
    return [
      ['client', interfaces.client],
      ['lb', interfaces.wan],
      ['lb', interfaces.lan],
      ['net', interfaces.bridgePort],
      ...realServerRoles.flatMap((role): [Role, string][] => [
        ['net', `to-${role}`],
        [role, interfaces.server],
      ]),
    ];
  }

  #bridge(): string[] {
    const { bridge, bridgePort } = interfaces;
    const ports = [bridgePort, ...realServerRoles.map((role) => `to-${role}`)];
    return [
      `link add name ${bridge} type bridge stp_state 0 mcast_snooping 0`,
      ...ports.flatMap((port) => [`link set dev ${port} master ${bridge}`, `link set dev ${port} up`]),
      `link set dev ${bridge} up`,
    ];
  }

  #client(): string[] {
    return [
      'link set dev lo up',
      `link set dev ${interfaces.client} up`,
      ...families.flatMap((family) => plans[family].clients.map((address) => addAddress(family, address, interfaces.client))),
      ...families.map((family) => `route add ${plans[family].routedPrefix} via ${plans[family].lbWan}`),
    ];
  }

  #balancer(): string[] {
    return [
      'link set dev lo up',
      ...[interfaces.wan, interfaces.lan].map((device) => `link set dev ${device} up`),
      ...families.flatMap((family) => [
        addAddress(family, plans[family].lbWan, interfaces.wan),
        addAddress(family, plans[family].lbLan, interfaces.lan),
      ]),
    ];
  }

  #server(role: 'rs1' | 'rs2'): string[] {
    return [
      'link set dev lo up',
      `link set dev ${interfaces.server} up`,
      ...families.map((family) => addAddress(family, plans[family].servers[role], interfaces.server)),
    ];
  }
}

/** The `ip` command for an address of the plan; usable at once. */
export function addAddress(family: Family, address: string, device: string): string {
  return `address add ${address}/${plans[family].prefixLength} dev ${device}${family === 'ipv6' ? ' nodad' : ''}`;
}
