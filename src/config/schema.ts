// The one description of the configuration file. From it come the TypeScript types, the validation, millrace.schema.json and
// docs/reference/config.md; nothing about a key is written down anywhere else.
// Guarantees: after validation every key that has a default is present, so the types below have no optional ones except where
// absence means something.
// Thread: any; no state.
import { type Static, type TObject, type TProperties, Type } from 'typebox';
import { FORWARD_MODES } from './forward-mode.js';
import { SCHEDULERS } from './scheduler-names.js';
import { TIMEOUT_PROFILE_NAMES } from './timeout-profiles.js';

// Annotations beyond JSON Schema, read by explain.ts and by the generator, and left out of millrace.schema.json:
//   x-expected  what a wrong value should have been, as the end of "expected ..."
//   x-refused   value -> why it is refused although somebody may well try it
//   x-default   default in words, where it is not a constant
interface Annotations {
  readonly 'x-expected'?: string;
  readonly 'x-refused'?: Readonly<Record<string, string>>;
  readonly 'x-default'?: string;
}

function section<P extends TProperties>(
  properties: P,
  description: string,
  extra: { default?: object } & Annotations = {},
): TObject<P> {
  return Type.Object(properties, { additionalProperties: false, description, ...extra });
}

function address(description: string) {
  return Type.String({ format: 'ip-address', description });
}

function mac(description: string) {
  return Type.String({ format: 'mac-address', description });
}

function seconds(description: string) {
  return Type.Optional(
    Type.Integer({ minimum: 1, maximum: 604_800, description: `${description} (seconds)`, 'x-default': 'profile' }),
  );
}

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

const TimeoutsByState = section(
  {
    profile: Type.Enum([...TIMEOUT_PROFILE_NAMES], {
      default: 'ipvs',
      description: 'Profile that gives all values not set here.',
    }),
    tcp: section(
      {
        none: seconds('State NONE'),
        established: seconds('Connection established'),
        synSent: seconds('SYN seen from the server side'),
        synRecv: seconds('SYN seen from the client, no answer yet'),
        finWait: seconds('Server has sent FIN'),
        timeWait: seconds('Both sides have sent FIN'),
        close: seconds('Reset seen'),
        closeWait: seconds('Client has sent FIN'),
        lastAck: seconds('Last FIN waits for its ACK'),
        listen: seconds('State LISTEN'),
        synAck: seconds('State SYNACK'),
      },
      'Seconds without a packet after which a TCP session goes, per state.',
      { default: {} },
    ),
    udp: section(
      {
        oneWay: seconds('Only the client has sent so far'),
        normal: seconds('Both sides have sent'),
      },
      'Seconds without a packet after which a UDP session goes, per state.',
      { default: {} },
    ),
  },
  'Timeouts that differ from a profile.',
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
      description: 'Name of a profile (`ipvs`, `dpvs`), or a mapping with `profile`, `tcp` and `udp`.',
      'x-expected': 'the name of a profile ("ipvs" or "dpvs"), or a mapping with profile, tcp and udp',
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

function mode(description: string, extra: { default?: 'fullnat' } & Annotations) {
  return Type.Enum([...FORWARD_MODES], {
    description,
    'x-refused': {
      masq: 'masquerading is called nat',
      masquerading: 'masquerading is called nat',
      dnat: 'rewriting the destination only is called nat',
      dr: 'direct routing is called direct',
      dsr: 'direct routing is called direct, the same across routers l3dsr',
      gateway: 'direct routing is called direct',
      gatewaying: 'direct routing is called direct',
      tunnel: 'there are three tunnels: ipip, gre and gue',
      tun: 'there are three tunnels: ipip, gre and gue',
      snat: 'an outbound gateway has no servers to balance; it is not part of this version',
    },
    ...extra,
  });
}

function tunnelPort(otherwise: string) {
  return Type.Integer({
    minimum: 1,
    maximum: 65_535,
    description: 'UDP port that `gue` packets go to.',
    'x-default': otherwise,
  });
}

const Server = section(
  {
    address: address(
      'Address of the real server. Of the other family than the service only with `fullnat` and the tunnels `ipip`, `gre`, `gue`.',
    ),
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        description: 'Port of the real server. Only `fullnat` and `nat` can change it.',
        'x-default': "the service's port",
      }),
    ),
    weight: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 1,
      description: 'Share of new connections; 0 drains: existing sessions go on, new ones go elsewhere.',
    }),
    id: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 4_294_967_295,
        description: 'Number of the server in QUIC connection ids; only for `quic-cid` with `connectionId: katran`.',
      }),
    ),
    upperThreshold: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000_000,
        description:
          'Most sessions of this server at a time, over all workers, active and inactive. As many, and it gets no new ones until it ' +
          'opens again.',
        'x-default': 'no limit',
      }),
    ),
    lowerThreshold: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000_000,
        description: 'A server that has reached its upperThreshold opens again when it has fewer sessions than this.',
        'x-default': 'three quarters of upperThreshold',
      }),
    ),
    mode: Type.Optional(mode('How packets reach this server.', { 'x-default': "the service's mode" })),
    tunnelPort: Type.Optional(tunnelPort("the service's tunnelPort")),
  },
  'A real server behind a service.',
);

/** Slots that a Maglev table may have; as kMaglevSizes in native/schedulers/mh.h. */
const MAGLEV_SIZES = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 65_537, 131_071, 655_373] as const;

const SchedulerOptions = section(
  {
    fallback: Type.Optional(
      Type.Boolean({
        description: 'A client whose server has weight 0 or is full goes to another one instead of being refused.',
        'x-default': 'false',
      }),
    ),
    port: Type.Optional(
      Type.Boolean({
        description: "The client's port counts as well as its address; only with `key: source`.",
        'x-default': 'false',
      }),
    ),
    key: Type.Optional(
      Type.Enum(['source', '3-tuple', '5-tuple'], {
        description: 'What of a packet is hashed: the client, both addresses and the protocol, or the ports as well.',
        'x-default': 'source',
      }),
    ),
    tableSize: Type.Optional(
      Type.Enum([...MAGLEV_SIZES], {
        description:
          'Slots of the table, a prime: at least 100 times as many as servers, so that shares are even and few clients move.',
        'x-default': '4093',
      }),
    ),
    serverPorts: Type.Optional(
      Type.Boolean({
        description:
          "Whether the servers' ports count, as in IPVS. Without them a client meets the same host behind every port of a VIP.",
        'x-default': 'true',
      }),
    ),
    connectionId: Type.Optional(
      Type.Enum(['dpvs', 'katran'], {
        description: 'How servers write themselves into the QUIC connection ids that they issue. Required for `quic-cid`.',
      }),
    ),
  },
  'What a scheduler can be told; docs/schedulers.md says which takes which.',
);

const AccessControl = section(
  {
    default: Type.Optional(
      Type.Enum(['allow', 'deny'], {
        description: 'What becomes of a client that is in no prefix.',
        'x-default': '`deny` where a prefix is allowed, else `allow`',
      }),
    ),
    allow: Type.Array(Type.String({ format: 'ip-prefix', description: 'Prefix.' }), {
      default: [],
      description: 'Prefixes of clients that may use the service. The longest prefix that holds a client decides.',
    }),
    deny: Type.Array(Type.String({ format: 'ip-prefix', description: 'Prefix.' }), {
      default: [],
      description: 'Prefixes of clients that may not.',
    }),
    file: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          'File with further prefixes, one per line: `allow PREFIX` or `deny PREFIX`; `#` begins a comment. Relative to the ' +
          'configuration file; read again with it.',
      }),
    ),
  },
  'Which clients may begin sessions with a service. Sessions that exist go on when it changes.',
);

const ServiceTimeouts = section(
  { tcp: TimeoutsByState.properties.tcp, udp: TimeoutsByState.properties.udp },
  'Session timeouts of this service; what is not set here is as in sessions.timeouts.',
);

const Service = section(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 63,
      pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$',
      description: 'Unique name: letters, digits, dot, underscore and hyphen; used in metrics and messages.',
      'x-expected': 'a name of 1 to 63 letters, digits, dots, underscores and hyphens that begins with a letter or digit',
    }),
    address: address('Virtual address (VIP) that clients connect to. Millrace owns it: it must be on no kernel interface.'),
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        description: 'Port that clients connect to. Required for `tcp` and `udp`.',
      }),
    ),
    protocol: Type.Enum(['tcp', 'udp'], {
      description: 'Transport protocol.',
      'x-refused': { sctp: 'SCTP is not part of this version', icmp: 'only TCP and UDP have ports to balance' },
    }),
    mode: mode(
      'How packets reach the servers. `fullnat` rewrites source and destination, `nat` the destination only; `direct` changes the ' +
        'Ethernet address; `ipip`, `gre` and `gue` are tunnels; `l3dsr` rewrites the destination and marks the DSCP.',
      { default: 'fullnat' },
    ),
    tunnelPort: Type.Optional(tunnelPort('6080')),
    dscp: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 63,
        description: 'DSCP by which the servers know the VIP. Required for `l3dsr`; two VIPs of one server need different ones.',
      }),
    ),
    scheduler: Type.Enum(
      SCHEDULERS.map((scheduler) => scheduler.name),
      { default: 'wrr', description: 'How a new connection gets its server; see docs/schedulers.md.' },
    ),
    schedulerOptions: Type.Optional(SchedulerOptions),
    maxConnections: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000_000,
        description: 'Most sessions of this service at a time, over all workers. Further clients are refused.',
        'x-default': 'no limit',
      }),
    ),
    onRemoval: Type.Optional(
      Type.Enum(['keep', 'drop', 'reset'], {
        description:
          'What becomes of sessions when their server, or the service, is removed. `keep`: they go on until they end. `drop`: their ' +
          'packets are dropped; if the server comes back before they time out, they go on. `reset`: with the next packet both ends of ' +
          'a TCP connection are reset, and sessions of other protocols end at once.',
        'x-default': 'keep',
      }),
    ),
    acl: Type.Optional(AccessControl),
    timeouts: Type.Optional(ServiceTimeouts),
    servers: Type.Array(Server, {
      description: 'Real servers. An empty list is allowed: new connections are then dropped and counted.',
    }),
  },
  'A service: one address, port and protocol, and the servers behind it.',
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
    localPorts: Type.String({
      format: 'port-range',
      default: '1024-65535',
      description: 'Source ports towards the servers.',
      'x-expected': 'two ports with a hyphen between them, such as 1024-65535',
    }),
    routes: Type.Array(Route, { default: [], description: 'Static routes.' }),
    neighbours: Type.Array(Neighbour, { default: [], description: 'Static neighbours.' }),
    services: Type.Array(Service, { description: 'Services. The list may be empty.' }),
  },
  'Configuration of Millrace.',
);

/** A checked configuration: defaults filled in. */
export type Config = Static<typeof ConfigSchema>;
export type ServiceConfig = Config['services'][number];
export type ServerConfig = ServiceConfig['servers'][number];

type WithDefaults<T, K extends keyof T> = Omit<T, K> & Partial<Pick<T, K>>;
type ServerInput = WithDefaults<ServerConfig, 'weight'>;
type ServiceInput = WithDefaults<Omit<ServiceConfig, 'servers' | 'acl' | 'timeouts'>, 'mode' | 'scheduler'> & {
  servers: ServerInput[];
  acl?: Partial<NonNullable<ServiceConfig['acl']>>;
  timeouts?: Partial<NonNullable<ServiceConfig['timeouts']>>;
};
type TimeoutsInput = Exclude<Config['sessions']['timeouts'], string>;

/** A configuration as it is written: keys that have a default may be left out. */
export type ConfigInput = WithDefaults<
  Omit<Config, 'dataplane' | 'sessions' | 'services'>,
  'workers' | 'localAddresses' | 'tunnelSources' | 'localPorts' | 'routes' | 'neighbours'
> & {
  dataplane?: Partial<Config['dataplane']>;
  sessions?: { maxPerWorker?: number; timeouts?: 'ipvs' | 'dpvs' | Partial<TimeoutsInput> };
  services: ServiceInput[];
};
