// Compares what came out with what must come out: bytes, order, time, counters. Placeholders of local addresses are bound to what the
// run chose, which must be one of the configured local addresses or in a pool, in the port range, the same each time, and never given twice
// towards one server; free header fields to values that the flow keeps (free-fields.ts). Guarantees: an empty list means equal; otherwise each line says one difference. Runs in tests only.

import { updatedChecksum } from '../../oracle/checksum.js';
import { type CapturedPacket, decodePacket, describePacket, diffPackets, ipBytes } from '../../support/packet/index.js';
import { EFFORT_COUNTERS, type GoldenCase } from './case.js';
import { FreeFields } from './free-fields.js';
import type { CaseConfig } from './network.js';

interface Binding {
  readonly address: string;
  readonly port: number;
  /** Protocol and server: what a pair must be unique for. */
  readonly towards: string;
}

/** The frame as if it came from another source address and port; checksums follow incrementally, so errors in them survive. */
export function withSource(frame: Uint8Array, address: string, port: number): Uint8Array {
  const { l3, l4, protocol } = decodePacket(frame);
  const out = Uint8Array.from(frame);
  const bytes = ipBytes(address);
  const ipv6 = bytes.length === 16;
  const addressAt = l3 + (ipv6 ? 8 : 12);
  const before = Uint8Array.from([...out.subarray(addressAt, addressAt + bytes.length), ...out.subarray(l4, l4 + 2)]);
  const after = Uint8Array.from([...bytes, port >> 8, port & 0xff]);
  const view = new DataView(out.buffer);
  if (!ipv6) view.setUint16(l3 + 10, updatedChecksum(view.getUint16(l3 + 10), before.subarray(0, 4), bytes));
  const checksumAt = l4 + (protocol === 17 ? 6 : 16);
  const checksum = view.getUint16(checksumAt);
  if (protocol !== 17 || checksum !== 0) {
    const updated = updatedChecksum(checksum, before, after);
    view.setUint16(checksumAt, protocol === 17 && updated === 0 ? 0xffff : updated);
  }
  out.set(bytes, addressAt);
  view.setUint16(l4, port);
  return out;
}

function sourceOf(frame: Uint8Array): Binding {
  const { fields } = decodePacket(frame);
  const port = Number(fields.get('tcp.sourcePort') ?? fields.get('udp.sourcePort') ?? 0);
  const transport = fields.has('tcp.flags') ? 'tcp' : 'udp';
  const to = fields.get('tcp.destinationPort') ?? fields.get('udp.destinationPort');
  return { address: String(fields.get('ip.source')), port, towards: `${transport} ${fields.get('ip.destination')} ${to}` };
}

/** Binds placeholders as packets come; a binding that may not be is a line of text. */
export class PlaceholderBindings {
  readonly #bound = new Map<string, Binding>();
  readonly #taken = new Map<string, string>();
  constructor(readonly config: CaseConfig) {}

  /** The expected frame with the placeholder `name` replaced by what `actual` shows at the first use, and any fault of that choice. */
  resolve(name: string, expected: Uint8Array, actual: Uint8Array): { readonly frame: Uint8Array; readonly faults: string[] } {
    const faults: string[] = [];
    let binding = this.#bound.get(name);
    if (binding === undefined) {
      binding = sourceOf(actual);
      faults.push(...this.#faultsOf(name, binding));
      this.#bound.set(name, binding);
    }
    const sameFamily = ipBytes(sourceOf(expected).address).length === (binding.address.includes(':') ? 16 : 4);
    return { frame: sameFamily ? withSource(expected, binding.address, binding.port) : expected, faults };
  }

  #faultsOf(name: string, { address, port, towards }: Binding): string[] {
    const faults: string[] = [];
    const [low = 0, high = 0] = this.config.localPorts.split('-').map(Number);
    const own = [...this.config.localAddresses, ...(this.config.snat ?? []).flatMap((rule) => rule.pool)];
    if (!own.includes(address)) faults.push(`local "${name}": ${address} is no local address`);
    if (port < low || port > high) faults.push(`local "${name}": port ${port} is outside ${this.config.localPorts}`);
    const key = `${address} ${port} ${towards}`;
    const other = this.#taken.get(key);
    if (other !== undefined)
      faults.push(`local "${name}": ${address}:${port} is already in use by "${other}" towards the same server`);
    this.#taken.set(key, name);
    return faults;
  }
}

/** Differences of the packets that came out, with both packets in one line each. */
export function comparePackets(golden: GoldenCase, actual: readonly CapturedPacket[]): string[] {
  const lines: string[] = [];
  const placeholders = new Map(golden.placeholders.flatMap((p) => (p.local === undefined ? [] : [[p.packet, p.local]])));
  const free = new Map(golden.placeholders.flatMap((p) => (p.free === undefined ? [] : [[p.packet, p.free]])));
  const bindings = new PlaceholderBindings(golden.config);
  const freeFields = new FreeFields();
  for (let i = 0; i < Math.max(golden.leaving.length, actual.length); i++) {
    const [want, got] = [golden.leaving[i], actual[i]];
    if (want === undefined && got !== undefined) lines.push(`packet ${i + 1} is too many: ${describePacket(got.bytes)}`);
    if (want !== undefined && got === undefined) lines.push(`packet ${i + 1} is missing: ${describePacket(want.bytes)}`);
    if (want === undefined || got === undefined) continue;
    const name = placeholders.get(i + 1);
    const flow = free.get(i + 1);
    const taken = flow === undefined ? { frame: want.bytes, faults: [] } : freeFields.resolve(flow, want.bytes, got.bytes);
    const local = name === undefined ? taken : bindings.resolve(name, taken.frame, got.bytes);
    const bound = { frame: local.frame, faults: [...new Set([...taken.faults, ...local.faults])] };
    const differences = [...bound.faults, ...diffPackets(bound.frame, got.bytes)];
    if (want.time !== got.time) differences.push(`time: expected ${want.time} ns, got ${got.time} ns`);
    if (differences.length === 0) continue;
    lines.push(`packet ${i + 1}:`, `  expected ${describePacket(bound.frame)}`, `  got      ${describePacket(got.bytes)}`);
    lines.push(...differences.map((d) => `  ${d}`));
  }
  return lines;
}

/** Differences of the counters: every traffic counter counts, those that the case does not name must be zero. */
export function compareCounters(expected: Readonly<Record<string, number>>, actual: Readonly<Record<string, bigint>>): string[] {
  const lines: string[] = [];
  for (const name of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    if (EFFORT_COUNTERS.has(name)) continue;
    const want = BigInt(expected[name] ?? 0);
    const got = actual[name];
    if (got === undefined) lines.push(`counter ${name} does not exist`);
    else if (got !== want) lines.push(`counter ${name}: expected ${want}, got ${got}`);
  }
  return lines;
}

const CONSUMED_STATES = ['forwarded', 'consumed', 'handoff_sent', 'held_packets'] as const;

/** The sums of native/core/counters.def, which hold for each worker whatever the traffic was. */
export function compareSums(counters: Readonly<Record<string, bigint>>, dropReasons: readonly string[]): string[] {
  const get = (name: string): bigint => counters[name] ?? 0n;
  const drops = dropReasons.reduce((sum, reason) => sum + get(reason), 0n);
  const received = get('rx_packets') + get('handoff_received');
  const accounted = CONSUMED_STATES.reduce((sum, name) => sum + get(name), drops);
  const lines: string[] = [];
  if (received !== accounted) lines.push(`received ${received} packets, accounted for ${accounted}`);
  if (get('tx_packets') !== get('forwarded') + get('originated')) {
    lines.push(`sent ${get('tx_packets')} packets, forwarded ${get('forwarded')} and originated ${get('originated')}`);
  }
  return lines;
}
