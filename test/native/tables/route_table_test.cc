// RouteTable against a list that is searched from end to end, and masked() bit by bit.
#include "tables/route_table.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace millrace {
namespace {

IpAddress ip(const std::string& text) {
  bool ok = false;
  const IpAddress address = IpAddress::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return address;
}

bool bit_of(const IpAddress& address, std::uint32_t n) { return (address.bytes()[n / 8] >> (7 - n % 8) & 1) != 0; }

bool same_bits(const IpAddress& a, const IpAddress& b, std::uint32_t length) {
  for (std::uint32_t n = 0; n < length; n++) {
    if (bit_of(a, n) != bit_of(b, n)) return false;
  }
  return true;
}

TEST(Masked, KeepsTheFirstBitsAndClearsTheRest) {
  std::mt19937_64 random(1);
  for (std::uint32_t length = 0; length <= 128; length++) {
    IpAddress address;
    address.high = random();
    address.low = random();
    const IpAddress result = masked(address, static_cast<std::uint8_t>(length));
    for (std::uint32_t n = 0; n < 128; n++) EXPECT_EQ(bit_of(result, n), n < length && bit_of(address, n)) << length << " " << n;
  }
  EXPECT_EQ(masked(ip("192.0.2.77"), 120).to_string(), "192.0.2.0");
  EXPECT_EQ(masked(ip("192.0.2.77"), 96).to_string(), "0.0.0.0");
}

TEST(RouteTable, IsEmptyAtFirst) {
  const RouteTable table;
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.lookup(ip("192.0.2.1")), nullptr);
  EXPECT_EQ(table.lookup(ip("2001:db8::1")), nullptr);
}

TEST(RouteTable, TheLongestPrefixWinsWhateverTheOrderOfRoutes) {
  RouteTable table;
  table.add({ip("10.0.0.0"), 104, 2, 0, false});
  table.add({ip("0.0.0.0"), 96, 1, 0, false});
  table.add({ip("10.1.2.3"), 128, 4, 0, false});
  table.add({ip("10.1.0.0"), 112, 3, 0, false});
  EXPECT_EQ(table.lookup(ip("10.1.2.3"))->gateway, 4);
  EXPECT_EQ(table.lookup(ip("10.1.2.4"))->gateway, 3);
  EXPECT_EQ(table.lookup(ip("10.2.0.1"))->gateway, 2);
  EXPECT_EQ(table.lookup(ip("11.0.0.1"))->gateway, 1);
}

TEST(RouteTable, ALaterRouteReplacesOneOfTheSamePrefix) {
  RouteTable table;
  table.add({ip("10.1.2.3"), 120, 1, 0, false});
  table.add({ip("10.1.2.99"), 120, 2, 1, true});
  EXPECT_EQ(table.size(), 1u);
  const Route* route = table.lookup(ip("10.1.2.5"));
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->gateway, 2);
  EXPECT_TRUE(route->unreachable);
  EXPECT_EQ(route->prefix.to_string(), "10.1.2.0");
}

TEST(RouteTable, AnIpv6DefaultRouteIsNoRouteForIpv4) {
  RouteTable table;
  table.add({ip("::"), 0, 6, 0, false});
  EXPECT_EQ(table.lookup(ip("192.0.2.1")), nullptr);
  EXPECT_EQ(table.lookup(ip("2001:db8::1"))->gateway, 6);
  table.add({ip("0.0.0.0"), 96, 4, 0, false});
  EXPECT_EQ(table.lookup(ip("192.0.2.1"))->gateway, 4);
  EXPECT_EQ(table.lookup(ip("2001:db8::1"))->gateway, 6);
}

TEST(RouteTable, FindsWhatASearchThroughAllRoutesFinds) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 20; round++) {
    // Addresses from a small space, so that prefixes contain one another and destinations hit them.
    const auto address = [&] {
      IpAddress a;
      if (random() % 2 == 0) return IpAddress::v4(be32(static_cast<std::uint32_t>(0x0a000000 | (random() & 0x01010307))));
      a.high = be64(0xfd00000000000000 | (random() & 0x0000000100000003)).raw;
      a.low = be64(random() & 0x8000000000000007).raw;
      return a;
    };
    RouteTable table;
    std::vector<Route> all;
    for (int n = 0; n < 200; n++) {
      Route route;
      route.prefix = address();
      route.length = static_cast<std::uint8_t>(route.prefix.is_v4() ? 96 + random() % 33 : random() % 129);
      route.gateway = static_cast<NextHopId>(n + 1);
      table.add(route);
      std::erase_if(all, [&](const Route& r) {
        return r.length == route.length && r.prefix.is_v4() == route.prefix.is_v4() && same_bits(r.prefix, route.prefix, r.length);
      });
      all.push_back(route);
    }
    EXPECT_EQ(table.size(), all.size());
    for (int n = 0; n < 200; n++) {
      const IpAddress destination = address();
      std::optional<Route> best;
      for (const Route& route : all) {
        if (route.prefix.is_v4() != destination.is_v4() || !same_bits(route.prefix, destination, route.length)) continue;
        if (!best || route.length > best->length) best = route;
      }
      const Route* found = table.lookup(destination);
      ASSERT_EQ(found != nullptr, best.has_value()) << destination.to_string();
      if (found != nullptr) {
        ASSERT_EQ(found->gateway, best->gateway) << destination.to_string();
      }
    }
  }
}

}  // namespace
}  // namespace millrace
