// L3DSR: the destination becomes the server's address and the DSCP says which VIP it was; the server puts the VIP back and
// answers straight to the client. Works across routers without a tunnel's overhead, as long as nobody on the way touches the
// DSCP. Thread: one worker.
#pragma once

#include "forwarders/rewrite.h"

namespace millrace::l3dsr {

inline FlowTuple to_server(const WorkerState& state, const Session& session) {
  return {session.client, state.server_slots[session.server].address, session.client_port, session.vip_port};
}

/// Writes the DSCP (RFC 2474 3), ECN untouched (RFC 3168 5).
inline void mark(std::uint8_t* l3, bool ipv6, std::uint8_t dscp) {
  if (ipv6) {
    auto* ip = reinterpret_cast<net::Ipv6*>(l3);
    const std::uint32_t word = ip->version_class_label.host();
    ip->version_class_label = be32((word & ~0x0fc00000u) | static_cast<std::uint32_t>(dscp) << 22);
    return;
  }
  auto* ip = reinterpret_cast<net::Ipv4*>(l3);
  std::uint16_t before, after;
  std::memcpy(&before, ip, 2);
  ip->tos = static_cast<std::uint8_t>(std::uint32_t{dscp} << 2 | (ip->tos & 3u));
  std::memcpy(&after, ip, 2);
  ip->checksum = net::updated(ip->checksum, net::difference(before, after));
}

/// The source stays whose it is: of ICMP errors about the server's answers it is a router, not the client.
inline void apply(WorkerState& state, const Session& session, Packet& packet, PacketMeta& meta, const NextHop& hop) {
  FlowTuple to = to_server(state, session);
  to.source = meta.source;
  rewrite::apply(state, packet, meta, to, session.l4_delta, hop);
  const std::uint8_t dscp = __atomic_load_n(&state.service_slots[session.service].dscp, __ATOMIC_RELAXED);
  mark(packet.data + meta.l3_offset, meta.ipv6, dscp);
}

}  // namespace millrace::l3dsr
