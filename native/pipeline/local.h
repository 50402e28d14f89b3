// What the balancer answers itself on a data queue: ICMP echo to its addresses (RFC 792, RFC 4443 4.2).
// Thread: one worker.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Turns an echo request into its reply, in place, or says why not. The reply goes back to the neighbour it came from.
Verdict answer_icmp(WorkerState& state, Packet& packet, const PacketMeta& meta);

}  // namespace millrace
