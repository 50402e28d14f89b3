// Tunnels: the client's packet travels unchanged (but for its TTL) inside an outer packet to the server, which holds the VIP and
// answers straight to the client.
//
//   IPIP   outer IP | client's packet                    RFC 2003 (4in4), RFC 2473 (4in6, 6in6), RFC 4213 (6in4)
//   GRE    outer IP | GRE 4 bytes | client's packet      RFC 2784
//   GUE    outer IP | UDP | GUE 4 bytes | client's packet     draft-ietf-intarea-gue, variant 0
//
// Outer header: TTL is the inner one's after the decrement, as IPVS sends it; DSCP and ECN are copied (RFC 6040, normal mode); DF
// is the inner packet's, always set for an IPv6 inner one. The source is one of this worker's local addresses, chosen by the
// flow, and so is the UDP source port of GUE: the server's card spreads flows over its queues. Errors of routers on the way come
// back to that address. Thread: one worker.
#pragma once

#include "forwarders/rewrite.h"
#include "forwarders/tunnel_overhead.h"

namespace millrace::tunnel {

/// Where packets of a flow seem to come from.
IpAddress outer_source(const WorkerState& state, const Session& session, bool outer_ipv6, std::uint64_t hash);

/// Puts the outer headers in front of the packet. The inner packet's TTL is decremented. The outer source is one of the flow where
/// the configuration has a range for it, else `session.local`.
void apply(WorkerState& state, const Session& session, Packet& packet, PacketMeta& meta, const NextHop& hop);

}  // namespace millrace::tunnel
