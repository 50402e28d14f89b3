// Outer sources of tunnels: one per flow where the configuration has a range for them, the same for all packets of the flow, and an
// error about such a packet still finds its flow.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "support/modes.h"

namespace millrace::test {
namespace {

TablesConfig with_ranges(ForwardMode mode, bool outer6) {
  TablesConfig tables = mode_tables(1, mode, false, outer6);
  tables.tunnel_sources = {{ip("172.16.0.0"), 112}, {ip("fd00:1::"), 64}};
  return tables;
}

std::string outer_source(const Bytes& frame, bool outer6) { return address_at(frame, outer6 ? 22 : 26, outer6); }

class TunnelSources : public testing::TestWithParam<std::pair<ForwardMode, bool>> {};

TEST_P(TunnelSources, DifferFromFlowToFlowAndNotWithinOne) {
  const auto [mode, outer6] = GetParam();
  Stage stage({}, with_ranges(mode, outer6));
  std::set<std::string> sources;
  for (std::uint16_t port = 5000; port < 5050; port++) {
    Flow flow = from_port(port, false);
    std::string first;
    for (int packet = 0; packet < 2; packet++) {
      const std::vector<Sent> sent = stage.pass_through(flow.build());
      ASSERT_EQ(sent.size(), 1u);
      const std::string source = outer_source(sent[0].bytes, outer6);
      if (packet == 0) first = source;
      EXPECT_EQ(source, first);
      EXPECT_EQ(source.substr(0, 7), outer6 ? "fd00:1:" : "172.16.");
    }
    sources.insert(first);
  }
  EXPECT_GT(sources.size(), 45u) << "fifty flows, at least 65536 addresses";
}

TEST_P(TunnelSources, WithoutARangeAreLocalAddresses) {
  const auto [mode, outer6] = GetParam();
  Stage stage({}, mode_tables(1, mode, false, outer6));
  const std::vector<Sent> sent = stage.pass_through(from_port(5000, false).build());
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(outer_source(sent[0].bytes, outer6), outer6 ? "fd00:3::1" : "10.0.3.1");
}

INSTANTIATE_TEST_SUITE_P(Modes, TunnelSources,
                         testing::Values(std::pair{ForwardMode::kTunnelIpip, false}, std::pair{ForwardMode::kTunnelIpip, true},
                                         std::pair{ForwardMode::kTunnelGre, false}, std::pair{ForwardMode::kTunnelGue, true}));

TEST(TunnelSources, AnErrorAboutAPacketOfTheRangeReachesTheClient) {
  Stage stage({}, with_ranges(ForwardMode::kTunnelIpip, false));
  const Flow flow = from_port(5000, false);
  const std::vector<Sent> sent = stage.pass_through(flow.build());
  ASSERT_EQ(sent.size(), 1u);
  const Bytes outer(sent[0].bytes.begin() + 14, sent[0].bytes.end());
  const std::string source = outer_source(sent[0].bytes, false);
  const auto error = [&](const std::string& to) {
    return PacketBuilder().eth().ipv4({.source = "10.0.2.11", .destination = to}).icmp({.type = 3, .code = 1, .rest = 0}).payload(outer).build();
  };
  const std::vector<Sent> told = stage.pass_through(error(source), kServerSide);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].interface, kClientSide);
  EXPECT_EQ(address_at(told[0].bytes, 26, false), kVip);
  EXPECT_EQ(address_at(told[0].bytes, 30, false), flow.source);
}

}  // namespace
}  // namespace millrace::test
