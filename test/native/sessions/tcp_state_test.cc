// What the recordings of a live IPVS (recordings_test.cc) do not show: which packets open a session, which flag decides, that every
// state has its successor, and the second profile of timeouts.
#include "sessions/tcp_state.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sessions/sctp_state.h"

namespace millrace {
namespace {

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
  const std::array<std::uint32_t, 13> expected = {2000, 90000, 3000, 30000, 7000, 7000, 3000, 7000, 7000, 120000, 30000, 300000, 300000};
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), t.begin()));
  // SCTP has the same times in both.
  EXPECT_TRUE(std::equal(t.begin() + expected.size(), t.end(),
                         default_timeouts(TimeoutProfile::kIpvs).begin() + expected.size()));
}

TEST(SctpState, AllTransitionsLeadToSctpStates) {
  for (std::size_t row = 0; row < detail::kSctpStates; row++) {
    const auto state = row == 0 ? SessionState::kNone
                                : static_cast<SessionState>(static_cast<std::size_t>(SessionState::kSctpInit1) + row - 1);
    for (int chunk = 0; chunk < 256; chunk++) {
      for (const Direction direction : {Direction::kInbound, Direction::kOutbound}) {
        for (const bool input_only : {false, true}) {
          const SessionState next = next_sctp_state(state, direction, sctp_event(static_cast<std::uint8_t>(chunk)), input_only);
          ASSERT_GE(next, state == SessionState::kNone ? SessionState::kNone : SessionState::kSctpInit1);
          ASSERT_LE(next, SessionState::kSctpClosed);
        }
      }
    }
  }
}

TEST(SctpState, OfWhichOnlyTheClientIsSeenIsEstablishedByItsCookieAndOverByItsEnd) {
  const auto play = [](std::initializer_list<SctpEvent> events) {
    SessionState state = SessionState::kNone;
    for (const SctpEvent event : events) state = next_sctp_state(state, Direction::kInbound, event, true);
    return state_name(state);
  };
  using enum SctpEvent;
  EXPECT_EQ(play({kInit}), "INIT1");
  EXPECT_EQ(play({kInit, kInit}), "INIT");
  EXPECT_EQ(play({kInit, kCookieEcho}), "ESTABLISHED");
  EXPECT_EQ(play({kInit, kCookieEcho, kData}), "ESTABLISHED");
  EXPECT_EQ(play({kInit, kCookieEcho, kShutdown}), "S-RECEIVED");
  EXPECT_EQ(play({kInit, kCookieEcho, kShutdown, kShutdownComplete}), "CLOSED");
  EXPECT_EQ(play({kInit, kCookieEcho, kShutdownAck}), "CLOSED");
  EXPECT_EQ(play({kInit, kCookieEcho, kAbort}), "CLOSED");
}

TEST(TcpState, OnlyAFinishedSessionIsReusedForANewConnection) {
  for (std::size_t state = 0; state < kSessionStates; state++) {
    const auto s = static_cast<SessionState>(state);
    EXPECT_EQ(tcp_is_over(s), s == SessionState::kTimeWait || s == SessionState::kClose);
  }
}

}  // namespace
}  // namespace millrace
