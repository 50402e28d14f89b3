// Addresses as the C library reads and writes them, because ipvsadm accepts what inet_aton and inet_pton accept and prints inet_ntop.
// Guarantees: pure; never throws. src/config/address.ts is stricter on purpose: it refuses what a person did not mean.
// Thread: any.
import { isIPv6 } from 'node:net';

export interface IpAddress {
  readonly family: 4 | 6;
  /** The address as a number, most significant byte first. */
  readonly value: bigint;
}

/** The address of a fwmark service, which has none. */
export const NO_ADDRESS: IpAddress = { family: 4, value: 0n };

/** One number of inet_aton: decimal, 0x hexadecimal or 0 octal. */
function atonNumber(text: string): number | undefined {
  if (/^0[xX][0-9a-fA-F]+$/.test(text)) return Number.parseInt(text.slice(2), 16);
  if (/^0[0-7]*$/.test(text)) return Number.parseInt(text, 8);
  return /^[1-9][0-9]*$/.test(text) ? Number.parseInt(text, 10) : undefined;
}

/**
 * Reads an IPv4 address as inet_aton does: one to four parts, the last one fills the rest (10.0.9 is 10.0.0.9), and what follows
 * white space is not looked at. Undefined for anything else.
 */
export function parseAton(text: string): IpAddress | undefined {
  const parts = (text.split(/[ \t\n\v\f\r]/, 1)[0] ?? '').split('.').map(atonNumber);
  if (parts.length > 4) return undefined;
  let value = 0n;
  for (const [index, part] of parts.entries()) {
    const bytes = index === parts.length - 1 ? 5 - parts.length : 1;
    if (part === undefined || part >= 2 ** (8 * bytes)) return undefined;
    value = (value << BigInt(8 * bytes)) | BigInt(part);
  }
  return { family: 4, value };
}

/** Reads dotted IPv4 strictly, as inet_pton(AF_INET) does. */
export function parseDotted(text: string): IpAddress | undefined {
  return /^(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}$/.test(text) ? parseAton(text) : undefined;
}

function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const value = Number(parseAton(group)?.value ?? 0n);
    return [Math.floor(value / 65536), value % 65536];
  });
}

/** Reads IPv6 as inet_pton(AF_INET6) does: no zone, no brackets; an IPv4 tail is allowed. */
export function parseIpv6(text: string): IpAddress | undefined {
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const [head = '', tail] = text.split('::', 2);
  const [before, after] = [groupsOf(head), groupsOf(tail ?? '')];
  const groups = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
  return { family: 6, value: groups.reduce((sum, group) => (sum << 16n) | BigInt(group), 0n) };
}

/** The four 32-bit words of IPv6, or the one word of IPv4 followed by zeros: how both lie in one C union. */
export function wordsOf(address: IpAddress): readonly [number, number, number, number] {
  const word = (shift: bigint) => Number((address.value >> shift) & 0xffffffffn);
  return address.family === 4 ? [Number(address.value), 0, 0, 0] : [word(96n), word(64n), word(32n), word(0n)];
}

/** Dotted text of a 32-bit number. */
export function dotted(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
}

function ipv6Groups(value: bigint): number[] {
  return Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(16 * (7 - index))) & 0xffffn));
}

/** First longest run of at least two zero groups; length 0 when there is none. */
function zeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0;
    while (groups[start + length] === 0) length += 1;
    if (length >= 2 && length > best.length) best = { start, length };
  }
  return best;
}

/** Writes an address as inet_ntop does. */
export function formatAddress(address: IpAddress): string {
  if (address.family === 4) return dotted(Number(address.value));
  const groups = ipv6Groups(address.value);
  const run = zeroRun(groups);
  const embeds = run.start === 0 && (run.length === 6 || (run.length === 5 && groups[5] === 0xffff));
  if (embeds) return `::${run.length === 5 ? 'ffff:' : ''}${dotted(Number(address.value & 0xffffffffn))}`;
  const text = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':');
  if (run.length === 0) return text(groups);
  return `${text(groups.slice(0, run.start))}::${text(groups.slice(run.start + run.length))}`;
}

/** Eight groups of four digits, as the kernel writes IPv6 in /proc/net (%pI6). */
export function formatFullIpv6(address: IpAddress): string {
  return ipv6Groups(address.value)
    .map((group) => group.toString(16).padStart(4, '0'))
    .join(':');
}
