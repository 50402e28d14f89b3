// Health checks of keepalived as those of Millrace: one for each, one for each url of HTTP_GET and each host of SMTP_CHECK.
// Guarantees: the times are keepalived's; what has no counterpart is reported where it stands.
// Facts: keepalived.conf(5) of 2.2.7, "Health checkers".
// Thread: any; pure but for the reports.
import { placeIn, type Scope } from './block.js';
import { alphaOf, timingOf } from './defaults.js';
import { type CheckInput, given, type ServerDraft } from './draft.js';
import type {
  Check,
  Connection,
  HttpCheck,
  HttpUrl,
  KeepalivedConfig,
  MiscCheck,
  RealServer,
  SmtpCheck,
  Timing,
  UdpCheck,
  VirtualServer,
} from './model.js';
import type { Place } from './report.js';
import { commandOf } from './to-command.js';
import { optionsWithoutCounterpart, restrictRegex, type Translated, translateRegex } from './to-regex.js';

/** Where checks of a server are made. */
export interface CheckContext {
  readonly config: KeepalivedConfig;
  readonly virtual: VirtualServer;
  readonly real: RealServer;
  /** The port that a check without one would take; undefined: there is none. */
  readonly port: number | undefined;
  readonly scope: Scope;
}

type CheckDraft = ServerDraft['checks'][number];

/** Most checks of a server, as the configuration has it. */
const MOST_CHECKS = 16;
const LONGEST_TIME = 86_400;
const MOST_FAILURES = 100;
const LONGEST_PATH = 4096;
/** Lengths of replies that count where the file says nothing. */
const MAX_REPLY = 255;

export function checksOf(context: CheckContext): CheckDraft[] {
  const drafts = context.real.checks.flatMap((check) => translate(check, context));
  const extra = drafts[MOST_CHECKS];
  if (extra !== undefined) {
    lost(
      extra.at,
      `a server has ${MOST_CHECKS} checks at most; this one and those behind it are left out`,
      'join checks',
      context,
    );
  }
  return drafts.slice(0, MOST_CHECKS);
}

function lost(at: Place, reason: string, remedy: string, { scope }: CheckContext): void {
  scope.report('unsupported', at, reason, remedy);
}

function translate(check: Check, context: CheckContext): CheckDraft[] {
  if (check.logAllFailures === true) {
    lost(
      placeIn(check, 'log_all_failures'),
      'log_all_failures has no counterpart',
      'see the failures of checks in the state of health',
      context,
    );
  }
  const one = (type: CheckInput['type'], keys: Partial<CheckInput> = {}): CheckDraft[] => [
    { at: check.at, check: { type, ...timesOf(check, context), ...socketOf(check, check.connection, type, context), ...keys } },
  ];
  switch (check.type) {
    case 'TCP_CHECK':
      return one('tcp');
    case 'PING_CHECK':
      return one('ping');
    case 'HTTP_GET':
    case 'SSL_GET':
      return httpOf(check, context, one);
    case 'SMTP_CHECK':
      return smtpOf(check, context);
    case 'UDP_CHECK':
      return one('udp', udpOf(check, context));
    case 'DNS_CHECK':
      return one('dns', given({ query: check.name, queryType: check.queryType }));
    case 'MISC_CHECK':
      return miscOf(check, context);
    case 'BFD_CHECK':
      lost(check.at, 'BFD_CHECK has no counterpart', 'write a check that asks the server, such as PING_CHECK', context);
      return [];
    case 'FILE_CHECK':
      lost(check.at, 'FILE_CHECK has no counterpart', 'write a MISC_CHECK with misc_dynamic that reads the file', context);
      return [];
  }
}

type Times = Pick<CheckInput, 'interval' | 'jitter' | 'timeout' | 'rise' | 'fall' | 'retryInterval' | 'warmup' | 'alpha'>;

/** `own`: times that stand deeper than the check. */
function timesOf(check: Check, context: CheckContext, own: Timing = {}): Times {
  const { virtual, real } = context;
  const times = { ...timingOf(virtual, real, check), ...given(own) };
  const within = (what: string, value: number, least: number, most: number): number => {
    const kept = Math.min(most, Math.max(least, value));
    if (kept !== value) {
      context.scope.report(
        'note',
        placeIn(check, what),
        `${what} is ${value}; it becomes ${kept}`,
        `write a value from ${least} to ${most}`,
      );
    }
    return kept;
  };
  const interval = within('delay_loop', times.delayLoop, 0.1, LONGEST_TIME);
  const warmup = within('warmup', times.warmup, 0, LONGEST_TIME);
  const alpha = alphaOf(virtual, real, check);
  return {
    interval,
    jitter: 0,
    timeout: within('connect_timeout', times.connectTimeout, 0.05, LONGEST_TIME),
    rise: 1,
    fall: within('retry', times.retry, 0, MOST_FAILURES - 1) + 1,
    // Where nothing is tried again there is no time to wait for it.
    ...(times.retry === 0 ? {} : { retryInterval: within('delay_before_retry', times.delayBeforeRetry, 0.05, LONGEST_TIME) }),
    ...(warmup === interval ? {} : { warmup }),
    ...(alpha === (virtual.alpha ?? false) ? {} : { alpha }),
  };
}

/** Where a check connects to, and from where. */
function socketOf(check: Check, connection: Connection, type: CheckInput['type'], context: CheckContext): Partial<CheckInput> {
  const { ip, port, bindTo, bindInterface, bindPort, fwmark } = connection;
  if (bindPort !== undefined) {
    lost(
      placeIn(check, 'bind_port'),
      'bind_port has no counterpart: checks leave from any port',
      'allow any source port where it matters',
      context,
    );
  }
  if (type === 'ping' && port !== undefined) {
    context.scope.report('note', placeIn(check, 'connect_port'), 'connect_port has no meaning for PING_CHECK', 'take it away');
  }
  const wanted = port ?? context.real.port;
  return given({
    address: ip?.text,
    port: type === 'ping' || wanted === context.port ? undefined : wanted,
    bindAddress: bindTo?.text,
    bindInterface,
    mark: fwmark === 0 ? undefined : fwmark,
  });
}

type One = (type: CheckInput['type'], keys: Partial<CheckInput>) => CheckDraft[];

function httpOf(check: HttpCheck, context: CheckContext, one: One): CheckDraft[] {
  const { config, virtual, real } = context;
  const type = check.type === 'SSL_GET' ? 'https' : 'http';
  if (check.httpProtocol?.startsWith('1.0')) {
    const reason = `http_protocol ${check.httpProtocol} has no counterpart: requests are of HTTP/1.1 with "Connection: close"`;
    lost(placeIn(check, 'http_protocol'), reason, 'make sure that the server answers HTTP/1.1', context);
  }
  if (check.tlsCompliant === true || check.urls.some((url) => url.tlsCompliant === true)) {
    lost(
      placeIn(check, 'tls_compliant'),
      'tls_compliant has no counterpart: how a server ends TLS does not count',
      'take it away',
      context,
    );
  }
  return check.urls.flatMap((url) => {
    const host = url.virtualhost ?? check.virtualhost ?? real.virtualhost ?? virtual.virtualhost;
    const tls = type === 'https' ? tlsOf(check, host, config) : {};
    const keys = given({
      path: pathOf(url, context),
      host,
      status: url.statusCodes.length === 0 ? ['200-299'] : url.statusCodes.map(rangeText),
      digest: url.digest,
      ...regexOf(url, context),
      tls: Object.keys(tls).length === 0 ? undefined : tls,
    });
    return one(type, keys).map((draft) => ({ ...draft, at: url.at }));
  });
}

function rangeText({ first, last }: HttpUrl['statusCodes'][number]): string {
  return first === last ? String(first) : `${first}-${last}`;
}

function tlsOf(check: HttpCheck, host: string | undefined, { ssl }: KeepalivedConfig): NonNullable<CheckInput['tls']> {
  const serverName = check.enableSni === true ? (check.sniName ?? host) : undefined;
  const certificate = ssl?.certificate ?? ssl?.key;
  return given({
    serverName,
    ca: ssl?.ca,
    clientCertificate:
      certificate === undefined ? undefined : { certificate, ...given({ key: ssl?.key, password: ssl?.password }) },
  });
}

/** What may stand in a request: other characters are escaped, as a browser does. */
function pathOf(url: HttpUrl, { scope }: CheckContext): string {
  const written = url.path ?? '/';
  const rooted = written.startsWith('/') ? written : `/${written}`;
  const escaped = [...Buffer.from(rooted)]
    .map((byte) =>
      byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    )
    .join('');
  const path = escaped.slice(0, LONGEST_PATH);
  if (path !== written) {
    scope.report('note', placeIn(url, 'path'), `the path ${JSON.stringify(written)} becomes ${path}`, 'write it in this way');
  }
  return path;
}

function regexOf(url: HttpUrl, context: CheckContext): Pick<CheckInput, 'matches' | 'matchFlags'> {
  const { regex, regexOptions, regexMinOffset: min, regexMaxOffset: max } = url;
  if (regex === undefined || regex === '') return {};
  const missing = optionsWithoutCounterpart(regexOptions);
  if (missing.length > 0) {
    lost(
      placeIn(url, 'regex_options'),
      `regex_options ${missing.join(' ')}: no counterpart`,
      'write the expression so that it needs none',
      context,
    );
  }
  const translated = translateRegex(regex, regexOptions);
  if (translated === undefined) {
    const reason =
      'the regular expression is one of PCRE2 that JavaScript does not have; it is left out, and the body is not looked at';
    lost(
      placeIn(url, 'regex'),
      reason,
      'write it without what is special to PCRE2: atomic groups, possessive quantifiers, conditions',
      context,
    );
    return {};
  }
  const { pattern, flags }: Translated = restrictRegex(translated, { noMatch: url.regexNoMatch === true, min, max });
  return { matches: pattern, ...(flags === '' ? {} : { matchFlags: flags }) };
}

function smtpOf(check: SmtpCheck, context: CheckContext): CheckDraft[] {
  const written = check.heloName;
  const helo = written?.replaceAll(/[^!-~]/g, '-').slice(0, 253);
  if (helo !== written)
    context.scope.report('note', placeIn(check, 'helo_name'), `helo_name becomes ${helo}`, 'write a name without blanks');
  const hosts = check.hosts.length === 0 ? [{}] : check.hosts;
  return hosts.map((host: Connection & Timing) => ({
    at: check.at,
    check: {
      type: 'smtp',
      ...timesOf(check, context, timingWithin(host)),
      ...socketOf(check, { ...check.connection, ...host }, 'smtp', context),
      ...given({ helo }),
    },
  }));
}

function timingWithin({ connectTimeout, retry, delayBeforeRetry, warmup, delayLoop }: Timing): Timing {
  return given({ connectTimeout, retry, delayBeforeRetry, warmup, delayLoop });
}

function udpOf(
  { payload, requireReply, minReplyLength, maxReplyLength, at }: UdpCheck,
  context: CheckContext,
): Partial<CheckInput> {
  const sent = payload === undefined ? {} : { payload: `hex:${payload.bytes.map(hex).join('')}` };
  if (requireReply === undefined) {
    if (minReplyLength !== undefined || maxReplyLength !== undefined) {
      context.scope.report('note', at, 'lengths of a reply have no meaning without require_reply', 'add require_reply');
    }
    return sent;
  }
  const { bytes, ignored } = requireReply.pattern ?? { bytes: [], ignored: [] };
  const [least, most] = [minReplyLength ?? 0, maxReplyLength ?? MAX_REPLY];
  // A reply that is shorter than the pattern need match only as far as it goes.
  const prefix = bytes.reduceRight((rest, byte, i) => `(?:${byteClass(byte, ignored[i] ?? 0)}${rest}|$)`, '');
  return { ...sent, replyRequired: true, matches: `^(?=[^]{${least},${Math.max(least, most)}}$)${prefix}` };
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

/** A byte of which some bits do not count. These are a half or all of it. */
function byteClass(byte: number, ignored: number): string {
  if (ignored === 0) return `\\x${hex(byte)}`;
  if (ignored === 0xff) return '[^]';
  if (ignored === 0x0f) return `[\\x${hex(byte & 0xf0)}-\\x${hex(byte | 0x0f)}]`;
  const values = Array.from({ length: 16 }, (_, high) => `\\x${hex((high << 4) | (byte & 0x0f))}`);
  return `[${values.join('')}]`;
}

function miscOf(check: MiscCheck, context: CheckContext): CheckDraft[] {
  const { config, scope } = context;
  if (check.path === undefined) return [];
  const owner = check.user === undefined ? undefined : { user: check.user, ...given({ group: check.group }) };
  const command = commandOf(check.path, owner, config.globals, scope);
  if (command === undefined) return [];
  const { delayLoop } = timingOf(context.virtual, context.real, check);
  // Without a time of its own a script may take as long as it is until the next one.
  const times = timesOf(check, context, {
    connectTimeout: check.timeout === undefined || check.timeout === 0 ? delayLoop : check.timeout,
  });
  return [{ at: check.at, check: { type: 'script', ...times, command, ...given({ dynamicWeight: check.dynamic }) } }];
}
