// "Did you mean": the known word closest to a mistyped one.
// Guarantees: pure; bounded work (words longer than 64 characters get no suggestion).
// Thread: any.

/** What people who come from other load balancers write, and what it is called here. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  vip: 'address',
  ip: 'address',
  host: 'address',
  device: 'interface',
  dev: 'interface',
  gateway: 'via',
  nexthop: 'via',
  reals: 'servers',
  realservers: 'servers',
  realserver: 'servers',
  backends: 'servers',
  endpoints: 'servers',
  upstreams: 'servers',
  virtualservers: 'services',
  listeners: 'services',
  laddr: 'localAddresses',
  laddrs: 'localAddresses',
  lips: 'localAddresses',
  snatpool: 'localAddresses',
  lvssched: 'scheduler',
  lbalgo: 'scheduler',
  algorithm: 'scheduler',
  lbkind: 'mode',
  lvsmethod: 'mode',
  forward: 'mode',
  proto: 'protocol',
  bps: 'rateLimit',
  bandwidth: 'rateLimit',
  bandwidthlimit: 'rateLimit',
  packetrate: 'rateLimit',
  limitproportion: 'rateLimit',
  pps: 'rateLimit',
  ratelimits: 'rateLimit',
  threads: 'workers',
  cores: 'workers',
  arp: 'neighbours',
  roundrobin: 'rr',
  leastconn: 'lc',
  leastconnection: 'lc',
  maglev: 'mh',
  sourcehash: 'sh',
  source: 'sh',
  ketama: 'conhash',
  random: 'twos',
  quic: 'quic-cid',
  weighted: 'wrr',
};

/** The candidate that was most likely meant, or undefined when none is near. */
export function suggest(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > 64) return undefined;
  const plain = normalise(word);
  const other = Object.hasOwn(OTHER_NAMES, plain) ? OTHER_NAMES[plain] : undefined;
  if (other !== undefined && candidates.includes(other)) return other;
  let best: string | undefined;
  let bestDistance = Math.min(2, Math.floor(plain.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(plain, normalise(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function normalise(word: string): string {
  return word.toLowerCase().replaceAll(/[_\s-]/g, '');
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
