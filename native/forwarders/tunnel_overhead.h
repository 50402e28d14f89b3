// How much a tunnel adds to a packet. Beside the tunnel itself, because the MSS of a connection is decided before its first
// packet leaves. Thread: one worker.
#pragma once

#include "net/headers.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Bytes in front of the inner packet: outer IP header, and of GRE and GUE theirs. 0 for a session without a tunnel.
inline std::uint32_t tunnel_overhead(const WorkerState& state, const Session& session) {
  if (!is_tunnel(session.mode)) return 0;
  const auto outer =
      static_cast<std::uint32_t>(state.server_slots[session.server].address.is_v4() ? sizeof(net::Ipv4) : sizeof(net::Ipv6));
  switch (session.mode) {
    case ForwardMode::kTunnelGre:
      return outer + static_cast<std::uint32_t>(sizeof(net::Gre));
    case ForwardMode::kTunnelGue:
      return outer + static_cast<std::uint32_t>(sizeof(net::Udp)) + 4;
    default:
      return outer;
  }
}

}  // namespace millrace
