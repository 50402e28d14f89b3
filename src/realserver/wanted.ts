// What must be so on a prepared real server, as single things that can each be made, looked at and taken back (changes.ts), and the list
// of them for a set of setups.
// Guarantees: pure; the order is one in which they can be made, and a VIP comes after everything that keeps the host from announcing it.
// Thread: any; no state.
import type { NativeDecapsulation, NativeL3dsr } from '../native-binding.js';
import { sysctlName } from './host.js';
import type { NetworkFacts } from './network-facts.js';
import { isIpv6, type L3dsrSetup, type Setup, type TunnelSetup, unique, vipsOf } from './setup.js';

/** Which values of a kernel parameter are right, and which one is written if it has none of them. */
export type SysctlRule = 'arp_ignore' | 'arp_announce' | 'rp_filter' | 'disable_ipv6';

export interface WantedSysctl {
  readonly kind: 'sysctl';
  readonly family: 'ipv4' | 'ipv6';
  /** An interface, or "all". */
  readonly scope: string;
  readonly rule: SysctlRule;
}

export interface WantedAddress {
  readonly kind: 'address';
  readonly address: string;
}

/** The clsact hook of an interface. */
export interface WantedHook {
  readonly kind: 'hook';
  readonly interface: string;
}

export interface WantedDecapsulation {
  readonly kind: 'decapsulation';
  readonly interface: string;
  readonly config: NativeDecapsulation;
}

export interface WantedL3dsr {
  readonly kind: 'l3dsr';
  readonly interface: string;
  readonly config: NativeL3dsr;
}

/** A tunnel device of the kernel. */
export interface WantedDevice {
  readonly kind: 'device';
  readonly name: string;
  /** What stands behind "ip link add name NAME". */
  readonly type: readonly string[];
}

/** A port on which the kernel takes GUE off. */
export interface WantedGuePort {
  readonly kind: 'gue-port';
  readonly family: 'ipv4' | 'ipv6';
  readonly port: number;
}

export type Wanted = WantedSysctl | WantedAddress | WantedHook | WantedDecapsulation | WantedL3dsr | WantedDevice | WantedGuePort;

export const vipDevice = 'lo';

export function sysctlPath(wanted: WantedSysctl): string {
  return `net/${wanted.family}/conf/${wanted.scope}/${wanted.rule}`;
}

export function addressLength(address: string): number {
  return isIpv6(address) ? 128 : 32;
}

/** Names the thing, whatever its present state: equal for two wishes that concern the same thing. */
export function nameOf(wanted: Wanted): string {
  switch (wanted.kind) {
    case 'sysctl':
      return sysctlName(sysctlPath(wanted));
    case 'address':
      return `${wanted.address}/${addressLength(wanted.address)} on ${vipDevice}`;
    case 'hook':
      return `ingress hook of ${wanted.interface}`;
    case 'decapsulation':
      return `tunnel decapsulation on ${wanted.interface}`;
    case 'l3dsr':
      return `L3DSR on ${wanted.interface}`;
    case 'device':
      return `tunnel device ${wanted.name}`;
    case 'gue-port':
      return `GUE port ${wanted.port} (${wanted.family === 'ipv4' ? 'IPv4' : 'IPv6'})`;
  }
}

/** All that the setups need together, each thing once, in the order in which it is made. */
export function wantedBy(setups: readonly Setup[], facts: Pick<NetworkFacts, 'defaultDevices'>): readonly Wanted[] {
  const all = [
    ...setups.flatMap((setup) => quietArp(setup)),
    ...setups.flatMap((setup) => waysBack(setup, facts)),
    ...setups.flatMap((setup) => receivers(setup)),
    ...setups.flatMap((setup) => vipsOf(setup).map((address): WantedAddress => ({ kind: 'address', address }))),
  ];
  const seen = new Set<string>();
  return all.filter((wanted) => {
    const name = nameOf(wanted);
    if (seen.has(name)) return false;
    seen.add(name);
    return true;
  });
}

/**
 * An IPv4 host answers ARP for every address it has, on every interface, and puts any of them into its own requests. Both must end
 * before the VIP is there. The kernel takes the larger of the values of "all" and of the interface; both are set, so that neither alone
 * undoes it. IPv6 needs nothing: neighbour discovery is answered for addresses of the very interface only.
 */
function quietArp(setup: Setup): readonly WantedSysctl[] {
  if (vipsOf(setup).every(isIpv6)) return [];
  const rules = ['arp_ignore', 'arp_announce'] as const;
  return ['all', ...setup.interfaces].flatMap((scope) =>
    rules.map((rule): WantedSysctl => ({ kind: 'sysctl', family: 'ipv4', scope, rule })),
  );
}

/** A strict reverse path filter drops clients' packets on an interface by which the host would not answer them. */
function waysBack(setup: Setup, facts: Pick<NetworkFacts, 'defaultDevices'>): readonly WantedSysctl[] {
  if (vipsOf(setup).every(isIpv6)) return [];
  const onewayed = setup.interfaces.filter((name) => facts.defaultDevices.ipv4.some((device) => device !== name));
  return onewayed.map((scope) => ({ kind: 'sysctl', family: 'ipv4', scope, rule: 'rp_filter' }));
}

function receivers(setup: Setup): readonly Wanted[] {
  switch (setup.mode) {
    case 'direct':
      return [];
    case 'tunnel':
      return setup.device === 'bpf' ? decapsulation(setup) : kernelTunnels(setup);
    case 'l3dsr':
      return l3dsr(setup);
  }
}

function decapsulation(setup: TunnelSetup): readonly Wanted[] {
  const { types, guePort, vips, from: trusted } = setup;
  return setup.interfaces.flatMap((name): Wanted[] => [
    { kind: 'hook', interface: name },
    { kind: 'decapsulation', interface: name, config: { interface: name, types, guePort, vips, trusted } },
  ]);
}

function l3dsr(setup: L3dsrSetup): readonly Wanted[] {
  return setup.interfaces.flatMap((name): Wanted[] => [
    { kind: 'hook', interface: name },
    { kind: 'l3dsr', interface: name, config: { interface: name, marks: setup.marks } },
  ]);
}

/** One receiving device per kind and balancer: the kernel's devices know single addresses, no prefixes. */
export function kernelDevices(setup: TunnelSetup): readonly WantedDevice[] {
  const balancers = setup.from.map((prefix) => prefix.slice(0, prefix.indexOf('/')));
  const inner = { ipv4: !setup.vips.every(isIpv6), ipv6: setup.vips.some(isIpv6) };
  const types = balancers.flatMap((remote) => {
    const ends = ['local', 'any', 'remote', remote];
    const outer6 = isIpv6(remote);
    const kinds: string[][] = [];
    // GUE is taken off by its port; what comes out is looked up among the devices for plain IP in IP.
    if (setup.types.includes('ipip') || setup.types.includes('gue')) {
      if (outer6) kinds.push(['type', 'ip6tnl', 'mode', 'any', ...ends]);
      if (!outer6 && inner.ipv4) kinds.push(['type', 'ipip', ...ends]);
      if (!outer6 && inner.ipv6) kinds.push(['type', 'sit', ...ends]);
    }
    if (setup.types.includes('gre')) {
      kinds.push(['type', outer6 ? 'ip6gre' : 'gre', ...ends, ...(setup.greChecksum ? ['icsum'] : [])]);
    }
    return kinds;
  });
  return types.map((type, i) => ({ kind: 'device', name: `millrace-t${i}`, type }));
}

function kernelTunnels(setup: TunnelSetup): readonly Wanted[] {
  const ports = setup.types.includes('gue') ? unique(setup.from.map((prefix) => (isIpv6(prefix) ? 'ipv6' : 'ipv4'))) : [];
  return [
    ...ports.map((family): WantedGuePort => ({ kind: 'gue-port', family, port: setup.guePort })),
    ...kernelDevices(setup).flatMap((device): Wanted[] => [
      device,
      // The client's packet comes out of a device by which no client is reached.
      ...(setup.vips.every(isIpv6) ? [] : [rule('ipv4', device.name, 'rp_filter')]),
      ...(setup.vips.some(isIpv6) ? [rule('ipv6', device.name, 'disable_ipv6')] : []),
    ]),
  ];
}

function rule(family: 'ipv4' | 'ipv6', scope: string, name: SysctlRule): WantedSysctl {
  return { kind: 'sysctl', family, scope, rule: name };
}

/** The value that a kernel parameter must have, which is its present one if that will do. `all` is the value of the scope "all". */
export function rightValue(name: SysctlRule, present: string, all: string): string {
  switch (name) {
    case 'arp_ignore':
      // 1: answer only on the interface that has the address; 2: and only its own network; 8: answer nobody. 3 asks for the scope of
      // the address alone, 4 to 7 mean nothing.
      return ['1', '2', '8'].includes(present) ? present : '1';
    case 'arp_announce':
      return '2';
    case 'rp_filter':
      // 1 is strict. The larger of both counts; 2 asks only that there is some way back.
      return Math.max(Number(present), Number(all)) === 1 ? '2' : present;
    case 'disable_ipv6':
      return '0';
  }
}
