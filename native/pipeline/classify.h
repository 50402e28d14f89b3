// Packets without a session on this worker: whose are they, and may they begin one?
// Thread: one worker.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Decides about a packet that matched no session. Either a session is created and its id returned, or kNoSession is returned and
/// `verdict` is set: dropped, answered (echo), or handed to the worker that owns or may own its session.
SessionId classify_miss(WorkerState& state, Packet& packet, const PacketMeta& meta, Verdict& verdict);

}  // namespace millrace
