// The state machine against recordings of a live IPVS (Linux 6.1): every state, event and direction it was seen in, whole
// conversations, timeouts, and which states count as active.
#include "sessions/tcp_state.h"

#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace millrace {
namespace {

std::uint8_t flags_of(const std::string& name) {
  static const std::map<std::string, std::uint8_t> kFlags = {{"SYN", tcp_flag::kSyn},
                                                             {"SYNACK", tcp_flag::kSyn | tcp_flag::kAck},
                                                             {"ACK", tcp_flag::kAck},
                                                             {"FIN", tcp_flag::kFin | tcp_flag::kAck},
                                                             {"RST", tcp_flag::kRst}};
  return kFlags.at(name);
}

SessionState step(SessionState state, const std::string& event, bool input_only) {
  const Direction direction = event[0] == 'I' ? Direction::kInbound : Direction::kOutbound;
  return next_tcp_state(state, direction, flags_of(event.substr(2)), input_only);
}

struct Row {
  /// Events that lead to a state, space separated: I: from the client, O: from the server.
  const char* path;
  /// Per event SYN, SYNACK, ACK, FIN, RST: the state that followed.
  const char* input;
  const char* output;
};

const Row kNat[] = {
    {"I:SYN", "SYN_RECV SYN_RECV ESTABLISHED TIME_WAIT SYN_RECV",
     "SYN_RECV SYN_RECV ESTABLISHED TIME_WAIT CLOSE"},
    {"I:SYN I:ACK", "ESTABLISHED ESTABLISHED ESTABLISHED CLOSE_WAIT CLOSE",
     "ESTABLISHED ESTABLISHED ESTABLISHED FIN_WAIT CLOSE"},
    {"I:SYN I:FIN", "SYN_RECV SYN_RECV TIME_WAIT TIME_WAIT CLOSE",
     "SYN_SENT SYN_SENT TIME_WAIT TIME_WAIT TIME_WAIT"},
    {"I:SYN O:RST", "SYN_RECV SYN_RECV CLOSE CLOSE CLOSE",
     "SYN_SENT SYN_SENT CLOSE CLOSE CLOSE"},
    {"I:SYN I:ACK I:FIN", "SYN_RECV SYN_RECV CLOSE_WAIT CLOSE_WAIT CLOSE",
     "SYN_SENT SYN_SENT CLOSE_WAIT TIME_WAIT CLOSE"},
    {"I:SYN I:ACK O:FIN", "SYN_RECV SYN_RECV FIN_WAIT TIME_WAIT CLOSE",
     "SYN_SENT SYN_SENT FIN_WAIT FIN_WAIT CLOSE"},
    {"I:SYN I:FIN O:SYN", "ESTABLISHED ESTABLISHED SYN_SENT SYN_SENT CLOSE",
     "SYN_SENT SYN_SENT SYN_SENT SYN_SENT SYN_SENT"},
};

const Row kInputOnly[] = {
    {"I:SYN", "SYN_RECV SYN_RECV ESTABLISHED TIME_WAIT SYN_RECV",
     ""},
    {"I:SYN I:ACK", "ESTABLISHED ESTABLISHED ESTABLISHED FIN_WAIT CLOSE",
     ""},
    {"I:SYN I:FIN", "SYN_RECV SYN_RECV TIME_WAIT TIME_WAIT CLOSE",
     ""},
    {"I:SYN I:ACK I:FIN", "SYN_RECV SYN_RECV FIN_WAIT FIN_WAIT CLOSE",
     ""},
    {"I:SYN I:ACK I:RST", "SYN_RECV SYN_RECV CLOSE CLOSE CLOSE",
     ""},
};

/// Event, state after it, milliseconds it lasts, change of the active count.
struct Step {
  const char* event;
  const char* state;
  std::uint32_t timeout_ms;
  int active;
};
struct Conversation {
  const char* name;
  bool input_only;
  std::vector<Step> steps;
};

const Conversation kConversations[] = {
    {"open/close by client", false,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"O:SYNACK", "SYN_RECV", 60000, 0},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"I:FIN", "CLOSE_WAIT", 60000, -1},
      {"O:ACK", "CLOSE_WAIT", 60000, 0},
      {"O:FIN", "TIME_WAIT", 120000, 0},
      {"I:ACK", "TIME_WAIT", 120000, 0}}},
    {"close by server", false,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"O:SYNACK", "SYN_RECV", 60000, 0},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"O:FIN", "FIN_WAIT", 120000, -1},
      {"I:ACK", "FIN_WAIT", 120000, 0},
      {"I:FIN", "TIME_WAIT", 120000, 0},
      {"O:ACK", "TIME_WAIT", 120000, 0}}},
    {"simultaneous", false,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"O:SYNACK", "SYN_RECV", 60000, 0},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"I:FIN", "CLOSE_WAIT", 60000, -1},
      {"O:FIN", "TIME_WAIT", 120000, 0},
      {"I:ACK", "TIME_WAIT", 120000, 0},
      {"O:ACK", "TIME_WAIT", 120000, 0}}},
    {"rst by client", false,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"O:SYNACK", "SYN_RECV", 60000, 0},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"I:RST", "CLOSE", 10000, -1}}},
    {"rst by server", false,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"O:SYNACK", "SYN_RECV", 60000, 0},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"O:RST", "CLOSE", 10000, -1}}},
    {"refused", false,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"O:RST", "CLOSE", 10000, -1}}},
    {"reopen after close", false,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"O:SYNACK", "SYN_RECV", 60000, 0},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"I:FIN", "CLOSE_WAIT", 60000, -1},
      {"O:FIN", "TIME_WAIT", 120000, 0},
      {"I:ACK", "TIME_WAIT", 120000, 0},
      {"I:SYN", "SYN_RECV", 60000, 1},
      {"O:SYNACK", "SYN_RECV", 60000, 0},
      {"I:ACK", "ESTABLISHED", 900000, 0}}},
    {"syn retry", false,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"I:SYN", "SYN_RECV", 60000, 0},
      {"I:SYN", "SYN_RECV", 60000, 0}}},
    {"DR open/close by client", true,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"I:FIN", "FIN_WAIT", 120000, -1},
      {"I:ACK", "FIN_WAIT", 120000, 0}}},
    {"DR close by server", true,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"I:FIN", "FIN_WAIT", 120000, -1}}},
    {"DR rst", true,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"I:RST", "CLOSE", 10000, -1}}},
    {"DR reopen", true,
     {{"I:SYN", "SYN_RECV", 60000, 1},
      {"I:ACK", "ESTABLISHED", 900000, 0},
      {"I:FIN", "FIN_WAIT", 120000, -1},
      {"I:ACK", "FIN_WAIT", 120000, 0},
      {"I:SYN", "SYN_RECV", 60000, 1},
      {"I:ACK", "ESTABLISHED", 900000, 0}}},
};

void check_rows(const Row* rows, std::size_t count, bool input_only) {
  const char* const kEvents[] = {"SYN", "SYNACK", "ACK", "FIN", "RST"};
  for (std::size_t r = 0; r < count; r++) {
    SessionState state = SessionState::kNone;
    std::istringstream path(rows[r].path);
    for (std::string event; path >> event;) state = step(state, event, input_only);
    for (const char side : {'I', 'O'}) {
      std::istringstream expected(side == 'I' ? rows[r].input : rows[r].output);
      std::string name;
      for (int e = 0; expected >> name; e++) {
        const std::string event = std::string(1, side) + ":" + kEvents[e];
        EXPECT_EQ(state_name(step(state, event, input_only)), name) << rows[r].path << " + " << event;
      }
    }
  }
}

TEST(TcpState, FollowsTheRecordedTransitionsWhenBothDirectionsPass) { check_rows(kNat, std::size(kNat), false); }

TEST(TcpState, FollowsTheRecordedTransitionsWhenOnlyTheClientIsSeen) {
  check_rows(kInputOnly, std::size(kInputOnly), true);
}

TEST(TcpState, FollowsRecordedConversationsWithTheirTimeoutsAndActiveCounts) {
  const TimeoutTable& timeouts = default_timeouts(TimeoutProfile::kIpvs);
  for (const Conversation& conversation : kConversations) {
    SessionState state = SessionState::kNone;
    for (const Step& expected : conversation.steps) {
      const SessionState before = state;
      state = step(state, expected.event, conversation.input_only);
      EXPECT_EQ(state_name(state), expected.state) << conversation.name << " " << expected.event;
      EXPECT_EQ(timeouts[static_cast<std::size_t>(state)], expected.timeout_ms) << conversation.name << " " << expected.event;
      EXPECT_EQ(static_cast<int>(is_active(state)) - static_cast<int>(is_active(before)), expected.active)
          << conversation.name << " " << expected.event;
    }
  }
}

TEST(TcpState, OnlyASynWithoutResetOpensASession) {
  EXPECT_TRUE(tcp_may_open(tcp_flag::kSyn));
  EXPECT_TRUE(tcp_may_open(tcp_flag::kSyn | tcp_flag::kAck));
  for (const int flags : {0, 0x10, 0x01, 0x11, 0x04, 0x06, 0x14}) {
    EXPECT_FALSE(tcp_may_open(static_cast<std::uint8_t>(flags))) << flags;
  }
}

TEST(TcpState, ResetComesBeforeSynBeforeFinBeforeAck) {
  const auto next = [](int flags) {
    return next_tcp_state(SessionState::kTimeWait, Direction::kInbound, static_cast<std::uint8_t>(flags), false);
  };
  EXPECT_EQ(next(0x04 | 0x02 | 0x01 | 0x10), SessionState::kClose);
  EXPECT_EQ(next(0x02 | 0x01 | 0x10), SessionState::kSynRecv);
  EXPECT_EQ(next_tcp_state(SessionState::kEstablished, Direction::kInbound, 0x11, false), SessionState::kCloseWait);
  // PSH, URG, ECE, CWR say nothing about the state.
  EXPECT_EQ(next_tcp_state(SessionState::kEstablished, Direction::kInbound, 0xf8, false), SessionState::kEstablished);
}

TEST(TcpState, AllTransitionsLeadToTcpStates) {
  for (std::size_t state = 0; state <= static_cast<std::size_t>(SessionState::kSynAck); state++) {
    for (int flags = 0; flags < 256; flags++) {
      for (const Direction direction : {Direction::kInbound, Direction::kOutbound}) {
        for (const bool input_only : {false, true}) {
          const SessionState next =
              next_tcp_state(static_cast<SessionState>(state), direction, static_cast<std::uint8_t>(flags), input_only);
          ASSERT_NE(next, SessionState::kNone);
          ASSERT_LE(next, SessionState::kSynAck);
        }
      }
    }
  }
}

TEST(TcpState, UdpIsOneWayUntilTheFirstReplyAndNeverActive) {
  SessionState state = next_udp_state(SessionState::kNone, Direction::kInbound);
  EXPECT_EQ(state, SessionState::kUdpOneWay);
  state = next_udp_state(state, Direction::kInbound);
  EXPECT_EQ(state, SessionState::kUdpOneWay);
  state = next_udp_state(state, Direction::kOutbound);
  EXPECT_EQ(state, SessionState::kUdpNormal);
  state = next_udp_state(state, Direction::kInbound);
  EXPECT_EQ(state, SessionState::kUdpNormal);
  // Recorded: one UDP session, before and after a reply, is ActiveConn 0, InActConn 1, 300 s.
  EXPECT_FALSE(is_active(SessionState::kUdpOneWay));
  EXPECT_FALSE(is_active(SessionState::kUdpNormal));
  EXPECT_EQ(default_timeouts(TimeoutProfile::kIpvs)[static_cast<std::size_t>(SessionState::kUdpNormal)], 300000u);
}

TEST(TcpState, TheDpvsProfileIsShort) {
  const TimeoutTable& t = default_timeouts(TimeoutProfile::kDpvs);
  const TimeoutTable expected = {2000, 90000, 3000, 30000, 7000, 7000, 3000, 7000, 7000, 120000, 30000, 300000, 300000};
  EXPECT_EQ(t, expected);
}

TEST(TcpState, OnlyAFinishedSessionIsReusedForANewConnection) {
  for (std::size_t state = 0; state < kSessionStates; state++) {
    const auto s = static_cast<SessionState>(state);
    EXPECT_EQ(tcp_is_over(s), s == SessionState::kTimeWait || s == SessionState::kClose);
  }
}

}  // namespace
}  // namespace millrace
