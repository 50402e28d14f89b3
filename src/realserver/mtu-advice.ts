// How much of a packet a tunnel leaves to the client, and what that means for the network and for the segments that clients send.
// Guarantees: pure; bytes everywhere.
// Thread: any; no state.
import { isIpv6, type TunnelSetup, type TunnelType, unique } from './setup.js';

/** Bytes between the outer IP header and the inner packet. GRE: with the optional checksum (RFC 2784 2). GUE: variant 0. */
const carrierBytes: Readonly<Record<TunnelType, number>> = { ipip: 0, gre: 8, gue: 8 + 4 };

export interface MtuAdvice {
  readonly type: TunnelType;
  readonly outer: 'IPv4' | 'IPv6';
  /** What the tunnel adds to each packet. */
  readonly overhead: number;
  /** Largest packet of a client that arrives whole. */
  readonly largestInner: number;
  /** Largest TCP segment of a client that arrives whole, without TCP options, by family of the VIP. */
  readonly segmentIpv4: number;
  readonly segmentIpv6: number;
  /** MTU of the network between balancer and server that lets packets of `clientMtu` through. */
  readonly neededMtu: number;
}

/** Clients on the Internet send packets up to this. */
export const clientMtu = 1500;

export function adviseMtu(setup: TunnelSetup, mtu: number): readonly MtuAdvice[] {
  return setup.types.flatMap((type) =>
    unique(setup.from.map(isIpv6)).map((outer6) => {
      const overhead = (outer6 ? 40 : 20) + carrierBytes[type];
      const largestInner = mtu - overhead;
      return {
        type,
        outer: outer6 ? 'IPv6' : 'IPv4',
        overhead,
        largestInner,
        segmentIpv4: largestInner - 40,
        segmentIpv6: largestInner - 60,
        neededMtu: clientMtu + overhead,
      };
    }),
  );
}
