// Turns ipvsadm's command line into one request, with ipvsadm's own checks, in its order, with its words and exit statuses.
// Guarantees: pure but for the resolver; throws nothing but Exit; touches no table.
// Thread: any.
// Source: ipvsadm(8) 1.31, the recordings in test/ipvsadm/recordings, and for the order of checks also ipvsadm's published source.
import { type IpAddress, NO_ADDRESS, parseAton, parseDotted, parseIpv6, wordsOf } from './address.js';
import { type DpvsRequest, takeDpvsOption } from './dpvs-options.js';
import { Exit, fail } from './exit.js';
import type { DaemonRequest, DaemonRole, Forward, Protocol, Server, ServiceKey, ServiceSettings, Timeouts } from './model.js';
import type { Resolver } from './names.js';
import { leadingNumber, parseInRange } from './numbers.js';
import type { Dialect, TunnelType } from './option-table.js';
import { CHECK_ORDER, type CommandName, checkCommandOptions, checkTunnelOptions, optionsOf } from './option-table.js';
import { PoptReader } from './popt.js';
import { schedulerFlags } from './scheduler-flags.js';
import { parseHostPort } from './service-address.js';
import { crossesFamilies } from './table.js';
import { TRY_HELP, USAGE, VERSION } from './usage.js';

/** One command, ready to be asked of a table. */
export interface Request {
  readonly command: CommandName;
  readonly given: ReadonlySet<string>;
  readonly key: ServiceKey;
  readonly settings: ServiceSettings;
  readonly server: Server;
  readonly timeouts: Timeouts;
  readonly daemon: DaemonRequest;
  readonly dpvs: DpvsRequest;
}

export interface ParseOptions {
  /** Plain ipvsadm where it is not given. */
  readonly dialect?: Dialect | undefined;
  /** A line of -R. Outside of plain ipvsadm, what -S writes can be read there, also a port 0 without persistence. */
  readonly restoring?: boolean | undefined;
}

const INT_MAX = 2 ** 31 - 1;
const DEFAULT_SCHEDULER = 'wlc';
const DEFAULT_PERSISTENCE_S = 360;
/** 31 days. */
const MAX_TIMEOUT_S = 31 * 86_400;
/** Names longer than the kernel's buffers are cut. */
const NAME_LENGTH = 15;
/** Characters of -b that are looked at. */
const FLAGS_LENGTH = 127;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function numberOption(text: string, low: number, high: number, what: string): number {
  return parseInRange(text, low, high) ?? fail(2, `illegal ${what} specified`);
}

function timeoutOption(text: string, low: number): number {
  return parseInRange(text, low, MAX_TIMEOUT_S) ?? fail(2, `invalid timeout value \`${text}' specified`);
}

function groupOption(text: string): IpAddress {
  const isIpv6 = text.includes(':');
  const group = isIpv6 ? parseIpv6(text) : parseDotted(text);
  const top = group === undefined ? 0 : wordsOf(group)[0] >>> 24;
  const isMulticast = isIpv6 ? top === 0xff : top >= 224 && top < 240;
  return group !== undefined && isMulticast ? group : fail(2, `invalid IPv${isIpv6 ? 6 : 4} mcast-group \`${text}'`);
}

function daemonRole(text: string, message: string): DaemonRole {
  return text === 'master' || text === 'backup' ? text : fail(2, message);
}

/** Reads the options of one command line one by one; later ones may depend on earlier ones. */
class RequestBuilder {
  readonly given = new Set<string>();
  /** Undefined until the service is known. */
  protocol: Protocol | undefined;
  readonly key: Mutable<ServiceKey> = { fwmark: 0, family: 4, protocol: 6, address: NO_ADDRESS, port: 0 };
  readonly settings: Mutable<ServiceSettings> = {
    scheduler: '',
    schedulerFlags: new Set(),
    persistent: false,
    timeout: 0,
    netmask: 0xffffffff,
    onePacket: false,
    engine: '',
  };
  readonly server: Mutable<Server> = {
    address: NO_ADDRESS,
    port: 0,
    forward: 'Route',
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnelType: 'ipip',
    tunnelPort: 0,
    tunnelChecksum: 'none',
  };
  timeouts: Timeouts = { tcp: 0, tcpFin: 0, udp: 0 };
  readonly daemon: Mutable<DaemonRequest> = {
    role: 'master',
    interfaceName: '',
    syncId: 0,
    maxLength: 0,
    group: undefined,
    port: 0,
    ttl: 0,
  };
  flagsText = '';
  readonly dpvs: DpvsRequest = { localAddress: undefined, interfaceName: undefined, client: '' };
  readonly resolver: Resolver;
  /** Options whose messages use another name, or that change several things. */
  readonly #readers: Readonly<Record<string, (text: string) => void>> = {
    'tcp-service': (text) => this.#service(6, text),
    'udp-service': (text) => this.#service(17, text),
    'sctp-service': (text) => this.#service(132, text),
    'fwmark-service': (text) => this.#mark(text),
    ipv6: () => this.#ipv6(),
    'real-server': (text) => this.#realServer(text),
    netmask: (text) => this.#netmask(text),
    masquerading: () => this.forward('Masq'),
    gatewaying: () => this.forward('Route'),
    ipip: () => this.forward('Tunnel'),
    'tun-nocsum': () => this.#checksum('tun-nocsum', 'none'),
    'tun-csum': () => this.#checksum('tun-csum', 'plain'),
    'tun-remcsum': () => this.#checksum('tun-remcsum', 'remote'),
    // Sorting is what happens anyway.
    sort: () => {},
  };

  constructor(resolver: Resolver) {
    this.resolver = resolver;
  }

  /** Takes one option after the command. `word` is how it was written. */
  take(name: string, value: string | undefined, word: string): void {
    const read = this.#readers[name];
    if (read !== undefined) read(value ?? '');
    else if (takeDpvsOption(name, value ?? '', this)) return;
    else if ((CHECK_ORDER as readonly string[]).includes(name)) {
      this.note(name);
      this.#simple(name, value);
    } else fail(2, `invalid option \`${word}'`);
  }

  /** Options that stand for themselves. */
  #simple(name: string, value: string | undefined): void {
    const text = value ?? '';
    const { settings, server, daemon } = this;
    if (name === 'scheduler') settings.scheduler = text.slice(0, NAME_LENGTH);
    else if (name === 'pe') settings.engine = text.slice(0, NAME_LENGTH + 1);
    else if (name === 'ops') settings.onePacket = true;
    else if (name === 'sched-flags') this.flagsText = text.slice(0, FLAGS_LENGTH);
    else if (name === 'persistent') {
      settings.persistent = true;
      settings.timeout = value === undefined ? DEFAULT_PERSISTENCE_S : timeoutOption(text, 1);
    } else if (name === 'weight') server.weight = numberOption(text, 0, INT_MAX, 'weight');
    else if (name === 'u-threshold') server.upperThreshold = numberOption(text, 0, INT_MAX, 'u_threshold');
    else if (name === 'l-threshold') server.lowerThreshold = numberOption(text, 0, INT_MAX, 'l_threshold');
    else if (name === 'tun-type') server.tunnelType = this.#tunnelType(text);
    else if (name === 'tun-port') server.tunnelPort = numberOption(text, 1, 65535, 'tunnel port');
    else if (name === 'mcast-interface') daemon.interfaceName = text.slice(0, NAME_LENGTH);
    else if (name === 'syncid') daemon.syncId = numberOption(text, 0, 255, 'syncid');
    else if (name === 'mcast-group') daemon.group = groupOption(text);
    else if (name === 'mcast-port') daemon.port = numberOption(text, 1, 65535, 'mcast-port');
    else if (name === 'mcast-ttl') daemon.ttl = numberOption(text, 1, 255, 'mcast-ttl');
    else if (name === 'sync-maxlen') daemon.maxLength = numberOption(text, 1, 65535 - 28, 'sync-maxlen');
  }

  note(name: string): void {
    if (this.given.has(name)) fail(2, `multiple '${name}' options specified`);
    this.given.add(name);
  }

  forward(forward: Forward): void {
    this.note('forwarding-method');
    this.server.forward = forward;
  }

  #checksum(name: string, checksum: Server['tunnelChecksum']): void {
    this.note(name);
    this.server.tunnelChecksum = checksum;
  }

  #tunnelType(text: string): TunnelType {
    return text === 'ipip' || text === 'gue' || text === 'gre' ? text : fail(2, 'illegal tunnel type specified');
  }

  #service(protocol: Protocol, text: string): void {
    this.note('service-address');
    const parsed = parseHostPort(text, protocol, this.resolver);
    if (parsed === undefined) fail(2, 'illegal virtual server address[:port] specified');
    this.protocol = protocol;
    const { address, port = 0 } = parsed;
    Object.assign(this.key, { protocol, address, family: address.family, port });
    if (address.family === 6) this.settings.netmask = 128;
  }

  #mark(text: string): void {
    this.note('service-address');
    this.protocol = 6;
    this.key.family = 4;
    this.key.fwmark = parseInRange(text, 1, 0xffffffff) ?? fail(2, `invalid fwmark value \`${text}' specified`);
  }

  #ipv6(): void {
    // The message ends in a line break of its own.
    if (this.key.fwmark === 0) fail(2, '-6 used before -f\n');
    this.key.family = 6;
    this.settings.netmask = 128;
  }

  #realServer(text: string): void {
    this.note('real-server');
    const parsed = parseHostPort(text, this.protocol, this.resolver);
    if (parsed === undefined) fail(2, 'illegal real server address[:port] specified');
    this.server.address = parsed.address;
    this.server.port = parsed.port ?? this.key.port;
  }

  #netmask(text: string): void {
    this.note('netmask');
    if (this.key.family === 6) {
      this.settings.netmask = leadingNumber(text);
      if (this.settings.netmask < 1 || this.settings.netmask > 128) fail(2, 'illegal ipv6 netmask specified');
      return;
    }
    const mask = parseAton(text) ?? this.resolver.addressOf(text);
    if (mask === undefined) fail(2, 'illegal virtual server persistent mask specified');
    this.settings.netmask = Number(mask.value);
  }
}

/** Checks that look at several options together. */
function checkTogether(command: CommandName, builder: RequestBuilder, anyPort: boolean): void {
  const { key, settings, server, given } = builder;
  if (command === 'add-service' || command === 'edit-service') {
    if (!anyPort && key.fwmark === 0 && key.port === 0 && !settings.persistent)
      fail(2, 'Zero port specified for non-persistent service');
    if (settings.onePacket && key.fwmark === 0 && key.protocol !== 17)
      fail(2, 'One-Packet Scheduling is only for UDP virtual services');
    if (settings.scheduler === '') settings.scheduler = DEFAULT_SCHEDULER;
  }
  if (builder.daemon.interfaceName === '') builder.daemon.interfaceName = 'eth0';
  if (command === 'add-server' || command === 'edit-server') {
    // A server that is reached without rewriting is reached at the service's port.
    if (key.fwmark === 0 && server.forward !== 'Masq' && server.forward !== 'FullNat') server.port = key.port;
    if (server.address.family !== key.family && !crossesFamilies(server.forward))
      fail(2, 'Different address family is allowed only for tunneling servers');
    if (server.forward !== 'Tunnel' && [...given].some((name) => name.startsWith('tun-')))
      fail(2, 'Tunnel options conflict with forward method');
    checkTunnelOptions(server.tunnelType, given);
  }
  if (command === 'list') checkList(given);
}

function checkList(given: ReadonlySet<string>): void {
  const some = (...names: string[]) => names.some((name) => given.has(name));
  const isTable = some('stats', 'rate', 'thresholds');
  if ((some('connection', 'timeout', 'daemon') && isTable) || (some('timeout', 'daemon') && some('persistent-conn')))
    fail(2, 'options conflicts in the list command');
}

function timeoutsFrom(rest: string[]): Timeouts {
  const [tcp, tcpFin, udp] = rest.splice(0, 3);
  if (tcp === undefined || tcpFin === undefined || udp === undefined) fail(2, '--set option requires 3 timeout values');
  return { tcp: timeoutOption(tcp, 0), tcpFin: timeoutOption(tcpFin, 0), udp: timeoutOption(udp, 0) };
}

/** Reads the words after the program's name; an `Exit` carries messages, help and version. */
export function parseRequest(words: readonly string[], resolver: Resolver, options: ParseOptions = {}): Request {
  const { dialect = 'ipvs', restoring = false } = options;
  const reader = new PoptReader(words, optionsOf(dialect));
  const first = reader.next();
  if (first.kind !== 'option' || first.option.command === undefined) throw new Exit(255, { stderr: TRY_HELP });
  const command = first.option.command;
  if (command === 'help') throw new Exit(0, { stdout: USAGE });
  if (command === 'version') throw new Exit(0, { stdout: VERSION });
  const builder = new RequestBuilder(resolver);
  if (command === 'start-daemon') builder.daemon.role = daemonRole(first.value ?? '', 'illegal start-daemon parameter specified');
  if (command === 'stop-daemon') builder.daemon.role = daemonRole(first.value ?? '', 'illegal start_daemon specified');

  let step = reader.next();
  for (; step.kind === 'option'; step = reader.next()) {
    builder.take(step.option.command === undefined ? step.option.long : '', step.value, step.word);
  }
  // Not an end of the program: within -R the next line is read.
  if (step.kind === 'error') throw new BadOption(`${step.word}: ${step.reason}`);
  const rest = [...reader.rest];
  if (command === 'set') builder.timeouts = timeoutsFrom(rest);
  if (rest[0] !== undefined) fail(2, `unexpected argument ${rest[0]}`);
  if (builder.flagsText !== '')
    builder.settings.schedulerFlags = schedulerFlags(builder.settings.scheduler || DEFAULT_SCHEDULER, builder.flagsText);

  checkCommandOptions(command, builder.given);
  checkTogether(command, builder, restoring && dialect !== 'ipvs');
  const { given, key, settings, server, timeouts, daemon, dpvs } = builder;
  return { command, given, key, settings, server, timeouts, daemon, dpvs };
}

/** A word that popt does not understand: status 255, but no end of -R. */
export class BadOption extends Error {}
