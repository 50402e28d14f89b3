// Judges whether a real server can be prepared, in the words of the doctor: what was found, what is needed, how to get it.
// Guarantees: pure; a problem means that it would not work or do harm, a warning that it may not work.
// Thread: any; no state.
import type { Finding, FindingStatus } from '../doctor/facts.js';
import { parseCapabilities } from '../doctor/parse.js';
import type { NetworkFacts } from './network-facts.js';
import { isIpv6, type Setup, vipsOf } from './setup.js';
import { addressLength, vipDevice } from './wanted.js';

export interface HostFacts {
  readonly network: NetworkFacts;
  /** Hexadecimal mask of effective capabilities; undefined if unknown. */
  readonly capabilities: string | undefined;
  readonly sysctlsWritable: boolean;
  /** Why there is no addon; undefined when it is loaded. */
  readonly nativeError: string | undefined;
  /** Interfaces (or "lo") whose IPv6 is switched off. */
  readonly ipv6Disabled: readonly string[];
}

export function judgeSetup(setup: Setup, facts: HostFacts): readonly Finding[] {
  return [
    judgeCapabilities(setup, facts),
    ...judgeTools(setup, facts),
    ...setup.interfaces.map((name) => judgeInterface(name, facts)),
    ...vipsOf(setup).flatMap((vip) => judgeVip(vip, setup, facts)),
    ...judgeWayBack(setup, facts),
    ...judgeIpv6(setup, facts),
    ...judgeMarks(setup),
  ];
}

type Say = (status: FindingStatus, check: string, found: string, needed?: string, remedy?: string) => Finding;

const about =
  (name: string): Say =>
  (status, check, found, needed = '', remedy = '') => ({ check, interface: name, status, found, needed, remedy });
const say = about('');

function usesPrograms(setup: Setup): boolean {
  return setup.mode === 'l3dsr' || (setup.mode === 'tunnel' && setup.device === 'bpf');
}

function judgeCapabilities(setup: Setup, facts: HostFacts): Finding {
  const held = facts.capabilities === undefined ? null : parseCapabilities(facts.capabilities);
  if (held === null) return say('warning', 'capabilities', 'not known', 'CAP_NET_ADMIN', 'Mount /proc.');
  const missing = [
    ...(held.includes('CAP_NET_ADMIN') ? [] : ['CAP_NET_ADMIN (changes addresses and kernel parameters)']),
    ...(usesPrograms(setup) && !held.includes('CAP_BPF') && !held.includes('CAP_SYS_ADMIN') ? ['CAP_BPF (loads programs)'] : []),
  ];
  if (missing.length === 0) return say('ok', 'capabilities', 'enough');
  const needed = missing.map((entry) => entry.split(' ')[0]).join(', ');
  return say('problem', 'capabilities', `missing: ${missing.join(', ')}`, needed, 'Run as root of the network namespace.');
}

function judgeTools(setup: Setup, facts: HostFacts): readonly Finding[] {
  const findings: Finding[] = [];
  if (!facts.sysctlsWritable) {
    const remedy = 'Run outside of the container in its network namespace (nsenter --net), or make /proc/sys writable.';
    findings.push(say('problem', 'sysctl', '/proc/sys is read-only', 'writable kernel parameters', remedy));
  }
  if (usesPrograms(setup)) {
    findings.push(
      facts.nativeError === undefined
        ? say('ok', 'addon', 'loaded')
        : say('problem', 'addon', facts.nativeError, 'the native addon, which brings the BPF programs', 'See above.'),
    );
  }
  return findings;
}

function judgeInterface(name: string, facts: HostFacts): Finding {
  const link = facts.network.links.find((candidate) => candidate.name === name);
  const tell = about(name);
  if (link === undefined) {
    const there = facts.network.links.map((candidate) => candidate.name).join(', ');
    return tell('problem', 'interface', 'not in this network namespace', `one of ${there}`, 'Correct --interface.');
  }
  if (!link.up) return tell('problem', 'interface', 'down', 'an interface that is up', `ip link set dev ${name} up`);
  return tell('ok', 'interface', `up, MTU ${link.mtu}`);
}

function judgeVip(vip: string, setup: Setup, facts: HostFacts): readonly Finding[] {
  const holders = facts.network.addresses.filter((own) => own.address === vip);
  const elsewhere = holders.find((own) => own.device !== vipDevice);
  if (elsewhere !== undefined) {
    return [
      say(
        'problem',
        'vip',
        `${vip} is an address of ${elsewhere.device}`,
        `the VIP on ${vipDevice} alone: on ${elsewhere.device} the host would answer for it on the network, like the balancer`,
        `ip address delete ${vip}/${elsewhere.length} dev ${elsewhere.device}`,
      ),
    ];
  }
  if (isIpv6(vip) && facts.network.proxied.includes(vip)) {
    const remedy = `ip -6 neighbour del proxy ${vip} dev ${setup.interfaces[0] ?? 'NAME'}`;
    return [say('problem', 'vip', `the kernel answers neighbour discovery for ${vip} as a proxy`, 'silence', remedy)];
  }
  const wide = holders.find((own) => own.length !== addressLength(vip));
  if (wide !== undefined) {
    return [
      say(
        'problem',
        'vip',
        `${vip}/${wide.length} is on ${vipDevice}, which makes all of that network local to this host`,
        `${vip}/${addressLength(vip)}`,
        `ip address delete ${vip}/${wide.length} dev ${vipDevice}`,
      ),
    ];
  }
  return [say('ok', 'vip', holders.length === 0 ? `${vip} is free` : `${vip} is on ${vipDevice} already`)];
}

/** Answers go straight to the client, by this host's own routes. */
function judgeWayBack(setup: Setup, facts: HostFacts): readonly Finding[] {
  return (['ipv4', 'ipv6'] as const).flatMap((family) => {
    if (!vipsOf(setup).some((vip) => isIpv6(vip) === (family === 'ipv6'))) return [];
    const devices = facts.network.defaultDevices[family];
    const label = family === 'ipv4' ? 'IPv4' : 'IPv6';
    if (devices.length > 0) return [say('ok', 'way-back', `${label} answers leave by ${devices.join(', ')}`)];
    return [
      say(
        'warning',
        'way-back',
        `no default route for ${label}`,
        'a route to the clients: answers do not pass the balancer',
        `ip ${family === 'ipv6' ? '-6 ' : ''}route add default via GATEWAY`,
      ),
    ];
  });
}

function judgeIpv6(setup: Setup, facts: HostFacts): readonly Finding[] {
  if (!vipsOf(setup).some(isIpv6)) return [];
  return [vipDevice, ...setup.interfaces]
    .filter((name) => facts.ipv6Disabled.includes(name))
    .map((name) =>
      say(
        'problem',
        'ipv6',
        `IPv6 is switched off on ${name}`,
        'IPv6 for an IPv6 VIP',
        `sysctl -w net.ipv6.conf.${name}.disable_ipv6=0`,
      ),
    );
}

function judgeMarks(setup: Setup): readonly Finding[] {
  if (setup.mode !== 'l3dsr') return [];
  const dscps = setup.marks.map((mark) => mark.dscp);
  // Anyone's packet with the mark is taken for the balancer's: it is a matter of who may send what into this network.
  return [say('ok', 'mark', `DSCP ${[...new Set(dscps)].join(', ')}; the network's edge must clear it on packets from outside`)];
}
