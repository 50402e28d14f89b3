// What a keepalived.conf says about load balancing, as types. What is undefined was not written: defaults.ts has what keepalived does then.
// Numbers are as in the file: times in seconds, with fractions. Facts: keepalived.conf(5) of 2.2.7; for full NAT the keepalived of DPVS.
// Thread: any; types only.
import type { Address } from '../config/address.js';
import type { Word } from './lexer.js';

/** What clients connect to. */
export type VirtualAddress =
  | { readonly kind: 'address'; readonly address: Address; readonly port: number | undefined }
  | { readonly kind: 'fwmark'; readonly mark: number }
  | { readonly kind: 'group'; readonly name: string }
  /** DPVS: outbound traffic that `src-range` and its like describe. */
  | { readonly kind: 'match'; readonly name: string };

export type ForwardingMethod = 'NAT' | 'DR' | 'TUN' | 'FNAT' | 'SNAT';

export interface Forwarding {
  readonly at: Word;
  readonly method: ForwardingMethod;
  /** Only with TUN. */
  readonly tunnel?: {
    readonly type: 'ipip' | 'gue' | 'gre';
    /** UDP port of gue. */
    readonly port?: number;
    readonly checksum: 'nocsum' | 'csum' | 'remcsum';
  };
}

export interface Script {
  readonly at: Word;
  /** The command with its arguments, as one text. */
  readonly command: string;
  readonly user?: string;
  readonly group?: string;
}

/** When checks happen. Written for a virtual server, a real server or a check; the innermost counts. */
export interface Timing {
  connectTimeout?: number;
  /** Further attempts before a server counts as down. */
  retry?: number;
  delayBeforeRetry?: number;
  /** Longest random delay of the first check. */
  warmup?: number;
  delayLoop?: number;
}

/** Where a check connects to, and from where; what is undefined is the real server's. */
export interface Connection {
  ip?: Address;
  port?: number;
  bindTo?: Address;
  bindInterface?: string;
  bindPort?: number;
  fwmark?: number;
}

interface CommonCheck extends Timing {
  readonly at: Word;
  readonly connection: Connection;
  alpha?: boolean;
  logAllFailures?: boolean;
}

/** Inclusive. */
export interface StatusRange {
  readonly first: number;
  readonly last: number;
}

export interface HttpUrl {
  readonly at: Word;
  path?: string;
  /** MD5 of the body, 32 hexadecimal digits in lower case. */
  digest?: string;
  /** Empty: 200 to 299. */
  readonly statusCodes: StatusRange[];
  virtualhost?: string;
  /** A PCRE2 expression that the body must match. */
  regex?: string;
  /** The body must not match. */
  regexNoMatch?: boolean;
  readonly regexOptions: string[];
  regexMinOffset?: number;
  regexMaxOffset?: number;
  /** Bytes, only a hint for PCRE2. */
  regexStack?: { readonly start: number; readonly max: number };
  tlsCompliant?: boolean;
}

export interface HttpCheck extends CommonCheck {
  readonly type: 'HTTP_GET' | 'SSL_GET';
  readonly urls: HttpUrl[];
  virtualhost?: string;
  httpProtocol?: '1.0' | '1.0C' | '1.1';
  enableSni?: boolean;
  sniName?: string;
  fastRecovery?: boolean;
  tlsCompliant?: boolean;
}

export interface SmtpCheck extends CommonCheck {
  readonly type: 'SMTP_CHECK';
  heloName?: string;
  /** Each must answer; empty: the check's own connection. */
  readonly hosts: (Connection & Timing)[];
}

/** Bytes, and per byte the bits that do not count. */
export interface HexPattern {
  readonly bytes: readonly number[];
  readonly ignored: readonly number[];
}

export interface UdpCheck extends CommonCheck {
  readonly type: 'UDP_CHECK';
  payload?: HexPattern;
  /** An answer is asked for; with a pattern, it must begin with it. */
  requireReply?: { readonly pattern: HexPattern | undefined };
  minReplyLength?: number;
  maxReplyLength?: number;
}

export const DNS_TYPES = ['A', 'NS', 'CNAME', 'SOA', 'MX', 'TXT', 'AAAA'] as const;

export interface DnsCheck extends CommonCheck {
  readonly type: 'DNS_CHECK';
  queryType?: (typeof DNS_TYPES)[number];
  name?: string;
}

export interface MiscCheck extends CommonCheck {
  readonly type: 'MISC_CHECK';
  path?: Script;
  timeout?: number;
  /** Exit codes from 2 on are weights plus 2. */
  dynamic?: boolean;
  user?: string;
  group?: string;
}

export interface PlainCheck extends CommonCheck {
  readonly type: 'TCP_CHECK' | 'PING_CHECK';
}

export interface BfdCheck extends CommonCheck {
  readonly type: 'BFD_CHECK';
  /** Name of a bfd_instance. */
  name?: string;
}

export interface FileCheck extends CommonCheck {
  readonly type: 'FILE_CHECK';
  /** Name of a track_file. */
  trackFile?: string;
  weight?: number;
  reverse?: boolean;
}

export type Check = HttpCheck | SmtpCheck | UdpCheck | DnsCheck | MiscCheck | PlainCheck | BfdCheck | FileCheck;

export interface RealServer extends Timing {
  readonly at: Word;
  readonly address: Address;
  readonly port: number | undefined;
  weight?: number;
  forwarding?: Forwarding;
  upperThreshold?: number;
  lowerThreshold?: number;
  inhibitOnFailure?: boolean;
  notifyUp?: Script;
  notifyDown?: Script;
  alpha?: boolean;
  smtpAlert?: boolean;
  virtualhost?: string;
  snmpName?: string;
  readonly checks: Check[];
}

export interface SorryServer {
  readonly at: Word;
  readonly address: Address;
  readonly port: number | undefined;
  inhibit?: boolean;
  forwarding?: Forwarding;
}

export const SCHEDULER_FLAGS = [
  'flag-1',
  'flag-2',
  'flag-3',
  'sh-port',
  'sh-fallback',
  'mh-port',
  'mh-fallback',
  'hashed',
] as const;
export type SchedulerFlag = (typeof SCHEDULER_FLAGS)[number];

/** Words that only the keepalived of DPVS has. */
export interface DpvsOptions {
  localAddressGroup?: string;
  denyAddressGroup?: string;
  allowAddressGroup?: string;
  synProxy?: boolean;
  /** Seconds. */
  establishTimeout?: number;
  proxyProtocol?: string;
  bps?: number;
  limitProportion?: number;
  sourceRange?: string;
  destinationRange?: string;
  inputInterface?: string;
  outputInterface?: string;
  hashTarget?: 'sip' | 'qid';
  expireQuiescentConnections?: boolean;
  quic?: boolean;
  vipInterface?: string;
}

export interface VirtualServer extends Timing {
  readonly at: Word;
  readonly address: VirtualAddress;
  ipFamily?: 'inet' | 'inet6';
  /** As written: keepalived passes any name of its list on to the kernel. */
  scheduler?: string;
  readonly flags: SchedulerFlag[];
  /** One-packet scheduling. */
  ops?: boolean;
  forwarding?: Forwarding;
  protocol?: 'TCP' | 'UDP' | 'SCTP' | 'ICMP' | 'ICMPV6';
  persistenceEngine?: string;
  /** Seconds; 360 where the word stands alone. */
  persistenceTimeout?: number;
  /** Bits of the client's address that count. */
  persistenceGranularity?: number;
  haSuspend?: boolean;
  smtpAlert?: boolean;
  virtualhost?: string;
  snmpName?: string;
  alpha?: boolean;
  omega?: boolean;
  quorum?: number;
  hysteresis?: number;
  quorumUp?: Script;
  quorumDown?: Script;
  /** Default of its real servers. */
  weight?: number;
  inhibitOnFailure?: boolean;
  sorryServer?: SorryServer;
  readonly dpvs: DpvsOptions;
  readonly realServers: RealServer[];
}

export type GroupEntry =
  /** All addresses from `first` to `last`. */
  | {
      readonly kind: 'addresses';
      readonly at: Word;
      readonly first: Address;
      readonly last: Address;
      readonly port: number | undefined;
    }
  | { readonly kind: 'fwmark'; readonly at: Word; readonly mark: number; readonly family?: 'inet' | 'inet6' };

export interface VirtualServerGroup {
  readonly at: Word;
  readonly name: string;
  readonly entries: GroupEntry[];
}

/** Groups of addresses of DPVS: local ones with their interface, denied and allowed clients. */
export interface AddressGroup {
  readonly at: Word;
  readonly name: string;
  readonly entries: {
    readonly at: Word;
    readonly first: Address;
    readonly last: Address;
    readonly interface?: string;
  }[];
}

export interface SslSettings {
  password?: string;
  ca?: string;
  certificate?: string;
  key?: string;
}

/** What global_defs says that concerns load balancing. */
export interface Globals {
  /** Seconds. */
  lvsTimeouts?: { readonly at: Word; readonly tcp?: number; readonly tcpFin?: number; readonly udp?: number };
  smtpAlert?: boolean;
  smtpAlertChecker?: boolean;
  checkerLogAllFailures?: boolean;
  /** User and group that scripts run as. */
  scriptUser?: { readonly user: string; readonly group?: string };
}

/** A file that keepalived watches, which FILE_CHECK names. It stays with keepalived as well. */
export interface TrackFile {
  readonly at: Word;
  readonly name: string;
  file?: string;
  weight?: number;
}

export interface KeepalivedConfig {
  readonly globals: Globals;
  ssl?: SslSettings;
  readonly groups: VirtualServerGroup[];
  readonly localAddressGroups: AddressGroup[];
  readonly denyAddressGroups: AddressGroup[];
  readonly allowAddressGroups: AddressGroup[];
  readonly virtualServers: VirtualServer[];
  readonly trackFiles: TrackFile[];
  /** Names of the bfd_instance blocks, which BFD_CHECK refers to. */
  readonly bfdInstances: string[];
}
