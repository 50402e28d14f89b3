// The REST API: every resource, its path, what goes in and what comes out. The server checks by it, OpenAPI is made of it, and the client
// of the command line has its types from it.
// Guarantees: 64-bit counters are decimal strings; times are milliseconds since 1970; addresses of servers are "192.0.2.1:80" or
// "[2001:db8::1]:80" (port 0 where there is none), percent-encoded in paths.
// Thread: any; no state.
import { type Static, type TSchema, Type } from 'typebox';

const open = { additionalProperties: true } as const;
const Count = Type.String({ pattern: '^[0-9]+$', description: 'A 64-bit count in decimal.' });

export const ErrorBody = Type.Object({
  error: Type.Object({
    code: Type.String({ description: 'MILLRACE_E_*' }),
    message: Type.String(),
    remedy: Type.String(),
    problems: Type.Optional(Type.Array(Type.Object({ path: Type.String(), reason: Type.String(), remedy: Type.String() }))),
  }),
});

export const Counters = Type.Object({
  connections: Count,
  inPackets: Count,
  inBytes: Count,
  outPackets: Count,
  outBytes: Count,
  active: Count,
  inactive: Count,
});

export const ServerView = Type.Object({
  server: Type.String({ description: '"ADDRESS:PORT".' }),
  address: Type.String(),
  port: Type.Integer(),
  mode: Type.String(),
  /** As configured. */
  weight: Type.Integer(),
  /** As the dataplane has it now; absent: not shown to it. */
  effectiveWeight: Type.Optional(Type.Integer()),
  /** `unchecked` where there are no health checks; `removed`: left the configuration, sessions remain. */
  state: Type.Enum(['up', 'down', 'drained', 'unchecked', 'removed']),
  origin: Type.Enum(['file', 'api']),
  counters: Counters,
});

export const ServiceView = Type.Object({
  name: Type.String(),
  /** Absent where the service has matches. */
  address: Type.Optional(Type.String()),
  port: Type.Optional(Type.Union([Type.Integer(), Type.String()])),
  protocol: Type.Optional(Type.String()),
  mark: Type.Optional(Type.Integer()),
  scheduler: Type.String(),
  mode: Type.String(),
  quorum: Type.Boolean(),
  /** Only where the sorry server takes all new connections. */
  sorry: Type.Optional(Type.Boolean()),
  origin: Type.Enum(['file', 'api']),
  counters: Counters,
  servers: Type.Array(ServerView),
});

export const WorkerView = Type.Object({
  worker: Type.Integer(),
  cpu: Type.Integer({ description: '-1: not pinned.' }),
  counters: Type.Record(Type.String(), Count),
  drops: Type.Record(Type.String(), Count),
});

export const StatusView = Type.Object({
  version: Type.String({ description: 'Of the configuration: the ETag.' }),
  generation: Type.Integer(),
  pid: Type.Integer(),
  started: Type.Number(),
  now: Type.Number(),
  ready: Type.Boolean(),
  draining: Type.Boolean(),
  workers: Type.Integer(),
  services: Type.Integer(),
  servers: Type.Object({ up: Type.Integer(), down: Type.Integer(), unchecked: Type.Integer() }),
  sessions: Count,
  lastReload: Type.Optional(Type.Object({ at: Type.Number(), ok: Type.Boolean(), message: Type.String() })),
});

export const ChangeView = Type.Object({
  version: Type.String(),
  dryRun: Type.Boolean(),
  changes: Type.Object({
    servicesAdded: Type.Array(Type.String()),
    servicesRemoved: Type.Array(Type.String()),
    servicesChanged: Type.Array(Type.String()),
    otherChanged: Type.Boolean(),
  }),
  stale: Type.Array(Type.String()),
});

export const HealthView = Type.Object({
  services: Type.Array(Type.Object({ name: Type.String(), quorum: Type.Boolean() })),
  checks: Type.Array(
    Type.Object({
      service: Type.String(),
      server: Type.String(),
      type: Type.String(),
      up: Type.Boolean(),
      streak: Type.Integer(),
      checks: Type.Integer(),
      failures: Type.Integer(),
      last: Type.Optional(
        Type.Object({ at: Type.Number(), milliseconds: Type.Number(), good: Type.Boolean(), reason: Type.String() }),
      ),
    }),
  ),
});

export const SessionBody = Type.Object({
  protocol: Type.String(),
  client: Type.String(),
  vip: Type.String(),
  local: Type.String({ description: "Where the server's answers go: a local address, or the client's own." }),
  server: Type.String(),
  service: Type.String(),
  mode: Type.String(),
  state: Type.String({ description: 'As IPVS names it.' }),
  expires: Type.Integer({ description: 'Seconds without a packet until it goes.' }),
  packetsIn: Type.Integer(),
  packetsOut: Type.Integer(),
  worker: Type.Integer(),
});

export const IpvsadmRequest = Type.Object({
  arguments: Type.Array(Type.String({ maxLength: 4096 }), { maxItems: 256 }),
  stdin: Type.Optional(Type.String({ maxLength: 8_388_608 })),
});
export const IpvsadmResult = Type.Object({ stdout: Type.String(), stderr: Type.String(), exitCode: Type.Integer() });

export const ExplainBody = Type.Object(
  {
    packet: Type.String({ maxLength: 256, description: 'What arrives, such as "tcp 198.51.100.7:4242 -> 203.0.113.10:443".' }),
    flags: Type.Optional(
      Type.Array(Type.Enum(['syn', 'ack', 'fin', 'rst', 'psh', 'urg']), {
        maxItems: 6,
        description: 'Of TCP; without them: syn.',
      }),
    ),
    interface: Type.Optional(
      Type.String({ maxLength: 15, description: 'Where it comes in; by default where the way back leads.' }),
    ),
  },
  { additionalProperties: false },
);

/** One event of GET /events: the SSE field `event` has `kind`, `data` the rest as JSON. Kinds: `server-up`, `server-down`, `server-held`,
 * `quorum-up` and `quorum-down` (of health checks, with service, server and reason), `applied` (generation, changes), `warning` (message,
 * remedy), `reader-dropped` (a reader of events that was too slow), `gap` (events after Last-Event-ID are no longer known). */
export const EventView = Type.Object({ kind: Type.String(), time: Type.Number() }, open);

export interface Endpoint {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE' | 'PATCH';
  /** Under /api/v1; {name} are parameters. */
  readonly path: string;
  readonly summary: string;
  readonly query?: TSchema;
  readonly body?: TSchema;
  /** Of success. */
  readonly reply: TSchema;
  /** Takes If-Match and dryRun, and answers ChangeView. */
  readonly changes?: true;
  /** text/event-stream, text/plain or application/octet-stream in place of JSON. */
  readonly stream?: string;
}

/** Closed: a misspelt dryRun must not become a change. */
const DryRun = Type.Object(
  { dryRun: Type.Optional(Type.Boolean({ description: 'Says what would change, and changes nothing.' })) },
  { additionalProperties: false },
);
const FILTER = {
  service: Type.Optional(Type.String({ maxLength: 63, description: 'Of this service.' })),
  server: Type.Optional(Type.String({ maxLength: 64, description: 'To this server, "ADDRESS:PORT".' })),
  client: Type.Optional(Type.String({ maxLength: 64, description: 'Of this client: address or prefix.' })),
  clientPort: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535 })),
  protocol: Type.Optional(Type.Enum(['tcp', 'udp', 'sctp', 'icmp', 'icmpv6', 'esp', 'ah'])),
};
const closed = { additionalProperties: false } as const;
const Anything = Type.Unknown();

/** Bodies of services, servers and configurations have the schema of the configuration file. */
export const ENDPOINTS = {
  status: { method: 'GET', path: '/status', summary: 'The balancer at a glance.', reply: StatusView },
  services: { method: 'GET', path: '/services', summary: 'All services with their servers.', reply: Type.Array(ServiceView) },
  service: { method: 'GET', path: '/services/{service}', summary: 'One service.', reply: ServiceView },
  putService: {
    method: 'PUT',
    path: '/services/{service}',
    summary: 'Adds a service, or replaces it as a whole.',
    query: DryRun,
    body: Anything,
    reply: ChangeView,
    changes: true,
  },
  deleteService: {
    method: 'DELETE',
    path: '/services/{service}',
    summary: 'Removes a service.',
    query: DryRun,
    reply: ChangeView,
    changes: true,
  },
  server: { method: 'GET', path: '/services/{service}/servers/{server}', summary: 'One server.', reply: ServerView },
  putServer: {
    method: 'PUT',
    path: '/services/{service}/servers/{server}',
    summary: 'Adds a server, or replaces it.',
    query: DryRun,
    body: Anything,
    reply: ChangeView,
    changes: true,
  },
  deleteServer: {
    method: 'DELETE',
    path: '/services/{service}/servers/{server}',
    summary: 'Removes a server.',
    query: DryRun,
    reply: ChangeView,
    changes: true,
  },
  setWeight: {
    method: 'PATCH',
    path: '/services/{service}/servers/{server}',
    summary: 'Gives a server another weight; 0 drains it.',
    query: DryRun,
    body: Type.Object({ weight: Type.Integer({ minimum: 0, maximum: 65_535 }) }, { additionalProperties: false }),
    reply: ChangeView,
    changes: true,
  },
  drain: {
    method: 'POST',
    path: '/drain',
    summary: 'Takes a server, or all servers of a service, out of the choice; sessions go on.',
    query: DryRun,
    body: Type.Object({ service: Type.String(), server: Type.Optional(Type.String()) }, { additionalProperties: false }),
    reply: ChangeView,
    changes: true,
  },
  undrain: {
    method: 'POST',
    path: '/undrain',
    summary: 'Undoes drain.',
    query: DryRun,
    body: Type.Object({ service: Type.String(), server: Type.Optional(Type.String()) }, { additionalProperties: false }),
    reply: ChangeView,
    changes: true,
  },
  config: {
    method: 'GET',
    path: '/config',
    summary: 'The effective configuration: file and API together, and where what is not the file’s comes from.',
    reply: Type.Object({ version: Type.String(), config: Anything, origins: Type.Record(Type.String(), Type.String()) }),
  },
  setSection: {
    method: 'PUT',
    path: '/config/{section}',
    summary: 'Sets localAddresses, tunnelSources, echoReplies, routes, neighbours, snat or sessions as a whole.',
    query: DryRun,
    body: Anything,
    reply: ChangeView,
    changes: true,
  },
  resetConfig: {
    method: 'POST',
    path: '/config/reset',
    summary: 'Forgets what the API has changed: of one service, or all of it.',
    query: DryRun,
    body: Type.Object({ service: Type.Optional(Type.String()) }, { additionalProperties: false }),
    reply: ChangeView,
    changes: true,
  },
  reload: {
    method: 'POST',
    path: '/reload',
    summary: 'Reads the configuration file again, as SIGHUP does.',
    query: DryRun,
    reply: ChangeView,
    changes: true,
  },
  sessions: {
    method: 'GET',
    path: '/sessions',
    summary: 'Sessions of now, page by page.',
    query: Type.Object(
      {
        ...FILTER,
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, description: 'Rows of a page; 100 unless told.' })),
        cursor: Type.Optional(Type.String({ maxLength: 16, description: 'Of the page before.' })),
      },
      closed,
    ),
    reply: Type.Object({ sessions: Type.Array(SessionBody), cursor: Type.Optional(Type.String()) }),
  },
  countSessions: {
    method: 'GET',
    path: '/sessions/count',
    summary: 'How many sessions there are.',
    query: Type.Object(FILTER, closed),
    reply: Type.Object({ sessions: Type.Integer() }),
  },
  endSessions: {
    method: 'POST',
    path: '/sessions/end',
    summary: 'Ends sessions: of TCP both sides are reset with the next packet of either, others are gone at once.',
    body: Type.Object(
      { ...FILTER, all: Type.Optional(Type.Boolean({ description: 'Must be true where there is no filter.' })) },
      closed,
    ),
    reply: Type.Object({ sessions: Type.Integer({ description: 'How many were ended.' }) }),
  },
  workers: { method: 'GET', path: '/workers', summary: 'Counters by worker.', reply: Type.Array(WorkerView) },
  interfaces: {
    method: 'GET',
    path: '/interfaces',
    summary: 'Interfaces and their XDP counters.',
    reply: Type.Array(Type.Object({ name: Type.String() }, open)),
  },
  health: { method: 'GET', path: '/health', summary: 'Every health check with its last verdict.', reply: HealthView },
  events: {
    method: 'GET',
    path: '/events',
    summary: 'Changes and health events as they happen (SSE).',
    reply: EventView,
    stream: 'text/event-stream',
  },
  ipvsadm: {
    method: 'POST',
    path: '/ipvsadm',
    summary: 'Runs a command line of ipvsadm.',
    body: IpvsadmRequest,
    reply: IpvsadmResult,
  },
  explain: {
    method: 'POST',
    path: '/explain',
    summary: 'What a packet would meet with the configuration in force: service, server, rewrite, or why it is dropped.',
    body: ExplainBody,
    reply: Type.Object({ packet: Type.String() }, open),
  },
} as const satisfies Readonly<Record<string, Endpoint>>;

export type EndpointName = keyof typeof ENDPOINTS;
export type Reply<N extends EndpointName> = Static<(typeof ENDPOINTS)[N]['reply']>;
export type ServiceViewBody = Static<typeof ServiceView>;
export type ServerViewBody = Static<typeof ServerView>;
export type StatusViewBody = Static<typeof StatusView>;
export type ChangeViewBody = Static<typeof ChangeView>;
