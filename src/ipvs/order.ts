// The two orders of a listing: the kernel's (hash buckets, newest first) and ipvsadm's (sorted).
// Guarantees: pure. ipvsadm subtracts 32-bit numbers to compare them, so an order of addresses more than 2^31 apart is cyclic
// (192.168.0.1 comes before 10.0.0.1) and depends on how the C library sorts; `sorted` does the same.
// Thread: any.
// Source: buckets and the order in them: /proc/net/ip_vs in test/ipvsadm/recordings; comparison: what libipvs's published source compares.
// The recordings hold no addresses far enough apart to show the cycle.
import { wordsOf } from './address.js';
import type { ServerKey, ServiceKey } from './model.js';

const BUCKETS = 256;

/**
 * Bucket of a service in the kernel's table. `salt` stands for the kernel's own: eight bits of where its namespace lies in memory,
 * which differ from boot to boot.
 */
export function bucketOf(key: ServiceKey, salt: number): number {
  if (key.fwmark !== 0) return (key.fwmark ^ salt) & (BUCKETS - 1);
  const folded = wordsOf(key.address).reduce((sum, word) => sum ^ word, 0);
  return (key.protocol ^ folded ^ salt ^ (key.port >> 8) ^ key.port) & (BUCKETS - 1);
}

/** Difference of two 32-bit numbers as a C int. */
function difference(left: number, right: number): number {
  return (left - right) | 0;
}

function compareAddresses(left: ServerKey, right: ServerKey): number {
  const [leftWords, rightWords] = [wordsOf(left.address), wordsOf(right.address)];
  const words = left.address.family === 6 ? 4 : 1;
  for (let index = 0; index < words; index += 1) {
    const order = difference(leftWords[index] ?? 0, rightWords[index] ?? 0);
    if (order !== 0) return order;
  }
  return left.port - right.port;
}

/** Order of services: mark (as a signed number), family, protocol, address, port. */
export function compareServices(left: ServiceKey, right: ServiceKey): number {
  return (
    difference(left.fwmark, right.fwmark) ||
    left.family - right.family ||
    left.protocol - right.protocol ||
    compareAddresses(left, right)
  );
}

/** Order of servers: address, port. IPv4 and IPv6 are compared by their first 32 bits. */
export function compareServers(left: ServerKey, right: ServerKey): number {
  return compareAddresses(left, right);
}

/** Sorts as qsort of glibc does: a merge sort of two halves, the second one the longer. */
export function sorted<T>(items: readonly T[], compare: (left: T, right: T) => number): T[] {
  if (items.length < 2) return [...items];
  const middle = Math.floor(items.length / 2);
  const [left, right] = [sorted(items.slice(0, middle), compare), sorted(items.slice(middle), compare)];
  const merged: T[] = [];
  let [l, r] = [0, 0];
  while (l < left.length && r < right.length) {
    const [a, b] = [left[l] as T, right[r] as T];
    if (compare(a, b) <= 0) {
      merged.push(a);
      l += 1;
    } else {
      merged.push(b);
      r += 1;
    }
  }
  return [...merged, ...left.slice(l), ...right.slice(r)];
}
