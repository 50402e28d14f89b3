// The outbound gateway (SNAT): packets of inside hosts to addresses that are not ours.
// Thread: one worker.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// The rule by which an inside host's packet may begin a session, as a service; nullptr and a verdict when there is none.
const ServiceTable* find_outbound(WorkerState& state, Packet& packet, const PacketMeta& meta, Verdict& verdict);

/// Whom an inside host hears of when this hop is the last that its packet makes: an address that the packet would have left with.
/// nullptr when no rule matches the packet.
const IpAddress* gateway_address(const WorkerState& state, const Packet& packet, const PacketMeta& meta);

}  // namespace millrace
