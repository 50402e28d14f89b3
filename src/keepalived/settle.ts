// Makes a configuration right that came from keepalived.conf: what the rules of the configuration refuse is taken out, and reported where
// it stands in keepalived.conf.
// Guarantees: what comes out passes checkConfig, or there are problems that no part of keepalived.conf is to blame for.
// Thread: any; pure but for the reports.
import type { ConfigPath, Finding } from '../config/finding.js';
import type { Config, ConfigInput } from '../config/schema.js';
import { checkConfig } from '../config/validate.js';
import type { Scope } from './block.js';
import { type OutboundDraft, type ServiceDraft, serviceOf } from './draft.js';
import type { Place } from './report.js';

export interface Unsettled {
  /** Everything but what was translated; services and rules that are in it come first. */
  readonly rest: ConfigInput;
  readonly services: readonly ServiceDraft[];
  readonly outbound: readonly OutboundDraft[];
}

export type Settled = Omit<Unsettled, 'rest'> & { readonly input: ConfigInput } & (
    | { readonly config: Config; readonly problems: readonly [] }
    | { readonly config?: undefined; readonly problems: readonly Finding[] }
  );

export function settle({ rest, services, outbound }: Unsettled, scope: Scope): Settled {
  for (let now = { services: [...services], outbound: [...outbound] }; ; ) {
    const input = inputOf({ rest, ...now });
    const result = checkConfig(input);
    if ('config' in result) return { ...now, input, config: result.config, problems: [] };
    const before = [rest.services.length, rest.snat?.length ?? 0] as const;
    const parts = result.findings.map(({ reason, ...finding }) => ({
      finding: { ...finding, reason: withNames(reason, input) },
      part: partOf(finding.path, before),
    }));
    const next = without(now, parts, scope);
    if (next === undefined) return { ...now, input, problems: result.findings };
    now = next;
  }
}

function inputOf({ rest, services, outbound }: Unsettled): ConfigInput {
  const snat = [...(rest.snat ?? []), ...outbound.map(({ rule }) => rule)];
  return { ...rest, ...(snat.length === 0 ? {} : { snat }), services: [...rest.services, ...services.map(serviceOf)] };
}

/** Nobody knows the places in a configuration that is not written yet. */
function withNames(reason: string, { services }: ConfigInput): string {
  return reason.replaceAll(/\bservices\[(\d+)\]/g, (place, index: string) => services[Number(index)]?.name ?? place);
}

/** What a finding is about; undefined: nothing that was translated. */
interface Part {
  readonly list: 'services' | 'snat';
  readonly index: number;
  readonly server?: number;
  /** Without a server: the check of all servers in this place. */
  readonly check?: number;
  readonly sorry?: true;
}

function partOf(path: ConfigPath, [services, rules]: readonly [number, number]): Part | undefined {
  const [list, place, key, server, deeper, check] = path;
  if (typeof place !== 'number') return undefined;
  if (list === 'snat') return place < rules ? undefined : { list, index: place - rules };
  if (list !== 'services' || place < services) return undefined;
  const index = place - services;
  if (key === 'sorryServer') return { list, index, sorry: true };
  if (key === 'healthChecks' && typeof server === 'number') return { list, index, check: server };
  if (key !== 'servers' || typeof server !== 'number') return { list, index };
  return { list, index, server, ...(deeper === 'healthChecks' && typeof check === 'number' ? { check } : {}) };
}

type Parts = { readonly services: ServiceDraft[]; readonly outbound: OutboundDraft[] };

/** undefined: there is nothing to take out. */
function without(now: Parts, found: readonly { finding: Finding; part: Part | undefined }[], scope: Scope): Parts | undefined {
  const gone = new Set<unknown>();
  for (const { finding, part } of found) {
    const target = part && targetOf(now, part);
    if (target === undefined) continue;
    for (const what of target.what) gone.add(what);
    scope.report('unsupported', target.at, `${target.name} is left out: ${finding.reason}`, finding.remedy);
  }
  if (gone.size === 0) return undefined;
  const services = now.services
    .filter((draft) => !gone.has(draft))
    .map((draft) => ({
      ...draft,
      sorry: gone.has(draft.sorry) ? undefined : draft.sorry,
      servers: draft.servers
        .filter((server) => !gone.has(server))
        .map((server) => ({ ...server, checks: server.checks.filter((check) => !gone.has(check)) })),
    }));
  return { services, outbound: now.outbound.filter((draft) => !gone.has(draft)) };
}

/** What goes together with a part, and how it is called. */
interface Target {
  readonly what: readonly object[];
  readonly at: Place;
  readonly name: string;
}

function targetOf(now: Parts, { list, index, server, check, sorry }: Part): Target | undefined {
  if (list === 'snat') {
    const rule = now.outbound[index];
    return rule && { what: [rule], at: rule.at, name: 'this rule' };
  }
  const draft = now.services[index];
  if (draft === undefined) return undefined;
  if (sorry === true && draft.sorry !== undefined) return { what: [draft.sorry], at: draft.sorry.at, name: 'the sorry server' };
  const real = server === undefined ? undefined : draft.servers[server];
  const owners = real === undefined ? draft.servers : [real];
  const checks = check === undefined ? [] : owners.flatMap((owner) => owner.checks[check] ?? []);
  const [first] = checks;
  if (first !== undefined) return { what: checks, at: first.at, name: 'this check' };
  if (real !== undefined) return { what: [real], at: real.at, name: 'this real server' };
  return { what: [draft], at: draft.at, name: `service ${draft.service.name}` };
}
