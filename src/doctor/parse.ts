// Readers of the small text formats in which Linux describes itself (/proc, /sys).
// Guarantees: pure; unreadable text gives null or an empty list, never an exception.
// Thread: any; no state.
import type { MemlockLimit } from './facts.js';

/** Names by bit, include/uapi/linux/capability.h. */
const capabilityNames: readonly string[] = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
];

/** Value of one "Name:\tvalue" line of /proc/self/status. */
export function statusField(status: string, name: string): string | null {
  const line = status.split('\n').find((candidate) => candidate.startsWith(`${name}:`));
  return line === undefined ? null : line.slice(name.length + 1).trim();
}

/** A hexadecimal capability mask -> names such as CAP_NET_ADMIN; bits without a name become CAP_<bit>. */
export function parseCapabilities(mask: string): readonly string[] | null {
  if (!/^[0-9a-fA-F]+$/.test(mask)) return null;
  const bits = BigInt(`0x${mask}`);
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (((bits >> BigInt(bit)) & 1n) === 1n) names.push(`CAP_${capabilityNames[bit] ?? bit}`);
  }
  return names;
}

/** "0-3,8" -> [0, 1, 2, 3, 8]; also the empty list. */
export function parseCpuList(text: string): readonly number[] {
  const cpus: number[] = [];
  for (const part of text.trim().split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    if (match === null) continue;
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    for (let cpu = first; cpu <= last && cpus.length < 65536; cpu++) cpus.push(cpu);
  }
  return cpus;
}

/** The "Max locked memory" line of /proc/self/limits, bytes. */
export function parseMemlock(limits: string): MemlockLimit | null {
  const match = /^Max locked memory\s+(\S+)\s+(\S+)/m.exec(limits);
  if (match === null) return null;
  const bytes = (text: string | undefined): number => (text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text));
  return { soft: bytes(match[1]), hard: bytes(match[2]) };
}

/** /proc/mounts; the octal escapes of blanks in paths are resolved. */
export function parseMounts(text: string): readonly { readonly type: string; readonly path: string }[] {
  const mounts: { type: string; path: string }[] = [];
  for (const line of text.split('\n')) {
    const [, path, type] = line.split(' ');
    if (path === undefined || type === undefined) continue;
    mounts.push({
      type,
      path: path.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    });
  }
  return mounts;
}

/** The CONFIG_ lines of a kernel's build configuration. */
export function parseKernelConfig(text: string): Readonly<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const match of text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)) {
    if (match[1] !== undefined && match[2] !== undefined) values[match[1]] = match[2].replaceAll('"', '');
  }
  return values;
}

/** True when /proc/self/uid_map says that this is not the first user namespace. */
export function isUserNamespace(uidMap: string): boolean {
  return !/^\s*0\s+0\s+4294967295\s*$/.test(uidMap);
}
