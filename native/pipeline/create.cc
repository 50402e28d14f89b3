// A session's beginning and end.
#include "pipeline/create.h"

#include <utility>

#include "forwarders/registry.h"
#include "pipeline/client_address.h"
#include "pipeline/connection_limits.h"
#include "pipeline/fragments.h"
#include "pipeline/log_flow.h"
#include "pipeline/persistence.h"
#include "pipeline/rate_limits.h"
#include "pipeline/session_key.h"
#include "pipeline/track.h"

namespace millrace {

namespace {

/// The state that a first packet leads to: it decides when the timer looks first.
SessionState first_state(const PacketMeta& meta, bool one_way) {
  if (meta.protocol == net::kProtocolTcp) {
    return next_tcp_state(SessionState::kNone, Direction::kInbound, meta.tcp_flags, one_way);
  }
  if (meta.protocol == net::kProtocolSctp) {
    return next_sctp_state(SessionState::kNone, Direction::kInbound, static_cast<SctpEvent>(meta.tcp_flags), one_way);
  }
  return SessionState::kUdpOneWay;
}

/// Whether answers to this session would be taken for those to another one, which may be of this batch.
bool answers_are_taken(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  const FlowTuple answer = outbound_tuple(state, session, detail);
  const std::uint64_t hash = hash_of(state, answer, session.protocol);
  for (std::uint32_t i = 0; i < state.notes.created_count; i++) {
    if (state.notes.created[i].hash_out == hash) return true;
  }
  return state.sessions->find(hash, [&](const Session& other, Direction direction) {
    return direction == Direction::kOutbound && other.protocol == session.protocol &&
           outbound_tuple(state, other, state.sessions->detail(state.sessions->id_of(other))) == answer;
  }) != kNoRef;
}

/// A NAT server that is a client of a VIP: what it sent would come to its neighbour as from itself and be answered past us, and to itself
/// as from nowhere. Such a session has a local address towards the server.
ForwardMode mode_for(const WorkerState& state, const ServerIdentity& server, const PacketMeta& meta) {
  const bool hairpin = server.mode == ForwardMode::kNat && meta.source_port.raw != 0 &&
                       state.snapshot->services->nat->hosts.contains(meta.source);
  return hairpin ? ForwardMode::kFullNat : server.mode;
}

/// The addresses that a session of this worker may have.
const std::vector<LocalSlot>& locals_for(const WorkerState& state, const ServerIdentity& server, const Session& session) {
  const ServiceTables& tables = *state.snapshot->services;
  if (session.mode != ForwardMode::kSnat) return tables.locals_of_worker[state.worker][server.address.is_v4() ? 0 : 1];
  static const std::vector<LocalSlot> none;
  const auto pool = tables.pools.find(session.service);
  return pool == tables.pools.end() ? none : pool->second[state.worker][session.client.is_v4() ? 0 : 1];
}

/// Takes a local address and port where the mode needs them.
bool take_local_port(WorkerState& state, const ServerIdentity& server, Session& session, const SessionDetail& detail) {
  const auto& locals = locals_for(state, server, session);
  const std::uint32_t space = port_space(state, session, detail);
  std::optional<LocalPort> port;
  if (state.snapshot->services->endpoints_overlap) [[unlikely]] {
    port = state.local_ports->allocate(space, locals, [&](LocalSlot local, be16 local_port) {
      session.local = local;
      session.local_port = local_port;
      return !answers_are_taken(state, session, detail);
    });
  } else {
    port = state.local_ports->allocate(space, locals);
  }
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

void return_local_port(WorkerState& state, const Session& session, const SessionDetail& detail) {
  if (!uses_local_port(session.mode)) return;
  state.local_ports->release(port_space(state, session, detail), session.local, session.local_port);
}

SessionId insert(WorkerState& state, const Session& session, const SessionDetail& detail) {
  const SessionHashes hashes = hashes_of(state, session, detail);
  if ((session.flags & session_flag::kOneWay) != 0) return state.sessions->insert_one_way(hashes.inbound, Direction::kInbound);
  const SessionId id = state.sessions->begin_insert(hashes.inbound, hashes.outbound);
  if (id == kNoSession) return id;
  state.notes.created[state.notes.created_count++] = {id, hashes.outbound};
  // Before the request leaves: its answer may come to any worker.
  if (session.mode == ForwardMode::kNat && state.session_owners != nullptr) {
    state.session_owners->add(hashes.outbound, state.worker);
  }
  return id;
}

/// A server for the new session: the scheduler's choice, or that of the client's template, which then counts this session. Where there
/// are limits the session is counted towards them.
PersistentChoice choose_server(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, DropReason& reason,
                               std::span<const std::uint8_t> payload) {
  constexpr PersistentChoice none{};
  PersistentChoice choice;
  if (service.persistence != nullptr) choice = find_template(state, service, meta);
  std::int32_t picked = -1;
  if (choice.kind == PersistentChoice::Kind::kNone) {
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
    picked = service.limited ? pick_within_limits(state, service, asked, reason) : state.schedulers->pick(service, std::move(asked));
    if (picked < 0) return none;
    const auto server = static_cast<std::uint32_t>(picked);
    if (service.persistence == nullptr) return {PersistentChoice::Kind::kServer, server};
    choice = remember_choice(state, service, meta, server);
  }
  const bool named = choice.kind == PersistentChoice::Kind::kServer;
  if (!named) reason = DropReason::persistence_busy;
  if (!service.limited || (named && static_cast<std::int32_t>(choice.server) == picked)) return named ? choice : none;
  // The client's template decided, here or on another worker meanwhile, not our scheduler.
  if (picked >= 0) leave_limits(state, service.slot, service.servers[static_cast<std::size_t>(picked)].slot);
  if (!named) return none;
  if (enter_with_template(state, service.slot, service.servers[choice.server].slot, reason)) return choice;
  if (choice.held != kNoTemplate) release_template(state, choice.held);
  return none;
}

/// The session of a client with that server.
SessionId begin_session(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, ServerSlot server_slot,
                        TemplateId held, DropReason& reason) {
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
  session.mode = mode_for(state, server, meta);
  session.flags = meta.ipv6 ? session_flag::kIpv6 : std::uint8_t{0};
  if (service.scheduler == QuicConnectionId::kKind) session.flags |= session_flag::kConnectionId;
  if (is_one_way(server.mode)) session.flags |= session_flag::kOneWay;
  if (server.mode != ForwardMode::kSnat && server.address.is_v4() == meta.ipv6) session.flags |= session_flag::kCrossFamily;
  if (state.service_slots[service.slot].address != meta.destination) {
    session.flags |= session_flag::kWideKey;
    detail.destination = meta.destination;
  }
  if (held != kNoTemplate) {
    session.flags |= session_flag::kTemplate;
    detail.persistence = held;
  }
  if (uses_local_port(session.mode) && !take_local_port(state, server, session, detail)) {
    return reason = session.mode == server.mode ? DropReason::local_ports_exhausted : DropReason::hairpin_no_local_port, kNoSession;
  }
  if (is_tunnel(server.mode) && !choose_tunnel_source(state, server, meta, session)) {
    return reason = DropReason::local_ports_exhausted, kNoSession;
  }
  if (service.client_address != 0 || service.proxy_from != nullptr) begin_telling(state, service, meta, session, detail);
  session.l4_delta = l4_delta(state, session, detail);
  const bool one_way = (session.flags & session_flag::kOneWay) != 0;
  const bool followed = meta.protocol == net::kProtocolTcp || meta.protocol == net::kProtocolSctp;
  session.state = followed ? SessionState::kNone : SessionState::kUdpOneWay;
  session.deadline_ms = state.now_ms + timeouts_of(state, service.slot)[static_cast<std::size_t>(first_state(meta, one_way))];

  const SessionId id = insert(state, session, detail);
  if (id == kNoSession) {
    return_local_port(state, session, detail);
    return reason = DropReason::session_table_full, kNoSession;
  }
  state.sessions->at(id) = session;
  if ((session.flags & (session_flag::kWideKey | session_flag::kTemplate)) != 0 || session.told != 0) state.sessions->detail(id) = detail;
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
  const auto refuse = [&](std::uint32_t server) {
    log_refused(state, service, meta, server, reason);
    return kNoSession;
  };
  if (service.access != nullptr && !service.access->allows(meta.source)) return reason = DropReason::access_denied, refuse(kNoLogSlot);
  const PersistentChoice choice = choose_server(state, service, meta, reason, payload);
  if (choice.kind != PersistentChoice::Kind::kServer) return refuse(kNoLogSlot);
  const ServerSlot server = service.servers[choice.server].slot;
  if (!is_rated(state, service.slot) || has_room_for_packet(state, service.slot, server, meta.l3_length, reason)) {
    const SessionId id = begin_session(state, service, meta, server, choice.held, reason);
    if (id != kNoSession) return id;
  }
  if (choice.held != kNoTemplate) release_template(state, choice.held);
  if (service.limited) leave_limits(state, service.slot, server);
  return refuse(server);
}

void finish_created(WorkerState& state) {
  for (std::uint32_t i = 0; i < state.notes.created_count; i++) {
    state.sessions->finish_insert(state.notes.created[i].id, state.notes.created[i].hash_out);
  }
  state.notes.created_count = 0;
}

void remove_session(WorkerState& state, SessionId id, const SessionHashes& hashes) {
  Session& session = state.sessions->at(id);
  if (session.told != 0) [[unlikely]] end_telling(state, session, state.sessions->detail(id));
  return_local_port(state, session, state.sessions->detail(id));
  if ((session.flags & session_flag::kAtFragmentHome) != 0) forget_fragment_home(state, session, state.sessions->detail(id));
  if ((session.flags & session_flag::kTemplate) != 0) release_template(state, session, state.sessions->detail(id).persistence);
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
    if (session.mode == ForwardMode::kNat && state.session_owners != nullptr) {
      state.session_owners->remove(hashes.outbound, state.worker);
    }
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
