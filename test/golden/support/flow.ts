// Flow: one connection through the balancer, and what each of its packets must look like on both sides. This is the specification of
// the forwarding modes that golden cases check against; it knows nothing of the code under test.
//
//   full NAT   client:port -> VIP:port   becomes   local:port  -> server:port, and back
//   NAT                                            client:port -> server:port, and back
//   direct                                         client:port -> VIP:port
//   L3DSR                                          client:port -> server:VIP's port, DSCP changed
//   tunnels                                        the packet inside another one (tunnel.ts)
//
// Always: TTL one less; Ethernet addresses of the next link.
//
// Runs in tests only.

import type { ForwardMode } from '../../../src/config/forward-mode.js';
import type { ExtensionFields, PacketBuilder, TcpOption } from '../../support/packet/index.js';
import { isIpv6, packet } from '../../support/packet/index.js';
import type { Host } from './network.js';
import {
  CLIENT,
  CLIENT6,
  LAN_MAC,
  LOCAL,
  LOCAL_PORT,
  LOCAL6,
  SERVER1,
  SERVER1_V6,
  SERVER2,
  SERVER2_V6,
  VIP,
  VIP6,
  WAN_MAC,
} from './network.js';
import { encapsulated, isTunnel, type Nested, tunnelHeaders } from './tunnel.js';

/** A local address and port. With a name, it is a placeholder: the run decides, the comparison binds it at its first use. */
export interface Local {
  readonly address: string;
  readonly port: number;
  readonly name?: string;
}

/** What a packet says, apart from its addresses. */
export interface PacketSpec {
  readonly flags?: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  readonly urgent?: number;
  readonly options?: readonly TcpOption[];
  readonly payload?: string | Uint8Array | number;
  /** Type of an SCTP packet's only chunk, whose value is the payload. */
  readonly chunk?: number;
  /** TTL or hop limit as it arrives. */
  readonly ttl?: number;
  /** TOS or traffic class. */
  readonly tos?: number;
  readonly id?: number;
  readonly dontFragment?: boolean;
  readonly ipOptions?: readonly number[];
  readonly flowLabel?: number;
  readonly extensions?: readonly ExtensionFields[];
  readonly checksum?: number;
  readonly checksumError?: number;
  /** Ethernet padding up to this frame length, filled with `padding`. */
  readonly padTo?: number;
  readonly padding?: number;
}

/** A packet that arrives and the packet that must leave for it. */
export interface Step {
  readonly arriving: Uint8Array;
  readonly leaving: Uint8Array;
  /** Name of the local address placeholder in `leaving`, if any. */
  readonly placeholder?: string;
  /** Name of the flow whose free header fields `leaving` carries, if any (compare.ts). */
  readonly free?: string;
  /** Where `leaving` has a packet inside: what an independent decoder must find in it. */
  readonly nested?: Nested;
}

export interface Endpoint {
  readonly mac: string;
  readonly address: string;
  readonly port: number;
}

export interface FlowOptions {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly client: Host;
  readonly clientPort: number;
  readonly vip: string;
  readonly vipPort: number;
  readonly server: Host;
  readonly serverPort: number;
  readonly local: Local;
  /** Default: full NAT. */
  readonly mode?: ForwardMode;
  /** Of L3DSR. */
  readonly dscp?: number;
  /** Of GUE. */
  readonly tunnelPort?: number;
  /** Ethernet addresses of the balancer on the client's and on the server's side. */
  readonly clientSideMac: string;
  readonly serverSideMac: string;
}

function bytesOf(content: string | Uint8Array | number): Uint8Array {
  if (typeof content === 'number') return Uint8Array.from({ length: content }, (_, i) => i & 0xff);
  return typeof content === 'string' ? new TextEncoder().encode(content) : content;
}

/** A frame of one protocol from one endpoint to another. */
export function frame(protocol: 'tcp' | 'udp' | 'sctp', from: Endpoint, to: Endpoint, spec: PacketSpec = {}): PacketBuilder {
  const builder = packet().eth({ source: from.mac, destination: to.mac });
  const addresses = { source: from.address, destination: to.address };
  if (isIpv6(from.address)) {
    builder.ipv6({ ...addresses, hopLimit: spec.ttl ?? 64, trafficClass: spec.tos ?? 0, flowLabel: spec.flowLabel ?? 0 });
    for (const extension of spec.extensions ?? []) builder.extension(extension);
  } else {
    builder.ipv4({
      ...addresses,
      ttl: spec.ttl ?? 64,
      tos: spec.tos ?? 0,
      id: spec.id ?? 0x1234,
      dontFragment: spec.dontFragment ?? true,
      options: spec.ipOptions ?? [],
    });
  }
  const checksum = {
    ...(spec.checksum === undefined ? {} : { checksum: spec.checksum }),
    ...(spec.checksumError === undefined ? {} : { checksumError: spec.checksumError }),
  };
  const ports = { sourcePort: from.port, destinationPort: to.port };
  if (protocol === 'tcp') {
    builder.tcp({
      ...ports,
      ...checksum,
      flags: spec.flags ?? 'A',
      seq: spec.seq ?? 1000,
      ack: spec.ack ?? ((spec.flags ?? 'A').includes('A') ? 5000 : 0),
      window: spec.window ?? 64240,
      urgent: spec.urgent ?? 0,
      options: spec.options ?? [],
    });
  } else if (protocol === 'sctp') {
    const value = spec.payload === undefined ? new Uint8Array(0) : bytesOf(spec.payload);
    const error = spec.checksumError === undefined ? {} : { checksumError: spec.checksumError };
    builder.sctp({ ...ports, ...error, chunks: [{ type: spec.chunk ?? 0, value }] });
    return spec.padTo === undefined ? builder : builder.padTo(spec.padTo, spec.padding ?? 0);
  } else {
    builder.udp({ ...ports, ...checksum });
  }
  if (spec.payload !== undefined) builder.payload(spec.payload);
  if (spec.padTo !== undefined) builder.padTo(spec.padTo, spec.padding ?? 0);
  return builder;
}

/** The packet as it leaves: one hop further, without padding. */
export function forwarded(spec: PacketSpec, changes: PacketSpec = {}): PacketSpec {
  const { padTo: _padTo, padding: _padding, ...kept } = spec;
  return { ...kept, ttl: (spec.ttl ?? 64) - 1, ...changes };
}

/** Between the families (RFC 7915): what stands between the headers is left out; DF where the packet is too big for every link. */
function inOtherFamily(spec: PacketSpec, dontFragment: boolean): PacketSpec {
  const { extensions: _extensions, ipOptions: _ipOptions, flowLabel: _flowLabel, ...kept } = spec;
  return { ...kept, dontFragment, id: 0 };
}

const LARGEST_THAT_MAY_BE_CUT = 1260;

export class Flow {
  constructor(readonly options: FlowOptions) {}

  get mode(): ForwardMode {
    return this.options.mode ?? 'fullnat';
  }
  get crossFamily(): boolean {
    return !isTunnel(this.mode) && isIpv6(this.options.client.address) !== isIpv6(this.options.server.address);
  }
  get client(): Endpoint {
    return { ...this.options.client, port: this.options.clientPort };
  }
  get server(): Endpoint {
    return { ...this.options.server, port: this.options.serverPort };
  }
  get vip(): Endpoint {
    return { mac: this.options.clientSideMac, address: this.options.vip, port: this.options.vipPort };
  }
  get local(): Endpoint {
    return { mac: this.options.serverSideMac, address: this.options.local.address, port: this.options.local.port };
  }
  /** Whom the server sees, and the server as it is addressed. */
  get seenBy(): Endpoint {
    return this.mode === 'fullnat' ? this.local : { ...this.client, mac: this.options.serverSideMac };
  }
  get addressed(): Endpoint {
    if (this.mode === 'fullnat' || this.mode === 'nat') return this.server;
    if (this.mode === 'l3dsr') return { ...this.server, port: this.options.vipPort };
    return { ...this.vip, mac: this.options.server.mac };
  }

  /** A packet from one side as it leaves for the other. */
  #translated(from: Endpoint, to: Endpoint, spec: PacketSpec): { readonly frame: Uint8Array; readonly free: boolean } {
    if (!this.crossFamily) return { frame: frame(this.options.protocol, from, to, spec).build(), free: false };
    const plain = frame(this.options.protocol, from, to, inOtherFamily(spec, true)).build();
    const free = !isIpv6(to.address) && plain.length - 14 <= LARGEST_THAT_MAY_BE_CUT;
    return free
      ? { frame: frame(this.options.protocol, from, to, inOtherFamily(spec, false)).build(), free }
      : { frame: plain, free };
  }

  /** What the client's packet is when it has been translated, without a tunnel around it. */
  inner(spec: PacketSpec): Uint8Array {
    const marked = this.mode === 'l3dsr' ? { tos: ((this.options.dscp ?? 0) << 2) | ((spec.tos ?? 0) & 3) } : {};
    return this.#translated(this.seenBy, this.addressed, { ...spec, ...marked }).frame;
  }

  /** The frame around a translated packet of the client: itself, but for tunnels. */
  around(inner: Uint8Array): Uint8Array {
    return isTunnel(this.mode) ? encapsulated(this, inner) : inner;
  }

  /** Name of the free header fields of a packet that has some. */
  get #freeName(): string {
    return `${this.mode} ${this.options.client.address} ${this.options.clientPort} > ${this.options.vip} ${this.options.vipPort}`;
  }

  /** What is known of the packets of the client that leave, beside their bytes. */
  extras(free = false): Pick<Step, 'placeholder' | 'free' | 'nested'> {
    const name = this.options.local.name;
    return {
      ...(name === undefined ? {} : { placeholder: name }),
      ...(free || isTunnel(this.mode) ? { free: this.#freeName } : {}),
      ...(isTunnel(this.mode) ? { nested: tunnelHeaders(this) } : {}),
    };
  }

  /** A packet of the client, arriving for the VIP and leaving for the server. `changes`: what else must differ on the way out. */
  fromClient(spec: PacketSpec = {}, changes: PacketSpec = {}): Step {
    const out = forwarded(spec, changes);
    const arriving = frame(this.options.protocol, this.client, this.vip, spec).build();
    if (!this.crossFamily) return { arriving, leaving: this.around(this.inner(out)), ...this.extras() };
    const { frame: leaving, free } = this.#translated(this.seenBy, this.addressed, out);
    return { arriving, leaving, ...this.extras(free) };
  }

  /** A packet of the server, arriving for the local address (NAT: for the client) and leaving for the client. */
  fromServer(spec: PacketSpec = {}, changes: PacketSpec = {}): Step {
    const { frame: leaving, free } = this.#translated(this.vip, this.client, forwarded(spec, changes));
    return {
      arriving: frame(this.options.protocol, this.server, this.seenBy, spec).build(),
      leaving,
      ...(free ? { free: `answer of ${this.#freeName}` } : {}),
    };
  }
}

const LOCAL_V4: Local = { address: LOCAL, port: LOCAL_PORT };
const LOCAL_V6: Local = { address: LOCAL6, port: LOCAL_PORT };

/** A local address that the run chooses. The placeholder's own value stands in the rendered capture. */
export function local(name: string, ipv6 = false): Local {
  return { ...(ipv6 ? LOCAL_V6 : LOCAL_V4), name };
}

const COMMON = { clientPort: 40000, clientSideMac: WAN_MAC, serverSideMac: LAN_MAC };

/** A connection to the service "web" of the shared configuration. */
export function webFlow(changes: Partial<FlowOptions> = {}): Flow {
  const defaults = { client: CLIENT, vip: VIP, vipPort: 80, server: SERVER1, serverPort: 8080, local: LOCAL_V4 };
  return new Flow({ protocol: 'tcp', ...COMMON, ...defaults, ...changes });
}

/** The same over IPv6: "web6". */
export function web6Flow(changes: Partial<FlowOptions> = {}): Flow {
  const defaults = { client: CLIENT6, vip: VIP6, vipPort: 80, server: SERVER1_V6, serverPort: 8080, local: LOCAL_V6 };
  return new Flow({ protocol: 'tcp', ...COMMON, ...defaults, ...changes });
}

/** A datagram exchange with the service "dns" of the shared configuration. */
export function dnsFlow(changes: Partial<FlowOptions> = {}): Flow {
  const defaults = { client: CLIENT, vip: VIP, vipPort: 53, server: SERVER2, serverPort: 5353, local: LOCAL_V4 };
  return new Flow({ protocol: 'udp', ...COMMON, ...defaults, ...changes });
}

/** The same over IPv6: "dns6". */
export function dns6Flow(changes: Partial<FlowOptions> = {}): Flow {
  const defaults = { client: CLIENT6, vip: VIP6, vipPort: 53, server: SERVER2_V6, serverPort: 5353, local: LOCAL_V6 };
  return new Flow({ protocol: 'udp', ...COMMON, ...defaults, ...changes });
}

/** The three packets of a TCP handshake. */
export function handshake(flow: Flow): Step[] {
  return [
    flow.fromClient({ flags: 'S', seq: 1000 }),
    flow.fromServer({ flags: 'SA', seq: 5000, ack: 1001 }),
    flow.fromClient({ flags: 'A', seq: 1001, ack: 5001 }),
  ];
}

/** The four packets of an orderly end that the client begins. */
export function closedByClient(flow: Flow): Step[] {
  return [
    flow.fromClient({ flags: 'FA', seq: 1001, ack: 5001 }),
    flow.fromServer({ flags: 'A', seq: 5001, ack: 1002 }),
    flow.fromServer({ flags: 'FA', seq: 5001, ack: 1002 }),
    flow.fromClient({ flags: 'A', seq: 1002, ack: 5002 }),
  ];
}
