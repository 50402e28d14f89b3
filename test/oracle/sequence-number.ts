// Initial sequence numbers as native/pipeline/client_address.cc draws them (RFC 6528 3): SipHash-2-4 of the server's side of a connection,
// plus a clock of 64 ns; the key comes from the seed. Written from the paper (Aumasson and Bernstein, 2012), sharing no code with native/.
// Runs in tests only.

import { parseAddress } from '../../src/config/address.js';

const MASK = (1n << 64n) - 1n;
const rotate = (x: bigint, bits: bigint): bigint => ((x << bits) | (x >> (64n - bits))) & MASK;

export function sipHash24(low: bigint, high: bigint, bytes: Uint8Array): bigint {
  let [v0, v1, v2, v3] = [
    low ^ 0x736f6d6570736575n,
    high ^ 0x646f72616e646f6dn,
    low ^ 0x6c7967656e657261n,
    high ^ 0x7465646279746573n,
  ];
  const round = (): void => {
    v0 = (v0 + v1) & MASK;
    v1 = rotate(v1, 13n) ^ v0;
    v0 = rotate(v0, 32n);
    v2 = (v2 + v3) & MASK;
    v3 = rotate(v3, 16n) ^ v2;
    v0 = (v0 + v3) & MASK;
    v3 = rotate(v3, 21n) ^ v0;
    v2 = (v2 + v1) & MASK;
    v1 = rotate(v1, 17n) ^ v2;
    v2 = rotate(v2, 32n);
  };
  const word = (from: number, count: number): bigint => {
    let value = 0n;
    for (let i = count - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[from + i] ?? 0);
    return value;
  };
  const take = (m: bigint): void => {
    v3 ^= m;
    round();
    round();
    v0 ^= m;
  };
  const whole = bytes.length - (bytes.length % 8);
  for (let at = 0; at < whole; at += 8) take(word(at, 8));
  take(word(whole, bytes.length % 8) | (BigInt(bytes.length & 0xff) << 56n));
  v2 ^= 0xffn;
  for (let i = 0; i < 4; i++) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

/** SplitMix64's finaliser, as native/core/hash.h spreads seeds. */
function mix64(start: bigint): bigint {
  let x = (start + 0x9e3779b97f4a7c15n) & MASK;
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return x ^ (x >> 31n);
}

export interface ServerSide {
  readonly local: { readonly address: string; readonly port: number };
  readonly server: { readonly address: string; readonly port: number };
}

/** 16 bytes; IPv4 as ::ffff:a.b.c.d. */
function addressBytes(text: string): Uint8Array {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  const value = address.family === 4 ? (0xffffn << 32n) | address.value : address.value;
  return Uint8Array.from({ length: 16 }, (_, i) => Number((value >> BigInt(8 * (15 - i))) & 0xffn));
}

/** Of worker 0. `nowMs`: the balancer's clock. */
export function initialSequence(seed: bigint, { local, server }: ServerSide, nowMs: number): number {
  const a = mix64(seed) | 1n;
  const b = mix64(seed ^ 0x5851f42d4c957f2dn) | 1n;
  const input = new Uint8Array(48);
  input.set(addressBytes(local.address), 0);
  input.set(addressBytes(server.address), 16);
  const view = new DataView(input.buffer);
  view.setUint16(32, local.port);
  view.setUint16(34, server.port);
  view.setUint8(40, 1); // a number's purpose: sequence
  const hash = sipHash24(mix64(a ^ mix64(0n)), mix64(b ^ mix64(0x5ec2e7n)), input);
  return Number((hash + BigInt(nowMs) * 15_625n) & 0xffffffffn);
}
