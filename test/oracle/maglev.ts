// Maglev tables as Linux builds them (net/netfilter/ipvs/ip_vs_mh.c), written from the description and not from native/: the kernel's
// description is the paper's (Eisenbud et al., NSDI 2016, 3.4) with weights as turns. Checked against a live kernel's mappings by
// test/unit/oracle/maglev.test.ts, which then makes the tables that test/native/schedulers/hashing_test.cc compares its own with.
// Guarantees: pure; no code shared with native/. Runs in tests only.

const MASK64 = (1n << 64n) - 1n;
const FIRST_KEY = 2_654_435_761n;
const SECOND_KEY = 2_654_446_892n;

function rotate(x: bigint, bits: bigint): bigint {
  return ((x << bits) | (x >> (64n - bits))) & MASK64;
}

/** Low 32 bits of SipHash-1-3 of a 32-bit number, with both halves of the key equal. */
export function hash32(value: number, key: bigint): number {
  const v = [key ^ 0x736f6d6570736575n, key ^ 0x646f72616e646f6dn, key ^ 0x6c7967656e657261n, key ^ 0x7465646279746573n];
  const get = (i: number): bigint => v[i] ?? 0n;
  const round = (): void => {
    v[0] = (get(0) + get(1)) & MASK64;
    v[1] = rotate(get(1), 13n) ^ get(0);
    v[0] = rotate(get(0), 32n);
    v[2] = (get(2) + get(3)) & MASK64;
    v[3] = rotate(get(3), 16n) ^ get(2);
    v[0] = (get(0) + get(3)) & MASK64;
    v[3] = rotate(get(3), 21n) ^ get(0);
    v[2] = (get(2) + get(1)) & MASK64;
    v[1] = rotate(get(1), 17n) ^ get(2);
    v[2] = rotate(get(2), 32n);
  };
  const block = (4n << 56n) | BigInt(value >>> 0);
  v[3] = get(3) ^ block;
  round();
  v[0] = get(0) ^ block;
  v[2] = get(2) ^ 0xffn;
  for (let i = 0; i < 3; i++) round();
  return Number((get(0) ^ get(1) ^ get(2) ^ get(3)) & 0xffff_ffffn);
}

/** The words of an address (one for IPv4, four for IPv6), joined by exclusive or. */
export function fold(words: readonly number[]): number {
  return words.reduce((a, b) => (a ^ b) >>> 0, 0);
}

export interface MaglevServer {
  readonly address: number;
  readonly port: number;
  readonly weight: number;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

const bitLength = (value: number): number => (value === 0 ? 0 : 32 - Math.clz32(value));

/** The table: per slot the index of its server, servers in the order of the kernel's list (the newest first). */
export function maglevTable(servers: readonly MaglevServer[], size: number): number[] {
  const divisor = servers.reduce((g, server) => gcd(g, server.weight), 0);
  if (divisor === 0) return [];
  const greatest = Math.max(...servers.map((server) => server.weight));
  const shift = Math.max(0, bitLength(Math.floor(greatest / divisor)) - Math.floor(bitLength(size) / 2));
  // Each server's list of slots in the order in which it wants them, walked lazily.
  const walks = servers.map(({ address, port, weight }) => ({
    at: hash32(address + port, FIRST_KEY) % size,
    skip: (hash32(address + port, SECOND_KEY) % (size - 1)) + 1,
    turns: weight === 0 ? 0 : Math.max(1, Math.floor(weight / divisor) >> shift),
  }));
  const table = new Array<number>(size).fill(-1);
  let free = size;
  while (free > 0) {
    for (const [index, walk] of walks.entries()) {
      for (let turn = 0; turn < walk.turns && free > 0; turn++) {
        while (table[walk.at] !== -1) walk.at = (walk.at + walk.skip) % size;
        table[walk.at] = index;
        free--;
      }
    }
  }
  return table;
}

/** The slot of a client's key. */
export function maglevSlot(key: number, size: number): number {
  return hash32(key, FIRST_KEY) % size;
}
