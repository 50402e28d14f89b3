// What tunnels put around a packet, from their documents: RFC 2003 and RFC 2473 (IPIP), RFC 2784 (GRE), draft-ietf-intarea-gue (GUE
// variant 0), RFC 6040 (DSCP and ECN of the outer header). Guarantees: shares no code with the dataplane. Runs in tests only.

import type { ForwardMode } from '../../../src/config/forward-mode.js';
import { isIpv6, packet } from '../../support/packet/index.js';
import type { Flow } from './flow.js';

/** The default port of GUE (IANA). */
export const GUE_PORT = 6080;
/** Stands in rendered captures where the run chooses the port: the first of the dynamic range (RFC 6335). */
export const SOURCE_PORT = 49152;

/** One IP header as any decoder shows it. */
export interface Header {
  readonly source: string;
  readonly destination: string;
}
/** A packet inside another: addresses of both and ports of the inner one. */
export interface Nested {
  readonly kind: 'ipip' | 'gre' | 'gue' | 'icmp';
  readonly outer: Header;
  readonly inner: Header & { readonly ports: string };
  /** Where both headers must say the same traffic class, and the inner checksums must be right. */
  readonly whole: boolean;
  /** The client's packet has a wrong transport checksum. */
  readonly damaged?: boolean;
}

export const isTunnel = (mode: ForwardMode): mode is 'ipip' | 'gre' | 'gue' =>
  mode === 'ipip' || mode === 'gre' || mode === 'gue';

/** What a decoder must find in a packet of this flow; its fragments have no ports (`later`). */
export function tunnelHeaders(flow: Flow, part: 'whole' | 'first' | 'later' = 'whole'): Nested {
  const { client, clientPort, vip, vipPort, server, local, mode } = flow.options;
  return {
    kind: mode as 'ipip' | 'gre' | 'gue',
    outer: { source: local.address, destination: server.address },
    inner: { source: client.address, destination: vip, ports: part === 'later' ? '>' : `${clientPort}>${vipPort}` },
    whole: part === 'whole',
  };
}

/** The frame that carries `inner`, a frame itself, to the server of the flow. */
export function encapsulated(flow: Flow, inner: Uint8Array): Uint8Array {
  const { local, server, serverSideMac, tunnelPort } = flow.options;
  const carried = inner.subarray(14);
  const ipv6Inside = (carried[0] ?? 0) >> 4 === 6;
  const [tos, ttl] = ipv6Inside
    ? [(((carried[0] ?? 0) & 0xf) << 4) | ((carried[1] ?? 0) >> 4), carried[7] ?? 0]
    : [carried[1] ?? 0, carried[8] ?? 0];
  const dontFragment = ipv6Inside || ((carried[6] ?? 0) & 0x40) !== 0;
  const next = ipv6Inside ? 41 : 4;
  const number = flow.mode === 'gre' ? 47 : flow.mode === 'gue' ? 17 : next;
  const addresses = { source: local.address, destination: server.address };
  const frame = packet().eth({ source: serverSideMac, destination: server.mac });
  const ipv6Outside = isIpv6(server.address);
  if (ipv6Outside) frame.ipv6({ ...addresses, trafficClass: tos, hopLimit: ttl, nextHeader: number });
  else frame.ipv4({ ...addresses, tos, ttl, dontFragment, id: 0, protocol: number });
  if (flow.mode === 'gre') frame.payload(Uint8Array.of(0, 0, ...(ipv6Inside ? [0x86, 0xdd] : [0x08, 0x00])));
  if (flow.mode === 'gue') {
    const ports = { sourcePort: SOURCE_PORT, destinationPort: tunnelPort ?? GUE_PORT };
    // Over IPv4 the checksum may be left out, over IPv6 not (RFC 8200 8.1).
    frame.udp(ipv6Outside ? ports : { ...ports, checksum: 0 }).payload(Uint8Array.of(0, next, 0, 0));
  }
  return frame.payload(Uint8Array.from(carried)).build();
}

/** Bytes between the outer IP header and the client's packet. */
export const OVERHEAD = { ipip: 0, gre: 4, gue: 12 } as const;
