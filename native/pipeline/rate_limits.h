// A worker's part in limits on packets and bits per second (tables/rate_limits.h): what a packet of a service with limits has to pay, at
// its service and at its server, in its direction. Sessions of services without such limits meet one test of a word that is read anyway.
// Guarantees: a packet pays everything or nothing. A new session begins only where its first packet has room, so that what is dropped fills
// no table.
// Thread: one worker.
#pragma once

#include "core/counters.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// When the worker begins to see other ServiceTables than before.
void follow_rates(WorkerState& state);

inline bool is_rated(const WorkerState& state, ServiceSlot service) {
  return __atomic_load_n(&state.service_slots[service].rated, __ATOMIC_RELAXED) != 0;
}

/// Pays for a packet of `bytes`, IP header included. False, with the reason and counted at its service or server: a limit is used up, and
/// nothing was paid.
bool pay_for_packet(WorkerState& state, ServiceSlot service, ServerSlot server, Direction direction, std::uint32_t bytes,
                    DropReason& reason);

/// Whether the first packet of a new session could pay now.
bool has_room_for_packet(WorkerState& state, ServiceSlot service, ServerSlot server, std::uint32_t bytes, DropReason& reason);

}  // namespace millrace
