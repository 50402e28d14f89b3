// The forwarders that exist, and the one place where a packet meets its session's mode.
// To add one: its header, its ForwardMode, one case in each switch here, its name in kForwardModes, its test.
// Thread: one worker.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "forwarders/direct.h"
#include "forwarders/fullnat.h"
#include "forwarders/l3dsr.h"
#include "forwarders/nat.h"
#include "forwarders/rewrite.h"
#include "forwarders/snat.h"
#include "forwarders/tunnel.h"

namespace millrace {

struct ForwardModeInfo {
  ForwardMode mode;
  /// As in the configuration.
  std::string_view name;
};

inline constexpr std::array kForwardModes = {
    ForwardModeInfo{ForwardMode::kFullNat, "fullnat"}, ForwardModeInfo{ForwardMode::kNat, "nat"},
    ForwardModeInfo{ForwardMode::kDirect, "direct"},   ForwardModeInfo{ForwardMode::kTunnelIpip, "ipip"},
    ForwardModeInfo{ForwardMode::kTunnelGre, "gre"},   ForwardModeInfo{ForwardMode::kTunnelGue, "gue"},
    ForwardModeInfo{ForwardMode::kL3Dsr, "l3dsr"},
};

/// The mode of that name, if there is one.
constexpr std::optional<ForwardMode> forward_mode(std::string_view name) {
  for (const ForwardModeInfo& info : kForwardModes) {
    if (info.name == name) return info.mode;
  }
  return std::nullopt;
}

/// What the client's packets carry when they leave; for modes that leave them as they are, what they carry anyway.
inline FlowTuple inbound_translated(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  switch (session.mode) {
    case ForwardMode::kFullNat:
      return fullnat::to_server(state, session);
    case ForwardMode::kNat:
      return nat::to_server(state, session);
    case ForwardMode::kSnat:
      return snat::to_outside(state, session, detail);
    case ForwardMode::kL3Dsr:
      return l3dsr::to_server(state, session);
    default:
      return inbound_tuple(state, session, detail);
  }
}

/// What the other side's packets carry when they leave for the client.
inline FlowTuple outbound_translated(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  return {vip_of(state, session, detail), session.client, session.vip_port, session.client_port};
}

/// The same for packets of sessions.
inline FlowTuple outbound_translated(const WorkerState& state, SessionId id, const Session& session) {
  return {vip_of(state, id, session), session.client, session.vip_port, session.client_port};
}

/// What translation inbound adds to the transport checksum; its inverse serves the way back.
inline std::uint16_t l4_delta(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  FlowTuple from = inbound_tuple(state, session, detail);
  FlowTuple to = inbound_translated(state, session, detail);
  if (session.protocol == net::kProtocolIcmp) {  // its checksum covers no addresses
    from.source = from.destination = to.source = to.destination = IpAddress{};
  }
  return rewrite::delta(from, to);
}

/// Full NAT within a family, without a word about the client: what most sessions are, and what the packet loop has no call for.
inline bool is_plain(const Session& session) {
  return session.mode == ForwardMode::kFullNat && session.told == 0 && (session.flags & session_flag::kCrossFamily) == 0;
}

/// Bytes by which the IP packet grows on its way; negative where it shrinks.
[[gnu::noinline]] inline std::int32_t growth(const WorkerState& state, const Session& session, Direction direction,
                                             const PacketMeta& meta) {
  if (direction == Direction::kInbound && is_tunnel(session.mode)) return static_cast<std::int32_t>(tunnel_overhead(state, session));
  if ((session.flags & session_flag::kCrossFamily) != 0) {
    // The new header has its plain length; what stood between is left out.
    const std::int32_t header = static_cast<std::int32_t>(meta.l4_offset) - static_cast<std::int32_t>(meta.l3_offset);
    return (meta.ipv6 ? static_cast<std::int32_t>(sizeof(net::Ipv4)) : static_cast<std::int32_t>(sizeof(net::Ipv6))) - header;
  }
  return 0;
}

/// translate() of a session that is_plain(). Inlined, so that a tuple is a few values on their way from tables into the packet and
/// is never put together in memory.
[[gnu::always_inline]] inline void translate_plain(const WorkerState& state, SessionId id, const Session& session,
                                                   Direction direction, Packet& packet, const PacketMeta& meta, const NextHop& hop) {
  if (direction == Direction::kInbound) {
    rewrite::within_family(packet, meta, fullnat::to_server(state, session), session.l4_delta, hop);
  } else {
    rewrite::within_family(packet, meta, outbound_translated(state, id, session), net::inverse(session.l4_delta), hop);
  }
}

/// Rewrites the packet for its way on; the Ethernet header gets `hop`'s addresses.
inline void translate(WorkerState& state, SessionId id, const Session& session, Direction direction, Packet& packet,
                      PacketMeta& meta, const NextHop& hop) {
  const SessionDetail& detail = state.sessions->detail(id);
  if (direction == Direction::kOutbound) {
    rewrite::apply(state, packet, meta, outbound_translated(state, session, detail), net::inverse(session.l4_delta), hop);
    return;
  }
  switch (session.mode) {
    case ForwardMode::kFullNat:
      rewrite::apply(state, packet, meta, fullnat::to_server(state, session), session.l4_delta, hop);
      return;
    case ForwardMode::kNat:
      rewrite::apply(state, packet, meta, nat::to_server(state, session), session.l4_delta, hop);
      return;
    case ForwardMode::kSnat:
      rewrite::apply(state, packet, meta, snat::to_outside(state, session, detail), session.l4_delta, hop);
      return;
    case ForwardMode::kTunnelIpip:
    case ForwardMode::kTunnelGre:
    case ForwardMode::kTunnelGue:
      tunnel::apply(state, session, packet, meta, hop);
      return;
    case ForwardMode::kL3Dsr:
      l3dsr::apply(state, session, packet, meta, hop);
      return;
    case ForwardMode::kDirect:
      direct::apply(packet, meta, hop);
      return;
  }
}

}  // namespace millrace
