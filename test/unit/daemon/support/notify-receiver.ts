// A service manager's end of NOTIFY_SOCKET: Node.js has no datagram sockets of AF_UNIX, so Python listens and prints.
import { ManagedProcess } from '../../../../src/lab/managed-process.js';

const listener = `
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
print('bound', flush=True)
while True:
    print(json.dumps(s.recv(65536).decode()), flush=True)
`;

/** Milliseconds: a busy machine is slow, a message that never comes is a failure with words. */
const PATIENCE = 25_000;

export class NotifyReceiver implements AsyncDisposable {
  readonly socket: string;
  readonly #process: ManagedProcess;
  readonly #messages: string[][] = [];
  #read = 0;
  #wake = (): void => undefined;

  private constructor(socket: string, process: ManagedProcess) {
    this.socket = socket;
    this.#process = process;
    process.onLine((line) => {
      if (!line.startsWith('"')) return;
      this.#messages.push(String(JSON.parse(line)).split('\n'));
      this.#wake();
    });
    void process.exited.then(() => this.#wake());
  }

  static async start(socket: string): Promise<NotifyReceiver> {
    const process = ManagedProcess.start('notify receiver', ['python3', '-c', listener, socket]);
    const receiver = new NotifyReceiver(socket, process);
    await process.waitForLine((line) => line === 'bound');
    return receiver;
  }

  /** The next message that nobody has taken yet, by lines. */
  async next(): Promise<readonly string[]> {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const message = this.#messages[this.#read];
      if (message !== undefined) {
        this.#read++;
        return message;
      }
      if (!this.#process.running) throw new Error(`the receiver ended: ${this.#process.tail()}`);
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`no message within ${PATIENCE / 1000} s; so far: ${JSON.stringify(this.#messages)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Takes messages until `count` of them were accepted; all messages from the beginning. */
  async until(accept: (lines: readonly string[]) => boolean, count = 1): Promise<readonly (readonly string[])[]> {
    for (let found = 0; found < count; ) if (accept(await this.next())) found++;
    return this.#messages.slice(0, this.#read);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop('SIGKILL');
  }
}
