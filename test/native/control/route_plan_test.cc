// Which routes the packet path uses, from lists made by hand.
#include "control/route_plan.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

Prefix prefix(std::string_view text) {
  bool ok = false;
  const Prefix p = Prefix::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return p;
}

KernelRoute route(std::string_view to, std::uint32_t metric, std::vector<std::pair<std::uint32_t, std::string>> paths) {
  KernelRoute r;
  r.prefix = prefix(to);
  r.metric = metric;
  for (const auto& [link, gateway] : paths) {
    r.paths.push_back({link, gateway.empty() ? IpAddress{} : prefix(gateway).address, !gateway.empty()});
  }
  return r;
}

const OurLinks kLinks = {{10, {0, true}}, {11, {1, true}}, {12, {2, false}}};

const PlannedRoute* find(const std::vector<PlannedRoute>& plan, std::string_view to) {
  for (const PlannedRoute& r : plan) {
    if (r.prefix == prefix(to)) return &r;
  }
  return nullptr;
}

TEST(RoutePlan, TheLowestMetricWinsWhateverTheOrder) {
  const KernelRoute routes[] = {route("10.0.0.0/8", 200, {{10, "192.0.2.1"}}), route("10.0.0.0/8", 100, {{11, "198.51.100.1"}})};
  const auto plan = plan_routes(routes, {}, kLinks);
  ASSERT_EQ(plan.size(), 1u);
  EXPECT_EQ(plan[0].interface, 1);
  EXPECT_EQ(plan[0].gateway, prefix("198.51.100.1").address);
}

TEST(RoutePlan, AnUnusableLinkIsTakenOnlyWhenNothingElseServesThePrefix) {
  const KernelRoute routes[] = {route("10.0.0.0/8", 1, {{12, "192.0.2.1"}}), route("10.0.0.0/8", 2, {{10, "192.0.2.2"}}),
                                route("172.16.0.0/12", 1, {{12, "192.0.2.1"}})};
  const auto plan = plan_routes(routes, {}, kLinks);
  EXPECT_EQ(find(plan, "10.0.0.0/8")->interface, 0);
  EXPECT_EQ(find(plan, "172.16.0.0/12")->interface, 2);
}

TEST(RoutePlan, OfSeveralPathsTheFirstUsableOneOfOursIsTaken) {
  const KernelRoute routes[] = {
      route("0.0.0.0/0", 0, {{99, "203.0.113.1"}, {12, "192.0.2.1"}, {11, "198.51.100.1"}, {10, "192.0.2.9"}})};
  const auto plan = plan_routes(routes, {}, kLinks);
  ASSERT_EQ(plan.size(), 1u);
  EXPECT_EQ(plan[0].interface, 1);
}

TEST(RoutePlan, AForeignLinkIsIgnoredUnlessItIsTheOnlyMatch) {
  const KernelRoute routes[] = {route("10.0.0.0/8", 0, {{99, "203.0.113.1"}}), route("10.1.0.0/16", 0, {{10, ""}}),
                                route("10.1.2.0/24", 0, {{99, ""}})};
  const auto plan = plan_routes(routes, {}, kLinks);
  ASSERT_NE(find(plan, "10.0.0.0/8"), nullptr);
  EXPECT_TRUE(find(plan, "10.0.0.0/8")->unreachable);
  EXPECT_EQ(find(plan, "10.1.2.0/24"), nullptr) << "10.1.0.0/16 covers it";
}

TEST(RoutePlan, TheConfigurationWinsOverTheKernelAndItsLastWordCounts) {
  const KernelRoute routes[] = {route("10.0.0.0/8", 0, {{10, "192.0.2.1"}})};
  const StaticRoute configured[] = {{prefix("10.0.0.0/8"), prefix("192.0.2.7").address, 1},
                                    {prefix("10.0.0.0/8"), prefix("192.0.2.8").address, 1}};
  const auto plan = plan_routes(routes, configured, kLinks);
  ASSERT_EQ(plan.size(), 1u);
  EXPECT_EQ(plan[0].gateway, prefix("192.0.2.8").address);
}

TEST(RoutePlan, BlackholesAreKeptAndFamiliesDoNotMix) {
  KernelRoute blackhole = route("198.51.100.0/24", 0, {});
  blackhole.unreachable = true;
  const KernelRoute routes[] = {blackhole, route("0.0.0.0/0", 0, {{10, "192.0.2.1"}}), route("::/0", 0, {{11, "fe80::1"}})};
  const auto plan = plan_routes(routes, {}, kLinks);
  ASSERT_EQ(plan.size(), 3u);
  EXPECT_TRUE(find(plan, "198.51.100.0/24")->unreachable);
  EXPECT_EQ(find(plan, "0.0.0.0/0")->interface, 0);
  EXPECT_EQ(find(plan, "::/0")->interface, 1);
}

TEST(Prefix, ParsesBothFamiliesAndRefusesAllElse) {
  EXPECT_EQ(prefix("192.0.2.0/24").length, 120);
  EXPECT_EQ(prefix("192.0.2.1").length, 128);
  EXPECT_EQ(prefix("2001:db8::/32").length, 32);
  EXPECT_EQ(prefix("192.0.2.0/24").to_string(), "192.0.2.0/24");
  for (const char* text :
       {"", "/", "192.0.2.0/33", "192.0.2.0/", "2001:db8::/129", "192.0.2.0/2x", "192.0.2.0/-1", "192.0.2/24"}) {
    bool ok = true;
    Prefix::parse(text, ok);
    EXPECT_FALSE(ok) << text;
  }
  EXPECT_TRUE(prefix("192.0.2.77/24").contains(prefix("192.0.2.1").address));
  EXPECT_FALSE(prefix("192.0.2.77/24").contains(prefix("192.0.3.1").address));
  EXPECT_FALSE(prefix("::/0").contains(prefix("192.0.2.1").address));
}

}  // namespace
}  // namespace millrace
