// SCTP in the lab: echo servers and clients that bring their own stack (test/lab/sctp_echo.c).
// Guarantees: servers listen when `start` returns; only addresses that a server has are listened on.
// Thread: the test's process; the programs are processes of their own.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sctpPort } from '../../../src/lab/addresses.js';
import { run } from '../../../src/lab/command.js';
import type { Lab } from '../../../src/lab/lab.js';
import type { ManagedProcess } from '../../../src/lab/managed-process.js';
import type { EchoResult } from '../../../src/lab/traffic.js';

const program = fileURLToPath(new URL('../../../build/native/millrace_sctp_echo', import.meta.url));

export interface SctpOptions {
  readonly address: string;
  readonly associations: number;
  readonly messages: number;
  readonly size: number;
}

export class SctpServers implements AsyncDisposable {
  readonly #processes: readonly ManagedProcess[];

  private constructor(processes: readonly ManagedProcess[]) {
    this.#processes = processes;
  }

  /** On every address that each real server has now. */
  static async start(lab: Lab): Promise<SctpServers> {
    if (!existsSync(program)) throw new Error(`${program} does not exist: run "npm run build:native" first`);
    const processes = await Promise.all(
      lab.servers.map(async ({ role }) => {
        const list = await lab.topology.runChecked(role, ['ip', '-o', 'address', 'show']);
        const all = [...list.matchAll(/inet6? ([0-9a-f.:]+)/g)].map((match) => match[1] ?? '');
        const addresses = all.filter((address) => !/^(127\.|::1$|fe80:)/.test(address));
        return lab.topology.start(`SCTP echo of ${role}`, role, [program, 'server', role, String(sctpPort), ...addresses]);
      }),
    );
    const servers = new SctpServers(processes);
    try {
      await Promise.all(processes.map((process) => process.waitForLine((line) => line === 'ready')));
    } catch (error) {
      await servers[Symbol.asyncDispose]();
      throw error;
    }
    return servers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop('SIGKILL')));
  }
}

/** Associations from the client, one after the other, each with so many messages there and back. */
export async function sctpEcho(lab: Lab, options: SctpOptions): Promise<EchoResult> {
  // Over IPv6 the stack leaves the source to the kernel, and must be bound to the one that the kernel takes.
  const route = await lab.topology.runChecked('client', ['ip', '-o', 'route', 'get', options.address]);
  const source = / src (\S+)/.exec(route)?.[1] ?? '';
  const words = [options.address, sctpPort, source, options.associations, options.messages, options.size].map(String);
  const argv = lab.topology.argv('client', [program, 'client', ...words]);
  const result = await run(argv, { timeout: 60_000 });
  if (!result.stdout.startsWith('{')) throw new Error(`the SCTP client failed: ${result.stderr}${result.stdout}`);
  return JSON.parse(result.stdout) as EchoResult;
}
