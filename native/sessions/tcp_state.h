// Session states and their timeouts: what a packet's flags do to a TCP session, and how long each state lasts.
// The transitions and timeouts are those of Linux IPVS 6.1 (net/netfilter/ipvs/ip_vs_proto_tcp.c, ip_vs_proto_udp.c), recorded
// from a live kernel; the second timeout profile is that of DPVS 1.9. test/native/sessions/recordings_test.cc compares them. SCTP
// has
// its own file, sctp_state.h; its timeouts and names are here with all others.
// It is a follower, not a guardian: sequence numbers are not looked at, so it must never be the reason to drop a packet.
// Thread: any. Tables only.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "net/headers.h"
#include "sessions/session.h"
#include "tables/snapshot.h"

namespace millrace {

namespace tcp_flag = net::tcp_flag;

namespace detail {

enum TcpEvent : std::uint8_t { kEventSyn, kEventFin, kEventAck, kEventRst, kEventNone, kEventCount };
/// Input, output, input only: the row groups of the transition table.
inline constexpr std::size_t kTcpSides = 3;
inline constexpr std::size_t kTcpStates = static_cast<std::size_t>(SessionState::kSynAck) + 1;

/// One flag decides: RST before SYN before FIN before ACK.
constexpr TcpEvent tcp_event(std::uint32_t flags) {
  if ((flags & tcp_flag::kRst) != 0) return kEventRst;
  if ((flags & tcp_flag::kSyn) != 0) return kEventSyn;
  if ((flags & tcp_flag::kFin) != 0) return kEventFin;
  if ((flags & tcp_flag::kAck) != 0) return kEventAck;
  return kEventNone;
}

inline constexpr auto kTcpEventOfFlags = [] {
  std::array<std::uint8_t, 32> events{};
  for (std::uint32_t flags = 0; flags < 32; flags++) events[flags] = tcp_event(flags);
  return events;
}();

/// [side][event][state] -> state
using TcpTransitions = std::array<std::array<std::array<SessionState, kTcpStates>, kEventCount>, kTcpSides>;
extern const TcpTransitions kTcpTransitions;

}  // namespace detail

/// The state after a TCP packet with `flags` (byte 13 of the header) in `direction`. A session begins in kNone. `input_only`:
/// replies do not pass here (direct routing, tunnels), so one FIN of the client has to stand for both.
inline SessionState next_tcp_state(SessionState state, Direction direction, std::uint8_t flags, bool input_only) {
  const std::size_t side = direction == Direction::kOutbound ? 1 : input_only ? 2 : 0;
  return detail::kTcpTransitions[side][detail::kTcpEventOfFlags[flags & 31u]][static_cast<std::size_t>(state)];
}

/// The state after a UDP packet: two-way from the first reply on.
inline SessionState next_udp_state(SessionState state, Direction direction) {
  return direction == Direction::kOutbound || state == SessionState::kUdpNormal ? SessionState::kUdpNormal
                                                                                : SessionState::kUdpOneWay;
}

/// Whether a packet of an unknown flow may begin a TCP session: SYN (a SYN-ACK too, as in IPVS) without RST.
constexpr bool tcp_may_open(std::uint8_t flags) { return (flags & (tcp_flag::kSyn | tcp_flag::kRst)) == tcp_flag::kSyn; }

/// Whether a new SYN on an existing session is a new connection with the same ports, to be scheduled anew (IPVS
/// conn_reuse_mode=1).
constexpr bool tcp_is_over(SessionState state) { return state == SessionState::kTimeWait || state == SessionState::kClose; }

/// Whether a session in this state counts as an active connection of its server; all others count as inactive. As recorded: TCP
/// from the first SYN until the first FIN or RST, SCTP while established, UDP never.
constexpr bool is_active(SessionState state) {
  return state == SessionState::kEstablished || state == SessionState::kSynSent || state == SessionState::kSynRecv ||
         state == SessionState::kSynAck || state == SessionState::kSctpEstablished;
}

enum class TimeoutProfile : std::uint8_t { kIpvs, kDpvs };

/// Timeouts of all states, in milliseconds. kIpvs: the kernel's defaults. kDpvs: short ones, for many short connections.
const TimeoutTable& default_timeouts(TimeoutProfile profile);

/// The name of a state in listings: "ESTABLISHED", "UDP", "C-WAIT".
std::string_view state_name(SessionState state);

}  // namespace millrace
