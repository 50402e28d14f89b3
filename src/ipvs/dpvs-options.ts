// Reads the options that DPVS's ipvsadm has beyond those of ipvsadm, with its words where it has some.
// Guarantees: pure but for the resolver; throws nothing but Exit; nothing is read that has no effect.
// Thread: any.
// Source: iqiyi/dpvs, tools/ipvsadm, version 1.9.8.
import { formatAddress, type IpAddress } from './address.js';
import { DPVS_REFUSED } from './dpvs-option-table.js';
import { fail } from './exit.js';
import type { Forward, ProxyProtocol, Service, ServiceSettings } from './model.js';
import type { Resolver } from './names.js';
import { parseInRange } from './numbers.js';
import { parseHostPort } from './service-address.js';

/** What such options say, beside what they change of services and servers. */
export interface DpvsRequest {
  /** -z */
  localAddress: IpAddress | undefined;
  /** -F, the interface of a local address. */
  interfaceName: string | undefined;
  /** -k or -2, as formatAddress writes it. */
  client: string;
}

/** Seconds: one week, as for all timeouts of sessions. */
const MAX_CONN_TIMEOUT_S = 604_800;

/** The command line that is being read. */
export interface DpvsTarget {
  readonly dpvs: DpvsRequest;
  readonly settings: { scheduler: string; connTimeout?: number; proxyProtocol?: ProxyProtocol };
  readonly resolver: Resolver;
  /** Ends ipvsadm when the option stands there twice. */
  readonly note: (name: string) => void;
  readonly forward: (forward: Forward) => void;
}

type Reader = (target: DpvsTarget, text: string) => void;

function client(list: string, name: string): Reader {
  return (target, text) => {
    target.note(name);
    if (text.startsWith('ipset:'))
      fail(2, `${text}: sets of the kernel are not read; write the prefixes into acl.file of the service`);
    const parsed = parseHostPort(text, undefined, target.resolver);
    if (parsed === undefined) fail(2, `illegal ${list} entry format, require [ IP | ipset:NAME ]`);
    target.dpvs.client = formatAddress(parsed.address);
  };
}

/** An option that can only say what is so anyway. */
function fixed(name: string, only: string, reason: string): Reader {
  return (target, text) => {
    target.note(name);
    if (text !== only) fail(2, `--${name} ${text}: ${reason}`);
  };
}

function proxyProtocol(text: string): ProxyProtocol {
  if (text === 'disable' || text === 'v1' || text === 'v2') return text;
  const insecure = /^v[12]-insecure$/.test(text);
  return fail(
    2,
    insecure
      ? `--proxy-protocol ${text}: write acceptProxy.from into the configuration of the service: whose headers are believed`
      : `--proxy-protocol ${text}: use disable, v1 or v2`,
  );
}

const READERS: Readonly<Record<string, Reader>> = {
  fullnat: (target) => target.forward('FullNat'),
  laddr: (target, text) => {
    target.note('local-address');
    target.dpvs.localAddress = parseHostPort(text, undefined, target.resolver)?.address ?? fail(2, 'illegal local address');
  },
  ifname: (target, text) => {
    target.note('ifname');
    target.dpvs.interfaceName = text;
  },
  blklst: client('blacklist', 'blklst-address'),
  whtlst: client('whitelist', 'whtlst-address'),
  synproxy: fixed('synproxy', 'disable', 'there is no SYN proxy; see docs/not-yet.md'),
  'dest-check': fixed('dest-check', 'disable', 'write healthChecks into the configuration of the service'),
  'hash-target': (target, text) => {
    target.note('hash-target');
    if (target.settings.scheduler !== 'conhash') fail(2, 'hash target can only be set when schedule is conhash\n');
    if (text !== 'sip') fail(2, `--hash-target ${text}: conhash hashes clients; use the scheduler quic-cid for QUIC`);
  },
  'conn-timeout': (target, text) => {
    target.note('conn-timeout');
    target.settings.connTimeout =
      parseInRange(text, 0, MAX_CONN_TIMEOUT_S) ?? fail(2, `invalid timeout value \`${text}' specified`);
  },
  'proxy-protocol': (target, text) => {
    target.note('proxy-protocol');
    target.settings.proxyProtocol = proxyProtocol(text);
  },
};

/** Takes the option if it is one of these. */
export function takeDpvsOption(name: string, text: string, target: DpvsTarget): boolean {
  const reason = Object.hasOwn(DPVS_REFUSED, name) ? DPVS_REFUSED[name] : undefined;
  if (reason !== undefined) fail(2, `--${name}: ${reason}`);
  const read = Object.hasOwn(READERS, name) ? READERS[name] : undefined;
  read?.(target, text);
  return read !== undefined;
}

/** What -E makes of a service in DPVS: only what is named changes, and what is DPVS's own begins anew. */
export function editedSettings(
  service: Service | undefined,
  settings: ServiceSettings,
  given: ReadonlySet<string>,
): ServiceSettings {
  if (service === undefined) return settings;
  const { scheduler, schedulerFlags, persistent, timeout, netmask, onePacket, engine } = service;
  const flags = given.has('sched-flags') || given.has('scheduler') ? settings.schedulerFlags : schedulerFlags;
  return {
    scheduler: given.has('scheduler') ? settings.scheduler : scheduler,
    schedulerFlags: flags,
    persistent: given.has('persistent') || persistent,
    timeout: given.has('persistent') ? settings.timeout : timeout,
    netmask: given.has('netmask') ? settings.netmask : netmask,
    onePacket: given.has('ops') || onePacket,
    engine: given.has('pe') ? settings.engine : engine,
    connTimeout: settings.connTimeout ?? 0,
    proxyProtocol: settings.proxyProtocol ?? 'disable',
  };
}
