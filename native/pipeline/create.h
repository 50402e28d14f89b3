// New sessions: schedule, take a local address and port, insert. And their end.
// Thread: one worker.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Creates the session of a client's first packet. kNoSession when it cannot be; `reason` says why.
SessionId create_session(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, DropReason& reason);

/// Removes a session whose timer has run out: both entries, its local port, its counts.
void remove_session(WorkerState& state, SessionId id);

}  // namespace millrace
