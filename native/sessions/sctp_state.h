// What an SCTP packet does to its session's state. The transitions and timeouts are those of Linux IPVS 6.1 (ip_vs_proto_sctp.c);
// test/native/sessions/recordings has what a live kernel did, and every recorded step is compared.
// As with TCP it is a follower, not a guardian: verification tags are not looked at, so it is never the reason to drop a packet
// of a session. Associations with one address per side: further addresses that hosts name to each other inside INIT are not
// translated. Thread: any. Tables only.
#pragma once

#include <array>
#include <cstdint>

#include "sessions/session.h"

namespace millrace {

/// What the first chunk of a packet means for the state (RFC 9260 3.2).
enum class SctpEvent : std::uint8_t {
  kData,  ///< also acknowledgements, heartbeats and all that is not known
  kInit,
  kInitAck,
  kCookieEcho,
  kCookieAck,
  kShutdown,
  kShutdownAck,
  kShutdownComplete,
  kError,
  kAbort,
  kCount
};

namespace sctp_chunk {
inline constexpr std::uint8_t kInit = 1;
inline constexpr std::uint8_t kInitAck = 2;
inline constexpr std::uint8_t kAbort = 6;
inline constexpr std::uint8_t kShutdown = 7;
inline constexpr std::uint8_t kShutdownAck = 8;
inline constexpr std::uint8_t kError = 9;
inline constexpr std::uint8_t kCookieEcho = 10;
inline constexpr std::uint8_t kCookieAck = 11;
inline constexpr std::uint8_t kShutdownComplete = 14;
}  // namespace sctp_chunk

constexpr SctpEvent sctp_event(std::uint8_t chunk_type) {
  switch (chunk_type) {
    case sctp_chunk::kInit:
      return SctpEvent::kInit;
    case sctp_chunk::kInitAck:
      return SctpEvent::kInitAck;
    case sctp_chunk::kAbort:
      return SctpEvent::kAbort;
    case sctp_chunk::kShutdown:
      return SctpEvent::kShutdown;
    case sctp_chunk::kShutdownAck:
      return SctpEvent::kShutdownAck;
    case sctp_chunk::kError:
      return SctpEvent::kError;
    case sctp_chunk::kCookieEcho:
      return SctpEvent::kCookieEcho;
    case sctp_chunk::kCookieAck:
      return SctpEvent::kCookieAck;
    case sctp_chunk::kShutdownComplete:
      return SctpEvent::kShutdownComplete;
    default:
      return SctpEvent::kData;
  }
}

namespace detail {

/// kNone, then the states from kSctpInit1 to kSctpClosed.
inline constexpr std::size_t kSctpStates =
    static_cast<std::size_t>(SessionState::kSctpClosed) - static_cast<std::size_t>(SessionState::kSctpInit1) + 2;
inline constexpr std::size_t kSctpSides = 3;

constexpr std::size_t sctp_row(SessionState state) {
  return state == SessionState::kNone ? 0 : static_cast<std::size_t>(state) - static_cast<std::size_t>(SessionState::kSctpInit1) + 1;
}

/// [side][event][row] -> state
using SctpTransitions =
    std::array<std::array<std::array<SessionState, kSctpStates>, static_cast<std::size_t>(SctpEvent::kCount)>, kSctpSides>;
extern const SctpTransitions kSctpTransitions;

}  // namespace detail

/// The state after a packet with `event` in `direction`. A session begins in kNone. `input_only`: replies do not pass here.
inline SessionState next_sctp_state(SessionState state, Direction direction, SctpEvent event, bool input_only) {
  const std::size_t side = direction == Direction::kOutbound ? 1 : input_only ? 2 : 0;
  return detail::kSctpTransitions[side][static_cast<std::size_t>(event)][detail::sctp_row(state)];
}

/// Whether a packet of an unknown flow may begin a session: INIT alone, as recorded.
constexpr bool sctp_may_open(SctpEvent event) { return event == SctpEvent::kInit; }

/// Whether an INIT on an existing session is a new association with the same ports, to be scheduled anew (conn_reuse_mode=1).
constexpr bool sctp_is_over(SessionState state) { return state == SessionState::kSctpClosed; }

}  // namespace millrace
