// ICMP errors about a flow's packets: what arrives, and what must leave for whom. Where the families differ the error and its quote are
// written anew (RFC 7915 4.2, 5.2); elsewhere they keep everything but addresses, ports and checksums. Runs in tests only.

import { isIpv6 } from '../../support/packet/index.js';
import { type Flow, forwarded, frame, type PacketSpec, type Step } from './flow.js';
import { type IcmpHeader, type IcmpKind, icmpError, quoteOf, quoting } from './icmp.js';

/** Who sends the error: an address, and the Ethernet address that its frames come from. */
export interface Reporter {
  readonly mac: string;
  readonly address: string;
}

export interface ErrorSpec {
  /** The packet that the error is about. */
  readonly spec?: PacketSpec;
  /** How much of its transport packet is quoted. */
  readonly quoted?: number;
  /** Bytes behind the quote: extensions of RFC 4884. */
  readonly behind?: Uint8Array;
  readonly header?: IcmpHeader;
  /** Between the families: what the error is called in the other one. */
  readonly becomes?: IcmpKind;
  /** Milliseconds of the case's clock; of errors that become IPv4 ones. */
  readonly now?: number;
}

const joined = (a: Uint8Array, b: Uint8Array): Uint8Array => Uint8Array.from([...a, ...b]);

function leavingHeader(toIpv6: boolean, crossFamily: boolean, header: IcmpHeader, now: number): IcmpHeader {
  const kept = { ...header, ttl: (header.ttl ?? 64) - 1 };
  return crossFamily && !toIpv6 ? { ...kept, id: now & 0xffff } : kept;
}

/** Of a packet that becomes IPv4 inside an error no identification is known. */
function quotedSpec(flow: Flow, spec: PacketSpec, toIpv6: boolean): PacketSpec {
  return flow.crossFamily && !toIpv6 ? { ...forwarded(spec), id: 0, dontFragment: true } : forwarded(spec);
}

/** An error about a packet of the client that was on its way to the server. */
export function errorToClient(flow: Flow, from: Reporter, kind: IcmpKind, options: ErrorSpec = {}): Step {
  const { spec = {}, quoted, behind = new Uint8Array(0), header = {}, becomes = kind, now = 0 } = options;
  const { protocol } = flow.options;
  const toIpv6 = isIpv6(flow.client.address);
  const original = frame(protocol, flow.client, flow.vip, quotedSpec(flow, spec, toIpv6)).build();
  const kept = flow.crossFamily ? new Uint8Array(0) : behind;
  return {
    arriving: icmpError(from, flow.seenBy, kind, joined(quoteOf(flow.fromClient(spec).leaving, quoted), behind), header),
    leaving: icmpError(
      flow.vip,
      flow.client,
      becomes,
      joined(quoteOf(original, quoted), kept),
      leavingHeader(toIpv6, flow.crossFamily, header, now),
    ),
    nested: quoting(flow.vip.address, flow.client.address, flow.client, flow.vip),
  };
}

/** An error about a packet of the server that was on its way to the client. */
export function errorToServer(flow: Flow, from: Reporter, kind: IcmpKind, options: ErrorSpec = {}): Step {
  const { spec = {}, quoted, behind = new Uint8Array(0), header = {}, becomes = kind, now = 0 } = options;
  const { protocol, serverSideMac } = flow.options;
  const toIpv6 = isIpv6(flow.server.address);
  const original = frame(protocol, flow.server, flow.seenBy, quotedSpec(flow, spec, toIpv6)).build();
  const kept = flow.crossFamily ? new Uint8Array(0) : behind;
  // NAT hides nobody from the server.
  const source = { mac: serverSideMac, address: flow.mode === 'nat' ? from.address : flow.local.address };
  return {
    arriving: icmpError(from, flow.vip, kind, joined(quoteOf(flow.fromServer(spec).leaving, quoted), behind), header),
    leaving: icmpError(
      source,
      flow.server,
      becomes,
      joined(quoteOf(original, quoted), kept),
      leavingHeader(toIpv6, flow.crossFamily, header, now),
    ),
    nested: quoting(source.address, flow.server.address, flow.server, flow.seenBy),
  };
}

/** Where servers answer by themselves: they get errors about their answers as they get everything else. */
export function errorToOneWayServer(flow: Flow, from: Reporter, kind: IcmpKind, options: ErrorSpec = {}): Step {
  const { spec = {}, quoted, behind = new Uint8Array(0), header = {} } = options;
  const { protocol, serverSideMac, server, vip, dscp } = flow.options;
  const about = joined(quoteOf(frame(protocol, flow.vip, flow.client, forwarded(spec)).build(), quoted), behind);
  const arriving = icmpError(from, flow.vip, kind, about, header);
  const marked = flow.mode === 'l3dsr' ? { tos: ((dscp ?? 0) << 2) | ((header.tos ?? 0) & 3) } : {};
  const to = { mac: server.mac, address: flow.mode === 'l3dsr' ? server.address : vip };
  const inner = icmpError({ mac: serverSideMac, address: from.address }, to, kind, about, {
    ...header,
    ttl: (header.ttl ?? 64) - 1,
    ...marked,
  });
  return { arriving, leaving: flow.around(inner), ...flow.extras(), nested: oneWayNested(flow, from, to.address) };
}

function oneWayNested(flow: Flow, from: Reporter, to: string) {
  const tunnelled = flow.extras().nested;
  if (tunnelled === undefined) return quoting(from.address, to, flow.vip, flow.client);
  const ports = `${flow.vip.port}>${flow.client.port}`;
  return { ...tunnelled, inner: { source: from.address, destination: flow.vip.address, ports }, whole: false };
}
