// From a keepalived.conf that was read to a configuration: services, outbound rules, local addresses, timeouts. What keepalived.conf
// cannot say (interfaces, workers, which packets a firewall mark stands for) comes from a base configuration.
// Guarantees: the result passes checkConfig, or has problems; what has no counterpart is reported with file and line; names of services
// depend on nothing but what they are.
// Thread: any; pure.
import type { Finding } from '../config/finding.js';
import type { Config, ConfigInput } from '../config/schema.js';
import { Scope, wordIn } from './block.js';
import type { OutboundDraft, ServiceDraft, ServiceInput } from './draft.js';
import type { KeepalivedFile } from './load.js';
import type { Globals, VirtualServer } from './model.js';
import { type Place, type Report, Reports } from './report.js';
import { settle } from './settle.js';
import { identitiesOf, type MarkedService, Names } from './to-addresses.js';
import { addOutbound, localAddressesOf } from './to-dpvs.js';
import { draftOf } from './to-service.js';

export interface TranslateOptions {
  /** A configuration, defaults not filled in. Services in it that have a `mark` say which packets that mark stands for. */
  readonly base: ConfigInput;
}

export interface Translation {
  /** As it would be written; complete also where there are problems. */
  readonly input: ConfigInput;
  /** The same, checked; undefined where there are problems. */
  readonly config: Config | undefined;
  /** What is wrong, and not because of keepalived.conf. */
  readonly problems: readonly Finding[];
  /** Of reading and of translating. */
  readonly reports: readonly Report[];
  /** Where services and outbound rules came from, by name. */
  readonly origins: ReadonlyMap<string, Place>;
}

/** Translates; never throws. */
export function translate({ config, reports: read }: KeepalivedFile, { base }: TranslateOptions): Translation {
  const reports = new Reports();
  const scope = new Scope(reports);
  const marked = new Map(base.services.flatMap((service) => (isMarked(service) ? [[service.mark, service] as const] : [])));
  const names = new Names(base.services.map((service) => service.name));
  const services: ServiceDraft[] = [];
  const outbound: OutboundDraft[] = [];
  for (const virtual of config.virtualServers) {
    const within = new Scope(reports, titleOf(virtual));
    // keepalived leaves such ones out; that was reported when the file was read.
    if (virtual.realServers.length === 0) continue;
    if (virtual.forwarding?.method === 'SNAT' || virtual.address.kind === 'match') {
      if (virtual.address.kind === 'match') addOutbound(virtual, outbound, names, within);
      else
        within.report(
          'unsupported',
          virtual.at,
          'SNAT has no address of its own; it is left out',
          'write virtual_server match NAME',
        );
      continue;
    }
    const identities = identitiesOf(virtual, { config, marked, names, scope: within });
    if (identities.length > 1) {
      const reason = `the group becomes ${identities.length} services, each with checks, quorum and scripts of its own`;
      within.report('note', virtual.at, reason, 'nothing; or write a service with match by hand, which is one for all of them');
    }
    services.push(...identities.map((identity) => draftOf(virtual, identity, { config, scope: within })));
  }
  const logsAll = wordIn(config.globals, 'checker_log_all_failures');
  if (config.globals.checkerLogAllFailures === true && logsAll !== undefined) {
    const remedy = 'see the failures of checks in the state of health';
    scope.report('unsupported', logsAll, 'checker_log_all_failures has no counterpart', remedy);
  }
  const used = new Set(services.map((draft) => draft.service.name));
  const locals = [...new Set([...(base.localAddresses ?? []), ...localAddressesOf(config, scope)])];
  const rest: ConfigInput = {
    ...base,
    ...(locals.length === 0 ? {} : { localAddresses: locals }),
    ...sessionsOf(base.sessions, config.globals, scope),
    services: base.services.filter((service) => !used.has(service.name)),
  };
  const settled = settle({ rest, services: services.map((draft) => onBase(draft, marked)), outbound }, scope);
  return {
    input: settled.input,
    config: settled.config,
    problems: settled.problems,
    reports: [...read, ...reports.all],
    origins: new Map([
      ...settled.services.map(({ service, at }) => [service.name, at] as const),
      ...settled.outbound.map(({ rule, at }) => [rule.name, at] as const),
    ]),
  };
}

function isMarked(service: ServiceInput): service is MarkedService {
  return service.mark !== undefined && service.match !== undefined;
}

function titleOf({ at }: VirtualServer): string {
  return at.source.replace(/[{#!].*$/, '').trim();
}

/** A service of a mark has what the base says of it, too: its name above all. */
function onBase(draft: ServiceDraft, marked: ReadonlyMap<number, MarkedService>): ServiceDraft {
  const { mark } = draft.service;
  const base = mark === undefined ? undefined : marked.get(mark);
  if (base === undefined) return draft;
  const { servers: _servers, sorryServer: _sorry, ...kept } = base;
  return { ...draft, service: { ...kept, ...draft.service } };
}

const LONGEST_TIMEOUT = 604_800;

/** lvs_timeouts, in which 0 leaves a timeout as it is. */
function sessionsOf(sessions: ConfigInput['sessions'], { lvsTimeouts }: Globals, scope: Scope): Pick<ConfigInput, 'sessions'> {
  if (lvsTimeouts === undefined) return sessions === undefined ? {} : { sessions };
  const { at } = lvsTimeouts;
  const limited = (value: number | undefined): number | undefined => {
    if (value === undefined || value === 0) return undefined;
    if (value > LONGEST_TIMEOUT) {
      scope.report(
        'unsupported',
        at,
        `a timeout of ${value} is more than ${LONGEST_TIMEOUT}, which it becomes`,
        'write a week or less',
      );
    }
    return Math.min(value, LONGEST_TIMEOUT);
  };
  const [tcp, tcpFin, udp] = [limited(lvsTimeouts.tcp), limited(lvsTimeouts.tcpFin), limited(lvsTimeouts.udp)];
  const old = typeof sessions?.timeouts === 'string' ? { profile: sessions.timeouts } : (sessions?.timeouts ?? {});
  const timeouts = {
    ...old,
    tcp: { ...old.tcp, ...(tcp === undefined ? {} : { established: tcp }), ...(tcpFin === undefined ? {} : { finWait: tcpFin }) },
    udp: { ...old.udp, ...(udp === undefined ? {} : { oneWay: udp, normal: udp }) },
  };
  return { sessions: { ...sessions, timeouts } };
}
