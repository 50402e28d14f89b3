// Next hops: from a session's cached number, or from the routes when it has none or the routes have changed.
// Thread: one worker.
#pragma once

#include "pipeline/worker_state.h"

namespace millrace {

/// The next hop of one direction of a session, ready to use; or nullptr, and `verdict` says what becomes of the packet (held or
/// dropped). `packet` is taken into the held queue when it must wait.
const NextHop* resolve_slow(WorkerState& state, SessionId id, Session& session, Direction direction, const Packet& packet,
                            Verdict& verdict);

/// Where the network tables of this batch's snapshot begin: found once per batch, because the compiler must assume that every
/// byte written into a packet could change the pointers that lead there.
struct NetworkView {
  explicit NetworkView(const NetworkTables& network)
      : next_hops(network.next_hops.data()), interfaces(network.interfaces.data()), route_generation(network.route_generation) {}
  const NextHop* next_hops;
  const InterfaceView* interfaces;
  std::uint16_t route_generation;
};

inline const NextHop* resolve_next_hop(WorkerState& state, const NetworkView& network, SessionId id, Session& session,
                                       Direction direction, const Packet& packet, Verdict& verdict) {
  const NextHopId cached = direction == Direction::kInbound ? session.next_hop_server : session.next_hop_client;
  if (session.route_generation == network.route_generation && cached != 0) [[likely]] {
    const NextHop& hop = network.next_hops[cached];
    if (hop.resolved) [[likely]]
      return &hop;
  }
  return resolve_slow(state, id, session, direction, packet, verdict);
}

/// Looks up where packets to `destination` go. 0 when there is no route (`unreachable` set) or the neighbour is not known yet
/// (the control thread has been asked).
NextHopId find_next_hop(WorkerState& state, const IpAddress& destination, bool& unreachable);

/// The largest TCP segment that both ways of a session carry after translation, where both ways pass here; ways not known yet do not count. 0 when neither
/// is known.
std::uint16_t largest_segment(const WorkerState& state, const Session& session);

}  // namespace millrace
