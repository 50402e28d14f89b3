// Makes, looks at and takes back each single thing of wanted.ts on a host.
// Guarantees: `look` changes nothing; what was there before is what `takeBack` leaves, unless somebody else has changed it since: then it
// is left alone and said, unless forced.
// Thread: the main thread.
import type { NativeIngressProgram } from '../native-binding.js';
import { type Host, ipChecked } from './host.js';
import { readNetwork } from './network-facts.js';
import { isIpv6 } from './setup.js';
import { addressLength, nameOf, rightValue, sysctlPath, vipDevice, type Wanted } from './wanted.js';

/** One thing that was made, as it stands in the state file. States are texts for people; they are compared as they are. */
export interface Change {
  readonly wanted: Wanted;
  /** State that was found. */
  readonly before: string;
  /** State that was left. Equal to `before` where nothing had to be done. */
  readonly after: string;
}

export const absent = 'absent';
export const present = 'present';

/** Present state of the thing. */
export async function look(host: Host, wanted: Wanted): Promise<string> {
  switch (wanted.kind) {
    case 'sysctl':
      return host.readSysctl(sysctlPath(wanted)) ?? absent;
    case 'address': {
      const { addresses } = await readNetwork(host);
      const there = addresses.some((own) => own.device === vipDevice && own.address === wanted.address);
      return there ? present : absent;
    }
    case 'hook': {
      const { hook } = host.native().ingressState(wanted.interface, 'decapsulation');
      return hook === '' ? absent : hook;
    }
    case 'decapsulation':
    case 'l3dsr': {
      const { programId } = host.native().ingressState(wanted.interface, wanted.kind);
      return programId === 0 ? absent : `program ${programId}`;
    }
    case 'device': {
      const { links } = await readNetwork(host);
      return links.some((link) => link.name === wanted.name) ? present : absent;
    }
    case 'gue-port': {
      const family = wanted.family === 'ipv6' ? ['-6'] : [];
      const result = await host.ip([...family, 'fou', 'show']);
      const there = result.code === 0 && new RegExp(`^port ${wanted.port} gue\\b`, 'm').test(result.stdout);
      return there ? present : absent;
    }
  }
}

/** What the name alone proves to be ours was not there before, even if the state file that knew it is lost. */
export function stateBefore(wanted: Wanted, found: string): string {
  return wanted.kind === 'device' || wanted.kind === 'decapsulation' || wanted.kind === 'l3dsr' ? absent : found;
}

/** As `look`, and 'absent' for what went with its interface. */
export async function lookSafely(host: Host, wanted: Wanted): Promise<string> {
  try {
    return await look(host, wanted);
  } catch (error) {
    if (Reflect.get(Object(error), 'code') === 'MILLRACE_E_INTERFACE_NOT_FOUND') return absent;
    throw error;
  }
}

/** The state that `make` will leave, as far as that is known before. */
export function expected(host: Host, wanted: Wanted, found: string): string {
  switch (wanted.kind) {
    case 'sysctl': {
      const all = host.readSysctl(sysctlPath({ ...wanted, scope: 'all' })) ?? '0';
      return found === absent ? absent : rightValue(wanted.rule, found, all);
    }
    case 'hook':
      return found === absent ? 'clsact' : found;
    case 'decapsulation':
    case 'l3dsr':
      return found === absent ? 'program' : found;
    default:
      return present;
  }
}

/** Makes it so and says the state that came of it. `found` is what `look` said. */
export async function make(host: Host, wanted: Wanted, found: string): Promise<string> {
  switch (wanted.kind) {
    case 'sysctl': {
      const value = expected(host, wanted, found);
      if (value !== found) host.writeSysctl(sysctlPath(wanted), value);
      return value;
    }
    case 'address':
      if (found === absent) await ipChecked(host, ['address', 'add', ...addressWords(wanted.address)]);
      return present;
    case 'hook':
      host.native().makeIngressHook(wanted.interface);
      return expected(host, wanted, found);
    case 'decapsulation':
      return `program ${host.native().attachDecapsulation(wanted.config)}`;
    case 'l3dsr':
      return `program ${host.native().attachL3dsr(wanted.config)}`;
    case 'device':
      // The name is ours alone: what has it is left from a setup that was another one.
      if (found !== absent) await ipChecked(host, ['link', 'delete', 'dev', wanted.name]);
      await ipChecked(host, ['link', 'add', 'name', wanted.name, ...wanted.type]);
      await ipChecked(host, ['link', 'set', 'dev', wanted.name, 'up']);
      return present;
    case 'gue-port':
      if (found === absent) await ipChecked(host, gueWords('add', wanted.family, wanted.port));
      return present;
  }
}

/**
 * scope host and preferred_lft 0: the host never takes the VIP as the source of connections of its own. nodad: on lo nobody else can have
 * the address, and it works at once.
 */
function addressWords(address: string): readonly string[] {
  const flags = isIpv6(address) ? ['nodad', 'preferred_lft', '0'] : ['scope', 'host'];
  return [`${address}/${addressLength(address)}`, 'dev', vipDevice, ...flags];
}

function gueWords(verb: 'add' | 'del', family: 'ipv4' | 'ipv6', port: number): readonly string[] {
  return [...(family === 'ipv6' ? ['-6'] : []), 'fou', verb, 'port', String(port), ...(verb === 'add' ? ['gue'] : [])];
}

export interface TakenBack {
  readonly name: string;
  /** restored: as it was before. kept: it was there before us. gone: it was not there any more. left: somebody else changed it. */
  readonly outcome: 'restored' | 'kept' | 'gone' | 'left';
  readonly before: string;
  readonly found: string;
  readonly reason: string;
}

/** Restores the state from before. `force` does so even over changes of somebody else. */
export async function takeBack(host: Host, change: Change, force: boolean): Promise<TakenBack> {
  const { wanted, before, after } = change;
  const found = await lookSafely(host, wanted);
  const say = (outcome: TakenBack['outcome'], reason = ''): TakenBack => ({
    name: nameOf(wanted),
    outcome,
    before,
    found,
    reason,
  });
  if (found === before) return say(before === after ? 'kept' : 'gone');
  if (found === absent) return say('gone', 'it is not there any more');
  switch (wanted.kind) {
    case 'sysctl':
      if (before === absent) return say('left', 'it was not there before');
      if (found !== after && !force) return say('left', `set to ${after} here, changed to ${found} since`);
      host.writeSysctl(sysctlPath(wanted), before);
      return say('restored');
    case 'address':
      await ipChecked(host, ['address', 'delete', `${wanted.address}/${addressLength(wanted.address)}`, 'dev', vipDevice]);
      return say('restored');
    case 'hook': {
      const { filters } = host.native().ingressState(wanted.interface, 'decapsulation');
      if (before !== absent) return say('left', `it was ${before} before and is ${found} now`);
      if (filters > 0 && !force) return say('left', `${filters} filter${filters === 1 ? '' : 's'} of somebody else stand at it`);
      host.native().removeIngressHook(wanted.interface);
      return say('restored');
    }
    case 'decapsulation':
    case 'l3dsr':
      return detach(host, wanted.interface, wanted.kind, say);
    case 'device':
      await ipChecked(host, ['link', 'delete', 'dev', wanted.name]);
      return say('restored');
    case 'gue-port':
      await ipChecked(host, gueWords('del', wanted.family, wanted.port));
      return say('restored');
  }
}

/** A program of the same name in our place is ours, whoever ran the command. */
function detach(
  host: Host,
  name: string,
  program: NativeIngressProgram,
  say: (outcome: TakenBack['outcome']) => TakenBack,
): TakenBack {
  host.native().detachIngress(name, program);
  return say('restored');
}
