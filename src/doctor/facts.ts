// What the doctor knows about a host: plain data, so that any host can be made up in a test and judged.
// Guarantees: null means "could not be found out", never "no".
// Thread: any; types only.
import type { NativeInterfaceProbe } from '../native-binding.js';

export interface MemlockLimit {
  /** Bytes; Infinity for unlimited. */
  readonly soft: number;
  readonly hard: number;
}

export interface HugePagePool {
  readonly sizeKiB: number;
  readonly total: number;
  readonly free: number;
}

export interface NumaNode {
  readonly node: number;
  readonly cpus: readonly number[];
}

/** What the kernel answered when the addon tried: errno names, '' where it worked. */
export interface KernelProbe {
  readonly xdp: string;
  readonly afXdp: string;
  readonly bpfLink: string;
}

export interface HostFacts {
  readonly platform: string;
  readonly arch: string;
  readonly nodeVersion: string;
  readonly nodeApiVersion: string;
  readonly glibcVersion: string;
  /** `uname -r`. */
  readonly kernelRelease: string;
  readonly uid: number | null;
  /** Name of the container runtime; '' outside a container. */
  readonly container: string;
  /** True in a user namespace other than the first: capabilities there do not reach BPF and locked memory. */
  readonly userNamespace: boolean | null;
  /** Where the kernel's build configuration was read, and its settings (`CONFIG_X` -> 'y' | 'm' | value). */
  readonly kernelConfig: { readonly source: string; readonly values: Readonly<Record<string, string>> } | null;
  readonly btf: boolean | null;
  /** Names of effective capabilities. */
  readonly capabilities: readonly string[] | null;
  readonly memlock: MemlockLimit | null;
  readonly mounts: readonly { readonly type: string; readonly path: string }[] | null;
  readonly hugePages: readonly HugePagePool[] | null;
  readonly cpus: {
    readonly online: readonly number[];
    /** CPUs that this process may run on. */
    readonly allowed: readonly number[];
    readonly isolated: readonly number[];
    readonly numaNodes: readonly NumaNode[];
  } | null;
  readonly native:
    | { readonly loaded: true; readonly versions: Readonly<Record<string, string>> }
    | { readonly loaded: false; readonly error: string };
  /** null when the addon is not loaded. */
  readonly probe: KernelProbe | null;
  readonly interfaces: readonly NativeInterfaceProbe[] | null;
}

/** What a configuration asks of a host; without one, the smallest balancer that makes sense is assumed. */
export interface HostNeeds {
  readonly workers: number;
  readonly interfaces: readonly string[];
  readonly cpus: readonly number[];
  readonly attachMode: 'auto' | 'native' | 'skb';
  readonly zeroCopy: 'auto' | 'off' | 'required';
  /** Bytes of a frame; 0: chosen from the largest MTU. */
  readonly frameSize: 0 | 2048 | 4096;
  /** Packet memory, bytes. */
  readonly packetMemory: number;
  readonly hugePages: boolean;
  readonly busyPoll: boolean;
}

export type FindingStatus = 'ok' | 'warning' | 'problem';

/** One line of the doctor. */
export interface Finding {
  /** Stable name, for machines: 'kernel', 'capabilities', 'interface.queues' ... */
  readonly check: string;
  /** The interface it is about; '' for the host. */
  readonly interface: string;
  readonly status: FindingStatus;
  readonly found: string;
  /** Empty where nothing is missing. */
  readonly needed: string;
  readonly remedy: string;
}
