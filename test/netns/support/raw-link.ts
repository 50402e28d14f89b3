// One end of a link in the hands of a test: whole Ethernet frames out and in, with no protocol stack in between that would add, answer or
// swallow anything.
// Guarantees: frames that arrived before they are asked for are kept; what this end sent is not among them.
// Thread: the test's process; a small program holds the packet socket inside the namespace and ends with its standard input.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

// Frames travel as lines of hexadecimal digits. Type 4 are frames that left through the socket's own device. The kernel takes the outer
// VLAN tag out of a frame before a packet socket sees it, and says so beside the frame (PACKET_AUXDATA, packet(7)): it is put back.
const bridge = `
import os, select, socket, struct, sys
SOL_PACKET, PACKET_AUXDATA = 263, 8
VLAN_VALID, TPID_VALID = 1 << 4, 1 << 6
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
link.bind((sys.argv[1], 0))
print("ready", flush=True)
pending = b""
def tag_of(ancillary):
    for level, kind, data in ancillary:
        if level != SOL_PACKET or kind != PACKET_AUXDATA: continue
        status, _, _, _, _, control, protocol = struct.unpack("=IIIHHHH", data[:20])
        if status & VLAN_VALID: return struct.pack("!HH", protocol if status & TPID_VALID else 0x8100, control)
    return b""
while True:
    for source in select.select([0, link], [], [])[0]:
        if source is link:
            frame, ancillary, _, address = link.recvmsg(65536, 256)
            if address[2] != 4: print((frame[:12] + tag_of(ancillary) + frame[12:]).hex(), flush=True)
        else:
            data = os.read(0, 65536)
            if not data: sys.exit(0)
            *lines, pending = (pending + data).split(b"\\n")
            for line in lines: link.send(bytes.fromhex(line.decode()))
`;

type Accept<T> = (frame: Uint8Array) => T | undefined;

export class RawLink implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #frames: Uint8Array[] = [];
  #wake: () => void = () => {};
  #complaint = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = new Promise((resolve) => child.once('close', resolve));
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#complaint += chunk.toString();
    });
  }

  /** Opens the device in a namespace; resolves when it listens. */
  static async open(namespace: string, device: string): Promise<RawLink> {
    const argv = ['netns', 'exec', namespace, '/usr/bin/python3', '-c', bridge, device];
    const child = spawn('ip', argv, { stdio: ['pipe', 'pipe', 'pipe'] });
    const link = new RawLink(child);
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', () => reject(new Error(`no frames from ${device}: ${link.#complaint}`)));
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (line === 'ready') resolve();
        else link.#frames.push(Uint8Array.from(Buffer.from(line, 'hex')));
        link.#wake();
      });
    });
    return link;
  }

  send(...frames: readonly Uint8Array[]): void {
    this.#child.stdin?.write(frames.map((frame) => `${Buffer.from(frame).toString('hex')}\n`).join(''));
  }

  /** The first frame, of those kept or to come, that `accept` makes something of; it and those before it are kept no more. */
  async receive<T>(accept: Accept<T>, timeout = 5_000): Promise<T> {
    const late = Symbol('late');
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<typeof late>((resolve) => {
      timer = setTimeout(resolve, timeout, late);
    });
    try {
      for (;;) {
        const woken = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        for (let frame = this.#frames.shift(); frame !== undefined; frame = this.#frames.shift()) {
          const result = accept(frame);
          if (result !== undefined) return result;
        }
        if ((await Promise.race([woken, deadline])) === late)
          throw new Error(`no such frame within ${timeout} ms ${this.#complaint}`);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Forgets what arrived. */
  clear(): void {
    this.#frames.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    await this.#exited;
  }
}
