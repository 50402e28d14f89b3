// Reads virtual_server blocks with their real servers and sorry servers, those of DPVS included.
// Guarantees: what keepalived refuses as a whole (an address that is none) is left out and reported; single words that it refuses are
// reported and stay unset.
// Thread: any; no state.
import { parseAddress } from '../config/address.js';
import { block, flag, type Keywords, line, readBlock, reportLeftOut, type Scope } from './block.js';
import {
  type DpvsOptions,
  type Forwarding,
  type ForwardingMethod,
  type RealServer,
  SCHEDULER_FLAGS,
  type VirtualAddress,
  type VirtualServer,
} from './model.js';
import type { Statement } from './parser.js';
import { assign, CHECKS, timingKeywords } from './read-checks.js';
import {
  MOST_U32,
  readBoolean,
  readChoice,
  readNumber,
  readOptionalPort,
  readScript,
  readText,
  refuse,
  wordOf,
} from './values.js';

/** Schedulers that keepalived 2.2.7 accepts, and those of DPVS. */
const SCHEDULER_NAMES = [
  'rr',
  'wrr',
  'lc',
  'wlc',
  'lblc',
  'sh',
  'mh',
  'dh',
  'fo',
  'ovf',
  'lblcr',
  'sed',
  'nq',
  'twos',
  'conhash',
] as const;
const METHODS: readonly ForwardingMethod[] = ['NAT', 'DR', 'TUN', 'FNAT', 'SNAT'];
const PROTOCOLS = ['TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPV6'] as const;
/** Largest weight, IPVS_WEIGHT_LIMIT of keepalived. */
const MOST_WEIGHT = 2_147_483_647;
/** Longest persistence and established timeout in seconds: 31 days of keepalived, an hour of DPVS. */
const MOST_PERSISTENCE = 86_400 * 31;
const MOST_ESTABLISH_TIMEOUT = 3600;
/** Six minutes: persistence_timeout without a number, IPVS_SVC_PERSISTENT_TIMEOUT of the kernel. */
export const DEFAULT_PERSISTENCE = 360;

/** Reads `lb_kind` and `lvs_method`; undefined, and reported, where keepalived refuses the line. */
function readForwarding(statement: Statement, scope: Scope): Forwarding | undefined {
  const method = readChoice(statement, scope, METHODS);
  if (method === undefined) return undefined;
  const at = statement.keyword;
  const tunnel = readTunnel(statement, scope);
  if (tunnel === undefined) return undefined;
  if (method === 'TUN') return { at, method, tunnel };
  const option = statement.args[1];
  if (option !== undefined) scope.report('invalid', option, `${option.text} has a meaning with TUN only`, 'take it away');
  return { at, method };
}

type Tunnel = NonNullable<Forwarding['tunnel']>;

function readTunnel(statement: Statement, scope: Scope): Tunnel | undefined {
  let type: Tunnel['type'] = 'ipip';
  let port: number | undefined;
  let checksum: Tunnel['checksum'] = 'nocsum';
  for (let i = 1; i < statement.args.length; i++) {
    const word = statement.args[i];
    const text = word?.text;
    if (word === undefined) break;
    if (text === 'type') {
      const name = wordOf(statement, scope, 'a type of tunnel: ipip, gue or gre', ++i);
      if (name === undefined) return undefined;
      if (name.text !== 'ipip' && name.text !== 'gue' && name.text !== 'gre') return refuse(name, scope, 'ipip, gue or gre');
      type = name.text;
    } else if (text === 'port') {
      port = readNumber(statement, scope, 1, 65_535, ++i);
      if (port === undefined) return undefined;
    } else if (text === 'nocsum' || text === 'csum' || text === 'remcsum') {
      checksum = text;
    } else {
      return refuse(word, scope, 'type, port, nocsum, csum or remcsum');
    }
  }
  const fault = tunnelFault({ type, checksum, ...(port === undefined ? {} : { port }) });
  if (fault === undefined) return { type, checksum, ...(port === undefined ? {} : { port }) };
  scope.report('invalid', statement.keyword, fault, 'correct the line; keepalived ignores it as it is');
  return undefined;
}

function tunnelFault({ type, port, checksum }: Tunnel): string | undefined {
  if (type === 'gue' && port === undefined) return 'a gue tunnel needs a port';
  if (type !== 'gue' && port !== undefined) return `a tunnel of type ${type} has no port`;
  if (type === 'ipip' && checksum !== 'nocsum') return 'an ipip tunnel has no checksum';
  return type === 'gre' && checksum === 'remcsum' ? 'a gre tunnel has no remote checksum' : undefined;
}

const REAL_SERVER: Keywords<RealServer> = {
  ...timingKeywords<RealServer>(1),
  ...CHECKS,
  weight: line(1, (t, s, scope) => assign(t, 'weight', readNumber(s, scope, 0, MOST_WEIGHT))),
  lvs_method: line(Number.POSITIVE_INFINITY, (t, s, scope) => assign(t, 'forwarding', readForwarding(s, scope))),
  uthreshold: line(1, (t, s, scope) => assign(t, 'upperThreshold', readNumber(s, scope, 0, MOST_U32))),
  lthreshold: line(1, (t, s, scope) => assign(t, 'lowerThreshold', readNumber(s, scope, 0, MOST_U32))),
  inhibit_on_failure: line(1, (t, s, scope) => assign(t, 'inhibitOnFailure', readBoolean(s, scope))),
  notify_up: line(Number.POSITIVE_INFINITY, (t, s, scope) => assign(t, 'notifyUp', readScript(s, scope)), 'ignored'),
  notify_down: line(Number.POSITIVE_INFINITY, (t, s, scope) => assign(t, 'notifyDown', readScript(s, scope)), 'ignored'),
  alpha: line(1, (t, s, scope) => assign(t, 'alpha', readBoolean(s, scope))),
  smtp_alert: line(1, (t, s, scope) => assign(t, 'smtpAlert', readBoolean(s, scope))),
  virtualhost: line(1, (t, s, scope) => assign(t, 'virtualhost', readText(s, scope, 'a host name'))),
  snmp_name: line(1, (t, s, scope) => assign(t, 'snmpName', readText(s, scope, 'a name'))),
};

const dpvsText = (key: { [K in keyof DpvsOptions]: DpvsOptions[K] extends string | undefined ? K : never }[keyof DpvsOptions]) =>
  line<VirtualServer>(1, (t, s, scope) => {
    if (key !== undefined && key !== 'hashTarget') assign(t.dpvs, key, readText(s, scope, 'a word'));
  });
const dpvsNumber = (key: 'bps' | 'limitProportion' | 'establishTimeout', most: number) =>
  line<VirtualServer>(1, (t, s, scope) => assign(t.dpvs, key, readNumber(s, scope, 0, most)));
const dpvsFlag = (key: 'synProxy' | 'expireQuiescentConnections' | 'quic') =>
  flag<VirtualServer>((t) => {
    t.dpvs[key] = true;
  });

const DPVS: Keywords<VirtualServer> = {
  laddr_group_name: dpvsText('localAddressGroup'),
  daddr_group_name: dpvsText('denyAddressGroup'),
  waddr_group_name: dpvsText('allowAddressGroup'),
  proxy_protocol: dpvsText('proxyProtocol'),
  'src-range': dpvsText('sourceRange'),
  'dst-range': dpvsText('destinationRange'),
  iif: dpvsText('inputInterface'),
  oif: dpvsText('outputInterface'),
  vip_bind_dev: dpvsText('vipInterface'),
  establish_timeout: dpvsNumber('establishTimeout', MOST_ESTABLISH_TIMEOUT),
  bps: dpvsNumber('bps', MOST_U32),
  limit_proportion: dpvsNumber('limitProportion', 100),
  syn_proxy: dpvsFlag('synProxy'),
  expire_quiescent_conn: dpvsFlag('expireQuiescentConnections'),
  quic: dpvsFlag('quic'),
  hash_target: line(1, (t, s, scope) => assign(t.dpvs, 'hashTarget', readChoice(s, scope, ['sip', 'qid']))),
};

const FLAGS: Keywords<VirtualServer> = Object.fromEntries(
  SCHEDULER_FLAGS.map((name) => [
    name,
    flag<VirtualServer>((t) => {
      if (!t.flags.includes(name)) t.flags.push(name);
    }),
  ]),
);

const VIRTUAL_SERVER: Keywords<VirtualServer> = {
  ...timingKeywords<VirtualServer>(1),
  ...FLAGS,
  ...DPVS,
  lvs_sched: line(1, readScheduler),
  lb_algo: line(1, readScheduler),
  lvs_method: line(Number.POSITIVE_INFINITY, (t, s, scope) => assign(t, 'forwarding', readForwarding(s, scope))),
  lb_kind: line(Number.POSITIVE_INFINITY, (t, s, scope) => assign(t, 'forwarding', readForwarding(s, scope))),
  ops: flag((t) => {
    t.ops = true;
  }),
  ip_family: line(1, (t, s, scope) => assign(t, 'ipFamily', readChoice(s, scope, ['inet', 'inet6']))),
  protocol: line(1, (t, s, scope) => {
    const word = wordOf(s, scope, 'a protocol');
    const found = PROTOCOLS.find((name) => name === word?.text.toUpperCase());
    if (word !== undefined && found === undefined) refuse(word, scope, `one of ${PROTOCOLS.join(', ')}`);
    assign(t, 'protocol', found);
  }),
  persistence_engine: line(1, (t, s, scope) => assign(t, 'persistenceEngine', readText(s, scope, 'the name of an engine'))),
  persistence_timeout: line(1, (t, s, scope) => {
    const alone = s.args.length === 0;
    assign(t, 'persistenceTimeout', alone ? DEFAULT_PERSISTENCE : readNumber(s, scope, 1, MOST_PERSISTENCE));
  }),
  persistence_granularity: line(1, (t, s, scope) => assign(t, 'persistenceGranularity', readGranularity(s, scope))),
  ha_suspend: flag((t) => {
    t.haSuspend = true;
  }),
  smtp_alert: line(1, (t, s, scope) => assign(t, 'smtpAlert', readBoolean(s, scope))),
  virtualhost: line(1, (t, s, scope) => assign(t, 'virtualhost', readText(s, scope, 'a host name'))),
  snmp_name: line(1, (t, s, scope) => assign(t, 'snmpName', readText(s, scope, 'a name'))),
  alpha: flag((t) => {
    t.alpha = true;
  }),
  omega: flag((t) => {
    t.omega = true;
  }),
  quorum: line(1, (t, s, scope) => assign(t, 'quorum', readNumber(s, scope, 1, MOST_U32))),
  hysteresis: line(1, (t, s, scope) => assign(t, 'hysteresis', readNumber(s, scope, 0, MOST_U32))),
  quorum_up: line(Number.POSITIVE_INFINITY, (t, s, scope) => assign(t, 'quorumUp', readScript(s, scope)), 'ignored'),
  quorum_down: line(Number.POSITIVE_INFINITY, (t, s, scope) => assign(t, 'quorumDown', readScript(s, scope)), 'ignored'),
  weight: line(1, (t, s, scope) => assign(t, 'weight', readNumber(s, scope, 1, MOST_WEIGHT))),
  inhibit_on_failure: flag((t) => {
    t.inhibitOnFailure = true;
  }),
  sorry_server: line(2, (t, s, scope) => {
    const server = readServerAddress(s, scope);
    if (server !== undefined) t.sorryServer = { at: s.keyword, ...server };
  }),
  sorry_server_inhibit: line(0, (t, s, scope) => {
    if (t.sorryServer === undefined) reportNoSorryServer(s, scope);
    else t.sorryServer.inhibit = true;
  }),
  sorry_server_lvs_method: line(Number.POSITIVE_INFINITY, (t, s, scope) => {
    if (t.sorryServer === undefined) reportNoSorryServer(s, scope);
    else assign(t.sorryServer, 'forwarding', readForwarding(s, scope));
  }),
  real_server: block(2, (t, s, outer) => {
    const scope = outer.inside(s);
    const address = readServerAddress(s, scope);
    if (address === undefined) {
      reportLeftOut(s, scope);
      return;
    }
    const server: RealServer = { at: s.keyword, ...address, checks: [] };
    readBlock(s, server, REAL_SERVER, scope);
    t.realServers.push(server);
  }),
};

function reportNoSorryServer({ keyword }: Statement, scope: Scope): void {
  scope.report('invalid', keyword, `${keyword.text} stands in front of sorry_server`, 'write sorry_server first');
}

function readScheduler(server: VirtualServer, statement: Statement, scope: Scope): void {
  assign(server, 'scheduler', readChoice(statement, scope, SCHEDULER_NAMES));
}

/** A mask of IPv4 such as 255.255.255.0, or the length of a prefix of IPv6. */
function readGranularity(statement: Statement, scope: Scope): number | undefined {
  const what = 'a mask such as 255.255.255.0, or a prefix length of IPv6 from 1 to 128';
  const word = wordOf(statement, scope, what);
  if (word === undefined) return undefined;
  if (!word.text.includes('.')) return readNumber(statement, scope, 1, 128);
  const mask = parseAddress(word.text);
  const bits = mask?.family === 4 ? mask.value.toString(2).padStart(32, '0') : '';
  // The kernel takes masks with gaps; nobody means one, and a number of bits cannot say it.
  return /^1+0*$/.test(bits) ? bits.replaceAll('0', '').length : refuse(word, scope, what);
}

function readServerAddress(statement: Statement, scope: Scope) {
  const what = 'an IP address';
  const word = wordOf(statement, scope, what);
  const address = word && (parseAddress(word.text) ?? refuse(word, scope, what));
  const port = readOptionalPort(statement.args[1], scope);
  return address === undefined || port === false ? undefined : { address, port };
}

function readVirtualAddress(statement: Statement, scope: Scope): VirtualAddress | undefined {
  const kind = statement.args[0]?.text;
  if (kind === 'group' || kind === 'match') {
    const name = wordOf(statement, scope, 'a name', 1)?.text;
    return name === undefined ? undefined : { kind, name };
  }
  if (kind === 'fwmark') {
    const mark = readNumber(statement, scope, 0, MOST_U32, 1);
    return mark === undefined ? undefined : { kind, mark };
  }
  const server = readServerAddress(statement, scope);
  return server && { kind: 'address', ...server };
}

/** Reads one virtual_server; undefined, and reported, where it is for nothing. */
export function readVirtualServer(statement: Statement, outer: Scope): VirtualServer | undefined {
  const scope = outer.inside(statement);
  const address = readVirtualAddress(statement, scope);
  if (address === undefined) {
    reportLeftOut(statement, scope);
    return undefined;
  }
  const server: VirtualServer = { at: statement.keyword, address, flags: [], dpvs: {}, realServers: [] };
  readBlock(statement, server, VIRTUAL_SERVER, scope);
  return server;
}
