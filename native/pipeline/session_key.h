// How a packet and a session are recognised as belonging together, and the two hashes a session is filed under.
// Thread: one worker.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// True when `meta` is a packet of `session` travelling in `direction`.
inline bool belongs_to(const WorkerState& state, const Session& session, Direction direction, const PacketMeta& meta) {
  if (session.protocol != meta.protocol) return false;
  if (direction == Direction::kInbound) {
    return session.client == meta.source && session.client_port == meta.source_port && session.vip_port == meta.destination_port &&
           state.service_slots[session.service].address == meta.destination;
  }
  const ServerIdentity& server = state.server_slots[session.server];
  return session.local_port == meta.destination_port && server.port == meta.source_port && server.address == meta.source &&
         state.local_slots[session.local].address == meta.destination;
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
