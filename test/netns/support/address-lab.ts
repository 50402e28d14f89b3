// What the tests of client addresses share: services of every method, servers that say whom they see, clients that judge, and the agent of
// the real server (millrace-realserver) for a control group of its own.
// Guarantees: servers listen when `start` returns; the agent is undone and its control group removed at the end.
// Thread: the test's process; the programs are processes of their own.
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Family, families, interfaces, localAddresses, plans } from '../../../src/lab/addresses.js';
import { run, runChecked } from '../../../src/lab/command.js';
import { labConfig } from '../../../src/lab/config.js';
import type { Lab } from '../../../src/lab/lab.js';
import type { ManagedProcess } from '../../../src/lab/managed-process.js';

const built = (name: string) => fileURLToPath(new URL(`../../../build/native/${name}`, import.meta.url));
export const agentProgram = built('tool/millrace-realserver');

export const methods = ['toa', 'proxy-v1', 'proxy-v2'] as const;
export type Method = (typeof methods)[number];
export const speakers = ['client', 'server'] as const;
/** Who speaks first. */
export type Speaker = (typeof speakers)[number];

export interface AddressService {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly protocol?: 'tcp' | 'udp';
  readonly serverAddress: string;
  readonly serverPort?: number;
  /** Lines below the service, as in a file. */
  readonly keys: readonly string[];
}

export function portOf(method: Method, speaker: Speaker): number {
  return 7000 + methods.indexOf(method) * 10 + speakers.indexOf(speaker);
}

/** A service per method, speaker and family, and IPv6 clients of IPv4 servers at the routed VIP. */
export function methodServices(): AddressService[] {
  return methods.flatMap((method) =>
    speakers.flatMap((speaker) => {
      const port = portOf(method, speaker);
      const first = speaker === 'server' && method !== 'toa' ? ', serverFirst: true' : '';
      const keys = [`clientAddress: { method: ${method}${first} }`];
      const service = (family: Family, server: Family, address: string): AddressService => ({
        name: `${method}-${speaker}-${family}-${server}`,
        address,
        port,
        serverAddress: plans[server].servers.rs1,
        keys,
      });
      return [
        ...families.map((family) => service(family, family, plans[family].vip)),
        service('ipv6', 'ipv4', plans.ipv6.routedVip),
      ];
    }),
  );
}

/** The lab's configuration with these services behind its own. */
export function writeAddressConfig(lab: Lab, services: readonly AddressService[], name = 'address.yaml'): string {
  const text = services.flatMap((service) => [
    `  - name: ${service.name}`,
    `    address: "${service.address}"`,
    `    port: ${service.port}`,
    `    protocol: ${service.protocol ?? 'tcp'}`,
    ...service.keys.map((line) => `    ${line}`),
    '    servers:',
    `      - { address: "${service.serverAddress}", port: ${service.serverPort ?? service.port} }`,
  ]);
  const file = join(lab.directory, name);
  // As patient as kernels that are told to try often: their tries are up to two minutes apart, and IPVS forgets a connection after one.
  const base = labConfig({ workers: lab.workers, synRecv: 300 });
  writeFileSync(file, [base.trimEnd(), ...text, ''].join('\n'));
  return file;
}

export interface AgentStatus {
  readonly prepared: boolean;
  readonly inPlace?: boolean;
  readonly counters?: Readonly<Record<string, number>>;
}

/** `millrace-realserver client-address` on rs1, and a control group that servers can be started in. */
export class Agent implements AsyncDisposable {
  readonly #lab: Lab;
  readonly #root: string;
  readonly #cgroup: string;

  private constructor(lab: Lab, root: string, cgroup: string) {
    this.#lab = lab;
    this.#root = root;
    this.#cgroup = cgroup;
  }

  static async start(lab: Lab): Promise<Agent> {
    // "ip netns exec" hides what is below /sys, so the hierarchy is mounted where it stays visible.
    const root = join(lab.directory, 'cgroup');
    // All of the machine share one hierarchy.
    const cgroup = join(root, basename(lab.directory));
    mkdirSync(root, { recursive: true });
    await runChecked(['mount', '-t', 'cgroup2', 'cgroup2', root]);
    const agent = new Agent(lab, root, cgroup);
    mkdirSync(cgroup, { recursive: true });
    await agent.prepare(families.flatMap((family) => localAddresses(family, lab.workers)));
    return agent;
  }

  /** Trusts these balancers from now on, and no others. */
  async prepare(from: readonly string[]): Promise<void> {
    await this.tool(['client-address', '--from', from.join(','), '--cgroup', this.#cgroup, '--interface', interfaces.server]);
  }

  /** Runs the tool in the server's network namespace; its output. */
  tool(words: readonly string[]): Promise<string> {
    return this.#lab.topology.runChecked('rs1', [agentProgram, ...words]);
  }

  async status(): Promise<AgentStatus> {
    const { stdout } = await this.#lab.topology.run('rs1', [agentProgram, 'status', '--json']);
    return JSON.parse(stdout) as AgentStatus;
  }

  /** Starts a program in the control group, whose processes see clients. */
  launch(name: string, argv: readonly string[]): ManagedProcess {
    return this.#lab.topology.start(name, 'rs1', [
      'sh',
      '-c',
      `echo $$ > "$0" && exec "$@"`,
      join(this.#cgroup, 'cgroup.procs'),
      ...argv,
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab.topology.run('rs1', [agentProgram, 'undo']);
    rmdirSync(this.#cgroup);
    await runChecked(['umount', this.#root]);
  }
}

export interface ServerCounts {
  readonly accepted: number;
  readonly answered: number;
  readonly malformed: number;
  readonly aborted: number;
  readonly silent: number;
}

/** Servers of all methods on rs1. */
export class AddressServers implements AsyncDisposable {
  readonly #processes: ReadonlyMap<string, ManagedProcess>;

  private constructor(processes: ReadonlyMap<string, ManagedProcess>) {
    this.#processes = processes;
  }

  static async start(agent: Agent): Promise<AddressServers> {
    const processes = new Map<string, ManagedProcess>();
    for (const method of methods) {
      for (const speaker of speakers) {
        const how = method === 'toa' ? 'peer' : method;
        // One socket for both families: IPv4 clients as mapped addresses, IPv6 clients of IPv4 connections as they are.
        const argv = [built('millrace_address_server'), how, speaker, '::', String(portOf(method, speaker))];
        processes.set(`${method} ${speaker}`, agent.launch(`address server ${method} ${speaker}`, argv));
      }
    }
    await Promise.all([...processes.values()].map((process) => process.waitForLine((line) => line.includes('ready'))));
    return new AddressServers(processes);
  }

  /** Ends them; what each has counted. */
  async end(): Promise<ReadonlyMap<string, ServerCounts>> {
    const counts = new Map<string, ServerCounts>();
    for (const [name, process] of this.#processes) {
      const line = process.waitForLine((text) => text.includes('accepted'));
      process.signal('SIGTERM');
      counts.set(name, JSON.parse(await line) as ServerCounts);
    }
    return counts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#processes.values()].map((process) => process.stop('SIGKILL')));
  }
}

export interface ClientResult {
  readonly ok: number;
  readonly wrongAddress: number;
  readonly badBytes: number;
  readonly reset: number;
  readonly failed: number;
  readonly hung: number;
  readonly sample: string;
}

export interface ClientOptions {
  readonly family: Family;
  readonly address: string;
  readonly port: number;
  readonly count: number;
  readonly atOnce?: number;
  readonly bytes?: number;
  readonly shape?: 'plain' | 'bytes' | 'at-once' | 'abort';
  readonly serverFirst?: boolean;
  readonly more?: readonly string[];
  readonly seconds?: number;
}

/** Connections of the client to a service, judged. */
export async function judgeConnections(lab: Lab, options: ClientOptions): Promise<ClientResult> {
  const seconds = options.seconds ?? 120;
  const words = [
    ...['--count', options.count, '--at-once', options.atOnce ?? 200, '--bytes', options.bytes ?? 2000, '--seconds', seconds],
    ...['--shape', options.shape ?? 'plain', '--from', plans[options.family].clients.join(',')],
    ...(options.serverFirst ? ['--server-first'] : []),
    ...(options.more ?? []),
    ...[options.address, options.port],
  ];
  const argv = lab.topology.argv('client', [built('millrace_address_client'), ...words.map(String)]);
  const result = await run(argv, { timeout: (seconds + 30) * 1000 });
  if (!result.stdout.startsWith('{')) throw new Error(`the client failed: ${result.stderr}${result.stdout}`);
  return JSON.parse(result.stdout) as ClientResult;
}

/** What a run without a fault looks like. */
export function allRight(count: number): ClientResult {
  return { ok: count, wrongAddress: 0, badBytes: 0, reset: 0, failed: 0, hung: 0, sample: '' };
}
