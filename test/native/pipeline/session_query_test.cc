// Looking at sessions from outside, and ending them.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "pipeline/session_query.h"
#include "support/flow.h"

namespace millrace::test {
namespace {

/// Has worker `worker` answer, turn by turn.
std::uint32_t answer(Stage& stage, SessionQuery& query, std::uint32_t worker = 0) {
  stage.loop(worker).ask(query);
  std::uint32_t turns = 0;
  for (; !query.done() && turns < 10'000; turns++) stage.turn(worker);
  EXPECT_TRUE(query.done());
  return turns;
}

Flow client(int number, bool tcp = true) {
  Flow f;
  f.tcp = tcp;
  f.source_port = static_cast<std::uint16_t>(10'000 + number);
  f.destination_port = tcp ? 80 : 53;
  return f;
}

TEST(SessionQuery, ListsEachSessionOnceWithWhatItIs) {
  Stage stage({});
  const Flow at_server = expect_forwarded(stage, client(1));
  SessionQuery query({}, 0, 10, false);
  answer(stage, query);
  ASSERT_EQ(query.rows().size(), 1u);
  const SessionRow& row = query.rows()[0];
  EXPECT_EQ(row.client.to_string(), "198.51.100.7");
  EXPECT_EQ(row.client_port.host(), 10'001);
  EXPECT_EQ(row.vip.to_string(), kVip);
  EXPECT_EQ(row.vip_port.host(), 80);
  EXPECT_EQ(row.local.to_string(), at_server.source);
  EXPECT_EQ(row.local_port.host(), at_server.source_port);
  EXPECT_EQ(row.server.to_string(), at_server.destination);
  EXPECT_EQ(row.server_port.host(), at_server.destination_port);
  EXPECT_EQ(row.protocol, 6);
  EXPECT_EQ(row.state, SessionState::kSynRecv);
  EXPECT_EQ(row.mode, ForwardMode::kFullNat);
  EXPECT_EQ(row.expires_ms, 60'000u);
  EXPECT_EQ(query.cursor(), kNoSession);
}

TEST(SessionQuery, PagesMeetEverySessionOnceWhateverComesAndGoesMeanwhile) {
  Stage stage({.workers = 1, .max_sessions = 8192});
  for (int i = 0; i < 3000; i++) (void)stage.pass_through(client(i).build());
  std::set<std::uint16_t> met;
  SessionId cursor = 0;
  std::uint32_t pages = 0;
  for (; cursor != kNoSession; pages++) {
    SessionQuery query({}, cursor, 100, false);
    answer(stage, query);
    ASSERT_LE(query.rows().size(), 100u);
    for (const SessionRow& row : query.rows()) EXPECT_TRUE(met.insert(row.client_port.host()).second);
    cursor = query.cursor();
    // Newcomers.
    (void)stage.pass_through(client(4000 + static_cast<int>(pages)).build());
  }
  for (int i = 0; i < 3000; i++) EXPECT_TRUE(met.contains(static_cast<std::uint16_t>(10'000 + i)));
  EXPECT_GE(pages, 30u);
}

TEST(SessionQuery, CountsWithoutListingAFewATurn) {
  Stage stage({.workers = 1, .max_sessions = 8192});
  for (int i = 0; i < 3000; i++) (void)stage.pass_through(client(i).build());
  SessionQuery query({}, 0, 0, false);
  EXPECT_GT(answer(stage, query), 3u) << "not all in one turn: packets would wait";
  EXPECT_EQ(query.matched(), 3000u);
  EXPECT_TRUE(query.rows().empty());
}

TEST(SessionQuery, FiltersByClientProtocolServiceAndServer) {
  Stage stage({});
  for (int i = 0; i < 10; i++) (void)stage.pass_through(client(i).build());
  for (int i = 0; i < 5; i++) (void)stage.pass_through(client(i, false).build());
  const auto count = [&](SessionFilter filter) {
    SessionQuery query(std::move(filter), 0, 0, false);
    answer(stage, query);
    return query.matched();
  };
  bool ok = false;
  SessionFilter filter;
  EXPECT_EQ(count(filter), 15u);
  filter.protocol = 17;
  EXPECT_EQ(count(filter), 5u);
  filter.client = Prefix::parse("198.51.100.0/24", ok);
  EXPECT_EQ(count(filter), 5u);
  filter.client = Prefix::parse("203.0.113.0/24", ok);
  EXPECT_EQ(count(filter), 0u);
  filter = {};
  filter.client_port = be16(10'003);
  EXPECT_EQ(count(filter), 2u);
  SessionQuery all({}, 0, 100, false);
  answer(stage, all);
  std::map<ServiceSlot, std::uint64_t> by_service;
  std::map<ServerSlot, std::uint64_t> by_server;
  for (const SessionRow& row : all.rows()) {
    by_service[row.service]++;
    by_server[row.server_slot]++;
  }
  for (const auto& [slot, number] : by_service) EXPECT_EQ(count({.services = {slot}}), number);
  for (const auto& [slot, number] : by_server) EXPECT_EQ(count({.servers = {slot}}), number);
}

TEST(SessionQuery, EndsUdpAtOnceAndTcpByResetsToBothSides) {
  Stage stage({});
  const Flow syn = client(1);
  const Flow at_server = expect_forwarded(stage, syn);
  Flow answer_ = reply_of(at_server);
  answer_.flags = kSyn | kAck;
  expect_returned(stage, answer_, syn);
  (void)stage.pass_through(client(2, false).build());
  SessionQuery query({}, 0, 0, true);
  answer(stage, query);
  EXPECT_EQ(query.matched(), 2u);
  EXPECT_EQ(stage.state().sessions->size(), 1u) << "the UDP session is gone";

  // A configuration in between changes nothing about it.
  stage.apply(default_tables(1));
  Flow data = client(1);
  data.flags = kAck;
  data.seq = 2;
  data.ack = 2;
  const std::vector<Sent> sent = stage.pass_through(data.build());
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_NE(sent[0].interface, sent[1].interface);
  EXPECT_EQ(stage.count(DropReason::server_removed), 1u);
}

TEST(SessionQuery, AWorkerOnItsOwnThreadAnswersWhileItForwards) {
  Stage stage({.workers = 1, .max_sessions = 8192});
  for (int i = 0; i < 2000; i++) (void)stage.pass_through(client(i).build());
  std::atomic<bool> stop{false};
  std::thread worker([&] {
    while (!stop.load()) stage.turn();
  });
  for (int round = 0; round < 50; round++) {
    SessionQuery query({}, 0, 0, false);
    stage.loop().ask(query);
    while (!query.done()) std::this_thread::yield();
    EXPECT_EQ(query.matched(), 2000u);
  }
  stop = true;
  worker.join();
}

}  // namespace
}  // namespace millrace::test
