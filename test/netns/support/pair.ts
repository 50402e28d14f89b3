// Two load balancers side by side, each with a real keepalived, a client and a real server, all on one network.
//
//   client, a, b, rs: eth0 each, on the bridge br0 of namespace hub
//
// Guarantees: each node has a keepalived.conf with VRRP and a virtual server, run as `millrace run --run-as` and, what is left of it, as
// keepalived; disposal ends all processes and removes the namespaces.
// Thread: the test's process; everything else is a process of its own.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, runChecked } from '../../../src/lab/command.js';
import { ManagedProcess } from '../../../src/lab/managed-process.js';
import { millraceProgram } from '../../../src/lab/programs.js';

export type Node = 'a' | 'b';
type Host = Node | 'client' | 'rs';
const addresses: Readonly<Record<Host, string>> = {
  client: '198.51.100.2',
  a: '198.51.100.11',
  b: '198.51.100.12',
  rs: '198.51.100.31',
};
const locals: Readonly<Record<Node, string>> = { a: '198.51.100.21', b: '198.51.100.22' };
const priorities: Readonly<Record<Node, number>> = { a: 150, b: 100 };
export const vip = '198.51.100.10';

const hub = 'millrace-hub';
const namespace = (host: Host): string => `millrace-pair-${host}`;
const inside = (host: Host, argv: readonly string[]): string[] => ['ip', 'netns', 'exec', namespace(host), ...argv];

/** Answers each request with "ok". */
const SERVER = "require('node:http').createServer((_, answer) => answer.end('ok')).listen(80, () => console.log('listening'))";
/** A connection of its own every 50 ms; a line for each that was answered. */
const PROBE = `setInterval(() => require('node:http').get({ host: '${vip}', timeout: 1000, agent: false }, (answer) => {
  answer.resume().on('end', () => console.log('answered'));
}).on('timeout', function () { this.destroy(); }).on('error', () => undefined), 50)`;

export class Pair implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(process.env['MILLRACE_JAIL'] ? '/run' : tmpdir(), 'millrace-pair-'));
  readonly #processes: ManagedProcess[] = [];
  readonly #keepalived = new Map<Node, ManagedProcess>();
  #answers: number[] = [];

  static async start(): Promise<Pair> {
    const pair = new Pair();
    try {
      await pair.#wire();
      await pair.#begin('server', 'rs', [process.execPath, '-e', SERVER], (line) => line === 'listening');
      for (const node of ['a', 'b'] as const) await pair.#startNode(node);
      const probe = ManagedProcess.start('probe', inside('client', [process.execPath, '-e', PROBE]));
      probe.onLine(() => pair.#answers.push(performance.now()));
      pair.#processes.push(probe);
      return pair;
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Connections of the client that were answered since the last call of forget(). */
  get answered(): number {
    return this.#answers.length;
  }

  /** Longest time without an answer since then, milliseconds; until now. */
  get longestGap(): number {
    const times = [...this.#answers, performance.now()];
    return times.slice(1).reduce((longest, time, i) => Math.max(longest, time - (times[i] ?? time)), 0);
  }

  /** The last answer begins the time that counts from here on. */
  forget(): void {
    this.#answers = this.#answers.slice(-1);
  }

  /** The Ethernet address that the client has for the VIP. */
  async neighbour(): Promise<string | undefined> {
    const { stdout } = await run(inside('client', ['ip', 'neighbour', 'show', vip]));
    return /lladdr ([0-9a-f:]+)/.exec(stdout)?.[1];
  }

  async mac(node: Node): Promise<string> {
    return (await runChecked(inside(node, ['cat', '/sys/class/net/eth0/address']))).trim();
  }

  async stopKeepalived(node: Node): Promise<void> {
    await this.#keepalived.get(node)?.stop('SIGTERM');
  }

  /** Its states show in what the client sees. */
  startKeepalived(node: Node): void {
    const file = (name: string): string => join(this.#directory, `${node}-${name}`);
    const words = ['-n', '-l', '-D', '-P', '-f', file('vrrp.conf'), '-p', file('pid'), '-r', file('vrrp.pid')];
    const started = ManagedProcess.start('keepalived', inside(node, ['keepalived', ...words]));
    this.#processes.push(started);
    this.#keepalived.set(node, started);
  }

  /** The far end of a node's link: what a cable is. */
  async link(node: Node, state: 'up' | 'down'): Promise<void> {
    await runChecked(['ip', '-n', hub, 'link', 'set', 'dev', `to-${node}`, state]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.reverse().map((process) => process.stop()));
    for (const name of [hub, ...(Object.keys(addresses) as Host[]).map(namespace)]) await run(['ip', 'netns', 'delete', name]);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #begin(name: string, host: Host, argv: readonly string[], ready: (line: string) => boolean): Promise<void> {
    const started = ManagedProcess.start(name, inside(host, argv));
    this.#processes.push(started);
    await started.waitForLine(ready, 60_000);
  }

  async #wire(): Promise<void> {
    await runChecked(['ip', 'netns', 'add', hub]);
    await runChecked(['ip', '-n', hub, 'link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0']);
    await runChecked(['ip', '-n', hub, 'link', 'set', 'dev', 'br0', 'up']);
    const off = ['tx', 'rx', 'tso', 'gso', 'gro'].flatMap((feature) => [feature, 'off']);
    for (const [host, address] of Object.entries(addresses) as [Host, string][]) {
      const name = namespace(host);
      const port = `to-${host}`;
      await runChecked(['ip', 'netns', 'add', name]);
      await runChecked(['ip', 'link', 'add', 'name', 'eth0', 'netns', name, 'type', 'veth', 'peer', 'name', port, 'netns', hub]);
      const commands = ['link set dev lo up', `address add ${address}/24 dev eth0`, 'link set dev eth0 up'];
      await runChecked(['ip', '-n', name, '-batch', '-'], { input: `${commands.join('\n')}\n` });
      await runChecked(['ip', '-n', hub, '-batch', '-'], { input: `link set dev ${port} master br0\nlink set dev ${port} up\n` });
      await runChecked(['ip', 'netns', 'exec', name, 'ethtool', '-K', 'eth0', ...off]);
      await runChecked(['ip', 'netns', 'exec', hub, 'ethtool', '-K', port, ...off]);
    }
  }

  async #startNode(node: Node): Promise<void> {
    const file = (name: string): string => join(this.#directory, `${node}-${name}`);
    const [fifo, conf, base, rest] = [file('fifo'), file('keepalived.conf'), file('base.yaml'), file('vrrp.conf')];
    writeFileSync(conf, keepalivedConf(node, fifo));
    const links = `workers: 1\ninterfaces: [{ name: eth0 }]\nlocalAddresses: [${locals[node]}]\n`;
    writeFileSync(
      base,
      `${links}api: { socket: none }\nsessions: { maxPerWorker: 4096 }\ndataplane: { framesPerWorker: 4096, ringSize: 1024 }\n`,
    );
    const millrace = [...millraceProgram(), 'import', conf, '--base', base, '--out', file('unused.yaml'), '--remainder', rest];
    await runChecked(inside(node, [...millrace, '--strict']));
    const serve = [...millraceProgram(), 'run', '--run-as', conf, '--base', base, '--vrrp-fifo', fifo, '--json'];
    await this.#begin(`millrace ${node}`, node, serve, (line) => line.includes('"event":"ready"'));
    this.startKeepalived(node);
  }
}

/** Advertisements twice a second: three that are missing, and a node is gone. */
function keepalivedConf(node: Node, fifo: string): string {
  return `global_defs {
  router_id ${node}
  vrrp_version 3
  vrrp_notify_fifo ${fifo}
}
vrrp_instance VI_1 {
  state BACKUP
  interface eth0
  virtual_router_id 51
  priority ${priorities[node]}
  advert_int 0.5
  virtual_ipaddress {
    ${vip}/24
  }
}
virtual_server ${vip} 80 {
  delay_loop 1
  lvs_sched rr
  lvs_method FNAT
  protocol TCP
  real_server ${addresses.rs} 80 {
    TCP_CHECK {
      connect_timeout 1
    }
  }
}
`;
}
