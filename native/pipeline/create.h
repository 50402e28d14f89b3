// New sessions: schedule, take a local address and port, insert. And their end.
// Thread: one worker.
#pragma once

#include <span>

#include "pipeline/parse.h"
#include "pipeline/session_key.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Creates the session of a client's first packet. kNoSession when it cannot be; `reason` says why. Replies find it only after
/// finish_created(): the first reply cannot be in the batch whose packets have not been sent yet. `payload` is that of a UDP packet,
/// for schedulers that look into it.
SessionId create_session(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, DropReason& reason,
                         std::span<const std::uint8_t> payload = {});

/// At the end of a batch: makes the sessions created in it known to replies. Their bucket lines were asked for when they were
/// created and have come meanwhile; waiting for each at once would double the cost of a new session.
void finish_created(WorkerState& state);

/// Removes a session whose timer has run out: both entries, its local port, its counts. `hashes` are hashes_of() the session.
void remove_session(WorkerState& state, SessionId id, const SessionHashes& hashes);

/// Ends a session before its time; it may have begun in this batch.
void end_session(WorkerState& state, SessionId id);

}  // namespace millrace
