// The pipeline on one screen: a batch goes through it stage by stage, so that the memory one packet waits for is fetched while
// the others are worked on.
//
//   parse     every packet's headers; hash of its flow; ask for the bucket's cache line
//   probe     look into the bucket; ask for the session's cache line
//   forward   session found: next hop, state, translation. Not found: classify, and create one or say what else becomes of it
//
// Knows no ports, no threads, no clock: it turns a batch of packets into a batch of verdicts and rewritten packets.
// Thread: one worker.
#pragma once

#include "core/batch.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Decides about every packet of the batch. state.snapshot and state.now_ms are set by the caller and hold for the whole batch.
void run_pipeline(WorkerState& state, Batch& batch);

/// Timers: removes expired sessions (at most `budget`) and gives up held packets that waited too long, into `released`.
/// Returns how many packets were given up; they are already counted as drops, their frames are the caller's to release.
std::uint32_t run_timers(WorkerState& state, std::uint32_t budget, Batch& released);

}  // namespace millrace
