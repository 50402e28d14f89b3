// What the real servers need for each forwarding mode: a way to the clients, and `millrace realserver` where they answer by themselves.
// Guarantees: what the mode before changed is undone first, by the same command that a person would use.
// Thread: the main thread; the work is done inside the servers' namespaces.
import { type ForwardMode, isTunnel } from '../config/forward-mode.js';
import { families, localAddresses, plans, type RealServerRole, realServerRoles } from './addresses.js';
import { dscps } from './config.js';
import { millraceProgram } from './programs.js';
import { type ReturnPath, setReturnPath } from './second-path.js';
import type { LabTopology } from './topology.js';

/** The way of the servers' answers. */
export function returnPathOf(mode: ForwardMode): ReturnPath {
  if (mode === 'fullnat') return 'none';
  return mode === 'nat' ? 'balancer' : 'direct';
}

/** The words after `millrace realserver`; none where a server needs nothing. */
export function realserverWords(mode: ForwardMode, workers: number): readonly string[] {
  const vips = families.flatMap((family) => [plans[family].vip, plans[family].routedVip]).join(',');
  if (isTunnel(mode)) {
    const from = families.flatMap((family) => localAddresses(family, workers)).flatMap((address) => ['--from', address]);
    return ['tunnel', '--vip', vips, '--type', mode, ...from];
  }
  if (mode === 'direct') return ['direct', '--vip', vips];
  if (mode === 'l3dsr') {
    const marks = families.flatMap(() => [dscps.vip, dscps.routedVip]).join(',');
    return ['l3dsr', '--vip', vips, '--dscp', marks];
  }
  return [];
}

export async function prepareServers(topology: LabTopology, mode: ForwardMode, workers: number): Promise<void> {
  await Promise.all(realServerRoles.map((role) => realserver(topology, role, ['undo'])));
  await setReturnPath(topology, returnPathOf(mode));
  const words = realserverWords(mode, workers);
  if (words.length > 0) await Promise.all(realServerRoles.map((role) => realserver(topology, role, words)));
}

function realserver(topology: LabTopology, role: RealServerRole, words: readonly string[]): Promise<string> {
  return topology.runChecked(role, [...millraceProgram(), 'realserver', ...words]);
}
