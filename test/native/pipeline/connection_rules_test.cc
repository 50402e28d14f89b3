// How connections may begin: the recordings of a live IPVS with conn_reuse_mode, sloppy_tcp and one-packet scheduling (-o).
#include <gtest/gtest.h>

#include <cstdint>
#include <tuple>
#include <vector>

#include "support/flow.h"
#include "support/modes.h"

namespace millrace::test {
namespace {

using Servers = std::vector<std::uint32_t>;

/// Three servers, round robin, behind TCP 80 and UDP 53.
TablesConfig three_servers(ConnectionRules rules, ForwardMode mode = ForwardMode::kFullNat, std::uint32_t workers = 1) {
  TablesConfig config = mode_tables(workers, mode, false, false);
  for (ServiceConfig& service : config.services) {
    ServerConfig third = service.servers[0];
    third.address = ip("10.0.2.13");
    service.servers.push_back(third);
    service.rules = rules;
  }
  return config;
}

/// The server that a packet met: by its address, or in direct routing by its Ethernet address. 0: none.
std::uint32_t meet(Stage& stage, const Flow& f, ForwardMode mode = ForwardMode::kFullNat, std::uint32_t worker = 0) {
  const auto sent = stage.pass_through(f.build(), kClientSide, worker);
  if (sent.size() != 1) return 0;
  return mode == ForwardMode::kDirect ? sent[0].bytes[5] - 0x10u : sent[0].bytes[33] - 10u;
}

/// Four connections from one port, each closed by the client in one of two ways.
Servers four_from_one_port(ConnectionReuse reuse, std::uint8_t closing, ForwardMode mode = ForwardMode::kFullNat) {
  Stage stage({}, three_servers({.reuse = reuse}, mode));
  Servers servers;
  for (int n = 0; n < 4; n++) {
    Flow f = from_port(33333);
    servers.push_back(meet(stage, f, mode));
    f.flags = kAck;
    EXPECT_NE(meet(stage, f, mode), 0u);
    f.flags = closing;
    EXPECT_NE(meet(stage, f, mode), 0u);
  }
  EXPECT_EQ(stage.drops(), 0u);
  stage.expect_accounted();
  return servers;
}

TEST(ConnectionReuse, Mode0GoesOnWithTheSessionAndMode1SchedulesAnew) {
  EXPECT_EQ(four_from_one_port(ConnectionReuse::kNever, kRst), (Servers{3, 3, 3, 3}));
  EXPECT_EQ(four_from_one_port(ConnectionReuse::kEnded, kRst), (Servers{3, 2, 1, 3}));
  EXPECT_EQ(four_from_one_port(ConnectionReuse::kEndedOrFinWait, kRst), (Servers{3, 2, 1, 3}));
}

TEST(ConnectionReuse, OnlyMode2TakesFinWaitForTheEndWhereOnlyTheClientIsSeen) {
  EXPECT_EQ(four_from_one_port(ConnectionReuse::kEnded, kFin | kAck, ForwardMode::kDirect), (Servers{3, 3, 3, 3}));
  EXPECT_EQ(four_from_one_port(ConnectionReuse::kEndedOrFinWait, kFin | kAck, ForwardMode::kDirect), (Servers{3, 2, 1, 3}));
  EXPECT_EQ(four_from_one_port(ConnectionReuse::kEnded, kRst, ForwardMode::kDirect), (Servers{3, 2, 1, 3}));
}

TEST(ConnectionReuse, ASynInTimeWaitIsForwardedAtOnceInEveryMode) {
  for (const ConnectionReuse reuse : {ConnectionReuse::kNever, ConnectionReuse::kEnded, ConnectionReuse::kEndedOrFinWait}) {
    Stage stage({}, three_servers({.reuse = reuse}));
    Flow f = from_port(33333);
    const auto first = stage.pass_through(f.build());
    ASSERT_EQ(first.size(), 1u);
    Flow reply = reply_of(towards_server(f, first[0].bytes));
    reply.flags = kFin | kAck;
    Flow end = f;
    end.flags = kFin | kAck;
    EXPECT_EQ(stage.pass_through(end.build()).size(), 1u);
    EXPECT_EQ(stage.pass_through(reply.build(), kServerSide).size(), 1u);
    f.seq = 90000;
    const auto second = stage.pass_through(f.build());
    ASSERT_EQ(second.size(), 1u);
    EXPECT_EQ(second[0].bytes[33] - 10, reuse == ConnectionReuse::kNever ? 3 : 2);
    EXPECT_EQ(stage.count(Counter::sessions_created), reuse == ConnectionReuse::kNever ? 1u : 2u);
    EXPECT_EQ(stage.count(Counter::sessions_active), 1u) << "SYN_RECV again";
  }
}

TEST(ConnectionReuse, ASynThatAServerInTimeWaitChallengedIsAskedAgainOnTheSamePort) {
  Stage stage({}, three_servers({}));
  const Flow syn = from_port(33333);
  const Flow at_server = expect_forwarded(stage, syn);
  // What Linux answers in TIME_WAIT to a SYN with an older timestamp: an ACK of the connection before. The client knows nothing of it.
  Flow challenge = reply_of(at_server);
  challenge.flags = kAck;
  expect_returned(stage, challenge, syn);
  Flow reset = syn;
  reset.flags = kRst;
  EXPECT_EQ(expect_forwarded(stage, reset).source_port, at_server.source_port) << "frees the port at the server";

  const Flow again = expect_forwarded(stage, syn);
  EXPECT_EQ(again.destination, at_server.destination);
  EXPECT_EQ(again.source_port, at_server.source_port);
  Flow accepted = reply_of(again);
  accepted.flags = kSyn | kAck;
  expect_returned(stage, accepted, syn);
  Flow ack = syn;
  ack.flags = kAck;
  expect_forwarded(stage, ack);
  EXPECT_EQ(stage.count(Counter::sessions_created), 1u);
  EXPECT_EQ(stage.count(Counter::sessions_active), 1u);
  EXPECT_EQ(stage.drops(), 0u);
}

const Session& only_session(Stage& stage, std::uint32_t worker = 0) {
  const Session* found = nullptr;
  stage.state(worker).sessions->for_each([&](SessionId, Session& session) { found = &session; });
  return *found;
}

TEST(SloppyTcp, AnAckOpensEstablishedAFinOpensClosedAResetNothing) {
  for (const ForwardMode mode : {ForwardMode::kFullNat, ForwardMode::kNat, ForwardMode::kDirect}) {
    for (const auto& [flags, state, seconds] : {std::tuple{kAck, SessionState::kEstablished, 900u},
                                                std::tuple{std::uint8_t(kFin | kAck), SessionState::kClose, 10u},
                                                std::tuple{std::uint8_t(kSyn | kAck), SessionState::kSynRecv, 60u}}) {
      Stage stage({}, three_servers({.sloppy_tcp = true}, mode));
      Flow f = from_port(4000);
      f.flags = flags;
      EXPECT_EQ(meet(stage, f, mode), 3u);
      ASSERT_EQ(stage.count(Counter::sessions), 1u);
      EXPECT_EQ(only_session(stage).state, state);
      EXPECT_EQ(only_session(stage).deadline_ms - stage.now_ms(), seconds * 1000);
      EXPECT_EQ(stage.count(Counter::sessions_active), state == SessionState::kClose ? 0u : 1u);
      stage.expect_accounted();
    }
    Stage stage({}, three_servers({.sloppy_tcp = true}, mode));
    Flow f = from_port(4000);
    f.flags = kRst;
    expect_dropped(stage, f.build(), DropReason::tcp_no_session);
  }
}

TEST(SloppyTcp, WithoutItAnAckOpensNothing) {
  Stage stage({}, three_servers({}));
  Flow f = from_port(4000);
  f.flags = kAck;
  expect_dropped(stage, f.build(), DropReason::tcp_no_session);
}

TEST(SloppyTcp, TheOtherWorkersAreAskedFirstAndTheFirstOneBeginsTheSession) {
  constexpr std::uint32_t kWorkers = 3;
  Stage stage({.workers = kWorkers}, three_servers({.sloppy_tcp = true}, ForwardMode::kFullNat, kWorkers));
  Flow known = from_port(4000);
  EXPECT_NE(meet(stage, known, ForwardMode::kFullNat, 2), 0u);
  known.flags = kAck;
  EXPECT_NE(meet(stage, known, ForwardMode::kFullNat, 0), 0u);
  EXPECT_EQ(stage.count(Counter::sessions), 1u) << "worker 2 has it";
  EXPECT_EQ(stage.count(Counter::handoff_sent), 2u);

  Flow stray = from_port(4001);
  stray.flags = kAck;
  EXPECT_NE(meet(stage, stray, ForwardMode::kFullNat, 1), 0u);
  EXPECT_EQ(stage.count(Counter::sessions), 2u);
  EXPECT_EQ(stage.count(Counter::handoff_sent), 5u) << "once round, and home";
  EXPECT_EQ(stage.state(1).sessions->size(), 1u) << "where its packets come in";
  EXPECT_NE(meet(stage, stray, ForwardMode::kFullNat, 1), 0u);
  EXPECT_EQ(stage.count(Counter::handoff_sent), 5u);
  stage.expect_accounted();
}

TEST(OnePacket, EveryDatagramIsScheduledAndLeavesNothing) {
  for (const ForwardMode mode : {ForwardMode::kNat, ForwardMode::kDirect, ForwardMode::kTunnelIpip, ForwardMode::kTunnelGue,
                                 ForwardMode::kL3Dsr}) {
    Stage stage({}, three_servers({.one_packet = true}, mode));
    for (int n = 0; n < 6; n++) EXPECT_EQ(stage.pass_through(from_port(3456, false).build()).size(), 1u) << mode_name(mode);
    EXPECT_EQ(stage.count(Counter::sessions), 0u);
    EXPECT_EQ(stage.count(Counter::sessions_created), 6u);
    EXPECT_EQ(stage.state().sessions->size(), 0u);
    EXPECT_EQ(stage.state().timers->size(), 0u);
    for (const ServerView& server : stage.snapshot().services->services.find(ServiceKey{ip(kVip), be16(53), 17})->second->servers) {
      const ServerStats& stats = stage.state().server_stats[server.slot];
      EXPECT_EQ(stats.connections, 2u) << "as recorded: 6 connections, 2 for each server";
      EXPECT_EQ(stats.in_packets, 2u);
      EXPECT_EQ(stats.active + stats.inactive, 0u);
    }
    stage.expect_accounted();
  }
}

TEST(OnePacket, OthersOfTheBatchKeepTheirSessions) {
  TablesConfig tables = three_servers({}, ForwardMode::kDirect);
  tables.services[1].rules.one_packet = true;
  Stage stage({}, tables);
  for (std::uint16_t n = 0; n < 20; n++) {
    ASSERT_TRUE(stage.inject(from_port(static_cast<std::uint16_t>(5000 + n), n % 2 == 0).build()));
  }
  stage.settle();
  EXPECT_EQ(stage.take().size(), 20u);
  EXPECT_EQ(stage.count(Counter::sessions), 10u);
  EXPECT_EQ(stage.count(Counter::sessions_created), 20u);
  stage.expect_accounted();
}

TEST(OnePacket, WithoutItAFlowKeepsItsServer) {
  Stage stage({}, three_servers({}, ForwardMode::kNat));
  for (int n = 0; n < 7; n++) EXPECT_EQ(meet(stage, from_port(3456, false)), 3u);
}

}  // namespace
}  // namespace millrace::test
