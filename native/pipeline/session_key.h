// How a packet and a session are recognised as belonging together, and the hashes a session is filed under.
//
//   mode            the client's packets                     the server's packets
//   full NAT        client:cport -> VIP:vport                server:sport -> local:lport
//   NAT             client:cport -> VIP:vport                server:sport -> client:cport
//   SNAT            inside:port  -> outside:port             outside:port -> local:lport
//   one-way modes   client:cport -> VIP:vport                (do not pass here)
//
// Thread: one worker.
#pragma once

#include "core/hash.h"
#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// The four values that packets of one direction carry.
struct FlowTuple {
  IpAddress source;
  IpAddress destination;
  be16 source_port;
  be16 destination_port;
  bool operator==(const FlowTuple&) const = default;
};

/// The address the client sent to.
inline const IpAddress& vip_of(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  return (session.flags & session_flag::kWideKey) != 0 ? detail.destination : state.service_slots[session.service].address;
}

/// The port that the server is reached on.
inline be16 server_port_of(const WorkerState& state, const Session& session) {
  const be16 port = state.server_slots[session.server].port;
  return port.raw != 0 ? port : session.vip_port;
}

/// Whom the client's packets are sent to: the server, or for an outbound gateway the destination itself.
inline const IpAddress& server_address_of(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  return session.mode == ForwardMode::kSnat ? detail.destination : state.server_slots[session.server].address;
}

inline FlowTuple inbound_tuple(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  return {session.client, vip_of(state, session, detail), session.client_port, session.vip_port};
}

/// What the other side's packets look like when they arrive. Of a one-way session: never asked.
inline FlowTuple outbound_tuple(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  const IpAddress& server = server_address_of(state, session, detail);
  const be16 server_port = session.mode == ForwardMode::kSnat ? session.vip_port : server_port_of(state, session);
  if (session.mode == ForwardMode::kNat) return {server, session.client, server_port, session.client_port};
  return {server, state.local_slots[session.local].address, server_port, session.local_port};
}

/// Within which the local ports of sessions differ, so that answers tell them apart. For a server with a port it is its own, for TCP
/// and for UDP. Where the other side's port is whatever was asked for, address, port and protocol are spread over spaces that all
/// such destinations share: the same destination always has the same one.
inline std::uint32_t port_space(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  const ServerIdentity& server = state.server_slots[session.server];
  if (server.port.raw != 0) return server.endpoint * 2 + (session.protocol == net::kProtocolUdp ? 1u : 0u);
  const IpAddress& address = server_address_of(state, session, detail);
  const std::uint64_t port = static_cast<std::uint64_t>(session.vip_port.raw) << 8 | session.protocol;
  return kFirstSharedPortSpace + static_cast<std::uint32_t>(mix64(address.high ^ mix64(address.low ^ mix64(port))) % kSharedPortSpaces);
}

/// True when `meta` is a packet of session `id` travelling in `direction`.
inline bool belongs_to(const WorkerState& state, SessionId id, const Session& session, Direction direction,
                       const PacketMeta& meta) {
  // Nearly always everything matches, so all of it is compared, without a branch after each part.
  const auto address_difference = [](const IpAddress& a, const IpAddress& b) { return (a.high ^ b.high) | (a.low ^ b.low); };
  const auto port_difference = [](be16 a, be16 b) { return static_cast<std::uint32_t>(a.raw ^ b.raw); };
  const SessionDetail& detail = state.sessions->detail(id);  // an address; read only where the session says so
  std::uint64_t difference = static_cast<std::uint32_t>(session.protocol ^ meta.protocol);
  if (direction == Direction::kInbound) {
    difference |= address_difference(session.client, meta.source) | port_difference(session.client_port, meta.source_port) |
                  port_difference(session.vip_port, meta.destination_port) |
                  address_difference(vip_of(state, session, detail), meta.destination);
  } else if (session.mode == ForwardMode::kFullNat) [[likely]] {
    difference |= address_difference(state.server_slots[session.server].address, meta.source) |
                  port_difference(server_port_of(state, session), meta.source_port) |
                  port_difference(session.local_port, meta.destination_port) |
                  address_difference(state.local_slots[session.local].address, meta.destination);
  } else {
    difference |= outbound_tuple(state, session, detail) ==
                          FlowTuple{meta.source, meta.destination, meta.source_port, meta.destination_port}
                      ? 0u
                      : 1u;
  }
  return difference == 0;
}

struct SessionHashes {
  std::uint64_t inbound;
  std::uint64_t outbound;
};

inline std::uint64_t hash_of(const WorkerState& state, const FlowTuple& tuple, std::uint8_t protocol) {
  return flow_hash(state.hash_key, tuple.source, tuple.destination, tuple.source_port, tuple.destination_port, protocol);
}

inline SessionHashes hashes_of(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  const std::uint64_t inbound = hash_of(state, inbound_tuple(state, session, detail), session.protocol);
  if ((session.flags & session_flag::kOneWay) != 0) return {inbound, 0};
  return {inbound, hash_of(state, outbound_tuple(state, session, detail), session.protocol)};
}

inline std::uint64_t hash_of(const WorkerState& state, const PacketMeta& meta) {
  return flow_hash(state.hash_key, meta.source, meta.destination, meta.source_port, meta.destination_port, meta.protocol);
}

}  // namespace millrace
