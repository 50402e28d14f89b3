// A session's beginning and end.
#include "pipeline/create.h"

#include "forwarders/fullnat.h"
#include "pipeline/session_key.h"
#include "pipeline/track.h"

namespace millrace {

SessionId create_session(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, DropReason& reason,
                         std::span<const std::uint8_t> payload) {
  const int picked = state.schedulers->pick(service, PickContext{.client = meta.source,
                                                                 .client_port = meta.source_port,
                                                                 .destination = meta.destination,
                                                                 .destination_port = meta.destination_port,
                                                                 .protocol = meta.protocol,
                                                                 .payload = payload,
                                                                 .now_ms = state.now_ms,
                                                                 .loads = state.loads,
                                                                 .identities = state.server_slots});
  if (picked < 0) return reason = DropReason::no_server, kNoSession;
  const ServerSlot server_slot = service.servers[static_cast<std::size_t>(picked)].slot;
  const ServerIdentity& server = state.server_slots[server_slot];

  // Asked first: as many local ports may be in use as there are sessions, and the reason must name what ran out.
  if (state.sessions->size() == state.sessions->capacity()) return reason = DropReason::session_table_full, kNoSession;
  const auto& locals = state.snapshot->services->locals_of_worker[state.worker][server.address.is_v4() ? 0 : 1];
  const auto port = state.local_ports->allocate(server.endpoint, locals);
  if (!port) return reason = DropReason::local_ports_exhausted, kNoSession;

  Session session{};
  session.client = meta.source;
  session.client_port = meta.source_port;
  session.vip_port = meta.destination_port;
  session.local_port = port->port;
  session.local = port->local;
  session.service = service.slot;
  session.server = server_slot;
  session.protocol = meta.protocol;
  session.flags = meta.ipv6 ? session_flag::kIpv6 : std::uint8_t{0};
  if (service.scheduler == QuicConnectionId::kKind) session.flags |= session_flag::kConnectionId;
  const SessionHashes hashes = hashes_of(state, session);
  const SessionId id = state.sessions->begin_insert(hashes.inbound, hashes.outbound);
  if (id == kNoSession) {
    state.local_ports->release(server.endpoint, port->local, port->port);
    return reason = DropReason::session_table_full, kNoSession;
  }
  state.notes.created[state.notes.created_count++] = {id, hashes.outbound};
  Session& stored = state.sessions->at(id);
  stored = session;
  stored.l4_delta = fullnat::l4_delta(state, stored);
  stored.state = meta.protocol == net::kProtocolTcp ? SessionState::kNone : SessionState::kUdpOneWay;
  // The state this packet leads to decides when the timer looks first.
  const SessionState first = meta.protocol == net::kProtocolTcp
                                 ? next_tcp_state(SessionState::kNone, Direction::kInbound, meta.tcp_flags, false)
                                 : SessionState::kUdpOneWay;
  stored.deadline_ms = state.now_ms + state.snapshot->timeouts_ms[static_cast<std::size_t>(first)];
  state.timers->schedule(id, state.now_ms);

  ServerStats& stats = state.server_stats[server_slot];
  store_relaxed(stats.connections, stats.connections + 1);
  store_relaxed(stats.inactive, stats.inactive + 1);
  store_relaxed(state.local_sessions[port->local], state.local_sessions[port->local] + 1);
  state.counters.add(Counter::sessions_created);
  state.counters.add(Counter::sessions);
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
  state.local_ports->release(state.server_slots[session.server].endpoint, session.local, session.local_port);
  ServerStats& stats = state.server_stats[session.server];
  if ((session.flags & session_flag::kActive) != 0) {
    store_relaxed(stats.active, stats.active - 1);
    state.counters.sub(Counter::sessions_active);
  } else {
    store_relaxed(stats.inactive, stats.inactive - 1);
  }
  state.counters.sub(Counter::sessions);
  // Last, because from here on the slots may be given to others.
  store_release(stats.ended, stats.ended + 1);
  store_release(state.local_sessions[session.local], state.local_sessions[session.local] - 1);
  state.sessions->erase(id, hashes.inbound, hashes.outbound);
}

}  // namespace millrace
