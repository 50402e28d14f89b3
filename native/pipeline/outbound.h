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

/// Who tells the sender that a packet of the session is too big for its way on: to an inside host the address that it would have left
/// with. nullptr: the address that it was sent to.
inline const IpAddress* teller_of(const WorkerState& state, const Session& session, Direction direction) {
  const bool leaves = session.mode == ForwardMode::kSnat && direction == Direction::kInbound;
  return leaves ? &state.local_slots[session.local].address : nullptr;
}

}  // namespace millrace
