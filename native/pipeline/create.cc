// A session's beginning and end.
#include "pipeline/create.h"

#include <utility>

#include "forwarders/registry.h"
#include "pipeline/connection_limits.h"
#include "pipeline/fragments.h"
#include "pipeline/session_key.h"
#include "pipeline/track.h"

namespace millrace {

namespace {

/// The state that a first packet leads to: it decides when the timer looks first.
SessionState first_state(const PacketMeta& meta, bool one_way) {
  if (meta.protocol == net::kProtocolTcp) {
    return next_tcp_state(SessionState::kNone, Direction::kInbound, meta.tcp_flags, one_way);
  }
  return SessionState::kUdpOneWay;
}

/// Takes a local address and port where the mode needs them.
bool take_local_port(WorkerState& state, const ServerIdentity& server, Session& session) {
  const auto& locals = state.snapshot->services->locals_of_worker[state.worker][server.address.is_v4() ? 0 : 1];
  const auto port = state.local_ports->allocate(server.endpoint, locals);
  if (!port) return false;
  session.local = port->local;
  session.local_port = port->port;
  return true;
}

/// A tunnel's outer source: one of this worker's local addresses of the server's family, by the flow.
bool choose_tunnel_source(const WorkerState& state, const ServerIdentity& server, const PacketMeta& meta, Session& session) {
  const auto& locals = state.snapshot->services->locals_of_worker[state.worker][server.address.is_v4() ? 0 : 1];
  if (locals.empty()) return false;
  session.local = locals[(meta.hash >> 32) % locals.size()];
  return true;
}

void return_local_port(WorkerState& state, const Session& session) {
  if (!uses_local_port(session.mode)) return;
  state.local_ports->release(state.server_slots[session.server].endpoint, session.local, session.local_port);
}

SessionId insert(WorkerState& state, const Session& session, const SessionDetail& detail) {
  const SessionHashes hashes = hashes_of(state, session, detail);
  if ((session.flags & session_flag::kOneWay) != 0) return state.sessions->insert_one_way(hashes.inbound, Direction::kInbound);
  const SessionId id = state.sessions->begin_insert(hashes.inbound, hashes.outbound);
  if (id != kNoSession) state.notes.created[state.notes.created_count++] = {id, hashes.outbound};
  return id;
}

/// A session with this server.
SessionId create_with(WorkerState& state, const ServiceTable& service, ServerSlot server_slot, const PacketMeta& meta,
                      DropReason& reason) {
  const ServerIdentity& server = state.server_slots[server_slot];

  // Asked first: as many local ports may be in use as there are sessions, and the reason must name what ran out.
  if (state.sessions->size() == state.sessions->capacity()) return reason = DropReason::session_table_full, kNoSession;

  Session session{};
  SessionDetail detail{};
  session.client = meta.source;
  session.client_port = meta.source_port;
  session.vip_port = meta.destination_port;
  session.service = service.slot;
  session.server = server_slot;
  session.protocol = meta.protocol;
  session.mode = server.mode;
  session.flags = meta.ipv6 ? session_flag::kIpv6 : std::uint8_t{0};
  if (service.scheduler == QuicConnectionId::kKind) session.flags |= session_flag::kConnectionId;
  if (is_one_way(server.mode)) session.flags |= session_flag::kOneWay;
  if (server.address.is_v4() == meta.ipv6) session.flags |= session_flag::kCrossFamily;
  if (state.service_slots[service.slot].address != meta.destination) {
    session.flags |= session_flag::kWideKey;
    detail.destination = meta.destination;
  }
  if (uses_local_port(server.mode) && !take_local_port(state, server, session)) {
    return reason = DropReason::local_ports_exhausted, kNoSession;
  }
  if (is_tunnel(server.mode) && !choose_tunnel_source(state, server, meta, session)) {
    return reason = DropReason::local_ports_exhausted, kNoSession;
  }
  session.l4_delta = l4_delta(state, session, detail);
  const bool one_way = (session.flags & session_flag::kOneWay) != 0;
  session.state = meta.protocol == net::kProtocolTcp ? SessionState::kNone : SessionState::kUdpOneWay;
  session.deadline_ms = state.now_ms + timeouts_of(state, service.slot)[static_cast<std::size_t>(first_state(meta, one_way))];

  const SessionId id = insert(state, session, detail);
  if (id == kNoSession) {
    return_local_port(state, session);
    return reason = DropReason::session_table_full, kNoSession;
  }
  state.sessions->at(id) = session;
  if ((session.flags & session_flag::kWideKey) != 0) state.sessions->detail(id) = detail;
  state.timers->schedule(id, state.now_ms);

  ServerStats& stats = state.server_stats[server_slot];
  store_relaxed(stats.connections, stats.connections + 1);
  store_relaxed(stats.inactive, stats.inactive + 1);
  state.limits.service_sessions[service.slot]++;
  if (uses_local_address(session.mode)) {
    store_relaxed(state.local_sessions[session.local], state.local_sessions[session.local] + 1);
  }
  state.counters.add(Counter::sessions_created);
  state.counters.add(Counter::sessions);
  return id;
}

}  // namespace

SessionId create_session(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, DropReason& reason,
                         std::span<const std::uint8_t> payload) {
  if (service.access != nullptr && !service.access->allows(meta.source)) return reason = DropReason::access_denied, kNoSession;
  PickContext asked{.client = meta.source,
                    .client_port = meta.source_port,
                    .destination = meta.destination,
                    .destination_port = meta.destination_port,
                    .protocol = meta.protocol,
                    .payload = payload,
                    .now_ms = state.now_ms,
                    .loads = state.loads,
                    .identities = state.server_slots};
  reason = DropReason::no_server;
  const std::int32_t picked = service.limited ? pick_within_limits(state, service, asked, reason)
                                              : state.schedulers->pick(service, std::move(asked));
  if (picked < 0) return kNoSession;
  const ServerSlot server = service.servers[static_cast<std::size_t>(picked)].slot;
  const SessionId id = create_with(state, service, server, meta, reason);
  if (id == kNoSession && service.limited) leave_limits(state, service.slot, server);
  return id;
}

void finish_created(WorkerState& state) {
  for (std::uint32_t i = 0; i < state.notes.created_count; i++) {
    state.sessions->finish_insert(state.notes.created[i].id, state.notes.created[i].hash_out);
  }
  state.notes.created_count = 0;
}

void remove_session(WorkerState& state, SessionId id, const SessionHashes& hashes) {
  const Session& session = state.sessions->at(id);
  return_local_port(state, session);
  if ((session.flags & session_flag::kAtFragmentHome) != 0) forget_fragment_home(state, session, state.sessions->detail(id));
  ServerStats& stats = state.server_stats[session.server];
  if ((session.flags & session_flag::kActive) != 0) {
    store_relaxed(stats.active, stats.active - 1);
    state.counters.sub(Counter::sessions_active);
  } else {
    store_relaxed(stats.inactive, stats.inactive - 1);
  }
  state.counters.sub(Counter::sessions);
  state.limits.service_sessions[session.service]--;
  leave_limits(state, session.service, session.server);
  // Last, because from here on the slots may be given to others.
  store_release(stats.ended, stats.ended + 1);
  if (uses_local_address(session.mode)) {
    store_release(state.local_sessions[session.local], state.local_sessions[session.local] - 1);
  }
  if ((session.flags & session_flag::kOneWay) != 0) {
    state.sessions->erase_one_way(id, hashes.inbound, Direction::kInbound);
  } else {
    state.sessions->erase(id, hashes.inbound, hashes.outbound);
  }
}

void end_session(WorkerState& state, SessionId id) {
  finish_created(state);  // it may be of this batch
  state.timers->cancel(id);
  remove_session(state, id, hashes_of(state, state.sessions->at(id), state.sessions->detail(id)));
  state.counters.add(Counter::sessions_expired);
}

}  // namespace millrace
