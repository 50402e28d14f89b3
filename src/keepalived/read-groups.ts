// Reads the blocks beside virtual servers that concern load balancing: virtual_server_group, SSL, the address groups of DPVS, track_file,
// and what global_defs says about LVS.
// Guarantees: words of LVS in global_defs that nothing here understands are reported; those of VRRP are left alone.
// Thread: any; no state.
import { type Keywords, line, readBlock, reportLeftOut, type Scope } from './block.js';
import type { AddressGroup, Globals, GroupEntry, SslSettings, TrackFile, VirtualServerGroup } from './model.js';
import type { Statement } from './parser.js';
import { assign } from './read-checks.js';
import { MOST_U32, readBoolean, readNumber, readOptionalPort, readRange, readText, refuse, wordOf } from './values.js';

/** The name behind the keyword of a block, and the lines in it; undefined, and reported, where one is missing. */
function namedBlock(statement: Statement, scope: Scope): { name: string; lines: readonly Statement[] } | undefined {
  const { keyword, args, block } = statement;
  const name = wordOf(statement, scope, 'a name')?.text;
  if (block === undefined) scope.report('syntax', keyword, `${keyword.text} has no block`, 'write { and } behind it');
  const extra = args[1];
  if (extra !== undefined) scope.report('unknown', extra, `"${extra.text}" stands behind the name`, 'take it away');
  if (name === undefined && block !== undefined) reportLeftOut(statement, scope);
  return name === undefined || block === undefined ? undefined : { name, lines: block };
}

/** Reports a block within a block of values, and words behind the last one that counts. */
function checkEntry({ keyword, args, block }: Statement, words: number, scope: Scope): void {
  if (block !== undefined) scope.report('syntax', keyword, 'a block stands where none belongs', 'take it away');
  const extra = args[words];
  if (extra !== undefined) scope.report('unknown', extra, `"${extra.text}" is not expected here`, 'take it away');
}

export function readGroup(statement: Statement, outer: Scope): VirtualServerGroup | undefined {
  const scope = outer.inside(statement);
  const named = namedBlock(statement, scope);
  if (named === undefined) return undefined;
  const entries = named.lines.map((entry) => readEntry(entry, scope)).filter((entry) => entry !== undefined);
  if (entries.length === 0) {
    scope.report('invalid', statement.keyword, `the group ${named.name} is empty; keepalived ignores it`, 'add an address');
    return undefined;
  }
  return { at: statement.keyword, name: named.name, entries };
}

function readEntry(statement: Statement, scope: Scope): GroupEntry | undefined {
  const { keyword: at, args } = statement;
  checkEntry(statement, at.text === 'fwmark' ? 2 : 1, scope);
  if (at.text !== 'fwmark') {
    const range = readRange(at, scope, true);
    const port = readOptionalPort(args[0], scope);
    return range === undefined || port === false ? undefined : { kind: 'addresses', at, ...range, port };
  }
  const mark = readNumber(statement, scope, 0, MOST_U32);
  const family = args[1]?.text;
  if (args[1] !== undefined && family !== 'inet' && family !== 'inet6') return refuse(args[1], scope, 'inet or inet6');
  return mark === undefined
    ? undefined
    : { kind: 'fwmark', at, mark, ...(family === undefined ? {} : { family: family as 'inet' }) };
}

/** local_address_group, whose entries have an interface, deny_address_group and allow_address_group. */
export function readAddressGroup(statement: Statement, outer: Scope): AddressGroup | undefined {
  const scope = outer.inside(statement);
  const named = namedBlock(statement, scope);
  if (named === undefined) return undefined;
  const local = statement.keyword.text === 'local_address_group';
  const entries: AddressGroup['entries'] = [];
  for (const entry of named.lines) {
    const { keyword: at, args } = entry;
    checkEntry(entry, local ? 1 : 0, scope);
    if (!local && at.text.startsWith('ipset:')) {
      scope.report('unsupported', at, `${at.text} names a set of the kernel`, 'write the addresses of the set');
      continue;
    }
    const range = readRange(at, scope, false);
    const device = local ? args[0]?.text : undefined;
    if (range !== undefined) entries.push({ at, ...range, ...(device === undefined ? {} : { interface: device }) });
  }
  return { at: statement.keyword, name: named.name, entries };
}

const SSL: Keywords<SslSettings> = {
  password: line(1, (t, s, scope) => assign(t, 'password', readText(s, scope, 'a password'))),
  ca: line(1, (t, s, scope) => assign(t, 'ca', readText(s, scope, 'a file'))),
  certificate: line(1, (t, s, scope) => assign(t, 'certificate', readText(s, scope, 'a file'))),
  key: line(1, (t, s, scope) => assign(t, 'key', readText(s, scope, 'a file'))),
};

export function readSsl(statement: Statement, outer: Scope): SslSettings {
  const settings: SslSettings = {};
  readBlock(statement, settings, SSL, outer.inside(statement));
  return settings;
}

/** Takes from a track_file what FILE_CHECK needs. The block stays with keepalived, so its other words are not looked at. */
export function readTrackFile(statement: Statement, outer: Scope): TrackFile | undefined {
  const scope = outer.inside(statement);
  const name = statement.args[0]?.text;
  if (name === undefined) return undefined;
  const found: TrackFile = { at: statement.keyword, name };
  for (const child of statement.block ?? []) {
    if (child.keyword.text === 'file') assign(found, 'file', child.args[0]?.text);
    if (child.keyword.text === 'weight') assign(found, 'weight', readNumber(child, scope, -2_147_483_647, 2_147_483_647));
  }
  return found;
}

type Global = Keywords<Globals>[string];

/** A word of LVS for which there is nothing here. */
function unsupported(remedy: string): Global {
  return line(Number.POSITIVE_INFINITY, (_, { keyword }, scope) => {
    scope.report('unsupported', keyword, `${keyword.text} has no counterpart`, remedy);
  });
}

const ITS_PROCESS = 'take it away; keepalived has no process for checks any more';
const ITS_KERNEL = 'take it away; nothing is in IPVS any more';
const process = unsupported(ITS_PROCESS);
const kernel = unsupported(ITS_KERNEL);
const fifo = unsupported('take what follows state changes from the events of the load balancer');
const firewall = unsupported('take it away; groups need no firewall marks here');

/** Words of global_defs that concern load balancing alone. They leave the file that stays with keepalived. */
const LVS_GLOBALS: Keywords<Globals> = {
  lvs_timeouts: line(6, (t, s, scope) => readTimeouts(t, s, scope)),
  lvs_sync_daemon: unsupported('see what the load balancer offers for handing sessions to another node'),
  lvs_flush: kernel,
  lvs_flush_on_stop: kernel,
  lvs_flush_onstop: kernel,
  lvs_notify_fifo: fifo,
  lvs_notify_fifo_script: fifo,
  lvs_netlink_cmd_rcv_bufs: kernel,
  lvs_netlink_cmd_rcv_bufs_force: kernel,
  lvs_netlink_monitor_rcv_bufs: kernel,
  lvs_netlink_monitor_rcv_bufs_force: kernel,
  lvs_process_name: process,
  checker_process_name: process,
  checker_priority: process,
  checker_no_swap: process,
  checker_rt_priority: process,
  checker_cpu_affinity: process,
  checker_rlimit_rttime: process,
  checker_rlimit_rtime: process,
  nftables_ipvs: firewall,
  nftables_ipvs_priority: firewall,
  nftables_ipvs_start_fwmark: firewall,
  snmp_vs_stats_update_interval: process,
  snmp_rs_stats_update_interval: process,
  enable_snmp_checker: process,
  rs_init_notifies: unsupported('take it away; there are no scripts at the start'),
  no_checker_emails: unsupported('take it away; there are no mails'),
  smtp_alert_checker: line(1, (t, s, scope) => assign(t, 'smtpAlertChecker', readBoolean(s, scope))),
  checker_log_all_failures: line(1, (t, s, scope) => assign(t, 'checkerLogAllFailures', readBoolean(s, scope))),
};

/** Words that concern both: they are read here, and stay with keepalived. */
const SHARED_GLOBALS: Keywords<Globals> = {
  smtp_alert: line(1, (t, s, scope) => assign(t, 'smtpAlert', readBoolean(s, scope))),
  script_user: line(2, (t, s, scope) => {
    const user = readText(s, scope, 'a user');
    const group = s.args[1]?.text;
    if (user !== undefined) t.scriptUser = { user, ...(group === undefined ? {} : { group }) };
  }),
};

/** Whether a word of global_defs leaves the file that stays with keepalived. */
export function isLvsGlobal(statement: Statement): boolean {
  return Object.hasOwn(LVS_GLOBALS, statement.keyword.text);
}

export function readGlobals(globals: Globals, statement: Statement, outer: Scope): void {
  const keywords = { ...LVS_GLOBALS, ...SHARED_GLOBALS };
  const concerned = (statement.block ?? []).filter((child) => Object.hasOwn(keywords, child.keyword.text));
  readBlock({ ...statement, block: concerned }, globals, keywords, outer.inside(statement));
}

/** `[tcp SECONDS] [tcpfin SECONDS] [udp SECONDS]`, in any order. */
function readTimeouts(globals: Globals, statement: Statement, scope: Scope): void {
  const names = { tcp: 'tcp', tcpfin: 'tcpFin', udp: 'udp' } as const;
  const found: { tcp?: number; tcpFin?: number; udp?: number } = {};
  wordOf(statement, scope, 'tcp, tcpfin or udp and a number of seconds');
  for (let i = 0; i < statement.args.length; i += 2) {
    const word = statement.args[i];
    if (word === undefined) break;
    if (!Object.hasOwn(names, word.text)) {
      refuse(word, scope, 'tcp, tcpfin or udp');
      continue;
    }
    // The kernel's limit is 31 days, LVS_MAX_TIMEOUT of keepalived.
    assign(found, names[word.text as keyof typeof names], readNumber(statement, scope, 0, 86_400 * 31, i + 1));
  }
  globals.lvsTimeouts = { at: statement.keyword, ...found };
}
