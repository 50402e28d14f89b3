// How a server is reached. A property of a server in its service, copied into each session.
// Thread: any. No state.
#pragma once

#include <cstdint>

namespace millrace {

enum class ForwardMode : std::uint8_t {
  kFullNat,     ///< both addresses and ports change; answers come back by themselves
  kNat,         ///< the destination changes; the server's way back must lead through the balancer
  kDirect,      ///< only the MAC address changes; the server holds the VIP
  kTunnelIpip,  ///< the packet travels inside an IP packet to the server (RFC 2003, RFC 2473, RFC 4213)
  kTunnelGre,   ///< the same with GRE (RFC 2784)
  kTunnelGue,   ///< the same with generic UDP encapsulation (draft-ietf-intarea-gue)
  kL3Dsr,       ///< the destination changes to the server's and the DSCP says which VIP it was
  kSnat         ///< outbound gateway: the source changes
};

/// The client's direction only passes the balancer; answers go straight to the client.
constexpr bool is_one_way(ForwardMode mode) {
  return mode == ForwardMode::kDirect || mode == ForwardMode::kTunnelIpip || mode == ForwardMode::kTunnelGre ||
         mode == ForwardMode::kTunnelGue || mode == ForwardMode::kL3Dsr;
}

constexpr bool is_tunnel(ForwardMode mode) {
  return mode == ForwardMode::kTunnelIpip || mode == ForwardMode::kTunnelGre || mode == ForwardMode::kTunnelGue;
}

/// The balancer speaks to the server from an address and port of its own.
constexpr bool uses_local_port(ForwardMode mode) { return mode == ForwardMode::kFullNat || mode == ForwardMode::kSnat; }

/// A local address stands in the session: as a source towards the server, or as a tunnel's outer source.
constexpr bool uses_local_address(ForwardMode mode) { return uses_local_port(mode) || is_tunnel(mode); }

}  // namespace millrace
