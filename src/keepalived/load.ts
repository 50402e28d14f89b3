// Reads a keepalived.conf: what it says about load balancing, what stays with keepalived, and reports about every word that is neither.
// Guarantees: any text is read or reported, never an exception; an exception only when the file itself cannot be read.
// Thread: main; reads files while the caller waits.
import { readdirSync, readFileSync } from 'node:fs';
import { parseAddress } from '../config/address.js';
import { reportUnknown, Scope } from './block.js';
import { checkReferences } from './check-references.js';
import { type Expanded, type ExpandOptions, expand } from './expand.js';
import type { FileAccess } from './glob.js';
import { wholeLine } from './lexer.js';
import type { KeepalivedConfig } from './model.js';
import { parse, type Statement } from './parser.js';
import { isLvsGlobal, readAddressGroup, readGlobals, readGroup, readSsl, readTrackFile } from './read-groups.js';
import { readVirtualServer } from './read-virtual-server.js';
import { remainderOf } from './remainder.js';
import { type Report, Reports } from './report.js';
import { ADDRESS_BLOCKS, addressOfLine } from './vrrp-services.js';

export interface KeepalivedFile {
  readonly config: KeepalivedConfig;
  /** A keepalived.conf with what stays with keepalived, ready to be written in place of the old one. */
  readonly remainder: string;
  /** Whether anything in it gives keepalived something to do: VRRP, BFD, static addresses and routes. */
  readonly staysInUse: boolean;
  /** The blocks that stay, with all that was in them. */
  readonly kept: readonly Statement[];
  readonly reports: readonly Report[];
  /** Absolute paths of all files read, the first one first. */
  readonly files: readonly string[];
}

export interface LoadOptions extends ExpandOptions {
  /** Where files come from; default: the disk. */
  readonly files?: FileAccess;
}

const DISK: FileAccess = {
  read: (path) => readFileSync(path, 'utf8'),
  list: (folder) => readdirSync(folder),
};

/** Blocks and words at the top that leave keepalived. */
const LEAVES = [
  'virtual_server',
  'virtual_server_group',
  'SSL',
  'local_address_group',
  'deny_address_group',
  'allow_address_group',
  'tunnel_group',
  'net_namespace_ipvs',
];
/** The word of vrrp_instance that hands the connections of IPVS to another node. */
const SYNC_DAEMON = 'lvs_sync_daemon_interface';
/** Blocks at the top that give keepalived something to do. */
const IN_USE = [
  'vrrp_instance',
  'vrrp_sync_group',
  'vrrp_script',
  'vrrp_track_process',
  'vrrp_track_file',
  'track_process',
  'track_file',
  'track_group',
  'bfd_instance',
  'static_ipaddress',
  'static_routes',
  'static_rules',
];
/** The rest of what keepalived 2.2.7 knows at the top. */
const STAYS = [
  'global_defs',
  'net_namespace',
  'namespace_with_ipsets',
  'instance',
  'use_pid_dir',
  'child_wait_time',
  'linkbeat_use_polling',
  'linkbeat_interfaces',
  'garp_group',
  'interface_up_down_delays',
];

/**
 * Reads a file and what it includes. Throws an error of node:fs when the file cannot be read; everything else is in the reports.
 */
export function loadKeepalived(file: string, options: LoadOptions = {}): KeepalivedFile {
  const reports = new Reports();
  const expanded = expand(file, options.files ?? DISK, reports, options);
  const statements = parse(expanded.pieces, reports);
  const scope = new Scope(reports);
  const config: KeepalivedConfig = {
    globals: {},
    groups: [],
    localAddressGroups: [],
    denyAddressGroups: [],
    allowAddressGroups: [],
    virtualServers: [],
    trackFiles: [],
    bfdInstances: [],
  };
  for (const statement of statements) readTop(config, statement, scope);
  checkReferences(config, scope);
  reportOtherIds(expanded, options.configId, scope);
  const isOurs = virtualAddresses(config);
  const leaves = (statement: Statement, parent: Statement | undefined): boolean =>
    leavesByName(statement, parent) || (ADDRESS_BLOCKS.includes(parent?.keyword.text ?? '') && isOurs(addressOfLine(statement)));
  for (const statement of statements) reportMoved(statement, leaves, scope);
  const kept = statements.filter((statement) => !leaves(statement, undefined));
  return {
    config,
    kept,
    remainder: remainderOf(expanded, statements, leaves, placeholdersOf(statements, leaves)),
    staysInUse: kept.some((statement) => IN_USE.includes(statement.keyword.text)),
    reports: reports.all,
    files: expanded.files,
  };
}

/** Whether a virtual server has an address: the kernel must not have it as well. */
function virtualAddresses({ virtualServers, groups }: KeepalivedConfig): (text: string | undefined) => boolean {
  const single = new Set(virtualServers.flatMap(({ address }) => (address.kind === 'address' ? [address.address.text] : [])));
  const names = new Set(virtualServers.flatMap(({ address }) => (address.kind === 'group' ? [address.name] : [])));
  const ranges = groups.filter(({ name }) => names.has(name)).flatMap(({ entries }) => entries);
  return (text) => {
    const address = text === undefined ? undefined : parseAddress(text);
    if (address === undefined) return false;
    const within = (entry: (typeof ranges)[number]): boolean =>
      entry.kind === 'addresses' &&
      entry.first.family === address.family &&
      entry.first.value <= address.value &&
      address.value <= entry.last.value;
    return single.has(address.text) || ranges.some(within);
  };
}

type Leaves = (statement: Statement, parent: Statement | undefined) => boolean;

/** Addresses that keepalived gave the kernel so far. */
function reportMoved(instance: Statement, leaves: Leaves, outer: Scope): void {
  if (instance.keyword.text !== 'vrrp_instance') return;
  const scope = outer.inside(instance);
  for (const list of (instance.block ?? []).filter(({ keyword }) => ADDRESS_BLOCKS.includes(keyword.text))) {
    for (const { keyword } of (list.block ?? []).filter((line) => leaves(line, list))) {
      const reason = `${keyword.text} leaves keepalived: the load balancer answers for it while the instance is MASTER`;
      scope.report('note', keyword, reason, 'follow keepalived: vrrp_notify_fifo in global_defs, and run --vrrp-fifo');
    }
  }
}

/**
 * An instance whose addresses all leave gets one that is nobody's, of the same family and on lo: VRRP version 3 needs one, and both nodes
 * of a pair must have the same.
 */
function placeholdersOf(statements: readonly Statement[], leaves: Leaves): ReadonlyMap<Statement, string> {
  const found = new Map<Statement, string>();
  for (const { keyword, block = [] } of statements) {
    if (keyword.text !== 'vrrp_instance') continue;
    const list = block.find((child) => child.keyword.text === ADDRESS_BLOCKS[0]);
    const [first] = list?.block ?? [];
    if (list === undefined || first === undefined || !list.block?.every((line) => leaves(line, list))) continue;
    const written = block.find((child) => child.keyword.text === 'virtual_router_id')?.args[0]?.text ?? '';
    const id = /^[0-9]{1,3}$/.test(written) && Number(written) <= 255 ? Number(written) : 1;
    const address = first.keyword.text.includes(':') ? `fe80::${id}/128` : `169.254.0.${id}/32`;
    const [indent = ''] = /^[ \t]*/.exec(first.keyword.source) ?? [];
    found.set(first, `${indent}${address} dev lo`);
  }
  return found;
}

/** Whether a statement leaves keepalived, by what it is called. */
function leavesByName(statement: Statement, parent: Statement | undefined): boolean {
  if (parent === undefined) return LEAVES.includes(statement.keyword.text);
  if (parent.keyword.text === 'global_defs') return isLvsGlobal(statement);
  return parent.keyword.text === 'vrrp_instance' && statement.keyword.text === SYNC_DAEMON;
}

function readTop(config: KeepalivedConfig, statement: Statement, scope: Scope): void {
  const name = statement.keyword.text;
  switch (name) {
    case 'virtual_server':
      if (needsBlock(statement, scope)) add(config.virtualServers, readVirtualServer(statement, scope));
      return;
    case 'virtual_server_group':
      add(config.groups, readGroup(statement, scope));
      return;
    case 'local_address_group':
      add(config.localAddressGroups, readAddressGroup(statement, scope));
      return;
    case 'deny_address_group':
      add(config.denyAddressGroups, readAddressGroup(statement, scope));
      return;
    case 'allow_address_group':
      add(config.allowAddressGroups, readAddressGroup(statement, scope));
      return;
    case 'SSL':
      if (needsBlock(statement, scope)) config.ssl = { ...config.ssl, ...readSsl(statement, scope) };
      return;
    case 'global_defs':
      readGlobals(config.globals, statement, scope);
      return;
    case 'track_file':
    case 'vrrp_track_file':
      add(config.trackFiles, readTrackFile(statement, scope));
      return;
    case 'bfd_instance':
      add(config.bfdInstances, statement.args[0]?.text);
      return;
    case 'vrrp_instance':
      for (const child of statement.block ?? [])
        if (leavesByName(child, statement)) reportSyncDaemon(child, scope.inside(statement));
      return;
    case 'tunnel_group':
      scope.report('unsupported', statement.keyword, 'tunnels of DPVS are not made', 'make the tunnel with ip link');
      return;
    case 'net_namespace_ipvs': {
      const remedy = 'start the load balancer in the network namespace that is meant';
      scope.report('unsupported', statement.keyword, 'net_namespace_ipvs has no counterpart', remedy);
      return;
    }
    default:
      if (!IN_USE.includes(name) && !STAYS.includes(name)) reportUnknown(statement, [...LEAVES, ...IN_USE, ...STAYS], scope);
  }
}

function reportSyncDaemon({ keyword }: Statement, scope: Scope): void {
  const remedy = 'see what the load balancer offers for handing sessions to another node';
  scope.report('unsupported', keyword, `${keyword.text} has no counterpart`, remedy);
}

function needsBlock({ keyword, block }: Statement, scope: Scope): boolean {
  if (block === undefined) scope.report('syntax', keyword, `${keyword.text} has no block`, 'write { and } behind it');
  return block !== undefined;
}

function add<T>(list: T[], value: T | undefined): void {
  if (value !== undefined) list.push(value);
}

/** Lines that count with another config-id only, and would bring something that leaves: they are still in the remainder. */
function reportOtherIds({ physical }: Expanded, configId: string | undefined, scope: Scope): void {
  const first = physical.find((line) => line.otherwise !== undefined);
  if (first !== undefined && configId === undefined) {
    const reason = 'lines with @NAME are left out, because no config-id was given';
    scope.report(
      'note',
      wholeLine(first),
      reason,
      'give the one that keepalived runs with: its option -i, or else the host name',
    );
  }
  for (const line of physical) {
    const word = line.otherwise?.split(/[ \t]/)[0] ?? '';
    if (!LEAVES.includes(word)) continue;
    const reason = `this ${word} counts with another config-id; it is not read here`;
    scope.report('note', wholeLine(line), reason, 'read the file with that config-id, too, and take the block out of what stays');
  }
}
