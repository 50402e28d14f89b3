// tcpdump as a witness: what was really on a wire, told by a program that knows nothing of Millrace.
// Guarantees: `start` returns when the capture listens, so that nothing after it is missed.
// Thread: the test's process; tcpdump is a process of its own.
import type { Role } from '../../../src/lab/addresses.js';
import type { Lab } from '../../../src/lab/lab.js';
import type { ManagedProcess } from '../../../src/lab/managed-process.js';

export class Capture implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #process: ManagedProcess;

  private constructor(process: ManagedProcess) {
    this.#process = process;
    process.onLine((line) => this.lines.push(line));
  }

  static async start(lab: Lab, role: Role, device: string, filter: string): Promise<Capture> {
    // One stream for packets and messages: "listening on" is a message.
    const command = 'exec tcpdump -l -n -e -i "$0" "$1" 2>&1';
    const process = lab.topology.start(`tcpdump on ${device} of ${role}`, role, ['sh', '-c', command, device, filter]);
    const capture = new Capture(process);
    await process.waitForLine((line) => line.includes('listening on'));
    capture.lines.length = 0;
    return capture;
  }

  /** Resolves with the first packet, past or future, whose line matches. */
  packet(pattern: RegExp, timeout = 10_000): Promise<string> {
    return this.#process.waitForLine((line) => pattern.test(line), timeout);
  }

  /** Ends the capture; what was on the wire until now is in `lines`. */
  async stop(): Promise<string[]> {
    await this.#process.stop('SIGINT');
    return this.lines.filter((line) => / > /.test(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop();
  }
}
