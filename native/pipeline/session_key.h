// How a packet and a session are recognised as belonging together, and the two hashes a session is filed under.
// Thread: one worker.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// True when `meta` is a packet of `session` travelling in `direction`.
inline bool belongs_to(const WorkerState& state, const Session& session, Direction direction, const PacketMeta& meta) {
  // Nearly always everything matches, so all of it is compared, without a branch after each part.
  const auto address_difference = [](const IpAddress& a, const IpAddress& b) { return (a.high ^ b.high) | (a.low ^ b.low); };
  const auto port_difference = [](be16 a, be16 b) { return static_cast<std::uint32_t>(a.raw ^ b.raw); };
  std::uint64_t difference = static_cast<std::uint32_t>(session.protocol ^ meta.protocol);
  if (direction == Direction::kInbound) {
    difference |= address_difference(session.client, meta.source) | port_difference(session.client_port, meta.source_port) |
                  port_difference(session.vip_port, meta.destination_port) |
                  address_difference(state.service_slots[session.service].address, meta.destination);
  } else {
    const ServerIdentity& server = state.server_slots[session.server];
    difference |= address_difference(server.address, meta.source) | port_difference(server.port, meta.source_port) |
                  port_difference(session.local_port, meta.destination_port) |
                  address_difference(state.local_slots[session.local].address, meta.destination);
  }
  return difference == 0;
}

struct SessionHashes {
  std::uint64_t inbound;
  std::uint64_t outbound;
};

inline SessionHashes hashes_of(const WorkerState& state, const Session& session) {
  const ServiceIdentity& service = state.service_slots[session.service];
  const ServerIdentity& server = state.server_slots[session.server];
  const LocalIdentity& local = state.local_slots[session.local];
  return {flow_hash(state.hash_key, session.client, service.address, session.client_port, session.vip_port, session.protocol),
          flow_hash(state.hash_key, server.address, local.address, server.port, session.local_port, session.protocol)};
}

inline std::uint64_t hash_of(const WorkerState& state, const PacketMeta& meta) {
  return flow_hash(state.hash_key, meta.source, meta.destination, meta.source_port, meta.destination_port, meta.protocol);
}

}  // namespace millrace
