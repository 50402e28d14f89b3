// The tables behind tcp_state.h.
#include "sessions/tcp_state.h"

namespace millrace {

namespace {
constexpr SessionState NO = SessionState::kNone;
constexpr SessionState ES = SessionState::kEstablished;
constexpr SessionState SS = SessionState::kSynSent;
constexpr SessionState SR = SessionState::kSynRecv;
constexpr SessionState FW = SessionState::kFinWait;
constexpr SessionState TW = SessionState::kTimeWait;
constexpr SessionState CL = SessionState::kClose;
constexpr SessionState CW = SessionState::kCloseWait;
constexpr SessionState LA = SessionState::kLastAck;
constexpr SessionState LI = SessionState::kListen;
static_assert(NO == SessionState{0} && SessionState::kSynAck == SessionState{10}, "rows are in the order of SessionState");

constexpr std::uint32_t kSecond = 1000;

/// Both profiles have the same times for SCTP: a retransmission timeout at its upper bound and a second more; what may be an
/// attack
/// goes sooner.
constexpr TimeoutTable with_sctp(TimeoutTable table) {
  for (auto state = static_cast<std::size_t>(SessionState::kSctpInit1); state < kSessionStates; state++) table[state] = 61 * kSecond;
  table[static_cast<std::size_t>(SessionState::kSctpInit1)] = 4 * kSecond;
  table[static_cast<std::size_t>(SessionState::kSctpRejected)] = 4 * kSecond;
  table[static_cast<std::size_t>(SessionState::kSctpEstablished)] = 900 * kSecond;
  return table;
}
}  // namespace

namespace detail {

// A packet without any of the four flags closes, as in IPVS. The column NO matters where other packets than SYN may begin a
// session.
constexpr TcpTransitions kTransitions = {{
    // from:        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SYN_ACK
    {{/* input */
      /* syn  */ {{SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR}},
      /* fin  */ {{CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW}},
      /* ack  */ {{ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES}},
      /* rst  */ {{CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR}},
      /* none */ {{CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL}}}},
    {{/* output */
      /* syn  */ {{SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR}},
      /* fin  */ {{TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW}},
      /* ack  */ {{ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES}},
      /* rst  */ {{CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL}},
      /* none */ {{CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL}}}},
    {{/* input only */
      /* syn  */ {{SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR}},
      /* fin  */ {{CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW}},
      /* ack  */ {{ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES}},
      /* rst  */ {{CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL}},
      /* none */ {{CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL}}}},
}};
const TcpTransitions kTcpTransitions = kTransitions;

}  // namespace detail

const TimeoutTable& default_timeouts(TimeoutProfile profile) {
  // NONE, ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, SYN_ACK, UDP, UDP
  static constexpr TimeoutTable kIpvs = with_sctp({2 * kSecond, 900 * kSecond, 120 * kSecond, 60 * kSecond, 120 * kSecond,
                                                   120 * kSecond, 10 * kSecond, 60 * kSecond, 30 * kSecond, 120 * kSecond,
                                                   120 * kSecond, 300 * kSecond, 300 * kSecond});
  static constexpr TimeoutTable kDpvs = with_sctp({2 * kSecond, 90 * kSecond, 3 * kSecond, 30 * kSecond, 7 * kSecond,
                                                   7 * kSecond, 3 * kSecond, 7 * kSecond, 7 * kSecond, 120 * kSecond,
                                                   30 * kSecond, 300 * kSecond, 300 * kSecond});
  return profile == TimeoutProfile::kIpvs ? kIpvs : kDpvs;
}

std::string_view state_name(SessionState state) {
  static constexpr std::array<std::string_view, kSessionStates> kNames = {
      "NONE",  "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE",
      "CLOSE_WAIT", "LAST_ACK",    "LISTEN",     "SYNACK",   "UDP",      "UDP",         "INIT1",
      "INIT",       "C-SENT",      "C-REPLIED",  "C-WAIT",   "COOKIE",   "C-ECHOED",    "ESTABLISHED",
      "S-SENT",     "S-RECEIVED",  "S-ACK-SENT", "REJECTED", "CLOSED"};
  return kNames[static_cast<std::size_t>(state)];
}

}  // namespace millrace
