// A virtual server of keepalived as a service, apart from what tells it from others: how a server is chosen and reached, the servers with
// their checks, what becomes of them when they fail.
// Guarantees: every word that the reader has understood is either in the service or reported.
// Facts: keepalived.conf(5) of 2.2.7; for the words of DPVS the source is named where they are read.
// Thread: any; pure but for the reports.
import type { ForwardMode } from '../config/forward-mode.js';
import { keepsPort } from '../config/forward-mode.js';
import { notYet } from '../config/not-yet.js';
import { placeIn, type Scope, wordIn } from './block.js';
import { forwardingOf, inhibitsOf, weightOf } from './defaults.js';
import { given, type ServerDraft, type ServerInput, type ServiceDraft, type ServiceInput } from './draft.js';
import type { Forwarding, Globals, KeepalivedConfig, RealServer, Script, SorryServer, VirtualServer } from './model.js';
import { DEFAULT_PERSISTENCE } from './read-virtual-server.js';
import type { Place } from './report.js';
import type { Identity } from './to-addresses.js';
import { checksOf } from './to-checks.js';
import { commandOf } from './to-command.js';
import { dpvsOf } from './to-dpvs.js';

export interface ServiceContext {
  readonly config: KeepalivedConfig;
  readonly scope: Scope;
}

const MOST_WEIGHT = 65_535;
const LONGEST_PERSISTENCE = 604_800;
const MOST_QUORUM = 1_000_000;
const MOST_CONNECTIONS = 1_000_000_000;

/** Everything of a service but its identity; `identity` decides about ports and families. */
export function draftOf(virtual: VirtualServer, identity: Identity, context: ServiceContext): ServiceDraft {
  const { keys, at } = identity;
  const { mode, tunnelPort } = modeOf(virtual.forwarding, context.scope);
  reportLost(virtual, context);
  const service = {
    ...keys,
    mode,
    ...given({ tunnelPort }),
    ...schedulerOf(virtual, context.scope),
    ...persistenceOf(virtual, keys, context.scope),
    ...dpvsOf(virtual, keys, mode, context),
    ...given({ health: healthOf(virtual, context) }),
  };
  const servers = virtual.realServers.map((real) => serverDraft(virtual, real, keys, context));
  return { service, at, servers, sorry: sorryOf(virtual, keys, context) };
}

const TUNNELS = { ipip: 'ipip', gue: 'gue', gre: 'gre' } as const;

/** Where nobody says it, keepalived takes NAT. */
export function modeOf(
  forwarding: Forwarding | undefined,
  scope: Scope,
): { readonly mode: ForwardMode; readonly tunnelPort?: number } {
  const tunnel = forwarding?.tunnel;
  if (forwarding !== undefined && tunnel !== undefined && tunnel.checksum !== 'nocsum') {
    const remedy = 'take it away; packets inside of the tunnel have checksums of their own';
    scope.report('unsupported', forwarding.at, `${tunnel.checksum} has no counterpart: tunnels carry no checksum`, remedy);
  }
  switch (forwarding?.method) {
    case 'DR':
      return { mode: 'direct' };
    case 'FNAT':
      return { mode: 'fullnat' };
    case 'TUN':
      return { mode: TUNNELS[tunnel?.type ?? 'ipip'], ...given({ tunnelPort: tunnel?.port }) };
    default:
      return { mode: 'nat' };
  }
}

function schedulerOf(virtual: VirtualServer, scope: Scope): Pick<ServiceInput, 'scheduler' | 'schedulerOptions'> {
  const { scheduler = 'wlc', flags, dpvs } = virtual;
  if (dpvs.quic === true) {
    const reason = `quic: servers are found by connection ids, and new connections by Maglev hashing in place of ${scheduler}`;
    scope.report('note', placeIn(virtual, 'quic'), reason, 'nothing');
    return { scheduler: 'quic-cid', schedulerOptions: { connectionId: 'dpvs' } };
  }
  const hashes = scheduler === 'sh' || scheduler === 'mh';
  // The flags of sh and mh are the first and second flag by other names: keepalived takes them for each other.
  const fallback = flags.some((flag) => flag === 'flag-1' || flag.endsWith('-fallback'));
  const port = flags.some((flag) => flag === 'flag-2' || flag.endsWith('-port'));
  for (const flag of flags) {
    if (hashes && flag !== 'flag-3' && flag !== 'hashed') continue;
    scope.report(
      'note',
      placeIn(virtual, flag),
      `${flag} has no effect with scheduler ${scheduler}, neither here nor in IPVS`,
      'take it away',
    );
  }
  const options = { ...(fallback ? { fallback } : {}), ...(port ? { port } : {}) };
  const chosen = { scheduler: scheduler as NonNullable<ServiceInput['scheduler']> };
  return hashes && (fallback || port) ? { ...chosen, schedulerOptions: options } : chosen;
}

type Shown = Pick<ServiceInput, 'persistence' | 'onePacket'>;

function persistenceOf(virtual: VirtualServer, { port, protocol, address, match }: Identity['keys'], scope: Scope): Shown {
  const { persistenceEngine, persistenceGranularity: prefix, ops } = virtual;
  const granularity = placeIn(virtual, 'persistence_granularity');
  // A service for all ports is persistent in IPVS, or a client's connections would not find together.
  const timeout = virtual.persistenceTimeout ?? (port === 'any' ? DEFAULT_PERSISTENCE : undefined);
  if (persistenceEngine !== undefined) {
    const { reason, remedy } = notYet('persistence_engine') ?? { reason: 'there is no such thing', remedy: 'take it away' };
    scope.report('unsupported', placeIn(virtual, 'persistence_engine'), reason, remedy);
  }
  if (timeout === undefined) {
    if (prefix !== undefined)
      scope.report('note', granularity, 'persistence_granularity has no meaning without persistence_timeout', 'add it');
    return onePacketOf(virtual, protocol, match !== undefined);
  }
  if (ops === true && (protocol === 'udp' || match !== undefined)) {
    const reason = 'ops sends each datagram to another server, persistence all of a client to one: ops is left out';
    scope.report('unsupported', placeIn(virtual, 'ops'), reason, 'remove one of the two');
  }
  const whole = address === undefined || address.includes(':') ? 128 : 32;
  if (prefix !== undefined && prefix > whole) {
    scope.report('invalid', granularity, `persistence_granularity ${prefix} is for IPv6; it is left out`, 'write a mask of IPv4');
  }
  if (timeout > LONGEST_PERSISTENCE) {
    const reason = `persistence_timeout ${timeout} is more than ${LONGEST_PERSISTENCE}, which it becomes`;
    scope.report('unsupported', placeIn(virtual, 'persistence_timeout'), reason, 'write a week or less');
  }
  const kept = prefix === undefined || prefix > whole ? {} : { prefix };
  return { persistence: { timeout: Math.min(timeout, LONGEST_PERSISTENCE), ...kept } };
}

/** Of TCP and SCTP it was reported when the file was read: keepalived ignores it there. */
function onePacketOf({ ops }: VirtualServer, protocol: string | undefined, marked: boolean): Shown {
  return ops === true && (protocol === 'udp' || marked) ? { onePacket: true } : {};
}

function healthOf(virtual: VirtualServer, { config, scope }: ServiceContext): ServiceInput['health'] {
  const command = (script: Script | undefined) => script && commandOf(script, script, config.globals, scope);
  const limited = (what: string, value: number | undefined): number | undefined => {
    if (value === undefined || value <= MOST_QUORUM) return value;
    scope.report(
      'unsupported',
      placeIn(virtual, what),
      `${what} ${value} is more than ${MOST_QUORUM}, which it becomes`,
      'write less',
    );
    return MOST_QUORUM;
  };
  const notify = given({ quorumUp: command(virtual.quorumUp), quorumDown: command(virtual.quorumDown) });
  const health = given({
    quorum: limited('quorum', virtual.quorum),
    hysteresis: limited('hysteresis', virtual.hysteresis),
    alpha: virtual.alpha,
    omega: virtual.omega,
    onFailure: virtual.inhibitOnFailure === true ? ('drain' as const) : undefined,
    notify: Object.keys(notify).length === 0 ? undefined : notify,
  });
  return Object.keys(health).length === 0 ? undefined : health;
}

/** Mode and ports of one server. */
function reachOf(virtual: VirtualServer, server: RealServer | SorryServer, keys: Identity['keys'], scope: Scope) {
  const own = server.forwarding;
  const chosen = modeOf(forwardingOf(virtual, server), scope);
  const servicePort = typeof keys.port === 'number' ? keys.port : undefined;
  const changes = !keepsPort(chosen.mode) && keys.port !== 'any';
  if (server.port !== undefined && server.port !== servicePort && !changes && keys.match === undefined) {
    const reason =
      keys.port === 'any'
        ? 'behind a virtual server for all ports a real server has the port that the client asked for'
        : `only NAT changes ports: the real server receives ${servicePort}`;
    scope.report('note', server.at, `${reason}; keepalived takes that, too`, 'correct the port');
  }
  const port = changes ? server.port : undefined;
  const mode = own === undefined || chosen.mode === modeOf(virtual.forwarding, scope).mode ? {} : { mode: chosen.mode };
  const tunnel =
    own?.tunnel?.port !== undefined && own.tunnel.port !== virtual.forwarding?.tunnel?.port
      ? { tunnelPort: own.tunnel.port }
      : {};
  return { keys: { ...given({ port }), ...mode, ...tunnel }, checkedPort: port ?? servicePort };
}

function limitedWeight(weight: number, at: Place, scope: Scope): number {
  if (weight <= MOST_WEIGHT) return weight;
  scope.report(
    'unsupported',
    at,
    `weight ${weight} is more than ${MOST_WEIGHT}, which it becomes`,
    'divide all weights of the service',
  );
  return MOST_WEIGHT;
}

function serverDraft(virtual: VirtualServer, real: RealServer, keys: Identity['keys'], context: ServiceContext): ServerDraft {
  const { config, scope } = context;
  const { keys: reach, checkedPort } = reachOf(virtual, real, keys, scope);
  const command = (script: Script | undefined) => script && commandOf(script, script, config.globals, scope);
  const notify = given({ up: command(real.notifyUp), down: command(real.notifyDown) });
  const inhibits = inhibitsOf(virtual, real);
  const server: ServerInput = {
    address: real.address.text,
    ...reach,
    weight: limitedWeight(weightOf(virtual, real), placeIn(real, 'weight'), scope),
    ...thresholdsOf(real, scope),
    ...(inhibits === (virtual.inhibitOnFailure ?? false)
      ? {}
      : { onFailure: inhibits ? ('drain' as const) : ('remove' as const) }),
    ...(Object.keys(notify).length === 0 ? {} : { notify }),
  };
  reportMail(real, virtual, config.globals, scope);
  if (real.snmpName !== undefined) {
    scope.report(
      'unsupported',
      placeIn(real, 'snmp_name'),
      'snmp_name of a real server has no counterpart',
      'take it away; servers go by their address',
    );
  }
  return { server, at: real.at, checks: checksOf({ config, virtual, real, port: checkedPort, scope }) };
}

/** 0 is no limit. */
function thresholdsOf(real: RealServer, scope: Scope): Partial<ServerInput> {
  const { upperThreshold: upper = 0, lowerThreshold: lower = 0 } = real;
  const at = placeIn(real, 'lthreshold');
  if (upper === 0) {
    if (lower > 0) scope.report('note', at, 'lthreshold has no meaning without uthreshold', 'add uthreshold');
    return {};
  }
  if (lower > upper)
    scope.report('invalid', at, `lthreshold ${lower} is above uthreshold ${upper}; it is left out`, 'write less');
  const most = Math.min(upper, MOST_CONNECTIONS);
  return { upperThreshold: most, ...(lower > 0 && lower <= upper ? { lowerThreshold: Math.min(lower, most) } : {}) };
}

function sorryOf(virtual: VirtualServer, keys: Identity['keys'], { scope }: ServiceContext): ServiceDraft['sorry'] {
  const { sorryServer } = virtual;
  if (sorryServer === undefined) return undefined;
  if (sorryServer.inhibit === true) {
    scope.report(
      'note',
      placeIn(virtual, 'sorry_server_inhibit'),
      'sorry_server_inhibit: connections of the sorry server go on here in any case',
      'take it away',
    );
  }
  const { keys: reach } = reachOf(virtual, sorryServer, keys, scope);
  return { server: { address: sorryServer.address.text, ...reach }, at: sorryServer.at };
}

/** Where mail is asked for: a server's own word, else the virtual server's, else a global one. */
function reportMail(own: RealServer | VirtualServer, virtual: VirtualServer, globals: Globals, scope: Scope): void {
  if (!(own.smtpAlert ?? virtual.smtpAlert ?? globals.smtpAlertChecker ?? globals.smtpAlert)) return;
  const at =
    wordIn(own, 'smtp_alert') ??
    wordIn(virtual, 'smtp_alert') ??
    wordIn(globals, globals.smtpAlertChecker === undefined ? 'smtp_alert' : 'smtp_alert_checker') ??
    own.at;
  const remedy = 'send it in a script of notify_up and notify_down';
  scope.report('unsupported', at, 'smtp_alert has no counterpart: no mail is sent', remedy);
}

function reportLost(virtual: VirtualServer, { config, scope }: ServiceContext): void {
  reportMail(virtual, virtual, config.globals, scope);
  if (virtual.haSuspend === true) {
    const remedy = 'follow the state of VRRP: services that are not in force are not checked';
    scope.report(
      'unsupported',
      placeIn(virtual, 'ha_suspend'),
      'ha_suspend has no counterpart: servers are checked whether or not the address is here',
      remedy,
    );
  }
}
