// Looks at the machine before anything is made on it, so that what is missing is said once, together, and first.
// Plain Node: nothing from node_modules. Changes nothing on the host.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';
import { Problem } from './output.mjs';

export const minimumNode = [20, 19];
const minimumKernel = [5, 10];

// Numbers of capabilities in /proc/self/status, from linux/capability.h.
const capabilities = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_SYS_ADMIN: 21 };

export function isRoot() {
  return process.getuid?.() === 0;
}

/** The path of a program, or undefined; the administrator's directories count even when the PATH lacks them. */
export function findProgram(name) {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  for (const directory of directories) {
    try {
      const path = join(directory, name);
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this directory.
    }
  }
  return undefined;
}

export function checkNode() {
  const found = process.versions.node.split('.').map(Number);
  if (isOlder(found, minimumNode)) {
    throw new Problem(
      `Node ${process.versions.node} was found, ${minimumNode.join('.')} or newer is needed.`,
      'install Node 20 LTS or newer.',
    );
  }
}

function isOlder(found, needed) {
  return found[0] < needed[0] || (found[0] === needed[0] && found[1] < needed[1]);
}

function missingCapabilities() {
  const line = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'));
  const effective = BigInt(`0x${line?.[1] ?? '0'}`);
  return Object.entries(capabilities).flatMap(([name, bit]) => ((effective >> BigInt(bit)) & 1n ? [] : [name]));
}

/** What keeps this host from making namespaces and running XDP, as sentences; empty when nothing does. */
export function labObstacles() {
  if (process.platform !== 'linux') return [`the operating system is ${process.platform}; network namespaces and XDP need Linux`];
  const obstacles = [];
  const kernel = release().split(/[.-]/).map(Number);
  if (isOlder(kernel, minimumKernel)) obstacles.push(`the kernel is ${release()}; ${minimumKernel.join('.')} or newer is needed`);
  if (!isRoot()) {
    obstacles.push(`the user id is ${process.getuid?.()}; network namespaces and XDP need root`);
    return obstacles;
  }
  const missing = missingCapabilities();
  if (missing.length > 0) obstacles.push(`root here lacks ${missing.join(', ')} (a container without privileges?)`);
  if (obstacles.length === 0 && findProgram('unshare') !== undefined) {
    const tried = spawnSync('unshare', ['--mount', '--net', '--pid', '--fork', 'true'], { encoding: 'utf8' });
    if (tried.status !== 0) obstacles.push(`namespaces cannot be made: ${(tried.stderr ?? '').trim() || tried.error?.message}`);
  }
  return obstacles;
}

export function requireLabHost(command) {
  const obstacles = labObstacles();
  if (obstacles.length === 0) return;
  const remedy = isRoot()
    ? `run "${command}" on a machine (or in a container started with --privileged) that has what is named above.`
    : `run "sudo ${command}".`;
  throw new Problem(`The lab cannot be made on this host:\n${obstacles.map((text) => `  - ${text}`).join('\n')}`, remedy);
}
