// The one description of the configuration file. From it come the TypeScript types, the validation, millrace.schema.json and
// docs/reference/config.md; nothing about a key is written down anywhere else. This file is the whole; schema-service.ts,
// schema-outbound.ts, schema-timeouts.ts and schema-logs.ts hold the large parts.
// Guarantees: after validation every key that has a default is present, so the types below have no optional ones except where
// absence means something.
// Thread: any; no state.
import { type Static, Type } from 'typebox';
import { Api, type ApiConfig } from './schema-api.js';
import { Daemon } from './schema-daemon.js';
import { Logs } from './schema-logs.js';
import { Metrics } from './schema-metrics.js';
import { OutboundRule } from './schema-outbound.js';
import { address, mac, section } from './schema-parts.js';
import { Service } from './schema-service.js';
import { TimeoutsByState } from './schema-timeouts.js';
import { TIMEOUT_PROFILE_NAMES } from './timeout-profiles.js';

const Interface = section(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 15,
      pattern: '^[^\\s/:]+$',
      description: 'Name of the interface, as `ip link` shows it.',
    }),
    mac: Type.Optional(mac('Ethernet address. Only `millrace replay` uses it; a live interface has its own.')),
    mtu: Type.Optional(
      Type.Integer({
        minimum: 68,
        maximum: 65_535,
        description: 'Largest IP packet in bytes. Only `millrace replay` uses it; a live interface has its own.',
      }),
    ),
    addresses: Type.Optional(
      Type.Array(Type.String({ format: 'ip-prefix', description: 'Address with prefix length.' }), {
        description: 'Addresses of the kernel with their prefix lengths. Only `millrace replay` uses them, for connected routes.',
      }),
    ),
  },
  'A network interface that Millrace receives from and sends to.',
);

const Dataplane = section(
  {
    driver: Type.Enum(['af_xdp'], {
      default: 'af_xdp',
      description: 'How packets reach Millrace.',
      'x-refused': {
        dpdk: 'the DPDK driver is not part of this version; packets are received through AF_XDP',
        xdp: 'the driver is called af_xdp',
      },
    }),
    attachMode: Type.Enum(['auto', 'native', 'skb'], {
      default: 'auto',
      description:
        'Where XDP runs: in the driver (`native`) or behind it (`skb`, slower, works everywhere). `auto` tries native first.',
    }),
    zeroCopy: Type.Enum(['auto', 'off', 'required'], {
      default: 'auto',
      description: 'Whether the card writes into packet memory itself. `required` refuses to start without it.',
    }),
    polling: Type.Enum(['adaptive', 'busy', 'interrupt'], {
      default: 'adaptive',
      description:
        '`adaptive` polls while packets come and then sleeps; `busy` never sleeps; `interrupt` sleeps at every chance.',
    }),
    busyPollBudget: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 0,
      description: 'Packets per busy poll of a socket (SO_BUSY_POLL_BUDGET); 0 leaves busy polling off.',
    }),
    framesPerWorker: Type.Integer({
      minimum: 128,
      maximum: 4_194_304,
      default: 8192,
      description: 'Packet frames per worker. Packet memory is workers x framesPerWorker x frameSize bytes.',
    }),
    frameSize: Type.Enum(['auto', 2048, 4096], {
      default: 'auto',
      description: 'Bytes per frame, 256 of them headroom. `auto` takes 2048 unless an MTU needs 4096.',
    }),
    ringSize: Type.Integer({
      minimum: 64,
      maximum: 32_768,
      default: 2048,
      description: 'Descriptors in each of the four rings of a socket; a power of two.',
    }),
    hugePages: Type.Boolean({ default: true, description: 'Try 2 MiB pages for packet memory first.' }),
    seed: Type.String({
      format: 'decimal-u64',
      default: '0',
      description: 'Seed of hashes and random starts, as a decimal string; "0" takes one from the kernel.',
      'x-expected': 'a decimal number up to 18446744073709551615 in quotes, such as "42"',
    }),
  },
  'How packets are received, held and sent. Fixed while the process runs.',
  { default: {} },
);

const Sessions = section(
  {
    maxPerWorker: Type.Integer({
      minimum: 64,
      maximum: 268_435_456,
      default: 1_048_576,
      description: 'Most sessions one worker holds at a time. A session is one connection, both directions.',
    }),
    timeouts: Type.Union([Type.Enum([...TIMEOUT_PROFILE_NAMES]), TimeoutsByState], {
      default: 'ipvs',
      description: 'Name of a profile (`ipvs`, `dpvs`), or a mapping with `profile`, `tcp`, `udp` and `sctp`.',
      'x-expected': 'the name of a profile ("ipvs" or "dpvs"), or a mapping with profile, tcp, udp and sctp',
    }),
  },
  'How many sessions are kept and for how long.',
  { default: {} },
);

const Route = section(
  {
    prefix: Type.String({ format: 'ip-prefix', description: 'Destination network, e.g. `0.0.0.0/0`.' }),
    via: Type.Optional(address('Gateway; without it the destinations are on the link.')),
    interface: Type.String({ minLength: 1, description: 'Interface to send on.' }),
  },
  'A static route, beside those of the kernel; in `millrace replay` the only ones besides connected networks.',
);

const Neighbour = section(
  {
    address: address('Address of the neighbour.'),
    mac: mac('Its Ethernet address.'),
    interface: Type.String({ minLength: 1, description: 'Interface it is reached on.' }),
  },
  'A static neighbour (ARP or ND entry).',
);

export const ConfigSchema = section(
  {
    workers: Type.Union([Type.Integer({ minimum: 1, maximum: 64 }), Type.Literal('auto')], {
      default: 'auto',
      description:
        'Number of worker threads. `auto`: as many as the interface with the fewest receive queues has, at most one per CPU, ' +
        'and at most one per local address of each family in use.',
      'x-expected': 'a number from 1 to 64, or auto',
    }),
    cpus: Type.Optional(
      Type.Array(Type.Integer({ minimum: 0, maximum: 4095 }), {
        description: 'CPU per worker, at least as many as workers.',
        'x-default': 'the first CPUs that the process may use',
      }),
    ),
    interfaces: Type.Array(Interface, { minItems: 1, description: 'Interfaces to receive from and send to; at least one.' }),
    dataplane: Dataplane,
    daemon: Daemon,
    sessions: Sessions,
    localAddresses: Type.Array(address('Local address.'), {
      default: [],
      description:
        'Source addresses towards the servers. Each belongs to one worker: at least one per worker and per address family that a ' +
        'service has. Millrace owns them: they must be on no kernel interface.',
    }),
    tunnelSources: Type.Array(Type.String({ format: 'ip-prefix', description: 'Prefix.' }), {
      default: [],
      maxItems: 2,
      description:
        'Prefixes of outer source addresses of tunnels, at most one per family: the flow fills the other bits, so that servers, ' +
        'which spread what they receive over their queues by addresses, see many sources. Without one a tunnel comes from a ' +
        'local address. Routers that filter sources must let the prefix pass; nothing else may use it.',
      'x-default': 'a local address',
    }),
    echoReplies: Type.Boolean({
      default: true,
      description:
        'Whether echo requests (ping) to VIPs and local addresses are answered. Otherwise they are dropped and counted.',
    }),
    localPorts: Type.String({
      format: 'port-range',
      default: '1024-65535',
      description: 'Source ports towards the servers.',
      'x-expected': 'two ports with a hyphen between them, such as 1024-65535',
    }),
    routes: Type.Array(Route, { default: [], description: 'Static routes.' }),
    neighbours: Type.Array(Neighbour, { default: [], description: 'Static neighbours.' }),
    snat: Type.Array(OutboundRule, {
      default: [],
      description: 'Outbound gateway: connections of inside hosts leave with addresses of a pool, and answers find back.',
    }),
    metrics: Type.Optional(Metrics),
    logs: Logs,
    services: Type.Array(Service, { description: 'Services. The list may be empty.' }),
    api: Type.Optional(Api),
  },
  'Configuration of Millrace.',
);

/** A checked configuration: defaults filled in. */
export type Config = Static<typeof ConfigSchema>;
export type ServiceConfig = Config['services'][number];
export type ServerConfig = ServiceConfig['servers'][number];

type WithDefaults<T, K extends keyof T> = Omit<T, K> & Partial<Pick<T, K>>;
export type HealthCheckConfig = NonNullable<ServiceConfig['healthChecks']>[number];
export type HealthPolicyConfig = NonNullable<ServiceConfig['health']>;
type HealthCheckInput = WithDefaults<HealthCheckConfig, 'interval' | 'jitter' | 'timeout' | 'rise' | 'fall'>;
type ServerInput = WithDefaults<Omit<ServerConfig, 'healthChecks'>, 'weight'> & { healthChecks?: HealthCheckInput[] };
type MatchInput = WithDefaults<NonNullable<ServiceConfig['match']>[number], 'protocol'>;
type ServiceInput = WithDefaults<
  Omit<ServiceConfig, 'servers' | 'sorryServer' | 'healthChecks' | 'health' | 'match' | 'persistence' | 'acl' | 'timeouts'>,
  'mode' | 'scheduler'
> & {
  persistence?: Partial<NonNullable<ServiceConfig['persistence']>>;
  servers: ServerInput[];
  sorryServer?: ServerInput;
  healthChecks?: HealthCheckInput[];
  health?: Partial<HealthPolicyConfig>;
  match?: MatchInput[];
  acl?: Partial<NonNullable<ServiceConfig['acl']>>;
  timeouts?: Partial<NonNullable<ServiceConfig['timeouts']>>;
};
type SnatConfig = Config['snat'][number];
type SnatInput = Omit<SnatConfig, 'match'> & { match: WithDefaults<SnatConfig['match'][number], 'protocol'>[] };
type TimeoutsInput = Exclude<Config['sessions']['timeouts'], string>;

/** A configuration as it is written: keys that have a default may be left out. */
export type ConfigInput = WithDefaults<
  Omit<Config, 'dataplane' | 'daemon' | 'sessions' | 'services' | 'snat' | 'metrics' | 'logs' | 'api'>,
  'workers' | 'localAddresses' | 'tunnelSources' | 'echoReplies' | 'localPorts' | 'routes' | 'neighbours'
> & {
  dataplane?: Partial<Config['dataplane']>;
  daemon?: Partial<Config['daemon']>;
  sessions?: { maxPerWorker?: number; timeouts?: 'ipvs' | 'dpvs' | Partial<TimeoutsInput> };
  metrics?: Partial<NonNullable<Config['metrics']>>;
  logs?: Partial<Config['logs']>;
  services: ServiceInput[];
  snat?: SnatInput[];
  api?: Partial<ApiConfig>;
};
