// Route and neighbour look-ups for new sessions, after route changes, and while a neighbour is silent.
#include "pipeline/resolve.h"

#include <algorithm>

namespace millrace {

namespace {

void request(WorkerState& state, const ResolveRequest& request) {
  // A full ring only delays: the next packet asks again.
  if (state.requests != nullptr && state.requests->push(request)) state.counters.add(Counter::neighbour_requests);
}

const IpAddress& destination_of(const WorkerState& state, const Session& session, Direction direction) {
  return direction == Direction::kInbound ? state.server_slots[session.server].address : session.client;
}

}  // namespace

NextHopId find_next_hop(WorkerState& state, const IpAddress& destination, bool& unreachable) {
  const NetworkTables& network = *state.snapshot->network;
  unreachable = false;
  const Route* route = network.routes.lookup(destination);
  if (route == nullptr || route->unreachable) return unreachable = true, NextHopId{0};
  if (route->gateway != 0) return route->gateway;
  const auto neighbour = network.neighbours.find(NeighbourKey{destination, route->interface});
  if (neighbour != network.neighbours.end()) return neighbour->second;
  request(state, {ResolveRequest::Kind::kNeighbour, route->interface, destination, 0, 0});
  return 0;
}

const NextHop* resolve_slow(WorkerState& state, Session& session, Direction direction, const Packet& packet, Verdict& verdict) {
  const NetworkTables& network = *state.snapshot->network;
  if (session.route_generation != network.route_generation) {
    session.next_hop_client = 0;
    session.next_hop_server = 0;
    session.route_generation = network.route_generation;
  }
  NextHopId& id = direction == Direction::kInbound ? session.next_hop_server : session.next_hop_client;
  const IpAddress& destination = destination_of(state, session, direction);
  if (id == 0) {
    bool unreachable = false;
    id = find_next_hop(state, destination, unreachable);
    if (unreachable) return verdict = Verdict::drop(DropReason::no_route), nullptr;
  }
  if (id != 0) {
    const NextHop& hop = network.next_hops[id];
    if (hop.resolved) return &hop;
    request(state, {ResolveRequest::Kind::kNextHop, hop.interface, destination, id, 0});
    if (hop.failed) return verdict = Verdict::drop(DropReason::neighbour_unresolved), nullptr;
  }
  if (!state.held.hold(packet, destination, state.now_ms)) return verdict = Verdict::drop(DropReason::held_queue_full), nullptr;
  state.counters.add(Counter::held_packets);
  verdict = Verdict::held();
  return nullptr;
}

std::uint16_t path_mtu(const WorkerState& state, const Session& session) {
  const NetworkTables& network = *state.snapshot->network;
  std::uint16_t mtu = 0;
  for (const NextHopId id : {session.next_hop_client, session.next_hop_server}) {
    if (id == 0) continue;
    const std::uint16_t way = network.next_hops[id].mtu;
    mtu = mtu == 0 ? way : std::min(mtu, way);
  }
  return mtu;
}

}  // namespace millrace
