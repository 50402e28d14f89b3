// Records of refusals.
#include "pipeline/log_flow.h"

#include "pipeline/session_key.h"

namespace millrace {

namespace {

/// Of an event that has been admitted.
void write(WorkerState& state, LogRecord& record) {
  record.worker = static_cast<std::uint8_t>(state.worker);
  state.log.write(record, state.counters, state.now_ms);
}

bool admits(WorkerState& state, LogEvent event) { return state.log.admits(event, state.counters, state.now_ms); }

/// The limit that a packet met, per second.
std::uint64_t limit_of(const WorkerState& state, DropReason reason, ServiceSlot service, ServerSlot server) {
  if (state.rates.servers == nullptr) return 0;
  switch (reason) {
    case DropReason::service_packet_rate:
      return state.rates.services[service].limits.packets;
    case DropReason::service_bandwidth:
      return state.rates.services[service].limits.bits;
    case DropReason::server_packet_rate:
      return state.rates.servers[server].limits.packets;
    default:
      return state.rates.servers[server].limits.bits;
  }
}

std::uint64_t connection_limit_of(const WorkerState& state, ServiceSlot service) {
  const auto limits = state.limits.services.find(service);
  return limits == state.limits.services.end() ? 0 : limits->second.upper;
}

/// The local addresses of this worker that the session could have had.
std::uint64_t addresses_for(const WorkerState& state, const ServiceTable& service, const PacketMeta& meta, ServerSlot server) {
  const ServiceTables& tables = *state.snapshot->services;
  const auto pool = tables.pools.find(service.slot);
  if (pool != tables.pools.end()) return pool->second[state.worker][meta.ipv6 ? 1 : 0].size();
  return tables.locals_of_worker[state.worker][state.server_slots[server].address.is_v4() ? 0 : 1].size();
}

}  // namespace

void log_refused(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, std::uint32_t server, DropReason reason) {
  LogEvent event;
  switch (reason) {
    case DropReason::no_server:
      event = LogEvent::no_server;
      break;
    case DropReason::connection_limit:
      event = LogEvent::connection_limit;
      break;
    case DropReason::access_denied:
      event = LogEvent::access_denied;
      break;
    case DropReason::local_ports_exhausted:
    case DropReason::hairpin_no_local_port:
      event = LogEvent::local_ports_exhausted;
      break;
    case DropReason::session_table_full:
      event = LogEvent::session_table_full;
      break;
    case DropReason::persistence_busy:
      event = LogEvent::persistence_busy;
      break;
    default:
      event = LogEvent::rate_limit;
      break;
  }
  if (!admits(state, event)) return;
  LogRecord record{};
  switch (event) {
    case LogEvent::no_server:
      record.value = service.servers.size();
      break;
    case LogEvent::connection_limit:
      record.value = connection_limit_of(state, service.slot);
      break;
    case LogEvent::local_ports_exhausted:
      record.value = addresses_for(state, service, meta, server);
      break;
    case LogEvent::session_table_full:
      record.value = state.sessions->capacity();
      break;
    case LogEvent::rate_limit:
      record.value = limit_of(state, reason, service.slot, server);
      break;
    default:
      break;
  }
  record.client = meta.source;
  record.destination = meta.destination;
  record.client_port = meta.source_port;
  record.destination_port = meta.destination_port;
  record.service = service.slot;
  record.server = server;
  record.event = event;
  record.reason = reason;
  record.protocol = meta.protocol;
  write(state, record);
}

void log_packet(WorkerState& state, LogEvent event, DropReason reason, const PacketMeta& meta, std::uint32_t service, std::uint32_t server,
                std::uint64_t value) {
  if (!admits(state, event)) return;
  LogRecord record{};
  record.client = meta.source;
  record.destination = meta.destination;
  record.value = value;
  record.service = service;
  record.server = server;
  record.client_port = meta.source_port;
  record.destination_port = meta.destination_port;
  record.event = event;
  record.reason = reason;
  record.protocol = meta.protocol;
  write(state, record);
}

void log_session(WorkerState& state, LogEvent event, DropReason reason, SessionId id, const Session& session, std::uint64_t value) {
  if (!admits(state, event)) return;
  LogRecord record{};
  record.client = session.client;
  record.destination = vip_of(state, id, session);
  record.value = value;
  record.service = session.service;
  record.server = session.server;
  record.client_port = session.client_port;
  record.destination_port = session.vip_port;
  record.event = event;
  record.reason = reason;
  record.protocol = session.protocol;
  write(state, record);
}

void log_rate_limit(WorkerState& state, DropReason reason, SessionId id, const Session& session) {
  log_session(state, LogEvent::rate_limit, reason, id, session, limit_of(state, reason, session.service, session.server));
}

void log_waited(WorkerState& state, const Packet& packet) {
  Packet copy = packet;  // the parser trims it
  PacketMeta meta;
  DropReason reason;
  if (!parse_packet(copy, meta, reason)) return;
  constexpr auto event = LogEvent::neighbour_unresolved;
  if (!is_later_fragment(meta)) {
    const SessionRef ref = state.sessions->find(hash_of(state, meta), [&](const Session& session, Direction direction) {
      return belongs_to(state, state.sessions->id_of(session), session, direction, meta);
    });
    if (ref != kNoRef) return log_session(state, event, DropReason::neighbour_unresolved, ref_id(ref), state.sessions->at(ref_id(ref)), 0);
  }
  log_packet(state, event, DropReason::neighbour_unresolved, meta, kNoLogSlot, kNoLogSlot, 0);
}

void log_place(WorkerState& state, LogEvent event, DropReason reason, std::uint64_t value) {
  if (!admits(state, event)) return;
  LogRecord record{};
  record.value = value;
  record.service = kNoLogSlot;
  record.server = kNoLogSlot;
  record.event = event;
  record.reason = reason;
  write(state, record);
}

}  // namespace millrace
