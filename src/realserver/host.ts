// The real server as this program sees and changes it: kernel parameters, `ip`, and the addon for programs at the ingress hook.
// Guarantees: everything that touches the machine goes through here, so that a test can put a made-up machine in its place.
// Thread: the main thread; commands run as child processes.
import { execFile } from 'node:child_process';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createError, fromNativeError, MillraceError } from '../errors.js';
import { loadNative } from '../native.js';
import type { NativeRealserver } from '../native-binding.js';

export interface IpResult {
  /** 0 when it did what was asked. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Host {
  /** Value of a kernel parameter by its path below /proc/sys; undefined if there is none. */
  readSysctl(path: string): string | undefined;
  /** Throws MILLRACE_E_COMMAND_FAILED. */
  writeSysctl(path: string, value: string): void;
  /** Whether kernel parameters can be written at all; containers often see them read-only. */
  canWriteSysctls(): boolean;
  /** Runs `ip` with these arguments. Throws MILLRACE_E_UNSUPPORTED_HOST when there is no `ip`. */
  ip(args: readonly string[]): Promise<IpResult>;
  /** Programs at the ingress hook; throws as loadNative does, and what the addon throws as an error of the catalogue. */
  native(): NativeRealserver;
  /** The effective capabilities' line of /proc/self/status, as hexadecimal text; undefined if it cannot be read. */
  capabilities(): string | undefined;
}

const sysctlRoot = '/proc/sys';

export const thisHost: Host = {
  readSysctl: (path) => {
    try {
      return readFileSync(join(sysctlRoot, path), 'utf8').trim();
    } catch {
      return undefined;
    }
  },
  writeSysctl: (path, value) => {
    try {
      writeFileSync(join(sysctlRoot, path), `${value}\n`);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw createError('MILLRACE_E_COMMAND_FAILED', `cannot set ${sysctlName(path)} to ${value}: ${reason}`, {
        cause,
        remedy: 'Run as root of the network namespace, with a writable /proc/sys.',
      });
    }
  },
  canWriteSysctls: () => {
    try {
      accessSync(join(sysctlRoot, 'net/ipv4/conf/all/arp_ignore'), constants.W_OK);
      return true;
    } catch {
      return false;
    }
  },
  ip: (args) =>
    new Promise((resolve, reject) => {
      execFile('ip', [...args], { timeout: 30_000, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
        if (error !== null && error.code === 'ENOENT') {
          const remedy = 'Install iproute2: apt-get install iproute2';
          reject(createError('MILLRACE_E_UNSUPPORTED_HOST', 'the program "ip" was not found', { remedy, cause: error }));
        } else resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr });
      });
    }),
  native: () => cataloguing(loadNative().realserver),
  capabilities: () => {
    try {
      return /^CapEff:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    } catch {
      return undefined;
    }
  },
};

/** net/ipv4/conf/eth0.100/arp_ignore -> the name that `sysctl` takes, where a dot of an interface's name becomes a slash. */
export function sysctlName(path: string): string {
  return path
    .split('/')
    .map((part) => part.replaceAll('.', '/'))
    .join('.');
}

/** Runs `ip` and insists on success. */
export async function ipChecked(host: Host, args: readonly string[]): Promise<string> {
  const result = await host.ip(args);
  if (result.code === 0) return result.stdout;
  const complaint = result.stderr.trim() || `exit code ${result.code}`;
  throw createError('MILLRACE_E_COMMAND_FAILED', `ip ${args.join(' ')} failed: ${complaint}`, {
    remedy: 'Run as root of the network namespace; the message is the kernel\'s or that of "ip".',
  });
}

/** What the addon throws becomes an error of the catalogue. */
function cataloguing(native: NativeRealserver): NativeRealserver {
  const guard = <T>(call: () => T): T => {
    try {
      return call();
    } catch (error) {
      throw error instanceof MillraceError ? error : fromNativeError(error);
    }
  };
  return {
    networkNamespaceCookie: () => guard(() => native.networkNamespaceCookie()),
    attachDecapsulation: (wanted) => guard(() => native.attachDecapsulation(wanted)),
    attachL3dsr: (wanted) => guard(() => native.attachL3dsr(wanted)),
    ingressState: (name, program) => guard(() => native.ingressState(name, program)),
    detachIngress: (name, program) => guard(() => native.detachIngress(name, program)),
    makeIngressHook: (name) => guard(() => native.makeIngressHook(name)),
    removeIngressHook: (name) => guard(() => native.removeIngressHook(name)),
  };
}
