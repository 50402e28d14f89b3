// What a real server can be prepared for, and the reading of the command line's words for it.
// Guarantees: pure; addresses come out in one canonical text each, duplicates are gone, and what no packet could carry is refused with
// the reason.
// Thread: any; no state.
import { type Address, addressFault, networkOf, parseAddress, parsePrefix } from '../config/address.js';

export const modes = ['direct', 'tunnel', 'l3dsr'] as const;
export type Mode = (typeof modes)[number];

export const tunnelTypes = ['ipip', 'gre', 'gue'] as const;
export type TunnelType = (typeof tunnelTypes)[number];

/** What takes the tunnel off: a device of the kernel, or our program at the ingress hook. */
export type Decapsulator = 'kernel' | 'bpf';

export const defaultGuePort = 6080;

export interface DirectSetup {
  readonly mode: 'direct';
  readonly vips: readonly string[];
  /** Where the balancer's packets come in. */
  readonly interfaces: readonly string[];
}

export interface TunnelSetup {
  readonly mode: 'tunnel';
  readonly vips: readonly string[];
  readonly interfaces: readonly string[];
  readonly types: readonly TunnelType[];
  readonly guePort: number;
  /** Outer sources that are believed, as "address/length". */
  readonly from: readonly string[];
  readonly device: Decapsulator;
  /** The balancer sends GRE with checksums. Matters to the kernel's device only; our program takes both. */
  readonly greChecksum: boolean;
}

export interface Mark {
  readonly dscp: number;
  readonly vip: string;
}

export interface L3dsrSetup {
  readonly mode: 'l3dsr';
  readonly interfaces: readonly string[];
  readonly marks: readonly Mark[];
}

export type Setup = DirectSetup | TunnelSetup | L3dsrSetup;

/** A word that cannot be used, with the reason as a sentence for the command line. */
export class SetupWordError extends Error {}

export function vipsOf(setup: Setup): readonly string[] {
  return setup.mode === 'l3dsr' ? unique(setup.marks.map((mark) => mark.vip)) : setup.vips;
}

export function isIpv6(address: string): boolean {
  return address.includes(':');
}

export function unique<T>(items: readonly T[]): readonly T[] {
  return [...new Set(items)];
}

/** "203.0.113.10,2001:db8::10" -> canonical addresses. */
export function parseVips(words: string): readonly string[] {
  return unique(split(words).map((word) => parseVip(word).text));
}

function parseVip(word: string): Address {
  const address = parseAddress(word);
  if (address === undefined) throw new SetupWordError(`"${word}" is not an IPv4 or IPv6 address.`);
  const fault = addressFault(address);
  if (fault !== undefined) throw new SetupWordError(`${word} is a ${fault} address and cannot be a VIP.`);
  return address;
}

/** An address or a prefix of balancers -> "network/length". */
export function parseFrom(word: string): string {
  const whole = word.includes('/') ? word : `${word}/${word.includes(':') ? 128 : 32}`;
  const prefix = parsePrefix(whole);
  if (prefix === undefined) throw new SetupWordError(`"${word}" is neither an address nor a prefix such as 192.0.2.0/24.`);
  const network = networkOf(prefix);
  if (network.value !== prefix.address.value) {
    throw new SetupWordError(`${word} has bits behind its prefix length; write ${network.text}/${prefix.length}.`);
  }
  return `${network.text}/${prefix.length}`;
}

/** "ipip,gre" -> types, in the order of `tunnelTypes`. */
export function parseTypes(words: string): readonly TunnelType[] {
  const wanted = split(words);
  for (const word of wanted) {
    if (!tunnelTypes.some((type) => type === word))
      throw new SetupWordError(`"${word}" is no type of tunnel; there are ${tunnelTypes.join(', ')}.`);
  }
  return tunnelTypes.filter((type) => wanted.includes(type));
}

/** Pairs DSCPs with VIPs: one DSCP for one VIP per family, or as many DSCPs as VIPs, in the same order. */
export function parseMarks(vipWords: string, dscpWords: string): readonly Mark[] {
  const vips = split(vipWords).map((word) => parseVip(word).text);
  const dscps = split(dscpWords).map(parseDscp);
  if (dscps.length !== 1 && dscps.length !== vips.length) {
    throw new SetupWordError(`${vips.length} VIPs and ${dscps.length} DSCPs do not pair up: give one DSCP, or one per VIP.`);
  }
  const marks = vips.map((vip, i) => ({ dscp: dscps[dscps.length === 1 ? 0 : i] ?? 0, vip }));
  for (const [i, mark] of marks.entries()) {
    const rival = marks.find((other, j) => j < i && other.dscp === mark.dscp && isIpv6(other.vip) === isIpv6(mark.vip));
    if (rival === undefined) continue;
    const family = isIpv6(mark.vip) ? 'IPv6' : 'IPv4';
    throw new SetupWordError(`DSCP ${mark.dscp} cannot stand for ${rival.vip} and ${mark.vip}: one ${family} VIP per DSCP.`);
  }
  return marks;
}

function parseDscp(word: string): number {
  const value = Number(word);
  // 0 is what every unmarked packet has.
  if (!/^\d+$/.test(word) || value < 1 || value > 63) throw new SetupWordError(`"${word}" is no DSCP from 1 to 63.`);
  return value;
}

function split(words: string): readonly string[] {
  const list = words.split(',').map((word) => word.trim());
  if (list.includes('')) throw new SetupWordError(`"${words}" has an empty place between commas.`);
  return list;
}
