// The part of the configuration's schema that describes a service: what clients connect to, how a server is chosen, how it is reached.
// Thread: any; no state.
import { Type } from 'typebox';
import { FORWARD_MODES } from './forward-mode.js';
import { SCHEDULERS } from './scheduler-names.js';
import { AcceptProxy, ClientAddress } from './schema-client-address.js';
import { command, HealthCheck, HealthPolicy } from './schema-health.js';
import { type Annotations, address, name, rateLimit, section, servicePorts } from './schema-parts.js';
import { TimeoutsByState } from './schema-timeouts.js';

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
      snat: 'an outbound gateway has no servers to balance; write its rules under the key snat at the top level',
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

const SERVER_KEYS = {
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
  rateLimit: Type.Optional(rateLimit('this server')),
  mode: Type.Optional(mode('How packets reach this server.', { 'x-default': "the service's mode" })),
  tunnelPort: Type.Optional(tunnelPort("the service's tunnelPort")),
  healthChecks: Type.Optional(
    Type.Array(HealthCheck, {
      maxItems: 16,
      description: "Checks of this server in place of the service's; an empty list: none.",
      'x-default': "the service's",
    }),
  ),
};

const Server = section(
  {
    ...SERVER_KEYS,
    onFailure: Type.Optional(
      Type.Enum(['remove', 'drain'], {
        description: 'What this server is for the dataplane while its checks fail; see onFailure of `health`.',
        'x-default': "the service's, under health",
      }),
    ),
    notify: Type.Optional(
      section(
        {
          up: Type.Optional(command('When this server comes up.')),
          down: Type.Optional(command('When this server goes down.')),
        },
        "Commands of this server in place of the service's, under health.",
      ),
    ),
  },
  'A real server behind a service.',
);

const SorryServer = section(
  SERVER_KEYS,
  'The server that takes all new connections while the quorum is lost (`health`). It is not checked.',
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

const Match = section(
  {
    protocol: Type.Enum(['tcp', 'udp', 'tcp+udp'], { default: 'tcp+udp', description: 'Transport protocol.' }),
    source: Type.Optional(
      Type.String({
        format: 'address-or-prefix',
        description: 'Clients: an address or a prefix.',
        'x-default': "all of the destination's family",
      }),
    ),
    destination: Type.String({
      format: 'address-or-prefix',
      description: 'What clients connect to: an address (announced by Millrace) or a prefix (must be routed to Millrace).',
    }),
    ports: Type.Optional(servicePorts('Ports that clients connect to.', { 'x-default': 'any' })),
    interface: Type.Optional(Type.String({ minLength: 1, description: 'Interface that packets arrive on.', 'x-default': 'any' })),
  },
  'Packets that belong to a service: those for which everything that is said here holds.',
);

const Persistence = section(
  {
    timeout: Type.Integer({
      minimum: 1,
      maximum: 604_800,
      default: 360,
      description: 'How long a client keeps its server after its last new connection (seconds), as `ipvsadm -p`.',
    }),
    prefix: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 128,
        description:
          'How many bits of the client address count: with 24, a /24 network is one client, as `ipvsadm -M 255.255.255.0`.',
        'x-default': '32 for IPv4, 128 for IPv6',
      }),
    ),
    group: Type.Optional(name('Services with the same group send a client to the same host: port affinity.')),
    expireQuiescent: Type.Boolean({
      default: false,
      description:
        'Whether weight 0 also sends known clients elsewhere, as the sysctl expire_quiescent_template; otherwise they keep the server.',
    }),
  },
  'A client keeps its server; see docs/persistence.md.',
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
  {
    tcp: TimeoutsByState.properties.tcp,
    udp: TimeoutsByState.properties.udp,
    sctp: TimeoutsByState.properties.sctp,
  },
  'Session timeouts of this service; what is not set here is as in sessions.timeouts.',
);

export const Service = section(
  {
    name: name('Unique name: letters, digits, dot, underscore and hyphen; used in metrics and messages.'),
    address: Type.Optional(
      Type.String({
        format: 'address-or-prefix',
        description:
          'Virtual address (VIP) that clients connect to. Millrace owns it: it must be on no kernel interface. Or a prefix, whose ' +
          'addresses are all VIPs and must be routed to Millrace. Required unless there is `match`; docs/services.md.',
      }),
    ),
    port: Type.Optional(servicePorts('Port that clients connect to, a range of ports, or `any`. Required for all but `match`.')),
    protocol: Type.Optional(
      Type.Enum(['tcp', 'udp', 'sctp', 'esp', 'ah', 'tcp+udp'], {
        description:
          'Transport protocol. `tcp+udp`: both, with one list of servers; `esp` and `ah` (IPsec) have no ports: a service is the ' +
          'whole address. Required unless there is `match`.',
        'x-refused': { icmp: 'ICMP has no ports to balance: echo requests to a VIP are answered, errors are translated' },
      }),
    ),
    match: Type.Optional(
      Type.Array(Match, {
        minItems: 1,
        maxItems: 1024,
        description:
          'In place of `address`, `port` and `protocol`: a service of all packets that one of these matches, what IPVS users build ' +
          'from firewall marks. Tried in the order of the file, after all services with addresses.',
      }),
    ),
    mark: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 4_294_967_295,
        description: 'Number under which such a service is listed, as the mark of `ipvsadm -f`.',
      }),
    ),
    announce: Type.Optional(
      Type.Boolean({
        description:
          'Whether Millrace answers ARP and neighbour discovery for the VIP and tells the link of it. A node that stands by says no: it ' +
          'has the service, checks its servers, and serves what still arrives.',
        'x-default': 'true',
      }),
    ),
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
    persistence: Type.Optional(Persistence),
    onePacket: Type.Optional(
      Type.Boolean({
        description:
          'Every datagram is scheduled by itself and leaves no session, as `ipvsadm -o`. Only `udp`, not with `fullnat`.',
        'x-default': 'false',
      }),
    ),
    sloppyTcp: Type.Optional(
      Type.Boolean({
        description: 'Connections are taken up in the middle, at any packet but a reset, as the sysctl sloppy_tcp. Only `tcp`.',
        'x-default': 'false',
      }),
    ),
    connReuseMode: Type.Optional(
      Type.Enum([0, 1, 2], {
        description:
          'When a SYN from the ports of an earlier connection is scheduled anew, as the sysctl conn_reuse_mode: 0 never, 1 after ' +
          'its end, 2 also in FIN_WAIT where only the client is seen. Only `tcp`.',
        'x-default': '1',
      }),
    ),
    maxConnections: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000_000,
        description: 'Most sessions of this service at a time, over all workers. Further clients are refused.',
        'x-default': 'no limit',
      }),
    ),
    rateLimit: Type.Optional(rateLimit('this service')),
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
    clientAddress: Type.Optional(ClientAddress),
    acceptProxy: Type.Optional(AcceptProxy),
    healthChecks: Type.Optional(
      Type.Array(HealthCheck, {
        maxItems: 16,
        description: 'How each server is checked. A server is up while all of them are good.',
        'x-default': 'none: servers always count as up',
      }),
    ),
    health: Type.Optional(HealthPolicy),
    sorryServer: Type.Optional(SorryServer),
    servers: Type.Array(Server, {
      description: 'Real servers. An empty list is allowed: new connections are then dropped and counted.',
    }),
  },
  'A service: what clients connect to, and the servers behind it.',
);
