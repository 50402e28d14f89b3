// A worker's part in limits over all workers (tables/connection_gate.h): which servers and services have one, choosing a server
// within them, and letting go when a session ends.
// Guarantees: a worker's sessions are in the shared count exactly while its tables say that there is a limit. When a limit comes to a
// server that has sessions already, each worker adds its own at the turn in which it sees the new tables.
// Thread: one worker.
#pragma once

#include "core/counters.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// When the worker begins to see other ServiceTables than before.
void follow_limits(WorkerState& state);

/// Chooses a server for a new session of a service with limits and counts the session, at the service and at the server. Returns an
/// index into service.servers, or -1 with the reason; then nothing is counted.
std::int32_t pick_within_limits(WorkerState& state, const ServiceTable& service, const PickContext& asked, DropReason& reason);

/// A session that has ended, or could not begin after all.
void leave_limits(WorkerState& state, ServiceSlot service, ServerSlot server);

}  // namespace millrace
