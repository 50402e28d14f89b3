// Captures at several places at once, judged by tshark: whether each checksum that was on a wire is right. tcpdump and tshark know nothing
// of Millrace.
// Guarantees: `start` returns when all captures listen; `judge` sees everything up to the marker that it was told to wait for; what
// tshark cannot check is not counted as right.
// Thread: the test's process; tcpdump and tshark are processes of their own.
import { closeSync, fstatSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Role } from '../../../src/lab/addresses.js';
import { runChecked } from '../../../src/lab/command.js';
import type { Lab } from '../../../src/lab/lab.js';
import type { ManagedProcess } from '../../../src/lab/managed-process.js';

export type Place = readonly [role: Role, device: string];

export interface Judgement {
  readonly packets: number;
  /** Checksums that tshark found right, by protocol. */
  readonly right: Readonly<Record<string, number>>;
  /** One line per packet with a wrong checksum: protocols, addresses and ports. */
  readonly wrong: readonly string[];
  /** ICMP errors that say what size would fit. */
  readonly tooBig: number;
}

const checksums = ['ip', 'tcp', 'udp', 'icmp', 'icmpv6', 'sctp'];
const shown = ['ip.src', 'ip.dst', 'ipv6.src', 'ipv6.dst', 'tcp.srcport', 'tcp.dstport', 'udp.srcport', 'udp.dstport'];
const validation = [
  ...['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]),
  ...['-o', 'sctp.checksum:CRC 32c'],
  // Only headers matter here: putting streams and bodies of 100 MiB together takes minutes.
  ...['-o', 'tcp.desegment_tcp_streams:FALSE', '-o', 'tcp.analyze_sequence_numbers:FALSE', '--disable-protocol', 'http'],
];
const fields = [
  ...checksums.map((name) => `${name}.checksum.status`),
  'icmp.type',
  'icmp.code',
  'icmpv6.type',
  'tcp.checksum',
  ...shown,
];

// Wireshark has no dissector of its own for GUE (draft-ietf-intarea-gue, variant 0).
const gueDissector = `local gue = Proto("gue_lab", "GUE")
function gue.dissector(buffer, pinfo, tree)
  local name = ({ [4] = "ip", [41] = "ipv6" })[buffer(1, 1):uint()]
  if name then Dissector.get(name):call(buffer(4):tvb(), pinfo, tree) end
end
DissectorTable.get("udp.port"):add(6080, gue)
`;

interface Capture {
  readonly file: string;
  readonly process: ManagedProcess;
}

export class Witness implements AsyncDisposable {
  readonly #captures: readonly Capture[];
  readonly #script: string;

  private constructor(captures: readonly Capture[], script: string) {
    this.#captures = captures;
    this.#script = script;
  }

  static async start(lab: Lab, places: readonly Place[]): Promise<Witness> {
    const script = join(lab.directory, 'gue.lua');
    writeFileSync(script, gueDissector);
    const captures = places.map(([role, device]) => {
      const file = join(lab.directory, `${role}-${device}.pcap`);
      // One stream for data and messages: "listening on" is a message.
      const command = 'exec tcpdump --immediate-mode -U -n -B 32768 -i "$0" -w "$1" 2>&1';
      const process = lab.topology.start(`tcpdump on ${device} of ${role}`, role, ['sh', '-c', command, device, file]);
      return { file, process };
    });
    const witness = new Witness(captures, script);
    try {
      await Promise.all(captures.map(({ process }) => process.waitForLine((line) => line.includes('listening on'))));
    } catch (error) {
      await witness[Symbol.asyncDispose]();
      throw error;
    }
    return witness;
  }

  /** Ends the captures, once `seen` of those at these indexes have the marker, and asks tshark; one judgement per place. */
  async judge(marker: string, seen: (has: readonly boolean[]) => boolean): Promise<Judgement[]> {
    const has = () => this.#captures.map(({ file }) => tailOf(file).includes(marker));
    await expect.poll(() => seen(has()), { timeout: 10_000 }).toBe(true);
    await Promise.all(this.#captures.map(({ process }) => process.stop('SIGINT')));
    const judgements: Judgement[] = [];
    for (const { file } of this.#captures) judgements.push(await this.#judge(file));
    return judgements;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#captures.map(({ process }) => process.stop('SIGKILL')));
    for (const { file } of this.#captures) rmSync(file, { force: true });
  }

  async #judge(file: string): Promise<Judgement> {
    const right: Record<string, number> = {};
    const wrong: string[] = [];
    let packets = 0;
    let tooBig = 0;
    const onLine = (line: string) => {
      packets += 1;
      const columns = line.split('\t');
      const [icmpType = '', icmpCode = '', icmpv6Type = '', sums = ''] = columns.slice(checksums.length);
      // An ICMP error quotes the beginning of a packet; a checksum over all of it cannot be checked, though tshark tries.
      const isError = /^(3|11|12)(,|$)/.test(icmpType) || /^[1-4](,|$)/.test(icmpv6Type);
      for (const [index, name] of checksums.entries()) {
        if (isError && !name.startsWith('i')) continue;
        let states = columns[index]?.split(',') ?? [];
        // In one's complement 0xffff is 0. Linux writes it for TCP too; tshark would have the other one, though the sum is right.
        if (name === 'tcp') states = states.filter((_, layer) => sums.split(',')[layer] !== '0xffff');
        const good = states.filter((state) => state === '1').length;
        if (good > 0) right[name] = (right[name] ?? 0) + good;
        if (states.includes('0'))
          wrong.push(
            `${name}: ${columns
              .slice(checksums.length + 4)
              .filter(Boolean)
              .join(' ')}`,
          );
      }
      if ((/^3(,|$)/.test(icmpType) && /^4(,|$)/.test(icmpCode)) || /^2(,|$)/.test(icmpv6Type)) tooBig += 1;
    };
    let rest = '';
    const onData = (chunk: Buffer) => {
      const lines = `${rest}${chunk.toString()}`.split('\n');
      rest = lines.pop() ?? '';
      lines.forEach(onLine);
    };
    const output = ['-T', 'fields', '-E', 'occurrence=a', '-E', 'aggregator=,', ...fields.flatMap((field) => ['-e', field])];
    const argv = ['tshark', '-n', '-r', file, '-X', `lua_script:${this.#script}`, ...validation, ...output];
    await runChecked(argv, { timeout: 170_000, onData });
    return { packets, right, wrong, tooBig };
  }
}

function tailOf(file: string): string {
  const descriptor = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(65_536);
    const start = Math.max(0, fstatSync(descriptor).size - buffer.length);
    return buffer.subarray(0, readSync(descriptor, buffer, 0, buffer.length, start)).toString('latin1');
  } finally {
    closeSync(descriptor);
  }
}
