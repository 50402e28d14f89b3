// Bad wires on both sides of the balancer: between client and wan, and between lan and the servers' bridge. The lab's links are cut there,
// and test/lab/impair.c stands in between.
// Guarantees: the far ends keep their names, addresses and Ethernet addresses; steering is as before; disposal leaves the lab's own
// namespaces to be removed as always.
// Thread: the test's process; the wires are processes of their own.
import { fileURLToPath } from 'node:url';
import { families, interfaces, plans, steeringRules } from '../../../src/lab/addresses.js';
import { run, runChecked } from '../../../src/lab/command.js';
import type { Lab } from '../../../src/lab/lab.js';
import { ManagedProcess } from '../../../src/lab/managed-process.js';
import { labProgram } from '../../../src/lab/programs.js';
import { addAddress, macs } from '../../../src/lab/topology.js';

const program = fileURLToPath(new URL('../../../build/native/millrace_impair', import.meta.url));

/** In 1/10000 of all packets, in each direction. */
export interface Rates {
  readonly loss: number;
  readonly duplication: number;
  readonly reordering: number;
}

export interface WireCounts {
  readonly passed: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
}

export class BadWires implements AsyncDisposable {
  readonly #namespace: string;
  #processes: ManagedProcess[] = [];

  private constructor(namespace: string) {
    this.#namespace = namespace;
  }

  static async insert(lab: Lab): Promise<BadWires> {
    const { topology, workers } = lab;
    const wires = new BadWires(`${topology.prefix}wires`);
    const [client, net] = [topology.namespace('client'), topology.namespace('net')];
    await runChecked(['ip', 'netns', 'add', wires.#namespace]);
    await wires.#run(['sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1']);
    await runChecked(['ip', '-n', client, 'link', 'set', interfaces.client, 'netns', wires.#namespace, 'name', 'wan-out']);
    await runChecked(['ip', '-n', net, 'link', 'set', interfaces.bridgePort, 'netns', wires.#namespace, 'name', 'lan-out']);
    await runChecked(['ip', '-batch', '-'], {
      input: [
        `link add name ${interfaces.client} address ${macs.client} netns ${client} type veth peer name wan-in netns ${wires.#namespace}`,
        `link add name ${interfaces.bridgePort} netns ${net} type veth peer name lan-in netns ${wires.#namespace}`,
        '',
      ].join('\n'),
    });
    const inside = ['wan-out', 'lan-out', 'wan-in', 'lan-in'];
    await runChecked(['ip', '-n', wires.#namespace, '-batch', '-'], {
      input: inside.map((name) => `link set dev ${name} up\n`).join(''),
    });
    await topology.ip('client', [
      `link set dev ${interfaces.client} up`,
      ...families.flatMap((family) => plans[family].clients.map((address) => addAddress(family, address, interfaces.client))),
      ...families.map((family) => `route add ${plans[family].routedPrefix} via ${plans[family].lbWan}`),
    ]);
    await topology.ip('net', [
      `link set dev ${interfaces.bridgePort} master ${interfaces.bridge}`,
      `link set dev ${interfaces.bridgePort} up`,
    ]);
    const offloads = ['tx', 'rx', 'tso', 'gso', 'gro', 'rxvlan', 'txvlan'].flatMap((feature) => [feature, 'off']);
    for (const name of inside) await wires.#run(['ethtool', '-K', name, ...offloads]);
    await topology.ready([
      ['client', interfaces.client],
      ['net', interfaces.bridgePort],
    ]);
    await wires.#run([...labProgram('steer-main'), 'wan-out', String(workers), '[]']);
    await wires.#run([...labProgram('steer-main'), 'lan-out', String(workers), JSON.stringify(steeringRules(workers))]);
    return wires;
  }

  /** Lets packets pass with these rates from now on. */
  async behave(rates: Rates, seed = 1): Promise<void> {
    await this.end();
    const words = [rates.loss, rates.duplication, rates.reordering].map(String);
    this.#processes = ['wan', 'lan'].map((side, index) =>
      ManagedProcess.start(`bad wire ${side}`, [
        ...this.#argv([program, `${side}-in`, `${side}-out`, ...words, String(seed * 2 + index)]),
      ]),
    );
    await Promise.all(this.#processes.map((process) => process.waitForLine((line) => line.includes('ready'))));
  }

  /** Cuts the wires; what they did, both together. */
  async end(): Promise<WireCounts> {
    const sum = { passed: 0, lost: 0, duplicated: 0, reordered: 0 };
    for (const process of this.#processes) {
      const counted = process.waitForLine((line) => line.includes('passed'));
      process.signal('SIGTERM');
      const counts = JSON.parse(await counted) as WireCounts;
      for (const key of Object.keys(sum) as (keyof WireCounts)[]) sum[key] += counts[key];
      await process.stop();
    }
    this.#processes = [];
    return sum;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop('SIGKILL')));
    await run(['ip', 'netns', 'delete', this.#namespace]);
  }

  #argv(argv: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.#namespace, ...argv];
  }

  #run(argv: readonly string[]): Promise<string> {
    return runChecked(this.#argv(argv));
  }
}
