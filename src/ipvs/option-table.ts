// Which options ipvsadm 1.31 has, and which of them go with which command and which kind of tunnel.
// Guarantees: data and two checks; the order of CHECK_ORDER decides which of several mistakes is reported.
// Thread: any.
// Source: ipvsadm(8) 1.31, the recordings in test/ipvsadm/recordings, and for what goes with what also ipvsadm's published source.

import type { DpvsCommand } from './dpvs-option-table.js';
import { DPVS_CHECK_ORDER, DPVS_OPTIONS, DPVS_RULES, DPVS_SERVICE_OPTIONS } from './dpvs-option-table.js';
import { fail } from './exit.js';
import type { PoptOption } from './popt.js';

/**
 * Whose command line it is: that of ipvsadm alone; the same with --fullnat, so that every table can be saved and restored; or that of
 * DPVS's ipvsadm, where -b is full NAT and no longer scheduler flags.
 */
export type Dialect = 'ipvs' | 'millrace' | 'dpvs';

/** Commands, under the names that ipvsadm's messages give them. */
export type CommandName =
  | 'add-service'
  | 'edit-service'
  | 'delete-service'
  | 'flush'
  | 'list'
  | 'add-server'
  | 'delete-server'
  | 'edit-server'
  | 'set'
  | 'start-daemon'
  | 'stop-daemon'
  | 'restore'
  | 'save'
  | 'zero'
  | DpvsCommand;

/** Options under the names of the messages, in the order in which they are checked. */
export const CHECK_ORDER = [
  ...['numeric', 'connection', 'service-address', 'scheduler', 'persistent', 'netmask', 'real-server', 'forwarding-method'],
  ...['weight', 'u-threshold', 'l-threshold', 'mcast-interface', 'timeout', 'daemon', 'stats', 'rate', 'thresholds'],
  ...['persistent-conn', 'nosort', 'syncid', 'exact', 'ops', 'pe', 'sched-flags', 'mcast-group', 'mcast-port', 'mcast-ttl'],
  ...['sync-maxlen', 'tun-info', 'tun-type', 'tun-port', 'tun-nocsum', 'tun-csum', 'tun-remcsum'],
  ...DPVS_CHECK_ORDER,
] as const;

/** Every option that the command line may hold; the action is chosen by `long`. */
export interface IpvsadmOption extends PoptOption {
  /** Set on the words that choose the command. */
  readonly command?: CommandName | 'help' | 'version';
}

export const OPTIONS: readonly IpvsadmOption[] = [
  { long: 'add-service', short: 'A', command: 'add-service' },
  { long: 'edit-service', short: 'E', command: 'edit-service' },
  { long: 'delete-service', short: 'D', command: 'delete-service' },
  { long: 'clear', short: 'C', command: 'flush' },
  { long: 'list', short: 'L', command: 'list' },
  { long: 'list', short: 'l', command: 'list' },
  { long: 'zero', short: 'Z', command: 'zero' },
  { long: 'add-server', short: 'a', command: 'add-server' },
  { long: 'edit-server', short: 'e', command: 'edit-server' },
  { long: 'delete-server', short: 'd', command: 'delete-server' },
  { long: 'set', command: 'set' },
  { long: 'help', short: 'h', command: 'help' },
  { long: 'version', short: 'v', command: 'version' },
  { long: 'restore', short: 'R', command: 'restore' },
  { long: 'save', short: 'S', command: 'save' },
  { long: 'start-daemon', value: 'required', command: 'start-daemon' },
  { long: 'stop-daemon', value: 'required', command: 'stop-daemon' },
  { long: 'tcp-service', short: 't', value: 'required' },
  { long: 'udp-service', short: 'u', value: 'required' },
  { long: 'sctp-service', value: 'required' },
  { long: 'fwmark-service', short: 'f', value: 'required' },
  { long: 'scheduler', short: 's', value: 'required' },
  { long: 'persistent', short: 'p', value: 'optional' },
  { long: 'netmask', short: 'M', value: 'required' },
  { long: 'real-server', short: 'r', value: 'required' },
  { long: 'masquerading', short: 'm' },
  { long: 'ipip', short: 'i' },
  { long: 'gatewaying', short: 'g' },
  { long: 'weight', short: 'w', value: 'required' },
  { long: 'u-threshold', short: 'x', value: 'required' },
  { long: 'l-threshold', short: 'y', value: 'required' },
  { long: 'numeric', short: 'n' },
  { long: 'connection', short: 'c' },
  { long: 'mcast-interface', value: 'required' },
  { long: 'syncid', value: 'required' },
  { long: 'timeout' },
  { long: 'daemon' },
  { long: 'stats' },
  { long: 'rate' },
  { long: 'thresholds' },
  { long: 'persistent-conn' },
  { long: 'nosort' },
  { long: 'sort' },
  { long: 'exact', short: 'X' },
  { long: 'ipv6', short: '6' },
  { long: 'ops', short: 'o' },
  { long: 'pe', value: 'required' },
  { long: 'sched-flags', short: 'b', value: 'required' },
  { long: 'mcast-group', value: 'required' },
  { long: 'mcast-port', value: 'required' },
  { long: 'mcast-ttl', value: 'required' },
  { long: 'sync-maxlen', value: 'required' },
  { long: 'tun-info' },
  { long: 'tun-type', value: 'required' },
  { long: 'tun-port', value: 'required' },
  { long: 'tun-nocsum' },
  { long: 'tun-csum' },
  { long: 'tun-remcsum' },
];

const SCHEDULER_FLAGS = 'sched-flags';

/** What DPVS has added, with the letter that it took from scheduler flags. */
const OF_DPVS: readonly IpvsadmOption[] = [
  ...OPTIONS.map(
    (option): IpvsadmOption => (option.long === SCHEDULER_FLAGS ? { long: option.long, value: 'required' } : option),
  ),
  ...DPVS_OPTIONS,
];

const OF_DIALECT: Record<Dialect, readonly IpvsadmOption[]> = {
  ipvs: OPTIONS,
  millrace: [...OPTIONS, { long: 'fullnat' }],
  dpvs: OF_DPVS,
};

/** All options of a command line. */
export function optionsOf(dialect: Dialect): readonly IpvsadmOption[] {
  return OF_DIALECT[dialect];
}

/** What an owner (a command, a kind of tunnel) says about options; what it does not name is refused. */
export interface Rule {
  readonly needs?: readonly string[];
  readonly takes?: readonly string[];
  /** At most one of these. */
  readonly oneOf?: readonly string[];
}

const SERVICE_OPTIONS = ['scheduler', 'persistent', 'netmask', 'ops', 'pe', SCHEDULER_FLAGS, ...DPVS_SERVICE_OPTIONS];
const TUNNEL_OPTIONS = ['tun-port', 'tun-nocsum', 'tun-csum', 'tun-remcsum'];
const SERVER_OPTIONS = ['forwarding-method', 'weight', 'u-threshold', 'l-threshold', 'tun-type', ...TUNNEL_OPTIONS];

const COMMAND_RULES: Record<CommandName, Rule> = {
  'add-service': { needs: ['service-address'], takes: SERVICE_OPTIONS },
  'edit-service': { needs: ['service-address'], takes: SERVICE_OPTIONS },
  'delete-service': { needs: ['service-address'] },
  flush: {},
  list: {
    takes: ['numeric', 'stats', 'rate', 'thresholds', 'persistent-conn', 'nosort', 'syncid', 'exact', 'tun-info'],
    oneOf: ['connection', 'service-address', 'timeout', 'daemon'],
  },
  'add-server': { needs: ['service-address', 'real-server'], takes: SERVER_OPTIONS },
  'delete-server': { needs: ['service-address', 'real-server'] },
  'edit-server': { needs: ['service-address', 'real-server'], takes: SERVER_OPTIONS },
  set: {},
  'start-daemon': { takes: ['mcast-interface', 'syncid', 'mcast-group', 'mcast-port', 'mcast-ttl', 'sync-maxlen'] },
  'stop-daemon': { takes: ['syncid'] },
  restore: {},
  save: { takes: ['numeric'] },
  zero: { takes: ['service-address'] },
  ...DPVS_RULES,
};

export type TunnelType = 'ipip' | 'gue' | 'gre';

const TUNNEL_RULES: Record<TunnelType, Rule> = {
  ipip: {},
  gue: { needs: ['tun-port'], oneOf: ['tun-nocsum', 'tun-csum', 'tun-remcsum'] },
  gre: { oneOf: ['tun-nocsum', 'tun-csum'] },
};

function check(rule: Rule, given: ReadonlySet<string>, order: readonly string[], owner: string): void {
  let first: string | undefined;
  for (const name of order) {
    if (!given.has(name)) {
      if (rule.needs?.includes(name)) fail(2, `You need to supply the '${name}' option for the ${owner}`);
    } else if (rule.oneOf?.includes(name)) {
      if (first !== undefined) fail(2, `The option '${name}' conflicts with the '${first}' option in the ${owner}`);
      first = name;
    } else if (!rule.needs?.includes(name) && !rule.takes?.includes(name)) {
      fail(2, `Illegal '${name}' option with the ${owner}`);
    }
  }
}

/** Ends ipvsadm with status 2 when the options do not go with the command. */
export function checkCommandOptions(command: CommandName, given: ReadonlySet<string>): void {
  check(COMMAND_RULES[command], given, CHECK_ORDER, `'${command}' command`);
}

/** Ends ipvsadm with status 2 when the options do not go with the kind of tunnel. */
export function checkTunnelOptions(type: TunnelType, given: ReadonlySet<string>): void {
  check(TUNNEL_RULES[type], given, TUNNEL_OPTIONS, `'${type}' tunnel type`);
}
