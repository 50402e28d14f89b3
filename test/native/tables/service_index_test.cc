// The index of wide services against a search that looks at every service.
#include "tables/service_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <tuple>

#include "tables/prefix_set.h"
#include "tables/snapshot.h"

namespace millrace {
namespace {

Prefix prefix(const char* text) {
  bool ok = false;
  const Prefix parsed = Prefix::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return parsed;
}

IpAddress ip(const char* text) { return prefix(text).address; }

constexpr std::uint8_t kTcp = 6, kUdp = 17;

ServiceQuery to(const char* destination, std::uint16_t port, std::uint8_t protocol = kTcp, const char* source = "198.51.100.7") {
  return {ip(source), ip(destination), port, protocol, 0};
}

struct Services : testing::Test {
  std::vector<ServiceTable> tables = std::vector<ServiceTable>(16);
  ServiceIndex index;
  int found(const ServiceQuery& query) const {
    const ServiceTable* table = index.find(query);
    return table == nullptr ? -1 : static_cast<int>(table - tables.data());
  }
};

TEST_F(Services, OfOneAddressThePortWinsOverTheRangeAndTheRangeOverAnyPort) {
  index.add(prefix("203.0.113.10/32"), {}, kTcp, &tables[0]);
  index.add(prefix("203.0.113.10/32"), {8000, 8100}, kTcp, &tables[1]);
  index.add(prefix("203.0.113.10/32"), {8080, 8080}, kTcp, &tables[2]);
  EXPECT_EQ(found(to("203.0.113.10", 8080)), 2);
  EXPECT_EQ(found(to("203.0.113.10", 8000)), 1);
  EXPECT_EQ(found(to("203.0.113.10", 8100)), 1);
  EXPECT_EQ(found(to("203.0.113.10", 7999)), 0);
  EXPECT_EQ(found(to("203.0.113.10", 8101)), 0);
  EXPECT_EQ(found(to("203.0.113.10", 8080, kUdp)), -1);
  EXPECT_EQ(found(to("203.0.113.11", 8080)), -1);
}

TEST_F(Services, TheLongestPrefixThatHasThePortWins) {
  index.add(prefix("203.0.113.0/24"), {}, kTcp, &tables[0]);
  index.add(prefix("203.0.113.128/25"), {443, 443}, kTcp, &tables[1]);
  index.add(prefix("2001:db8::/32"), {}, kTcp, &tables[2]);
  EXPECT_EQ(found(to("203.0.113.200", 443)), 1);
  EXPECT_EQ(found(to("203.0.113.200", 80)), 0) << "the longer prefix has no service for this port";
  EXPECT_EQ(found(to("203.0.113.1", 443)), 0);
  EXPECT_EQ(found(to("203.0.114.1", 443)), -1);
  EXPECT_EQ(found(to("2001:db8:ffff::1", 1)), 2);
}

TEST_F(Services, APrefixOfIpv6DoesNotHoldIpv4) {
  index.add(prefix("::/16"), {}, kTcp, &tables[0]);
  index.add(ServiceMatch{prefix("::/0"), prefix("::/16")}, &tables[1]);
  EXPECT_EQ(found(to("203.0.113.1", 80)), -1);
  PrefixSet set;
  set.add(prefix("::/16"));
  EXPECT_FALSE(set.contains(ip("203.0.113.1")));
  EXPECT_TRUE(set.contains(ip("0:1::1")));
}

TEST_F(Services, MatchesAreTriedInTheirOrderAndAfterVips) {
  index.add(ServiceMatch{prefix("198.51.100.0/24"), prefix("203.0.113.0/24"), {80, 90}, kTcp, 1}, &tables[0]);
  index.add(ServiceMatch{prefix("198.51.0.0/16"), prefix("203.0.113.0/24")}, &tables[1]);
  index.add(ServiceMatch{prefix("0.0.0.0/0"), prefix("203.0.113.0/24")}, &tables[2]);
  index.add(prefix("203.0.113.7/32"), {}, kTcp, &tables[3]);
  ServiceQuery query = to("203.0.113.9", 85);
  EXPECT_EQ(found(query), 1) << "another interface";
  query.interface = 1;
  EXPECT_EQ(found(query), 0);
  query.port = 91;
  EXPECT_EQ(found(query), 1);
  query.protocol = kUdp;
  query.port = 85;
  EXPECT_EQ(found(query), 1);
  EXPECT_EQ(found(to("203.0.113.9", 85, kUdp, "192.0.2.1")), 2);
  EXPECT_EQ(found(to("203.0.113.7", 85, kTcp, "192.0.2.1")), 3);
}

/// One service as the configuration has it, for the search that looks at all of them.
struct Plain {
  std::optional<Prefix> vips;
  PortRange ports{};
  std::uint8_t protocol = 0;
  ServiceMatch match;
};

int search_all(const std::vector<Plain>& services, const ServiceQuery& query) {
  int best = -1;
  std::tuple<int, int> best_rank{-1, -1};
  for (std::size_t i = 0; i < services.size(); i++) {
    const Plain& s = services[i];
    if (!s.vips || s.protocol != query.protocol || !s.vips->contains(query.destination) || !s.ports.contains(query.port)) continue;
    const int how = s.ports.is_any() ? 0 : s.ports.low == s.ports.high ? 2 : 1;
    const std::tuple<int, int> rank{s.vips->length, how};
    if (rank > best_rank) best = static_cast<int>(i), best_rank = rank;
  }
  for (std::size_t i = 0; best < 0 && i < services.size(); i++) {
    if (services[i].vips) continue;
    const ServiceMatch& m = services[i].match;
    const bool right = (m.protocol == 0 || m.protocol == query.protocol) && query.port >= m.ports.low && query.port <= m.ports.high &&
                       (m.interface == kAnyInterface || m.interface == query.interface) && m.source.contains(query.source) &&
                       m.destination.contains(query.destination);
    if (right) best = static_cast<int>(i);
  }
  return best;
}

TEST(ServiceIndexProperty, FindsWhatASearchOfAllServicesFinds) {
  std::mt19937 random(20260101);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  // Few values, so that prefixes nest, ranges touch and queries hit.
  const auto address = [&](bool ipv6) {
    const std::string a = std::to_string(pick(4)), b = std::to_string(pick(6));
    return ip((ipv6 ? "2001:db8:" + a + "::" + b : "203.0." + a + "." + b).c_str());
  };
  const auto vips = [&](bool ipv6) {
    constexpr std::uint8_t lengths4[] = {112, 120, 125, 127, 128}, lengths6[] = {32, 48, 64, 126, 128};
    const std::uint8_t length = ipv6 ? lengths6[pick(5)] : lengths4[pick(5)];
    return Prefix{masked(address(ipv6), length), length};
  };
  std::size_t hits = 0, misses = 0;
  for (int round = 0; round < 300; round++) {
    std::vector<Plain> services;
    for (std::uint32_t n = 1 + pick(12); n != 0; n--) {
      Plain s;
      const bool ipv6 = pick(2) == 0;
      s.protocol = pick(2) == 0 ? kTcp : kUdp;
      if (pick(4) == 0) {
        const Prefix everything = prefix(ipv6 ? "::/0" : "0.0.0.0/0");
        s.match = {pick(2) == 0 ? everything : vips(ipv6), vips(ipv6), {}, pick(3) == 0 ? std::uint8_t{0} : s.protocol,
                   pick(2) == 0 ? kAnyInterface : static_cast<std::uint16_t>(pick(2))};
        if (pick(2) == 0) s.match.ports = {static_cast<std::uint16_t>(1 + pick(8)), static_cast<std::uint16_t>(9 + pick(8))};
      } else {
        s.vips = vips(ipv6);
        const std::uint16_t low = static_cast<std::uint16_t>(1 + 4 * pick(4));
        const std::uint32_t kind = pick(3);
        if (kind == 1) s.ports = {low, low};
        if (kind == 2) s.ports = {low, static_cast<std::uint16_t>(low + 2)};
        // The configuration refuses two services for the same.
        const bool twice = std::any_of(services.begin(), services.end(), [&](const Plain& other) {
          return other.vips == s.vips && other.ports == s.ports && other.protocol == s.protocol;
        });
        if (twice) continue;
      }
      services.push_back(s);
    }
    std::vector<ServiceTable> tables(services.size());
    ServiceIndex index;
    for (std::size_t i = 0; i < services.size(); i++) {
      if (services[i].vips) index.add(*services[i].vips, services[i].ports, services[i].protocol, &tables[i]);
      else index.add(services[i].match, &tables[i]);
    }
    for (int i = 0; i < 200; i++) {
      const bool ipv6 = pick(2) == 0;
      const ServiceQuery query{address(ipv6), address(ipv6), static_cast<std::uint16_t>(1 + pick(20)),
                               pick(2) == 0 ? kTcp : kUdp, static_cast<std::uint16_t>(pick(2))};
      const ServiceTable* found = index.find(query);
      const int wanted = search_all(services, query);
      ASSERT_EQ(found == nullptr ? -1 : static_cast<int>(found - tables.data()), wanted)
          << "round " << round << ": " << query.destination.to_string() << " port " << query.port;
      (wanted < 0 ? misses : hits)++;
    }
  }
  EXPECT_GT(hits, 5000u);
  EXPECT_GT(misses, 5000u);
}

}  // namespace
}  // namespace millrace
