// The words of DPVS: access lists, how servers learn the client's address, local addresses, outbound rules.
// Guarantees: each word is in the service, or reported.
// Facts: doc/ and tools/keepalived of DPVS (github.com/iqiyi/dpvs).
// Thread: any; pure but for the reports.
import type { ForwardMode } from '../config/forward-mode.js';
import { notYet } from '../config/not-yet.js';
import { placeIn, type Scope } from './block.js';
import { given, type OutboundDraft, type OutboundInput, type ServiceInput } from './draft.js';
import type { Word } from './lexer.js';
import type { AddressGroup, KeepalivedConfig, VirtualServer } from './model.js';
import { addressesOf, prefixesOf } from './ranges.js';
import type { Identity, Names } from './to-addresses.js';
import { readRange } from './values.js';

interface Context {
  readonly config: KeepalivedConfig;
  readonly scope: Scope;
}

const MOST_LOCAL_ADDRESSES = 4096;
const MOST_OUTBOUND_MATCHES = 64;

/** Values of proxy_protocol; those that end in insecure believe a header that the client has written. */
const PROXY = {
  v1: { method: 'proxy-v1', accepts: false },
  v2: { method: 'proxy-v2', accepts: false },
  'v1-insecure': { method: 'proxy-v1', accepts: true },
  'v2-insecure': { method: 'proxy-v2', accepts: true },
} as const;

export function dpvsOf(
  virtual: VirtualServer,
  keys: Identity['keys'],
  mode: ForwardMode,
  context: Context,
): Partial<ServiceInput> {
  reportLost(virtual, context.scope);
  return {
    ...aclOf(virtual, context.config),
    ...clientAddressOf(virtual, keys, mode, context.scope),
    ...timeoutsOf(virtual, keys),
  };
}

function prefixesOfGroup(name: string | undefined, groups: readonly AddressGroup[]): string[] | undefined {
  const group = name === undefined ? undefined : groups.find((known) => known.name === name);
  // A group that is missing has been reported by the one who read the file.
  return group === undefined ? undefined : [...new Set(group.entries.flatMap(prefixesOf))];
}

function aclOf({ dpvs }: VirtualServer, config: KeepalivedConfig): Pick<ServiceInput, 'acl'> {
  const allow = prefixesOfGroup(dpvs.allowAddressGroup, config.allowAddressGroups);
  const deny = prefixesOfGroup(dpvs.denyAddressGroup, config.denyAddressGroups);
  if (allow === undefined && deny === undefined) return {};
  return { acl: { ...given({ allow, deny }), ...(allow === undefined ? {} : { default: 'deny' as const }) } };
}

/** Without a word DPVS tells servers of full NAT by options: TOA in TCP, UOA in UDP. */
function clientAddressOf(
  virtual: VirtualServer,
  { protocol, match }: Identity['keys'],
  mode: ForwardMode,
  scope: Scope,
): Pick<ServiceInput, 'clientAddress' | 'acceptProxy'> {
  const { realServers, forwarding } = virtual;
  const { proxyProtocol } = virtual.dpvs;
  const at = placeIn(virtual, 'proxy_protocol');
  const wanted = proxyProtocol === undefined || proxyProtocol === 'disable' ? undefined : proxyProtocol;
  const everywhere = mode === 'fullnat' && realServers.every((real) => (real.forwarding ?? forwarding)?.method === 'FNAT');
  if (!everywhere) {
    if (wanted !== undefined) {
      scope.report('unsupported', at, 'proxy_protocol is of full NAT: other servers see the client as it is', 'take it away');
    }
    return {};
  }
  if (wanted === undefined) {
    const method =
      match !== undefined ? undefined : protocol === 'tcp' ? ('toa' as const) : protocol === 'udp' ? ('uoa' as const) : undefined;
    return method === undefined ? {} : { clientAddress: { method } };
  }
  const known = Object.hasOwn(PROXY, wanted) ? PROXY[wanted as keyof typeof PROXY] : undefined;
  if (known === undefined || (protocol !== 'tcp' && known.method === 'proxy-v1') || protocol === 'sctp') {
    scope.report('unsupported', at, `proxy_protocol ${wanted} has no counterpart here`, 'write v1 or v2 for TCP, v2 for UDP');
    return {};
  }
  return {
    clientAddress: { method: known.method },
    ...(known.accepts ? { acceptProxy: { from: ['0.0.0.0/0', '::/0'] } } : {}),
  };
}

function timeoutsOf(
  { dpvs: { establishTimeout } }: VirtualServer,
  { protocol }: Identity['keys'],
): Pick<ServiceInput, 'timeouts'> {
  if (establishTimeout === undefined || establishTimeout === 0) return {};
  if (protocol === 'tcp') return { timeouts: { tcp: { established: establishTimeout } } };
  if (protocol === 'sctp') return { timeouts: { sctp: { established: establishTimeout } } };
  return { timeouts: { udp: { normal: establishTimeout } } };
}

function reportLost(virtual: VirtualServer, scope: Scope): void {
  const { dpvs, address } = virtual;
  const lost = (word: string, remedy: string, reason = `${word} has no counterpart`) =>
    scope.report('unsupported', placeIn(virtual, word), reason, remedy);
  if (dpvs.synProxy === true) {
    const known = notYet('syn_proxy');
    lost('syn_proxy', known?.remedy ?? 'take it away', known?.reason);
  }
  if (dpvs.bps !== undefined) lost('bps', 'write rateLimit with bitsPerSecond for the service');
  if (dpvs.limitProportion !== undefined) lost('limit_proportion', 'write rateLimit for the service');
  if (dpvs.expireQuiescentConnections === true) lost('expire_quiescent_conn', 'write onRemoval: reset for the service');
  if (dpvs.hashTarget === 'qid' && dpvs.quic !== true) lost('hash_target', 'write quic, or hash_target sip');
  if (dpvs.vipInterface !== undefined) lost('vip_bind_dev', 'take it away; an address is answered for where its network is');
  if (address.kind === 'match') return;
  const outbound = 'it belongs to a virtual_server match';
  if (dpvs.sourceRange !== undefined) lost('src-range', outbound);
  if (dpvs.destinationRange !== undefined) lost('dst-range', outbound);
  if (dpvs.inputInterface !== undefined) lost('iif', outbound);
  if (dpvs.outputInterface !== undefined) lost('oif', outbound);
}

/** Addresses of the local_address_groups that virtual servers name, each once. */
export function localAddressesOf(config: KeepalivedConfig, scope: Scope): string[] {
  const used = new Set(config.virtualServers.map(({ dpvs }) => dpvs.localAddressGroup));
  const groups = config.localAddressGroups.filter((group) => used.has(group.name));
  const found = new Set<string>();
  for (const entry of groups.flatMap((group) => group.entries)) {
    const addresses = addressesOf(entry, MOST_LOCAL_ADDRESSES);
    if (addresses === undefined) {
      const reason = `the range has more than ${MOST_LOCAL_ADDRESSES} addresses; it is left out`;
      scope.report('unsupported', entry.at, reason, 'write fewer: one for each worker is enough');
    }
    for (const address of addresses ?? []) found.add(address.text);
    if (entry.interface !== undefined) {
      const remedy = 'nothing: a local address is answered for where its network is';
      scope.report('note', entry.at, `the interface ${entry.interface} of a local address does not count`, remedy);
    }
  }
  return [...found];
}

/** Protocols of outbound rules. */
const OUTBOUND = { TCP: 'tcp', UDP: 'udp', ICMP: 'icmp', ICMPV6: 'icmp', SCTP: undefined } as const;

/** A virtual_server match of DPVS. `others`: rules that are there; one with the same pool takes this one's matches. */
export function addOutbound(virtual: VirtualServer, others: OutboundDraft[], names: Names, scope: Scope): void {
  const { at, address, dpvs, realServers, forwarding } = virtual;
  if (address.kind !== 'match') return;
  const protocol = virtual.protocol === undefined ? ('any' as const) : OUTBOUND[virtual.protocol];
  if (forwarding?.method !== 'SNAT' || protocol === undefined || dpvs.sourceRange === undefined) {
    const reason = 'a match becomes an outbound rule with lb_kind SNAT, src-range, and TCP, UDP or ICMP; it is left out';
    scope.report('unsupported', at, reason, 'write what is missing');
    return;
  }
  if (dpvs.outputInterface !== undefined) {
    scope.report(
      'unsupported',
      placeIn(virtual, 'oif'),
      'oif has no counterpart: the way out is that of the routes',
      'take it away',
    );
  }
  if (new Set(realServers.map((real) => real.weight ?? 1)).size > 1) {
    scope.report('unsupported', at, 'addresses of a pool have no weights', 'write the same weight for all');
  }
  const sources = rangeOf(dpvs.sourceRange, placeIn(virtual, 'src-range'), scope);
  const destinations =
    dpvs.destinationRange === undefined ? [undefined] : rangeOf(dpvs.destinationRange, placeIn(virtual, 'dst-range'), scope);
  const found = sources.flatMap((source) =>
    destinations.map((destination): OutboundInput['match'][number] => ({
      protocol,
      source,
      ...given({ destination, interface: dpvs.inputInterface }),
    })),
  );
  const pool = [...new Set(realServers.map((real) => real.address.text))];
  if (found.length === 0 || pool.length === 0) return;
  const same = others.find(({ rule }) => rule.pool.join(' ') === pool.join(' '));
  const all = [...(same?.rule.match ?? []), ...found];
  if (all.length > MOST_OUTBOUND_MATCHES) {
    scope.report(
      'unsupported',
      at,
      `more than ${MOST_OUTBOUND_MATCHES} prefixes; it is left out`,
      'write ranges that are prefixes',
    );
    return;
  }
  if (same === undefined) others.push({ rule: { name: names.give('', address.name), match: found, pool }, at });
  else {
    same.rule.match.push(...found);
    scope.report('note', at, `it becomes part of the rule ${same.rule.name}, which has the same pool`, 'nothing');
  }
}

function rangeOf(text: string, at: Word, scope: Scope): string[] {
  const range = readRange({ ...at, text }, scope, true);
  return range === undefined ? [] : prefixesOf(range);
}
