// Gathers the facts that the doctor judges: reads /proc and /sys, and asks the addon for what needs system calls.
// Guarantees: changes nothing on the host, needs no privilege, and never throws: what cannot be found out is null.
// Thread: the JavaScript thread that asks; short synchronous reads.
import { readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { gunzipSync } from 'node:zlib';
import { describeRuntime, loadNative } from '../native.js';
import type { NativeBinding } from '../native-binding.js';
import type { HostFacts, HugePagePool, NumaNode } from './facts.js';
import {
  isUserNamespace,
  parseCapabilities,
  parseCpuList,
  parseKernelConfig,
  parseMemlock,
  parseMounts,
  statusField,
} from './parse.js';

/** The file system as the doctor sees it; a parameter so that other hosts can be read from memory. */
export interface FactSource {
  /** Content of a file, null if it cannot be read. */
  read(path: string): Buffer | null;
  /** Names in a directory, empty if it cannot be read. */
  list(path: string): readonly string[];
}

const hostFiles: FactSource = {
  read: (path) => {
    try {
      return readFileSync(path);
    } catch {
      return null;
    }
  },
  list: (path) => {
    try {
      return readdirSync(path);
    } catch {
      return [];
    }
  },
};

export interface GatherOptions {
  readonly files?: FactSource;
  /** Loads the addon; throws when it cannot. */
  readonly load?: () => NativeBinding;
}

/** Facts about the host of this process, its network namespace and its privileges. */
export function gatherFacts(options: GatherOptions = {}): HostFacts {
  const files = options.files ?? hostFiles;
  const text = (path: string): string | null => files.read(path)?.toString('utf8') ?? null;
  const status = text('/proc/self/status');
  const capabilities = status === null ? null : statusField(status, 'CapEff');
  const uidMap = text('/proc/self/uid_map');
  const limits = text('/proc/self/limits');
  const mounts = text('/proc/mounts');
  const kernelRelease = release();
  return {
    ...describeRuntime(),
    kernelRelease,
    uid: process.getuid?.() ?? null,
    container: detectContainer(files),
    userNamespace: uidMap === null ? null : isUserNamespace(uidMap),
    kernelConfig: readKernelConfig(files, kernelRelease),
    btf: files.list('/sys/kernel').length === 0 ? null : files.list('/sys/kernel/btf').includes('vmlinux'),
    capabilities: capabilities === null ? null : parseCapabilities(capabilities),
    memlock: limits === null ? null : parseMemlock(limits),
    mounts: mounts === null ? null : parseMounts(mounts),
    hugePages: readHugePages(files),
    cpus: readCpus(files, status),
    ...askAddon(options.load ?? loadNative),
  };
}

function askAddon(load: () => NativeBinding): Pick<HostFacts, 'native' | 'probe' | 'interfaces'> {
  if (process.platform !== 'linux') {
    return { native: { loaded: false, error: 'there is no addon for this operating system' }, probe: null, interfaces: null };
  }
  try {
    const binding = load();
    return {
      native: { loaded: true, versions: binding.versions() },
      probe: attempt(() => binding.probeKernel()),
      interfaces: attempt(() => binding.probeInterfaces()),
    };
  } catch (error) {
    return {
      native: { loaded: false, error: error instanceof Error ? error.message : String(error) },
      probe: null,
      interfaces: null,
    };
  }
}

function attempt<T>(probe: () => T): T | null {
  try {
    return probe();
  } catch {
    return null;
  }
}

function detectContainer(files: FactSource): string {
  if (files.read('/.dockerenv') !== null) return 'docker';
  if (files.read('/run/.containerenv') !== null) return 'podman';
  const environment = files.read('/proc/1/environ')?.toString('utf8') ?? '';
  const named = environment.split('\0').find((entry) => entry.startsWith('container='));
  if (named !== undefined) return named.slice('container='.length);
  const cgroup = files.read('/proc/1/cgroup')?.toString('utf8') ?? '';
  return /kubepods/.test(cgroup) ? 'kubernetes' : '';
}

function readKernelConfig(files: FactSource, kernelRelease: string): HostFacts['kernelConfig'] {
  const running = files.read('/proc/config.gz');
  if (running !== null) {
    const values = attempt(() => parseKernelConfig(gunzipSync(running).toString('utf8')));
    if (values !== null) return { source: '/proc/config.gz', values };
  }
  for (const source of [`/boot/config-${kernelRelease}`, `/lib/modules/${kernelRelease}/config`]) {
    const content = files.read(source);
    if (content !== null) return { source, values: parseKernelConfig(content.toString('utf8')) };
  }
  return null;
}

function readHugePages(files: FactSource): readonly HugePagePool[] | null {
  const base = '/sys/kernel/mm/hugepages';
  const count = (path: string): number => Number(files.read(path)?.toString('utf8').trim() ?? 0);
  const pools: HugePagePool[] = [];
  for (const name of files.list(base)) {
    const size = /^hugepages-(\d+)kB$/.exec(name)?.[1];
    if (size === undefined) continue;
    pools.push({
      sizeKiB: Number(size),
      total: count(`${base}/${name}/nr_hugepages`),
      free: count(`${base}/${name}/free_hugepages`),
    });
  }
  return pools.length === 0 ? null : pools.sort((a, b) => a.sizeKiB - b.sizeKiB);
}

function readCpus(files: FactSource, status: string | null): HostFacts['cpus'] {
  const list = (path: string): readonly number[] => parseCpuList(files.read(path)?.toString('utf8') ?? '');
  const online = list('/sys/devices/system/cpu/online');
  if (online.length === 0) return null;
  const allowed = status === null ? null : statusField(status, 'Cpus_allowed_list');
  const numaNodes: NumaNode[] = [];
  for (const name of files.list('/sys/devices/system/node')) {
    const node = /^node(\d+)$/.exec(name)?.[1];
    if (node !== undefined) numaNodes.push({ node: Number(node), cpus: list(`/sys/devices/system/node/${name}/cpulist`) });
  }
  return {
    online,
    allowed: allowed === null ? online : parseCpuList(allowed),
    isolated: list('/sys/devices/system/cpu/isolated'),
    numaNodes: numaNodes.sort((a, b) => a.node - b.node),
  };
}
