// Reads the health checks of a real server: TCP_CHECK, HTTP_GET, SSL_GET, SMTP_CHECK, DNS_CHECK, MISC_CHECK, PING_CHECK, UDP_CHECK,
// BFD_CHECK, FILE_CHECK, with all their keywords, those that came after 2.2.7 (sni_name, tls_compliant) included.
// Guarantees: a check that keepalived would leave out (no url, no script) is left out here, too, and reported.
// Thread: any; no state.
import { block, flag, type Keywords, line, readBlock, type Scope } from './block.js';
import { splitEscaped } from './lexer.js';
import {
  type BfdCheck,
  type Check,
  type Connection,
  DNS_TYPES,
  type DnsCheck,
  type FileCheck,
  type HttpCheck,
  type HttpUrl,
  type MiscCheck,
  type PlainCheck,
  type RealServer,
  type SmtpCheck,
  type Timing,
  type UdpCheck,
} from './model.js';
import type { Statement } from './parser.js';
import {
  MOST_U32,
  readAddress,
  readBoolean,
  readChoice,
  readHex,
  readNumber,
  readPort,
  readScript,
  readText,
  readTimer,
  refuse,
  SHORTEST_TIME,
  wordOf,
} from './values.js';

/** Options of PCRE2 that keepalived knows by name. */
const REGEX_OPTIONS = [
  'allow_empty_class',
  'alt_bsux',
  'alt_circumflex',
  'alt_verbnames',
  'auto_callout',
  'caseless',
  'dollar_endonly',
  'dotall',
  'dupnames',
  'extended',
  'firstline',
  'match_unset_backref',
  'multiline',
  'never_backslash_c',
  'never_ucp',
  'never_utf',
  'no_auto_capture',
  'no_auto_possess',
  'no_dotstar_anchor',
  'no_start_optimize',
  'ucp',
  'ungreedy',
  'use_offset_limit',
  'utf',
];

/** Assigns a value unless it was refused. */
export function assign<T, K extends keyof T>(target: T, key: K, value: T[K] | undefined): void {
  if (value !== undefined) target[key] = value;
}

/** Words about when to check. `fewestRetries`: 1 for servers, 0 for checks. */
export function timingKeywords<T extends Timing>(fewestRetries: 0 | 1): Keywords<T> {
  return {
    connect_timeout: line(1, (t, s, scope) =>
      assign<Timing, 'connectTimeout'>(t, 'connectTimeout', readTimer(s, scope, SHORTEST_TIME)),
    ),
    retry: line(1, (t, s, scope) => assign<Timing, 'retry'>(t, 'retry', readNumber(s, scope, fewestRetries, MOST_U32))),
    delay_before_retry: line(1, (t, s, scope) =>
      assign<Timing, 'delayBeforeRetry'>(t, 'delayBeforeRetry', readTimer(s, scope, 0)),
    ),
    warmup: line(1, (t, s, scope) => assign<Timing, 'warmup'>(t, 'warmup', readTimer(s, scope, 0))),
    delay_loop: line(1, (t, s, scope) => assign<Timing, 'delayLoop'>(t, 'delayLoop', readTimer(s, scope, SHORTEST_TIME))),
  };
}

const CONNECTION: Keywords<Connection> = {
  connect_ip: line(1, (t, s, scope) => assign(t, 'ip', readAddress(s, scope))),
  connect_port: line(1, (t, s, scope) => assign(t, 'port', readPort(s, scope))),
  bindto: line(1, (t, s, scope) => assign(t, 'bindTo', readAddress(s, scope))),
  bind_if: line(1, (t, s, scope) => assign(t, 'bindInterface', readInterface(s, scope))),
  bind_port: line(1, (t, s, scope) => assign(t, 'bindPort', readPort(s, scope))),
  fwmark: line(1, (t, s, scope) => assign(t, 'fwmark', readNumber(s, scope, 0, MOST_U32))),
};

function readInterface(statement: Statement, scope: Scope): string | undefined {
  const what = 'the name of an interface, 15 characters at most';
  const word = wordOf(statement, scope, what);
  return word !== undefined && word.text.length > 15 ? refuse(word, scope, what) : word?.text;
}

/** The words that all checks have which connect to something. */
function common<T extends Check>(): Keywords<T> {
  const connection = Object.entries(CONNECTION).map(([name, { read, ...keyword }]) => [
    name,
    { ...keyword, read: (t: T, s: Statement, scope: Scope) => read(t.connection, s, scope) },
  ]);
  return { ...Object.fromEntries(connection), ...timingKeywords<T>(0), ...unconnected<T>() };
}

function unconnected<T extends Check>(): Keywords<T> {
  return {
    alpha: line(1, (t, s, scope) => assign<Check, 'alpha'>(t, 'alpha', readBoolean(s, scope))),
    log_all_failures: line(1, (t, s, scope) => assign<Check, 'logAllFailures'>(t, 'logAllFailures', readBoolean(s, scope))),
  };
}

const URL_KEYWORDS: Keywords<HttpUrl> = {
  path: line(1, (t, s, scope) => assign(t, 'path', readText(s, scope, 'a path'))),
  digest: line(1, (t, s, scope) => assign(t, 'digest', readDigest(s, scope)), 'ignored'),
  status_code: line(Number.POSITIVE_INFINITY, readStatusCodes, 'adds'),
  virtualhost: line(1, (t, s, scope) => assign(t, 'virtualhost', readText(s, scope, 'a host name'))),
  regex: line(Number.POSITIVE_INFINITY, (t, s, scope) => assign(t, 'regex', readRegex(s, scope))),
  regex_no_match: flag((t) => {
    t.regexNoMatch = true;
  }),
  regex_options: line(Number.POSITIVE_INFINITY, readRegexOptions, 'adds'),
  regex_min_offset: line(1, (t, s, scope) => assign(t, 'regexMinOffset', readNumber(s, scope, 0, MOST_U32))),
  regex_max_offset: line(1, (t, s, scope) => assign(t, 'regexMaxOffset', readNumber(s, scope, 0, MOST_U32))),
  regex_stack: line(2, (t, s, scope) => assign(t, 'regexStack', readRegexStack(s, scope))),
  tls_compliant: line(1, (t, s, scope) => assign(t, 'tlsCompliant', readBoolean(s, scope))),
};

function readDigest(statement: Statement, scope: Scope): string | undefined {
  const what = '32 hexadecimal digits, as genhash prints them';
  const word = wordOf(statement, scope, what);
  if (word === undefined) return undefined;
  return /^[0-9a-fA-F]{32}$/.test(word.text) ? word.text.toLowerCase() : refuse(word, scope, what);
}

function readStatusCodes(url: HttpUrl, statement: Statement, scope: Scope): void {
  wordOf(statement, scope, 'a status code');
  for (const word of statement.args) {
    const [, first, last] = /^([0-9]{1,4})(?:-([0-9]{1,4}))?$/.exec(word.text) ?? [];
    const range = { first: Number(first), last: Number(last ?? first) };
    if (range.first >= 100 && range.last <= 599 && range.first <= range.last) url.statusCodes.push(range);
    else refuse(word, scope, 'a status code from 100 to 599, or a range such as 200-299');
  }
}

function readRegex(statement: Statement, scope: Scope): string | undefined {
  const words = splitEscaped(statement.text);
  const [, pattern, extra] = words ?? [];
  if (pattern !== undefined && extra === undefined) return pattern;
  const reason = words === undefined ? 'the quotes of the regular expression do not pair' : 'regex takes one word';
  scope.report('invalid', statement.keyword, reason, 'put the expression in quotes; keepalived ignores it as it is');
  return undefined;
}

function readRegexOptions(url: HttpUrl, statement: Statement, scope: Scope): void {
  for (const word of statement.args) {
    if (REGEX_OPTIONS.includes(word.text)) url.regexOptions.push(word.text);
    else scope.report('unknown', word, `unknown option "${word.text}"`, 'see regex_options in keepalived.conf(5)');
  }
}

function readRegexStack(statement: Statement, scope: Scope): HttpUrl['regexStack'] {
  const start = readNumber(statement, scope, 0, MOST_U32);
  const max = readNumber(statement, scope, 0, MOST_U32, 1);
  return start === undefined || max === undefined ? undefined : { start, max };
}

const HTTP: Keywords<HttpCheck> = {
  ...common<HttpCheck>(),
  nb_get_retry: line(1, (t, s, scope) => assign(t, 'retry', readNumber(s, scope, 0, MOST_U32))),
  virtualhost: line(1, (t, s, scope) => assign(t, 'virtualhost', readText(s, scope, 'a host name'))),
  http_protocol: line(1, (t, s, scope) => {
    const version = readChoice(s, scope, ['1.0', '1.0C', '1.0c', '1.1']);
    assign(t, 'httpProtocol', version === '1.0c' ? '1.0C' : version);
  }),
  enable_sni: line(1, (t, s, scope) => assign(t, 'enableSni', readBoolean(s, scope))),
  sni_name: line(1, (t, s) => {
    t.enableSni = true;
    assign(t, 'sniName', s.args[0]?.text);
  }),
  fast_recovery: line(1, (t, s, scope) => assign(t, 'fastRecovery', readBoolean(s, scope))),
  tls_compliant: line(1, (t, s, scope) => assign(t, 'tlsCompliant', readBoolean(s, scope))),
  url: block(0, (t, s, outer) => {
    const scope = outer.inside(s);
    const url: HttpUrl = { at: s.keyword, statusCodes: [], regexOptions: [] };
    readBlock(s, url, URL_KEYWORDS, scope);
    if (url.path === undefined) scope.report('invalid', s.keyword, 'the url has no path; keepalived ignores it', 'add path /');
    else t.urls.push(url);
  }),
};

const SMTP: Keywords<SmtpCheck> = {
  ...common<SmtpCheck>(),
  helo_name: line(1, (t, s, scope) => assign(t, 'heloName', readText(s, scope, 'a name'))),
  host: block(0, (t, s, scope) => {
    const host: Connection & Timing = {};
    readBlock(s, host, { ...CONNECTION, ...timingKeywords<Connection & Timing>(0) }, scope.inside(s));
    t.hosts.push(host);
  }),
};

const UDP: Keywords<UdpCheck> = {
  ...common<UdpCheck>(),
  payload: line(Number.POSITIVE_INFINITY, (t, s, scope) => {
    if (wordOf(s, scope, 'bytes in hexadecimal') !== undefined) assign(t, 'payload', readHex(s, scope, false));
  }),
  require_reply: line(Number.POSITIVE_INFINITY, (t, s, scope) => {
    t.requireReply = { pattern: s.args.length === 0 ? undefined : readHex(s, scope, true) };
  }),
  min_reply_length: line(1, (t, s, scope) => assign(t, 'minReplyLength', readNumber(s, scope, 0, 65_535))),
  max_reply_length: line(1, (t, s, scope) => assign(t, 'maxReplyLength', readNumber(s, scope, 0, 65_535))),
};

const DNS: Keywords<DnsCheck> = {
  ...common<DnsCheck>(),
  type: line(1, (t, s, scope) => assign(t, 'queryType', readChoice(s, scope, DNS_TYPES))),
  name: line(
    1,
    (t, s, scope) => {
      const word = wordOf(s, scope, 'a domain name');
      if (word !== undefined && /^\..|\.\./s.test(word.text)) refuse(word, scope, 'a domain name without empty labels');
      else assign(t, 'name', word?.text);
    },
    'ignored',
  ),
};

const { connect_timeout: _connected, ...unconnectedTiming } = timingKeywords<MiscCheck>(0);
const MISC: Keywords<MiscCheck> = {
  ...unconnectedTiming,
  ...unconnected<MiscCheck>(),
  misc_path: line(Number.POSITIVE_INFINITY, (t, s, scope) => assign(t, 'path', readScript(s, scope))),
  misc_timeout: line(1, (t, s, scope) => assign(t, 'timeout', readNumber(s, scope, 0, Math.floor(MOST_U32 / 1_000_000)))),
  misc_dynamic: flag((t) => {
    t.dynamic = true;
  }),
  user: line(2, (t, s, scope) => {
    assign(t, 'user', readText(s, scope, 'a user'));
    assign(t, 'group', s.args[1]?.text);
  }),
};

const BFD: Keywords<BfdCheck> = {
  name: line(1, (t, s, scope) => assign(t, 'name', readText(s, scope, 'the name of a bfd_instance')), 'ignored'),
  alpha: line(1, (t, s, scope) => assign(t, 'alpha', readBoolean(s, scope))),
};

const FILE: Keywords<FileCheck> = {
  track_file: line(1, (t, s, scope) => assign(t, 'trackFile', readText(s, scope, 'the name of a track_file'))),
  dynamic: line(0, (_, { keyword }, scope) => {
    const reason = 'keepalived 2.2.7 does not know dynamic in FILE_CHECK, though its manual does; it has no effect';
    scope.report('note', keyword, reason, 'take it away');
  }),
  weight: line(2, (t, s, scope) => {
    const weight = readNumber(s, scope, -2_147_483_647, 2_147_483_647);
    const order = s.args[1];
    if (order !== undefined && order.text !== 'reverse' && order.text !== 'noreverse')
      refuse(order, scope, 'reverse or noreverse');
    else if (weight !== undefined) Object.assign(t, { weight, reverse: order?.text === 'reverse' });
  }),
};

const PLAIN = common<PlainCheck>();

type Missing<C> = (check: C) => string | undefined;

/** A keyword that reads a check and adds it, unless something is `missing`. */
function check<C extends Check>(make: () => Omit<C, 'at' | 'connection'>, keywords: Keywords<C>, missing?: Missing<C>) {
  return block<RealServer>(0, (server, statement, outer) => {
    const scope = outer.inside(statement);
    const made = { ...make(), at: statement.keyword, connection: {} } as unknown as C;
    readBlock(statement, made, keywords, scope);
    const what = missing?.(made);
    if (what === undefined) server.checks.push(made);
    else
      scope.report(
        'invalid',
        statement.keyword,
        `${statement.keyword.text} has no ${what}; keepalived ignores it`,
        `add ${what}`,
      );
  });
}

const http = (type: HttpCheck['type']) =>
  check<HttpCheck>(
    () => ({ type, urls: [] }),
    HTTP,
    (made) => (made.urls.length === 0 ? 'url' : undefined),
  );

export const CHECKS: Keywords<RealServer> = {
  TCP_CHECK: check<PlainCheck>(() => ({ type: 'TCP_CHECK' }), PLAIN),
  PING_CHECK: check<PlainCheck>(() => ({ type: 'PING_CHECK' }), PLAIN),
  HTTP_GET: http('HTTP_GET'),
  SSL_GET: http('SSL_GET'),
  SMTP_CHECK: check<SmtpCheck>(() => ({ type: 'SMTP_CHECK', hosts: [] }), SMTP),
  UDP_CHECK: check<UdpCheck>(() => ({ type: 'UDP_CHECK' }), UDP),
  DNS_CHECK: check<DnsCheck>(() => ({ type: 'DNS_CHECK' }), DNS),
  MISC_CHECK: check<MiscCheck>(
    () => ({ type: 'MISC_CHECK' }),
    MISC,
    (made) => (made.path === undefined ? 'misc_path' : undefined),
  ),
  BFD_CHECK: check<BfdCheck>(
    () => ({ type: 'BFD_CHECK' }),
    BFD,
    (made) => (made.name === undefined ? 'name' : undefined),
  ),
  FILE_CHECK: check<FileCheck>(
    () => ({ type: 'FILE_CHECK' }),
    FILE,
    (made) => (made.trackFile === undefined ? 'track_file' : undefined),
  ),
};
