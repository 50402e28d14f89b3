// Route and neighbour look-ups for new sessions, after route changes, and while a neighbour is silent.
#include "pipeline/resolve.h"

#include <algorithm>

#include "pipeline/log_flow.h"
#include "pipeline/removal.h"
#include "pipeline/session_key.h"

namespace millrace {

namespace {

void request(WorkerState& state, const ResolveRequest& request) {
  // A full ring only delays: the next packet asks again.
  if (state.requests != nullptr && state.requests->push(request)) state.counters.add(Counter::neighbour_requests);
}

const IpAddress& destination_of(const WorkerState& state, SessionId id, const Session& session, Direction direction) {
  return direction == Direction::kInbound ? server_address_of(state, session, state.sessions->detail(id)) : session.client;
}

/// A drop for which the network is to blame.
const NextHop* lost(WorkerState& state, LogEvent event, DropReason reason, SessionId id, const Session& session, Verdict& verdict) {
  log_session(state, event, reason, id, session, 0);
  verdict = Verdict::drop(reason);
  return nullptr;
}

/// A router would look at the destination, which in direct routing is still the VIP, and send the packet back to us.
bool behind_router(const NetworkTables& network, const IpAddress& server) {
  const Route* route = network.routes.lookup(server);
  return route != nullptr && route->gateway != 0;
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

const NextHop* resolve_slow(WorkerState& state, SessionId id, Session& session, Direction direction, const Packet& packet,
                            Verdict& verdict) {
  if (is_cut(session)) return verdict = Verdict::drop(DropReason::server_removed), nullptr;
  const NetworkTables& network = *state.snapshot->network;
  if (session.route_generation != network.route_generation) {
    session.next_hop_client = 0;
    session.next_hop_server = 0;
    session.route_generation = network.route_generation;
  }
  NextHopId& hop_id = direction == Direction::kInbound ? session.next_hop_server : session.next_hop_client;
  const IpAddress& destination = destination_of(state, id, session, direction);
  if (hop_id == 0) {
    if (session.mode == ForwardMode::kDirect && direction == Direction::kInbound && behind_router(network, destination))
      return lost(state, LogEvent::server_not_on_link, DropReason::server_not_on_link, id, session, verdict);
    bool unreachable = false;
    hop_id = find_next_hop(state, destination, unreachable);
    if (unreachable) return lost(state, LogEvent::no_route, DropReason::no_route, id, session, verdict);
  }
  if (hop_id != 0) {
    const NextHop& hop = network.next_hops[hop_id];
    if (hop.resolved) return &hop;
    request(state, {ResolveRequest::Kind::kNextHop, hop.interface, destination, hop_id, 0});
    if (hop.failed) return lost(state, LogEvent::neighbour_unresolved, DropReason::neighbour_unresolved, id, session, verdict);
  }
  if (!state.held.hold(packet, destination, state.now_ms)) return verdict = Verdict::drop(DropReason::held_queue_full), nullptr;
  state.counters.add(Counter::held_packets);
  verdict = Verdict::held();
  return nullptr;
}

std::uint16_t largest_segment(const WorkerState& state, const Session& session) {
  const NetworkTables& network = *state.snapshot->network;
  const auto headers = [](bool ipv6) {
    return static_cast<std::uint32_t>((ipv6 ? sizeof(net::Ipv6) : sizeof(net::Ipv4)) + sizeof(net::Tcp));
  };
  const bool client_ipv6 = (session.flags & session_flag::kIpv6) != 0;
  const bool server_ipv6 = client_ipv6 != ((session.flags & session_flag::kCrossFamily) != 0);
  std::uint32_t segment = 0;
  const auto consider = [&](NextHopId id, std::uint32_t overhead) {
    if (id == 0 || network.next_hops[id].mtu <= overhead) return;
    const std::uint32_t carried = network.next_hops[id].mtu - overhead;
    segment = segment == 0 ? carried : std::min(segment, carried);
  };
  consider(session.next_hop_client, headers(client_ipv6));
  consider(session.next_hop_server, headers(server_ipv6));
  return static_cast<std::uint16_t>(segment);
}

}  // namespace millrace
