// What DPVS's ipvsadm adds to the options of ipvsadm: full NAT, local addresses, lists of clients, PROXY headers.
// Guarantees: data only; none of it exists for a command line of plain ipvsadm. What Millrace has no counterpart for is listed with the
// reason, so that it is refused and not ignored.
// Thread: any.
// Source: iqiyi/dpvs, tools/ipvsadm (options, letters, names in messages), version 1.9.8.
import type { IpvsadmOption, Rule } from './option-table.js';

export type DpvsCommand =
  | 'add-laddr'
  | 'del-laddr'
  | 'get-laddr'
  | 'add-blklst'
  | 'del-blklst'
  | 'get-blklst'
  | 'add-whtlst'
  | 'del-whtlst'
  | 'get-whtlst';

export const DPVS_OPTIONS: readonly IpvsadmOption[] = [
  { long: 'add-laddr', short: 'P', command: 'add-laddr' },
  { long: 'del-laddr', short: 'Q', command: 'del-laddr' },
  { long: 'get-laddr', short: 'G', command: 'get-laddr' },
  { long: 'add-blklst', short: 'U', command: 'add-blklst' },
  { long: 'del-blklst', short: 'V', command: 'del-blklst' },
  { long: 'get-blklst', short: 'B', command: 'get-blklst' },
  { long: 'add-whtlst', short: 'O', command: 'add-whtlst' },
  { long: 'del-whtlst', short: 'Y', command: 'del-whtlst' },
  { long: 'get-whtlst', short: 'W', command: 'get-whtlst' },
  { long: 'icmp-service', short: 'q', value: 'required' },
  { long: 'icmpv6-service', short: '1', value: 'required' },
  { long: 'match', short: 'H', value: 'required' },
  { long: 'fullnat', short: 'b' },
  { long: 'snat', short: 'J' },
  { long: 'laddr', short: 'z', value: 'required' },
  { long: 'ifname', short: 'F', value: 'required' },
  { long: 'blklst', short: 'k', value: 'required' },
  { long: 'whtlst', short: '2', value: 'required' },
  { long: 'synproxy', short: 'j', value: 'required' },
  { long: 'hash-target', value: 'required' },
  { long: 'cpu', value: 'required' },
  { long: 'sockpair', value: 'required' },
  { long: 'expire-quiescent' },
  { long: 'dest-check', value: 'required' },
  { long: 'conn-timeout', value: 'required' },
  { long: 'proxy-protocol', value: 'required' },
  { long: 'quic' },
];

/** Names in messages, after those of ipvsadm. */
export const DPVS_CHECK_ORDER = [
  ...(['local-address', 'blklst-address', 'synproxy', 'ifname', 'hash-target', 'whtlst-address'] as const),
  ...(['dest-check', 'conn-timeout', 'proxy-protocol'] as const),
] as const;

/** Options of services. */
export const DPVS_SERVICE_OPTIONS = ['synproxy', 'hash-target', 'dest-check', 'conn-timeout', 'proxy-protocol'] as const;

const LOCAL_ADDRESS: Rule = { needs: ['service-address', 'local-address'], takes: ['ifname'] };
const DENIED: Rule = { needs: ['service-address', 'blklst-address'] };
const ALLOWED: Rule = { needs: ['service-address', 'whtlst-address'] };
const SHOWN: Rule = { takes: ['service-address'] };

export const DPVS_RULES: Record<DpvsCommand, Rule> = {
  'add-laddr': LOCAL_ADDRESS,
  'del-laddr': LOCAL_ADDRESS,
  'get-laddr': SHOWN,
  'add-blklst': DENIED,
  'del-blklst': DENIED,
  'get-blklst': SHOWN,
  'add-whtlst': ALLOWED,
  'del-whtlst': ALLOWED,
  'get-whtlst': SHOWN,
};

/** Options that are refused whatever their value is, with the reason. */
export const DPVS_REFUSED: Readonly<Record<string, string>> = {
  'icmp-service': 'ICMP is no service: echo requests to a VIP are answered, errors are translated',
  'icmpv6-service': 'ICMPv6 is no service: echo requests to a VIP are answered, errors are translated',
  match: 'write a service with a mark and a list of matches into the configuration, and use -f',
  snat: 'an outbound gateway has no servers to balance: write its rules under the key snat of the configuration',
  cpu: 'counters are those of all workers together; `millrace workers` shows each',
  sockpair: 'connections cannot be looked up by their ends here',
  'expire-quiescent': 'write persistence.expireQuiescent or onRemoval into the configuration of the service',
  quic: 'use the scheduler quic-cid, with schedulerOptions.connectionId in the configuration of the service',
};
