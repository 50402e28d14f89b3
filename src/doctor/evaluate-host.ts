// Judges a host: from facts to findings, one function per line of the doctor.
// Guarantees: pure; a problem means that a balancer cannot start, a warning that it starts but not at its best. Every finding that is not
// ok says what is needed and how to get it.
// Thread: any; no state.
import type { Finding, HostFacts, HostNeeds } from './facts.js';

/** The first long-term kernel that has everything: XDP by bpf_link (5.9), need-wakeup (5.4), shared packet memory across queues (5.10). */
const oldestKernel = [5, 10] as const;

type Judgement = Omit<Finding, 'interface'>;

const ok = (check: string, found: string): Judgement => ({ check, status: 'ok', found, needed: '', remedy: '' });
const bad = (status: 'warning' | 'problem', check: string, found: string, needed: string, remedy: string): Judgement => ({
  check,
  status,
  found,
  needed,
  remedy,
});

/** All findings about the host, most fundamental first. On another operating system only that is said. */
export function evaluateHost(facts: HostFacts, needs: HostNeeds): readonly Finding[] {
  const judgements: (Judgement | null)[] =
    facts.platform === 'linux'
      ? [
          judgePlatform(facts),
          judgeKernel(facts, needs),
          judgeRuntime(facts),
          judgeAddon(facts),
          judgeKernelOption(facts, 'kernel.xdp-sockets', 'CONFIG_XDP_SOCKETS', 'AF_XDP sockets', facts.probe?.afXdp),
          judgeKernelOption(facts, 'kernel.bpf', 'CONFIG_BPF_SYSCALL', 'BPF programs', facts.probe?.xdp),
          judgeBpfLink(facts),
          judgeBtf(facts),
          judgeContainer(facts),
          judgeCapabilities(facts),
          judgeMemlock(facts, needs),
          judgeBpffs(facts),
          judgeHugePages(facts, needs),
          judgeCgroup(facts),
          judgeCpus(facts, needs),
        ]
      : [judgePlatform(facts), judgeRuntime(facts)];
  return judgements.filter((judgement) => judgement !== null).map((judgement) => ({ ...judgement, interface: '' }));
}

function judgePlatform(facts: HostFacts): Judgement {
  const found = `${facts.platform} ${facts.arch}`;
  if (facts.platform !== 'linux') {
    return bad(
      'problem',
      'platform',
      found,
      'Linux 5.10 or newer',
      'Run on a Linux host or virtual machine; configurations can be checked anywhere.',
    );
  }
  if (facts.arch !== 'x64' && facts.arch !== 'arm64') {
    return bad('problem', 'platform', found, 'x64 or arm64', 'Use a 64-bit x86 or Arm host, and a Node.js built for it.');
  }
  return ok('platform', found);
}

/** "6.1.0-13-amd64" -> [6, 1]; [0, 0] when it does not look like a release. */
export function parseKernelRelease(release: string): readonly [number, number] {
  const match = /^(\d+)\.(\d+)/.exec(release);
  return match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
}

function atLeast(release: string, major: number, minor: number): boolean {
  const [foundMajor, foundMinor] = parseKernelRelease(release);
  return foundMajor > major || (foundMajor === major && foundMinor >= minor);
}

function judgeKernel(facts: HostFacts, needs: HostNeeds): Judgement {
  const found = `Linux ${facts.kernelRelease}`;
  if (!atLeast(facts.kernelRelease, ...oldestKernel)) {
    return bad(
      'problem',
      'kernel',
      found,
      'Linux 5.10 or newer',
      'Install a newer kernel, for example that of Debian 11 or later.',
    );
  }
  if (needs.busyPoll && !atLeast(facts.kernelRelease, 5, 11)) {
    return bad(
      'warning',
      'kernel',
      found,
      'Linux 5.11 for busyPollBudget',
      'Set dataplane.busyPollBudget to 0, or install a newer kernel.',
    );
  }
  return ok('kernel', found);
}

function judgeRuntime(facts: HostFacts): Judgement {
  const libc = facts.glibcVersion === '' ? '' : `, glibc ${facts.glibcVersion}`;
  const found = `Node.js ${facts.nodeVersion}, Node-API ${facts.nodeApiVersion}${libc}`;
  return Number(facts.nodeApiVersion) >= 9
    ? ok('node', found)
    : bad('problem', 'node', found, 'Node-API 9', 'Use Node.js 20.19 or newer.');
}

function judgeAddon(facts: HostFacts): Judgement {
  if (facts.native.loaded) {
    const versions = Object.entries(facts.native.versions).map(([name, version]) => `${name} ${version}`);
    return ok('addon', versions.length === 0 ? 'loaded' : `loaded (${versions.join(', ')})`);
  }
  return bad('problem', 'addon', facts.native.error, 'the native addon', 'See "What to do" above.');
}

/** A kernel option counts as there when the kernel was seen doing it; its build configuration only explains a refusal. */
function judgeKernelOption(facts: HostFacts, check: string, option: string, what: string, probe: string | undefined): Judgement {
  const value = facts.kernelConfig === null ? undefined : (facts.kernelConfig.values[option] ?? 'n');
  const configured = value === undefined ? '' : ` (${option}=${value})`;
  if (probe === '') return ok(check, `${what} work${configured}`);
  const remedy = `Use a kernel with ${option}=y; distribution kernels have it.`;
  if (value === 'n') return bad('problem', check, `${what}: not in this kernel${configured}`, option, remedy);
  if (probe === undefined) {
    return value === undefined
      ? bad('warning', check, `${what}: not known, the kernel's configuration is not readable`, option, remedy)
      : ok(check, `${what} are in this kernel${configured}`);
  }
  if (probe === 'EPERM' || probe === 'EACCES') {
    return bad('problem', check, `${what}: refused with ${probe}${configured}`, 'the right to use them', privilegeRemedy(facts));
  }
  return bad('problem', check, `${what}: the kernel answered ${probe}${configured}`, option, remedy);
}

function judgeBpfLink(facts: HostFacts): Judgement | null {
  const probe = facts.probe?.bpfLink;
  if (probe === undefined) return null;
  if (probe === '') return ok('kernel.bpf-link', 'XDP programs go with their process (bpf_link)');
  if (probe === 'EPERM' || probe === 'EACCES') {
    return bad(
      'problem',
      'kernel.bpf-link',
      `bpf_link: refused with ${probe}`,
      'the right to attach XDP programs',
      privilegeRemedy(facts),
    );
  }
  return bad(
    'problem',
    'kernel.bpf-link',
    `bpf_link: the kernel answered ${probe}`,
    'Linux 5.9 or newer',
    'Install a newer kernel.',
  );
}

function judgeBtf(facts: HostFacts): Judgement {
  if (facts.btf === true) return ok('kernel.btf', 'type information of the kernel (BTF) is there');
  return bad(
    'warning',
    'kernel.btf',
    'no type information of the kernel (/sys/kernel/btf/vmlinux)',
    'CONFIG_DEBUG_INFO_BTF=y for tools such as bpftool; the balancer runs without',
    'Use a kernel with CONFIG_DEBUG_INFO_BTF=y if you want to look into BPF programs.',
  );
}

function judgeContainer(facts: HostFacts): Judgement | null {
  if (facts.userNamespace === true) {
    return bad(
      'problem',
      'container',
      `inside a user namespace${facts.container === '' ? '' : ` (${facts.container})`}`,
      'the first user namespace: BPF and locked memory ask for capabilities there',
      'Run as root of the host, or in a container without user namespace remapping (docker: --userns=host).',
    );
  }
  return facts.container === '' ? null : ok('container', `inside a container (${facts.container})`);
}

interface CapabilityNeed {
  /** Any of these will do. */
  readonly anyOf: readonly string[];
  readonly why: string;
}

const capabilityNeeds: readonly CapabilityNeed[] = [
  { anyOf: ['CAP_NET_ADMIN'], why: 'attaches XDP programs' },
  { anyOf: ['CAP_BPF', 'CAP_SYS_ADMIN'], why: 'loads XDP programs' },
  { anyOf: ['CAP_NET_RAW'], why: 'opens AF_XDP and packet sockets' },
];

function privilegeRemedy(facts: HostFacts): string {
  if (facts.container !== '') {
    return 'Start the container with --cap-add NET_ADMIN --cap-add NET_RAW --cap-add BPF --cap-add IPC_LOCK (or --privileged).';
  }
  return 'Run as root, or give the process the capabilities (systemd: AmbientCapabilities=CAP_NET_ADMIN CAP_BPF CAP_NET_RAW CAP_IPC_LOCK).';
}

function judgeCapabilities(facts: HostFacts): Judgement {
  const held = facts.capabilities;
  if (held === null) {
    return bad(
      'warning',
      'capabilities',
      'not known (/proc/self/status is not readable)',
      'CAP_NET_ADMIN, CAP_BPF, CAP_NET_RAW',
      'Mount /proc.',
    );
  }
  const missing = capabilityNeeds.filter((need) => !need.anyOf.some((name) => held.includes(name)));
  if (missing.length > 0) {
    const list = missing.map((need) => `${need.anyOf.join(' or ')} (${need.why})`).join(', ');
    const who = facts.uid === null ? '' : `, user id ${facts.uid}`;
    return bad(
      'problem',
      'capabilities',
      `missing: ${list}${who}`,
      missing.map((need) => need.anyOf[0]).join(', '),
      privilegeRemedy(facts),
    );
  }
  const named = ['CAP_NET_ADMIN', 'CAP_BPF', 'CAP_SYS_ADMIN', 'CAP_NET_RAW', 'CAP_IPC_LOCK'].filter((name) =>
    held.includes(name),
  );
  return ok('capabilities', named.join(', '));
}

/** Bytes in the largest unit that keeps the number at 1 or above. */
export function formatBytes(bytes: number): string {
  if (bytes === Number.POSITIVE_INFINITY) return 'unlimited';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit] ?? ''}`;
}

function judgeMemlock(facts: HostFacts, needs: HostNeeds): Judgement {
  const needed = formatBytes(needs.packetMemory);
  if (facts.memlock === null) {
    return bad(
      'warning',
      'memlock',
      'not known (/proc/self/limits is not readable)',
      `${needed} of locked memory`,
      'Mount /proc.',
    );
  }
  const limit = formatBytes(facts.memlock.soft);
  if (facts.capabilities?.includes('CAP_IPC_LOCK') === true && facts.userNamespace !== true) {
    return ok('memlock', `limit ${limit}, does not apply with CAP_IPC_LOCK (packet memory: ${needed})`);
  }
  if (facts.memlock.soft >= needs.packetMemory) return ok('memlock', `limit ${limit} (packet memory: ${needed})`);
  const remedy =
    facts.container === ''
      ? 'Give the process CAP_IPC_LOCK, or raise the limit: ulimit -l unlimited; systemd: LimitMEMLOCK=infinity.'
      : 'Start the container with --cap-add IPC_LOCK, or with --ulimit memlock=-1.';
  return bad('problem', 'memlock', `limit ${limit}`, `${needed} of locked memory for packets`, remedy);
}

function judgeBpffs(facts: HostFacts): Judgement {
  const mounted = facts.mounts?.filter((mount) => mount.type === 'bpf').map((mount) => mount.path) ?? [];
  // Only shown: nothing is pinned, so that everything goes with the process.
  return ok('bpffs', mounted.length > 0 ? `mounted at ${mounted.join(', ')}` : 'not mounted (not needed)');
}

function judgeHugePages(facts: HostFacts, needs: HostNeeds): Judgement {
  const pools = (facts.hugePages ?? []).filter((pool) => pool.total > 0);
  const found = pools.map((pool) => `${formatBytes(pool.sizeKiB * 1024)}: ${pool.free} of ${pool.total} free`).join(', ');
  if (!needs.hugePages) return ok('huge-pages', found === '' ? 'none reserved, none asked for' : found);
  const pages = Math.ceil(needs.packetMemory / (2048 * 1024));
  const free = pools.filter((pool) => pool.sizeKiB === 2048).reduce((sum, pool) => sum + pool.free, 0);
  if (free >= pages) return ok('huge-pages', found);
  return bad(
    'warning',
    'huge-pages',
    found === '' ? 'none reserved' : found,
    `${pages} free pages of 2 MiB for packet memory; without them ordinary pages are used, which is slower`,
    `sysctl -w vm.nr_hugepages=${pages}`,
  );
}

function judgeCgroup(facts: HostFacts): Judgement | null {
  const mount = facts.mounts?.find((candidate) => candidate.type === 'cgroup2');
  if (facts.mounts === null) return null;
  // Only shown: nothing in the dataplane of today asks for a cgroup, but a support request usually does.
  return ok('cgroup', mount === undefined ? 'no cgroup2 mount (not needed)' : `cgroup2 at ${mount.path}`);
}

function judgeCpus(facts: HostFacts, needs: HostNeeds): Judgement {
  if (facts.cpus === null) {
    return bad('warning', 'cpus', 'not known (/sys is not readable)', `${needs.workers} for workers`, 'Mount /sys.');
  }
  const { allowed, isolated, numaNodes } = facts.cpus;
  const parts = [
    `${allowed.length} allowed (${formatList(allowed)})`,
    isolated.length === 0 ? 'none isolated' : `isolated: ${formatList(isolated)}`,
  ];
  if (numaNodes.length > 1) parts.push(numaNodes.map((node) => `node ${node.node}: ${formatList(node.cpus)}`).join(', '));
  const found = parts.join('; ');
  const foreign = needs.cpus.filter((cpu) => cpu >= 0 && !allowed.includes(cpu));
  if (foreign.length > 0) {
    return bad(
      'problem',
      'cpus',
      found,
      `CPU ${formatList(foreign)}, as configured`,
      'Correct `cpus`, or the CPU affinity (taskset, cpuset) of the process.',
    );
  }
  if (allowed.length < needs.workers) {
    return bad(
      'warning',
      'cpus',
      found,
      `${needs.workers} CPUs, one per worker`,
      'Lower `workers`, or give the process more CPUs.',
    );
  }
  return ok('cpus', found);
}

/** [0,1,2,5] -> "0-2,5". */
export function formatList(numbers: readonly number[]): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const ranges: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    const first = sorted[i] ?? 0;
    let last = first;
    while (sorted[i + 1] === last + 1) {
      last += 1;
      i += 1;
    }
    ranges.push(first === last ? `${first}` : `${first}-${last}`);
    i += 1;
  }
  return ranges.join(',');
}
