// What a translation of keepalived.conf is made of while it is under way: services as they would be written, each with the places in
// keepalived.conf that it came from.
// Thread: any; types and pure functions.
import { isDeepStrictEqual } from 'node:util';
import type { ConfigInput } from '../config/schema.js';
import type { Place } from './report.js';

export type ServiceInput = ConfigInput['services'][number];
export type ServerInput = ServiceInput['servers'][number];
export type CheckInput = NonNullable<ServiceInput['healthChecks']>[number];
export type OutboundInput = NonNullable<ConfigInput['snat']>[number];
export type MatchInput = NonNullable<ServiceInput['match']>[number];

/** A real server and where it stands; its checks have places of their own, in the order of `server.healthChecks`. */
export interface ServerDraft {
  readonly server: ServerInput;
  readonly at: Place;
  readonly checks: { readonly check: CheckInput; readonly at: Place }[];
}

/** A service without its servers, which are in a list beside it. */
export interface ServiceDraft {
  readonly service: Omit<ServiceInput, 'servers' | 'sorryServer'>;
  readonly at: Place;
  readonly servers: ServerDraft[];
  sorry: { readonly server: ServerInput; readonly at: Place } | undefined;
}

export interface OutboundDraft {
  readonly rule: OutboundInput;
  readonly at: Place;
}

/** The keys whose values are defined: what is undefined was not written. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/** The service as the configuration has it. Checks that all servers have alike stand once, at the service. */
export function serviceOf(draft: ServiceDraft): ServiceInput {
  const { service, servers, sorry } = draft;
  const common = commonChecksOf(draft);
  const complete = servers.map(({ server, checks }) =>
    common !== undefined || checks.length === 0 ? server : { ...server, healthChecks: checks.map(({ check }) => check) },
  );
  return {
    ...service,
    ...(common === undefined ? {} : { healthChecks: common }),
    ...(sorry === undefined ? {} : { sorryServer: sorry.server }),
    servers: complete,
  };
}

function commonChecksOf({ service, servers }: ServiceDraft): CheckInput[] | undefined {
  const [first] = servers;
  if (first === undefined || first.checks.length === 0 || service.healthChecks !== undefined) return undefined;
  const checks = first.checks.map(({ check }) => check);
  const alike = servers.every((server) =>
    isDeepStrictEqual(
      server.checks.map(({ check }) => check),
      checks,
    ),
  );
  return alike ? checks : undefined;
}
