// Limits on packets and bits per second through the pipeline: on, changed and off while packets flow, and what is counted where.
#include <gtest/gtest.h>

#include "support/flow.h"

namespace millrace::test {
namespace {

TablesConfig with_limit(RateLimits service, RateLimits server = {}) {
  TablesConfig config = default_tables(1);
  for (ServiceConfig& each : config.services) {
    each.rates = service;
    for (ServerConfig& one : each.servers) one.rates = server;
  }
  return config;
}

/// How many of `count` packets of an existing session pass, all in one millisecond.
int passing(Stage& stage, int count) {
  Flow f = from_port(2000, false);
  int passed = 0;
  for (int i = 0; i < count; i++) passed += stage.pass_through(f.build()).size() == 1 ? 1 : 0;
  return passed;
}

TEST(RateLimitsOfServices, HoldFromTheNextPacketOnWhenTheyChangeAndEndWhenTheyAreRemoved) {
  Stage stage({});
  EXPECT_EQ(passing(stage, 50), 50);
  stage.apply(with_limit({.packets = 20}));
  EXPECT_EQ(passing(stage, 50), 10) << "the least burst";
  EXPECT_EQ(stage.count(DropReason::service_packet_rate), 40u);
  stage.apply(with_limit({.packets = 1'000}));
  stage.pass(2'000);
  EXPECT_EQ(passing(stage, 200), 100) << "a tenth of a second's";
  EXPECT_EQ(stage.count(DropReason::service_packet_rate), 140u);
  stage.apply(with_limit({}, {.bits = 8'000'000}));
  stage.pass(2'000);
  const int passed = passing(stage, 5'000);
  EXPECT_LT(passed, 5'000);
  EXPECT_GT(passed, 1'000);
  EXPECT_EQ(stage.count(DropReason::server_bandwidth), static_cast<std::uint64_t>(5'000 - passed));
  stage.apply(with_limit({}));
  EXPECT_EQ(passing(stage, 500), 500);
  EXPECT_EQ(stage.count(Counter::sessions_created), 1u);
  stage.expect_accounted();
}

TEST(RateLimitsOfServices, AClientWithoutRoomBeginsNoSessionAndHoldsNothing) {
  TablesConfig config = with_limit({.packets = 1});
  for (ServiceConfig& service : config.services) service.max_connections = 100;
  Stage stage({}, config);
  for (std::uint16_t n = 0; n < 30; n++) stage.pass_through(from_port(static_cast<std::uint16_t>(3000 + n)).build());
  EXPECT_EQ(stage.count(Counter::sessions_created), 10u);
  EXPECT_EQ(stage.count(DropReason::service_packet_rate), 20u);
  EXPECT_EQ(stage.state().local_ports->used(), 10u);
  stage.expect_accounted();
}

}  // namespace
}  // namespace millrace::test
