// Tracking: what a packet does to its session's state, timer and counts.
// Thread: one worker.
#pragma once

#include "net/headers.h"
#include "pipeline/parse.h"
#include "pipeline/worker_state.h"
#include "sessions/sctp_state.h"
#include "sessions/tcp_state.h"

namespace millrace {

/// Those of the service, where it has its own.
inline const TimeoutTable& timeouts_of(const WorkerState& state, ServiceSlot service) {
  const std::uint32_t index = __atomic_load_n(&state.service_slots[service].timeouts, __ATOMIC_RELAXED);
  if (index == 0) [[likely]]
    return state.snapshot->timeouts_ms;
  // The index may be newer than this worker's tables.
  const std::vector<TimeoutTable>& tables = state.snapshot->services->timeout_tables;
  return index < tables.size() ? tables[index] : state.snapshot->timeouts_ms;
}

/// A state that is not the one before: active or inactive count of its server, and the timer if it must now fire earlier.
[[gnu::noinline]] inline void change_state(WorkerState& state, SessionId id, Session& session, SessionState next) {
  const TimeoutTable& timeouts = timeouts_of(state, session.service);
  const SessionState before = session.state;
  const std::uint32_t timeout = timeouts[static_cast<std::size_t>(next)];
  session.state = next;
  const bool active = is_active(next);
  if (active != ((session.flags & session_flag::kActive) != 0)) {
    ServerStats& stats = state.server_stats[session.server];
    if (active) {
      session.flags |= session_flag::kActive;
      store_relaxed(stats.active, stats.active + 1);
      store_relaxed(stats.inactive, stats.inactive - 1);
      state.counters.add(Counter::sessions_active);
    } else {
      session.flags = static_cast<std::uint8_t>(session.flags & ~session_flag::kActive);
      store_relaxed(stats.active, stats.active - 1);
      store_relaxed(stats.inactive, stats.inactive + 1);
      state.counters.sub(Counter::sessions_active);
    }
  }
  if (timeout < timeouts[static_cast<std::size_t>(before)]) state.timers->shorten(id, state.now_ms);
}

/// Enters state `next`, which is mostly the one it is in.
inline void enter_state(WorkerState& state, SessionId id, Session& session, SessionState next) {
  session.deadline_ms = state.now_ms + timeouts_of(state, session.service)[static_cast<std::size_t>(next)];
  if (session.state != next) [[unlikely]]
    change_state(state, id, session, next);
}

/// A packet of a session in its own and in its server's statistics.
inline void count_packet(WorkerState& state, Session& session, Direction direction, std::uint32_t bytes) {
  ServerStats& stats = state.server_stats[session.server];
  if (direction == Direction::kInbound) {
    session.packets_in++;
    store_relaxed(stats.in_packets, stats.in_packets + 1);
    store_relaxed(stats.in_bytes, stats.in_bytes + bytes);
  } else {
    session.packets_out++;
    store_relaxed(stats.out_packets, stats.out_packets + 1);
    store_relaxed(stats.out_bytes, stats.out_bytes + bytes);
  }
}

/// A server that answers the SYN of a local port with a mere ACK remembers that port's last connection, for which it is in TIME_WAIT. The
/// client resets what it does not know, which frees the port at the server, and asks again: the session must wait for that second SYN where
/// it is. Were it taken as established and then closed, that SYN would be given another port, which may be remembered just as well.
[[gnu::noinline]] inline bool is_challenge(const Session& session, Direction direction, const PacketMeta& meta) {
  return direction == Direction::kOutbound && session.state == SessionState::kSynRecv && uses_local_port(session.mode) &&
         (meta.tcp_flags & (net::tcp_flag::kSyn | net::tcp_flag::kAck | net::tcp_flag::kRst | net::tcp_flag::kFin)) ==
             net::tcp_flag::kAck;
}

/// One packet of an existing session.
inline void track(WorkerState& state, SessionId id, Session& session, Direction direction, const PacketMeta& meta,
                  std::uint32_t bytes) {
  SessionState next;
  if (session.protocol == net::kProtocolTcp) {
    next = next_tcp_state(session.state, direction, meta.tcp_flags, (session.flags & session_flag::kOneWay) != 0);
    if (next != session.state && is_challenge(session, direction, meta)) [[unlikely]] next = session.state;
  } else if (session.protocol == net::kProtocolSctp) [[unlikely]] {
    next = next_sctp_state(session.state, direction, static_cast<SctpEvent>(meta.tcp_flags),
                           (session.flags & session_flag::kOneWay) != 0);
  } else {
    next = next_udp_state(session.state, direction);
  }
  enter_state(state, id, session, next);
  count_packet(state, session, direction, bytes);
}

}  // namespace millrace
