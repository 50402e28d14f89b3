// What becomes of sessions when their server or service is removed: kept, dropped, or reset at both ends.
#include <gtest/gtest.h>

#include <utility>

#include "support/flow.h"

namespace millrace::test {
namespace {

/// Services with one server each, all with the same choice.
TablesConfig tables_with(OnRemoval choice, std::uint32_t workers = 1) {
  TablesConfig config = default_tables(workers);
  for (ServiceConfig& service : config.services) {
    service.on_removal = choice;
    service.servers.resize(1);
  }
  return config;
}
TablesConfig without_servers(TablesConfig config) {
  for (ServiceConfig& service : config.services) service.servers.clear();
  return config;
}

class Removal : public testing::TestWithParam<bool> {
 protected:
  Flow client(std::uint8_t flags, std::uint32_t seq, std::uint32_t ack) const {
    Flow f = GetParam() ? flow6() : Flow{};
    f.flags = flags;
    f.seq = seq;
    f.ack = ack;
    return f;
  }
  /// A connection with 100 sent by the client and 500 by the server, as the server sees it.
  Flow establish(Stage& stage) const {
    const Flow syn = client(kSyn, 100, 0);
    const Flow at_server = expect_forwarded(stage, syn);
    Flow answer = reply_of(at_server);
    answer.flags = kSyn | kAck;
    answer.seq = 500;
    answer.ack = 101;
    expect_returned(stage, answer, syn);
    (void)expect_forwarded(stage, client(kAck, 101, 501));
    return at_server;
  }
  static Flow bare_reset(Flow f, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack) {
    f.flags = flags;
    f.seq = seq;
    f.ack = ack;
    f.window = 0;
    f.payload.clear();
    return f;
  }
  /// A reset that the balancer makes for the sender of `f`.
  static Flow back_to_sender(const Flow& f, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack) {
    Flow reset = bare_reset(reply_of(f), flags, seq, ack);
    reset.ttl = 64;
    reset.tos = 0;
    reset.id = 0;
    reset.dont_fragment = !f.six;
    return reset;
  }
  static void expect_both(Stage& stage, const Bytes& packet, std::uint16_t from, const Bytes& to_client, const Bytes& to_server) {
    const std::vector<Sent> sent = stage.pass_through(packet, from);
    ASSERT_EQ(sent.size(), 2u);
    const auto& [first, second] = std::pair(sent[0], sent[1]);
    EXPECT_EQ(first.interface == kClientSide ? first.bytes : second.bytes, to_client);
    EXPECT_EQ(first.interface == kServerSide ? first.bytes : second.bytes, to_server);
  }
};

TEST_P(Removal, AClientThatSpeaksNextIsResetAndItsServerToo) {
  Stage stage({}, tables_with(OnRemoval::kReset));
  const Flow at_server = establish(stage);
  stage.apply(without_servers(tables_with(OnRemoval::kReset)));
  Flow data = client(kAck, 101, 501);
  data.payload = Bytes(10, 'x');
  expect_both(stage, data.build(), kClientSide, back_to_sender(data, kRst, 501, 0).build(),
              bare_reset(at_server, kRst | kAck, 101, 501).build());
  EXPECT_EQ(stage.count(DropReason::server_removed), 1u);
  expect_both(stage, data.build(), kClientSide, back_to_sender(data, kRst, 501, 0).build(),
              bare_reset(at_server, kRst | kAck, 101, 501).build());
  stage.pass(11'000);
  stage.settle();
  EXPECT_EQ(stage.count(Counter::sessions), 0u) << "ten seconds for resets that get lost";
  stage.expect_accounted();
}

TEST_P(Removal, AServerThatSpeaksNextIsResetAndItsClientToo) {
  Stage stage({}, tables_with(OnRemoval::kReset));
  const Flow at_server = establish(stage);
  stage.apply(without_servers(tables_with(OnRemoval::kReset)));
  Flow data = reply_of(at_server);
  data.flags = kAck;
  data.seq = 501;
  data.ack = 101;
  data.ttl = 64;
  data.payload = Bytes(1000, 'y');
  expect_both(stage, data.build(), kServerSide,
              towards_client(bare_reset(data, kRst | kAck, 501, 101), client(kAck, 0, 0)).build(),
              back_to_sender(data, kRst, 101, 0).build());
  stage.expect_accounted();
}

TEST_P(Removal, AResetOfOneSideReachesTheOtherAndIsNotAnswered) {
  Stage stage({}, tables_with(OnRemoval::kReset));
  const Flow at_server = establish(stage);
  stage.apply(without_servers(tables_with(OnRemoval::kReset)));
  const std::vector<Sent> sent = stage.pass_through(client(kRst, 101, 0).build());
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, bare_reset(at_server, kRst, 101, 0).build());
  stage.expect_accounted();
}

TEST_P(Removal, OfTheWholeServiceIsTheSame) {
  Stage stage({}, tables_with(OnRemoval::kReset));
  (void)establish(stage);
  TablesConfig none = tables_with(OnRemoval::kReset);
  none.services.clear();
  stage.apply(none);
  EXPECT_EQ(stage.pass_through(client(kAck, 101, 501).build()).size(), 2u);
  Flow again = client(kSyn, 9000, 0);
  expect_dropped(stage, again.build(), DropReason::no_service);
}

TEST_P(Removal, ADroppedSessionGoesOnWhenItsServerComesBack) {
  Stage stage({}, tables_with(OnRemoval::kDrop));
  (void)establish(stage);
  stage.apply(without_servers(tables_with(OnRemoval::kDrop)));
  expect_dropped(stage, client(kAck, 101, 501).build(), DropReason::server_removed);
  stage.apply(tables_with(OnRemoval::kDrop));
  (void)expect_forwarded(stage, client(kAck, 101, 501));
  stage.expect_accounted();
}

TEST_P(Removal, KeepsSessionsUnlessToldOtherwise) {
  Stage stage({}, tables_with(OnRemoval::kKeep));
  (void)establish(stage);
  stage.apply(without_servers(tables_with(OnRemoval::kKeep)));
  (void)expect_forwarded(stage, client(kAck, 101, 501));
}

INSTANTIATE_TEST_SUITE_P(Families, Removal, testing::Bool());

TEST(RemovalWalk, EndsSessionsWithoutResetsAndLeavesThoseOfOthersAlone) {
  TablesConfig tables = default_tables(1);
  for (ServiceConfig& service : tables.services) service.on_removal = OnRemoval::kReset;
  Stage stage({}, tables);
  for (std::uint16_t i = 0; i < 1500; i++) {
    Flow f;
    f.tcp = false;
    f.destination_port = 53;
    f.source_port = static_cast<std::uint16_t>(2000 + i);
    (void)stage.pass_through(f.build());
  }
  ASSERT_EQ(stage.count(Counter::sessions), 1500u);
  tables.services[1].servers.erase(tables.services[1].servers.begin());
  stage.apply(tables);
  (void)stage.turn();
  EXPECT_GT(stage.count(Counter::sessions), 1000u) << "a few per turn";
  stage.settle();
  EXPECT_EQ(stage.count(Counter::sessions), 750u);
  EXPECT_EQ(stage.count(Counter::sessions_expired), 750u);
  Flow f;
  f.tcp = false;
  f.destination_port = 53;
  for (std::uint16_t i = 0; i < 1500; i++) {
    f.source_port = static_cast<std::uint16_t>(2000 + i);
    EXPECT_EQ(stage.pass_through(f.build()).size(), 1u) << "served by who is left";
  }
  stage.expect_accounted();
}

TEST(RemovalWalk, AServerThatIsReachedInAnotherWayKeepsItsSessions) {
  TablesConfig tables = tables_with(OnRemoval::kReset);
  Stage stage({}, tables);
  Flow f;
  (void)expect_forwarded(stage, f);
  tables.services[0].servers[0].mode = ForwardMode::kDirect;
  stage.apply(tables);
  f.flags = kAck;
  (void)expect_forwarded(stage, f);
}

}  // namespace
}  // namespace millrace::test
