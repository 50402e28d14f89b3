// The search for a session: a packet that may belong to another worker's session is passed from worker to worker, once round.
// A budget per millisecond keeps a flood of stray packets from multiplying itself by the number of workers. Thread: one worker.
#pragma once

#include "pipeline/worker_state.h"

namespace millrace {

/// Takes the right to begin one search. False when this worker has begun enough in this millisecond.
inline bool take_search_budget(WorkerState& state) {
  if (state.search_budget_ms != state.now_ms) {
    state.search_budget_ms = state.now_ms;
    state.search_budget = kSearchesPerMs;
  }
  if (state.search_budget == 0) return false;
  state.search_budget--;
  return true;
}

/// The next worker to ask, or a drop for `reason` when all have been asked or too much is being searched for.
inline Verdict search_on(WorkerState& state, const Packet& packet, DropReason reason) {
  if (packet.hops + 1u < state.workers && (packet.hops != 0 || take_search_budget(state))) {
    return Verdict::handoff((state.worker + 1) % state.workers);
  }
  return Verdict::drop(reason);
}

/// The worker that has the session of an answer of a NAT server, if the packet has not been there yet; else the next one to ask.
inline Verdict to_owner(WorkerState& state, const Packet& packet, std::uint64_t hash, DropReason reason) {
  if (packet.hops == 0 && state.session_owners != nullptr) {
    const std::uint32_t owner = state.session_owners->find(hash);
    if (owner < state.workers && owner != state.worker) return Verdict::handoff(owner);
  }
  return search_on(state, packet, reason);
}

/// Whether this comes from where a server in mode nat answers from.
inline bool is_from_nat_server(const WorkerState& state, const PacketMeta& meta) {
  const auto& servers = state.snapshot->services->nat->endpoints;
  if (servers.empty() || meta.ipv6 == meta.source.is_v4()) return false;
  return servers.contains({meta.source, meta.source_port, meta.protocol}) || servers.contains({meta.source, be16(0), meta.protocol});
}

}  // namespace millrace
