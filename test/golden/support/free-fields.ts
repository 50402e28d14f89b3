// Header fields that are the balancer's to choose: the identification of an IPv4 header that it makes where DF is not set, the flow
// label of an IPv6 one, and the source port of a GUE packet. An expected packet takes them from what came out. Guarantees: port and
// label must be those of the flow each time, the port in the dynamic range; an identification must not come twice in one flow.
// Runs in tests only.

import { internetChecksum, pseudoHeaderSum } from '../../oracle/checksum.js';

const L3 = 14;
const FIRST_DYNAMIC_PORT = 49152;

interface Bound {
  readonly constant: string;
  readonly ids: Set<number>;
}

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
/** Flows are named after their mode (flow.ts). */
const isGue = (flow: string): boolean => flow.startsWith('gue ');

/** Copies the free fields of `actual` into `expected`; checksums that cover them follow. */
function taken(
  flow: string,
  expected: Uint8Array,
  actual: Uint8Array,
): { readonly frame: Uint8Array; readonly constant: string; readonly id?: number } {
  const out = Uint8Array.from(expected);
  const ipv6 = u16(out, 12) === 0x86dd;
  const l4 = L3 + (ipv6 ? 40 : 20);
  const copy = (at: number, length: number): void => out.set(actual.subarray(at, at + length), at);
  const port = isGue(flow) ? u16(actual, l4) : 0;
  if (port !== 0) copy(l4, 2);
  const view = new DataView(out.buffer);
  if (!ipv6) {
    const mayBeCut = (u16(expected, L3 + 6) & 0x4000) === 0;
    if (mayBeCut) copy(L3 + 4, 2);
    view.setUint16(L3 + 10, 0);
    view.setUint16(L3 + 10, internetChecksum(out.subarray(L3, L3 + 20)));
    return { frame: out, constant: `${port}`, ...(mayBeCut ? { id: u16(actual, L3 + 4) } : {}) };
  }
  view.setUint16(L3, (u16(out, L3) & 0xfff0) | (u16(actual, L3) & 0xf));
  copy(L3 + 2, 2);
  if (port !== 0) {
    view.setUint16(l4 + 6, 0);
    const sum = pseudoHeaderSum(out.subarray(L3 + 8, L3 + 24), out.subarray(L3 + 24, L3 + 40), 17, out.length - l4);
    view.setUint16(l4 + 6, internetChecksum(out.subarray(l4), sum) || 0xffff);
  }
  return { frame: out, constant: `${port} ${u16(actual, L3) & 0xf} ${u16(actual, L3 + 2)}` };
}

export class FreeFields {
  readonly #bound = new Map<string, Bound>();

  resolve(flow: string, expected: Uint8Array, actual: Uint8Array): { readonly frame: Uint8Array; readonly faults: string[] } {
    if (actual.length < expected.length) return { frame: expected, faults: [] };
    const { frame, constant, id } = taken(flow, expected, actual);
    const faults: string[] = [];
    const bound = this.#bound.get(flow) ?? { constant, ids: new Set<number>() };
    this.#bound.set(flow, bound);
    if (bound.constant !== constant) faults.push(`flow "${flow}": port or label ${constant}, before ${bound.constant}`);
    if (isGue(flow) && Number(constant.split(' ')[0]) < FIRST_DYNAMIC_PORT)
      faults.push(`flow "${flow}": the source port is outside the dynamic range`);
    if (id !== undefined && bound.ids.has(id)) faults.push(`flow "${flow}": identification ${id} comes twice`);
    if (id !== undefined) bound.ids.add(id);
    return { frame, faults };
  }
}
