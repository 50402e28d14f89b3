// The whole lab in one object: wires, real servers, steering, configuration; what the demo, the playground and the tests start from.
// Guarantees: `start` leaves nothing behind when it fails; disposal ends the servers before it removes the wires.
// Thread: the main thread.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ForwardMode } from '../config/forward-mode.js';
import { families, interfaces, plans, realServerRoles, steeringRules } from './addresses.js';
import { Balancer, type BalancerOptions } from './balancer.js';
import { type LabConfigOptions, labConfig } from './config.js';
import { type LargeFile, writeLargeFile } from './large-file.js';
import { prepareServers } from './mode-setup.js';
import { labProgram } from './programs.js';
import { RealServer } from './real-server.js';
import { addSecondPath } from './second-path.js';
import { LabTopology } from './topology.js';
import { Traffic } from './traffic.js';

export interface LabOptions {
  readonly workers?: number;
  readonly prefix?: string;
  /** For all files; a new directory below the system's temporary one unless told. */
  readonly directory?: string;
  /** The real servers outlive this process. */
  readonly detached?: boolean;
  /** Without it, returns are spread like everything else and arrive at the wrong worker as often as not. */
  readonly steerLocalAddresses?: boolean;
  /** A way for real servers to answer clients themselves, and the client `far`: what the modes beside full NAT need. */
  readonly secondPath?: boolean;
}

export const defaultWorkers = 2;

export class Lab implements AsyncDisposable {
  readonly topology: LabTopology;
  readonly directory: string;
  readonly workers: number;
  readonly servers: readonly RealServer[];
  readonly traffic: Traffic;

  private constructor(topology: LabTopology, directory: string, workers: number, servers: readonly RealServer[]) {
    this.topology = topology;
    this.directory = directory;
    this.workers = workers;
    this.servers = servers;
    this.traffic = new Traffic(topology, directory);
  }

  static async start(options: LabOptions = {}): Promise<Lab> {
    const workers = options.workers ?? defaultWorkers;
    const prefix = options.prefix === undefined ? {} : { prefix: options.prefix };
    const topology = await LabTopology.create({ queues: workers, ...prefix });
    const directory = options.directory ?? mkdtempSync(join(process.env['MILLRACE_JAIL'] ? '/run' : tmpdir(), 'millrace-lab-'));
    const servers: RealServer[] = [];
    try {
      mkdirSync(join(directory, 'files'), { recursive: true });
      if (options.secondPath) await addSecondPath(topology);
      await steer(topology, workers, options.steerLocalAddresses ?? true);
      const vips = options.secondPath ? families.flatMap((family) => [plans[family].vip, plans[family].routedVip]) : [];
      const shared = { topology, directory, content: join(directory, 'files'), detached: options.detached ?? false, vips };
      const started = await Promise.allSettled(realServerRoles.map((role) => RealServer.start({ ...shared, role })));
      for (const result of started) if (result.status === 'fulfilled') servers.push(result.value);
      for (const result of started) if (result.status === 'rejected') throw result.reason;
      return new Lab(topology, directory, workers, servers);
    } catch (error) {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
      await topology[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Writes a configuration for the balancer and returns its path. */
  writeConfig(options: Omit<LabConfigOptions, 'workers'> & { readonly workers?: number } = {}, name = 'millrace.yaml'): string {
    const file = join(this.directory, name);
    writeFileSync(file, labConfig({ workers: this.workers, ...options }));
    return file;
  }

  startBalancer(configFile = this.writeConfig(), options: Partial<BalancerOptions> = {}): Promise<Balancer> {
    return Balancer.start({ topology: this.topology, configFile, ...options });
  }

  /** Makes a file that both real servers offer as /files/NAME. */
  writeFile(name: string, bytes: number): LargeFile {
    return writeLargeFile(join(this.directory, 'files', name), bytes);
  }

  /** Prepares the real servers for a mode instead of the one before, with `millrace realserver` where they answer clients themselves. */
  useMode(mode: ForwardMode): Promise<void> {
    return prepareServers(this.topology, mode, this.workers);
  }

  /** Changes what the far ends do with packets to local addresses. */
  steer(localAddresses: boolean): Promise<void> {
    return steer(this.topology, this.workers, localAddresses);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.servers.map((server) => server[Symbol.asyncDispose]()));
    await this.topology[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Clients' packets are spread by a hash, returns by their destination: what RSS and flow rules of a card would do. */
async function steer(topology: LabTopology, workers: number, localAddresses: boolean): Promise<void> {
  const rules = JSON.stringify(localAddresses ? steeringRules(workers) : []);
  const program = labProgram('steer-main');
  await topology.runChecked('client', [...program, interfaces.client, String(workers), '[]']);
  await topology.runChecked('net', [...program, interfaces.bridgePort, String(workers), rules]);
}
