// The configurations that the control benchmark is made with, and small tools of its parts.
// Plain Node. Guarantees: the same sizes give the same configuration; every server has a static neighbour, so that nothing waits for ARP.
// Thread: main.

/** Ends of the veth pair: Millrace has the first one. */
export const INTERFACE = 'mrbench0';
export const PEER = 'mrbench1';

/** Addresses that all servers share: mode direct tells them apart by service, and the kernel's tables stay small. */
const HOSTS = 100;

const host = (n) => `10.0.0.${1 + (n % HOSTS)}`;

function base(services) {
  return {
    workers: 2,
    interfaces: [{ name: INTERFACE }],
    dataplane: { polling: 'interrupt', framesPerWorker: 1024, ringSize: 256 },
    sessions: { maxPerWorker: 65_536 },
    routes: [{ prefix: '10.0.0.0/16', interface: INTERFACE }],
    neighbours: Array.from({ length: HOSTS }, (_, n) => ({
      address: host(n),
      mac: `02:00:00:00:01:${n.toString(16).padStart(2, '0')}`,
      interface: INTERFACE,
    })),
    services,
  };
}

/** Ten services share a VIP. */
function service(i, servers, more = {}) {
  const vip = Math.floor(i / 10);
  return {
    name: `service-${i}`,
    address: `203.${vip >> 8}.${vip & 255}.1`,
    port: 1000 + (i % 10),
    protocol: 'tcp',
    mode: 'direct',
    scheduler: 'wrr',
    servers,
    ...more,
  };
}

export function largeConfig(services, servers) {
  return base(
    Array.from({ length: services }, (_, i) =>
      service(
        i,
        Array.from({ length: servers }, (_, j) => ({ address: host(i * servers + j), weight: 1 + (j % 3) })),
      ),
    ),
  );
}

/** Each check goes to an address of its own below 127.0.0.0/8, so that no pair of ports is used twice within a minute. */
export function checkedConfig(targets, port, interval) {
  const check = (n) => ({
    type: 'tcp',
    address: `127.1.${n >> 8}.${n & 255}`,
    port,
    interval,
    timeout: 1,
    fall: 1,
    rise: 1,
    warmup: interval,
    jitter: 0,
  });
  return base(
    Array.from({ length: targets / 10 }, (_, i) =>
      service(
        i,
        Array.from({ length: 10 }, (_, j) => ({ address: host(i * 10 + j), weight: 1, healthChecks: [check(i * 10 + j)] })),
      ),
    ),
  );
}

/** Milliseconds that `work` takes, and what it gives. */
export async function timed(work) {
  const begin = performance.now();
  const value = await work();
  return { value, milliseconds: performance.now() - begin };
}

export function quantile(values, q) {
  const ordered = [...values].sort((a, b) => a - b);
  return ordered[Math.min(ordered.length - 1, Math.floor(q * ordered.length))];
}

/** Milliseconds of the fastest of some runs: what the work costs when nobody else has the CPU. */
export function fastest(times, work) {
  const all = Array.from({ length: times }, () => {
    const begin = performance.now();
    work();
    return performance.now() - begin;
  });
  return Math.min(...all);
}

/** CPU seconds that this process has used, all threads. */
export function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
