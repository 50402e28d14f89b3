/**
 * The contract between TypeScript and the native addon (`native/addon/`). Types only.
 * Everything that crosses here has been validated by `src/config/`: the addon asserts, it does not explain.
 */

/** Layout version of counters and configuration; the addon and this file must agree (checked at load). */
export const NATIVE_ABI_VERSION = 3;

export interface NativeInterfaceConfig {
  readonly name: string;
  /** Only for replay, where no kernel interface is asked. */
  readonly mac?: string;
  readonly mtu?: number;
  /** Only for replay: kernel addresses, as "a.b.c.d/len". They make connected routes. */
  readonly addresses?: readonly string[];
}

/** Per second and direction; 0: no limit. */
export interface NativeRateLimit {
  readonly packetsPerSecond: number;
  readonly bitsPerSecond: number;
}

export interface NativeServerConfig {
  readonly address: string;
  /** 0 where the protocol has none, and for the port that the client asked for. */
  readonly port: number;
  readonly weight: number;
  /** Number in QUIC connection ids; 0 for none. */
  readonly id: number;
  readonly mode: 'fullnat' | 'nat' | 'direct' | 'ipip' | 'gre' | 'gue' | 'l3dsr' | 'snat';
  /** UDP port of `gue`. */
  readonly tunnelPort: number;
  /** Connection thresholds; 0 for none. */
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
  readonly rateLimit: NativeRateLimit;
}

export interface NativeSchedulerOptions {
  readonly fallback: boolean;
  readonly port: boolean;
  readonly key: 'source' | '3-tuple' | '5-tuple';
  readonly tableSize: number;
  readonly serverPorts: boolean;
  readonly connectionId: 'dpvs' | 'katran';
}

export interface NativeAccessRules {
  /** What becomes of clients in no prefix. */
  readonly allowOthers: boolean;
  /** Prefixes, host bits 0; none in both. */
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

export interface NativePersistence {
  /** Seconds. */
  readonly timeout: number;
  /** Bits of the client's address that count, over the 16-byte form: an IPv4 prefix length plus 96. */
  readonly prefix: number;
  readonly expireQuiescent: boolean;
  /** Empty for none. */
  readonly group: string;
}

/** Packets for which all of this holds. */
export interface NativeMatch {
  /** `any` for TCP, UDP and echo, `icmp` and `icmpv6` for echo: only of the outbound gateway. */
  readonly protocol: 'tcp' | 'udp' | 'tcp+udp' | 'icmp' | 'icmpv6' | 'any';
  /** "address" or "address/length"; 0.0.0.0/0 or ::/0 for everybody. */
  readonly source: string;
  readonly destination: string;
  /** First and last; [0, 65535] is any. */
  readonly ports: readonly [number, number];
  /** Place in NativeOptions.interfaces; absent: any. */
  readonly interface?: number;
}

/** What a service is found by. */
export interface NativeServiceIdentity {
  /** "address", or "address/length" for a prefix of VIPs; absent where there are matches. */
  readonly address?: string;
  /** 0 where the protocol has none, and where there are `ports`. */
  readonly port: number;
  /** First and last, where the port is not one; [0, 65535] is any. */
  readonly ports?: readonly [number, number];
  readonly protocol: 'tcp' | 'udp' | 'sctp' | 'esp' | 'ah' | 'tcp+udp';
  readonly matches: readonly NativeMatch[];
  /** A rule of the outbound gateway, and its addresses. */
  readonly outbound?: boolean;
  readonly pool?: readonly string[];
}

/** As ClientAddressConfig in native/tables/client_address.h. */
export interface NativeClientAddress {
  readonly method: 'none' | 'toa' | 'uoa' | 'proxy-v1' | 'proxy-v2';
  readonly kindIpv4: number;
  readonly kindIpv6: number;
  readonly onSyn: boolean;
  readonly carrier: 'protocol' | 'option';
  readonly serverFirst: boolean;
  /** 255: all of them. */
  readonly datagrams: number;
  readonly whenTooBig: 'fragment' | 'drop';
  readonly uniqueId: boolean;
  readonly crc32c: boolean;
  /** Values as hexadecimal digits. */
  readonly tlvs: readonly { readonly type: number; readonly value: string }[];
  /** Prefixes of balancers in front. */
  readonly acceptFrom: readonly string[];
}

export interface NativeServiceConfig extends NativeServiceIdentity {
  readonly name: string;
  /** Whether ARP and neighbour discovery are answered for its VIPs. */
  readonly announced: boolean;
  /** Mark of `l3dsr`; 0 for none. */
  readonly dscp: number;
  /** A name of native/schedulers/registry.h. */
  readonly scheduler: string;
  readonly schedulerOptions: NativeSchedulerOptions;
  readonly persistence?: NativePersistence;
  readonly onePacket: boolean;
  readonly sloppyTcp: boolean;
  readonly connReuseMode: 0 | 1 | 2;
  /** 0: no limit. */
  readonly maxConnections: number;
  readonly rateLimit: NativeRateLimit;
  readonly onRemoval: 'keep' | 'drop' | 'reset';
  /** All values; absent where the service has those of all. */
  readonly timeouts?: NativeTimeouts;
  /** Absent where everybody may use the service. */
  readonly access?: NativeAccessRules;
  /** Absent where servers are told nothing and no header is accepted. */
  readonly clientAddress?: NativeClientAddress;
  readonly servers: readonly NativeServerConfig[];
}

export interface NativeRouteConfig {
  readonly prefix: string;
  /** Gateway; absent for an on-link prefix. */
  readonly via?: string;
  readonly interface: string;
}

export interface NativeNeighbourConfig {
  readonly address: string;
  readonly mac: string;
  readonly interface: string;
}

/** What can change while traffic runs. */
export interface NativeTables {
  readonly services: readonly NativeServiceConfig[];
  readonly localAddresses: readonly string[];
  /** Prefixes, host bits 0, at most one per family. */
  readonly tunnelSources: readonly string[];
  readonly echoReplies: boolean;
  readonly routes: readonly NativeRouteConfig[];
  readonly neighbours: readonly NativeNeighbourConfig[];
  readonly timeouts: NativeTimeouts;
}

/** Seconds per state; see docs/reference/config.md. */
export interface NativeTimeouts {
  readonly tcp: {
    readonly none: number;
    readonly established: number;
    readonly synSent: number;
    readonly synRecv: number;
    readonly finWait: number;
    readonly timeWait: number;
    readonly close: number;
    readonly closeWait: number;
    readonly lastAck: number;
    readonly listen: number;
    readonly synAck: number;
  };
  readonly udp: { readonly oneWay: number; readonly normal: number };
  readonly sctp: {
    readonly init1: number;
    readonly init: number;
    readonly cookieSent: number;
    readonly cookieReplied: number;
    readonly cookieWait: number;
    readonly cookie: number;
    readonly cookieEchoed: number;
    readonly established: number;
    readonly shutdownSent: number;
    readonly shutdownReceived: number;
    readonly shutdownAckSent: number;
    readonly rejected: number;
    readonly closed: number;
  };
}

/** What is fixed for the life of a dataplane. */
export interface NativeOptions {
  readonly workers: number;
  /** CPU per worker; -1 leaves the thread unpinned. */
  readonly cpus: readonly number[];
  readonly interfaces: readonly NativeInterfaceConfig[];
  readonly attachMode: 'auto' | 'native' | 'skb';
  readonly zeroCopy: 'auto' | 'off' | 'required';
  readonly polling: 'adaptive' | 'busy' | 'interrupt';
  /** 0 switches busy polling off; else the budget in packets of SO_BUSY_POLL_BUDGET. */
  readonly busyPollBudget: number;
  readonly framesPerWorker: number;
  /** 0: chosen from the largest MTU. */
  readonly frameSize: 0 | 2048 | 4096;
  readonly ringSize: number;
  readonly hugePages: boolean;
  readonly maxSessionsPerWorker: number;
  readonly localPortRange: readonly [number, number];
  /** Decimal 64-bit seed of hashes and random starts; "0" takes one from the kernel. */
  readonly seed: string;
}

export interface NativeCounterInfo {
  readonly name: string;
  readonly kind: 'counter' | 'drop';
  /** Unit of a counter, stage of a drop. */
  readonly unit: string;
  readonly help: string;
}

/** Per-server statistics slots, in this order, 8 u64 per slot per worker. */
export const SERVER_STATS_FIELDS = [
  'connections',
  'inPackets',
  'inBytes',
  'outPackets',
  'outBytes',
  'active',
  'inactive',
  'ended',
] as const;

/** Layout of RateLeases in native/tables/rate_limits.h; only the last two are for others than the worker. */
export const RATE_LIMIT_FIELDS = ['lease0', 'lease1', 'lease2', 'lease3', 'packets', 'bits', 'droppedIn', 'droppedOut'] as const;

export interface NativeSlotMap {
  /** Slot of each service and of each of its servers, in the order in which they were applied. Removed ones that still have sessions stay listed. */
  readonly services: readonly {
    readonly name: string;
    readonly slot: number;
    readonly servers: readonly {
      readonly address: string;
      readonly port: number;
      readonly slot: number;
      readonly removed: boolean;
    }[];
  }[];
}

export interface NativeApplyResult extends NativeSlotMap {
  readonly generation: number;
}

/** Which sessions, and from where on. */
export interface NativeSessionRequest {
  /** "address/length"; "": all clients. */
  readonly client: string;
  /** 0: any. */
  readonly clientPort: number;
  /** IP protocol number; 0: any. */
  readonly protocol: number;
  /** Slots; none: any. */
  readonly services: readonly number[];
  readonly servers: readonly number[];
  readonly fromWorker: number;
  readonly fromId: number;
  /** Rows; 0 counts alone. */
  readonly limit: number;
  /** Ends the sessions that are met: TCP by resets with the next packet, others at once. */
  readonly end: boolean;
}

/** As SessionRow in native/pipeline/session_query.h. */
export interface NativeSessionRow {
  readonly client: string;
  readonly clientPort: number;
  readonly vip: string;
  readonly vipPort: number;
  readonly local: string;
  readonly localPort: number;
  readonly server: string;
  readonly serverPort: number;
  readonly service: number;
  readonly serverSlot: number;
  readonly worker: number;
  /** Milliseconds. */
  readonly expires: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly protocol: number;
  /** Number in SESSION_STATES. */
  readonly state: number;
  /** Number in SESSION_MODES. */
  readonly mode: number;
}

export interface NativeSessionPage {
  readonly rows: readonly NativeSessionRow[];
  readonly matched: number;
  /** Absent: there is nothing more. */
  readonly next?: { readonly worker: number; readonly id: number };
}

/** The order of SessionState in native/sessions/session.h; names as IPVS writes them. */
export const SESSION_STATES = [
  'NONE',
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'SYNACK',
  'UDP_ONE_WAY',
  'UDP',
  'INIT1',
  'INIT',
  'COOKIE_SENT',
  'COOKIE_REPLIED',
  'COOKIE_WAIT',
  'COOKIE',
  'COOKIE_ECHOED',
  'ESTABLISHED',
  'SHUTDOWN_SENT',
  'SHUTDOWN_RECEIVED',
  'SHUTDOWN_ACK_SENT',
  'REJECTED',
  'CLOSED',
] as const;

/** The order of ForwardMode in native/sessions/forward_mode.h. */
export const SESSION_MODES = ['fullnat', 'nat', 'direct', 'ipip', 'gre', 'gue', 'l3dsr', 'snat'] as const;

/** One interface as XDP sees it. */
export interface NativeInterfaceStatus {
  readonly name: string;
  readonly index: number;
  readonly attachMode: 'native' | 'skb';
  /** Why native mode was not to be had under attachMode auto; "" otherwise. */
  readonly fallbackReason: string;
  readonly zeroCopy: boolean;
  readonly queues: number;
  readonly mtu: number;
  readonly mac: string;
  /** From the XDP program, all queues; bigint. Per-reason counts of packets that the kernel could not deliver to a worker. */
  readonly xdp: {
    readonly received: bigint;
    readonly toWorkers: bigint;
    readonly toKernel: bigint;
    readonly rxDropped: bigint;
    readonly rxRingFull: bigint;
    readonly fillRingEmpty: bigint;
    readonly rxInvalid: bigint;
    readonly txInvalid: bigint;
  };
}

export interface NativeDataplane {
  /** Opens interfaces, attaches XDP, starts workers and the control thread. Rejects with {code, message, errno}. */
  start(): Promise<void>;
  apply(tables: NativeTables): Promise<NativeApplyResult>;
  /**
   * Services of the tables in force as they are from now on; what a service is found by must be what it was. All others stay, at a
   * cost that does not depend on their servers. The result has the slots of these services alone.
   */
  update(services: readonly NativeServiceConfig[]): Promise<NativeApplyResult>;
  /** Walks the sessions of all workers, one worker after the other; each that lives all the time is met once. */
  sessions(request: NativeSessionRequest): Promise<NativeSessionPage>;
  /** u64 slots of one worker in the order of `counterInfo()`; native memory, valid until stop(). */
  counters(worker: number): ArrayBuffer;
  /** u64 slots of one worker: SERVER_STATS_FIELDS per server slot. */
  serverStats(worker: number): ArrayBuffer;
  /** u64 slots of one worker: RATE_LIMIT_FIELDS per slot, of servers and of services. */
  serverRates(worker: number): ArrayBuffer;
  serviceRates(worker: number): ArrayBuffer;
  /** 64-bit counts by service slot: connections with a packet without room for the client's address. */
  serviceCrowded(worker: number): ArrayBuffer;
  /** Number by which another thread of this process finds the logs of the workers (`openLogs`). Throws {code: 'not_running'}. */
  logHandle(): number;
  interfaces(): readonly NativeInterfaceStatus[];
  /** Stops workers, detaches XDP, frees memory. Idempotent. */
  stop(): Promise<void>;
  /** Keep, or do not keep, the event loop alive. */
  ref(): void;
  unref(): void;
}

/** What native/core/log_events.def says of one event; its place in the list is its number. */
export interface NativeLogEvent {
  readonly name: string;
  readonly level: 'info' | 'warn' | 'error';
  /** Name of the record's value; "none" if it has none. */
  readonly value: string;
  readonly text: string;
}

export interface NativeLogInfo {
  readonly events: readonly NativeLogEvent[];
  readonly recordBytes: number;
  /** Where what is in a record; see src/logs/record.ts. */
  readonly fields: readonly { readonly name: string; readonly offset: number; readonly bytes: number }[];
}

/** The one reader of a dataplane's logs. It keeps the rings' memory, so that the dataplane may stop at any time. */
export interface NativeLogReader {
  /** Moves records of all workers into the buffer, as many as are there or fit; how many. */
  drain(into: Uint8Array): number;
  /** Since the dataplane began: records lost in full rings, then per event those that its rate suppressed. */
  lost(): readonly bigint[];
  /** Most records of one event that one worker writes in a second; 0 for none. */
  setRate(perSecond: number): void;
  /** Workers write no more. Idempotent; drain() gives 0 then. */
  close(): void;
}

export interface NativeReplayOptions {
  readonly input: string;
  readonly output: string;
  readonly workers: number;
  /** How arriving packets find a worker: "flow" = as the lab's NIC does; "wrong" = always one worker too far (tests the handoff). */
  readonly steering: 'flow' | 'wrong';
}

export interface NativeReplayResult {
  readonly packets: number;
  readonly passedToKernel: number;
  readonly sent: number;
  /** Sum over workers, by counter name; zero ones included. */
  readonly counters: Readonly<Record<string, bigint>>;
  readonly perWorker: readonly Readonly<Record<string, bigint>>[];
  readonly servers: readonly {
    readonly service: string;
    readonly server: string;
    readonly stats: Readonly<Record<string, bigint>>;
  }[];
}

export interface NativeInterfaceProbe {
  readonly name: string;
  readonly index: number;
  readonly kind: string;
  readonly driver: string;
  readonly mtu: number;
  readonly mac: string;
  readonly up: boolean;
  readonly carrier: boolean;
  /** Name of the bond, bridge or team it is a member of; "" if none. */
  readonly master: string;
  readonly rxQueues: number;
  readonly txQueues: number;
  readonly xdpProgram: { readonly id: number; readonly name: string; readonly mode: 'native' | 'skb' | 'offload' } | null;
  /** What NETDEV_XDP_ACT_* says (kernel >= 6.3); null when the kernel does not tell. */
  readonly xdpFeatures: { readonly basic: boolean; readonly redirect: boolean; readonly zeroCopy: boolean } | null;
  readonly ntuple: boolean | null;
  readonly addresses: readonly string[];
}

/** A multi-queue NIC played by a BPF program at the far end of a veth: which receive queue each packet reaches. */
export interface NativeLabSteering {
  /** Interface at the far end, in the current network namespace. */
  readonly interface: string;
  readonly queues: number;
  /** Destination address -> queue: what flow rules (FDIR) do for local addresses. All else is spread by a hash of the flow (RSS). */
  readonly rules: readonly { readonly address: string; readonly queue: number }[];
}

/** What takes tunnels off on a real server; see native/realserver/ingress.h. */
export interface NativeDecapsulation {
  /** An Ethernet interface in the current network namespace. */
  readonly interface: string;
  readonly types: readonly ('ipip' | 'gre' | 'gue')[];
  readonly guePort: number;
  readonly vips: readonly string[];
  /** Outer sources, as "address/length". */
  readonly trusted: readonly string[];
}

/** What puts the VIP back on a real server of an L3DSR service. */
export interface NativeL3dsr {
  readonly interface: string;
  readonly marks: readonly { readonly dscp: number; readonly vip: string }[];
}

export interface NativeIngressState {
  /** What holds filters; "" if there is nothing. */
  readonly hook: '' | 'clsact' | 'ingress';
  /** Filters of anybody, both directions. */
  readonly filters: number;
  /** 0: our program is not attached. */
  readonly programId: number;
  /** Since the program was attached; empty if it is not. */
  readonly counters: readonly {
    readonly name: string;
    readonly help: string;
    readonly packets: bigint;
    readonly bytes: bigint;
  }[];
}

export type NativeIngressProgram = 'decapsulation' | 'l3dsr';

/** BPF programs of a real server at tc's ingress hook, in the current network namespace. All throw {code, message, errno}. */
export interface NativeRealserver {
  /** SO_NETNS_COOKIE: a number that no other network namespace has or had; 0 before Linux 5.14. */
  networkNamespaceCookie(): bigint;
  /** Attach, in place of the former one of the same kind. The kernel's number of the program comes back. */
  attachDecapsulation(wanted: NativeDecapsulation): number;
  attachL3dsr(wanted: NativeL3dsr): number;
  ingressState(interfaceName: string, program: NativeIngressProgram): NativeIngressState;
  /** Leaves a filter of somebody else alone. */
  detachIngress(interfaceName: string, program: NativeIngressProgram): void;
  /** False if there is one already. */
  makeIngressHook(interfaceName: string): boolean;
  /** With every filter at it. */
  removeIngressHook(interfaceName: string): void;
}

/** A socket of a health check; "" and 0: no wish. */
export interface NativeCheckSocket {
  readonly kind: 'stream' | 'datagram' | 'echo';
  readonly family: 4 | 6;
  readonly bindAddress: string;
  /** SO_BINDTODEVICE. */
  readonly bindInterface: string;
  /** SO_MARK. */
  readonly mark: number;
}

export interface NativeBinding {
  readonly abiVersion: number;
  versions(): Readonly<Record<string, string>>;
  counterInfo(): readonly NativeCounterInfo[];
  logInfo(): NativeLogInfo;
  /** send(2) to a socket with MSG_DONTWAIT: bytes taken, or the negative errno. The socket's own flags stay. */
  sendNow(fd: number, bytes: Uint8Array): number;
  /**
   * On any thread of the process. Throws {code, message}: 'not_running' when the dataplane of that handle is gone, 'logs_in_use' while
   * another reader is open.
   */
  openLogs(handle: number, ratePerSecond: number): NativeLogReader;
  /** Throws {code, message, errno}. */
  createDataplane(options: NativeOptions): NativeDataplane;
  replay(options: NativeOptions, tables: NativeTables, replay: NativeReplayOptions): NativeReplayResult;
  probeInterfaces(): readonly NativeInterfaceProbe[];
  /** Tries to load a trivial XDP program and to open an AF_XDP socket; the errno names, or "" when it works. */
  probeKernel(): { readonly xdp: string; readonly afXdp: string; readonly bpfLink: string };
  /** Installs the program with tc (clsact egress); it stays until the interface goes. */
  attachLabSteering(steering: NativeLabSteering): void;
  /** A file descriptor, not connected, which the caller owns. Throws {code: 'check_socket_unavailable', message, errno}. */
  openCheckSocket(wanted: NativeCheckSocket): number;
  /** One datagram to a path or "@abstract" name, as sd_notify(3). Throws {code: 'notify_socket_unavailable', message, errno}. */
  notifyServiceManager(socket: string, text: string): void;
  readonly realserver: NativeRealserver;
}
