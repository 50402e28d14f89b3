// Network without a kernel: fed with events made by hand, asked what it would publish and what it would ask of the kernel.
#include "control/network.h"

#include <gtest/gtest.h>
#include <linux/neighbour.h>

#include <algorithm>

namespace millrace {
namespace {

constexpr std::uint64_t kMinute = 60'000;
constexpr std::uint32_t kLink0 = 10;
constexpr std::uint32_t kLink1 = 11;
const MacAddress kMac0{{2, 0, 0, 0, 0, 0x10}};
const MacAddress kMac1{{2, 0, 0, 0, 0, 0x11}};
const MacAddress kPeer{{2, 0, 0, 0, 0, 0x20}};
const MacAddress kOther{{2, 0, 0, 0, 0, 0x21}};

Prefix prefix(std::string_view text) {
  bool ok = false;
  const Prefix p = Prefix::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return p;
}
IpAddress ip(std::string_view text) { return prefix(text).address; }

KernelRoute route(std::string_view to, std::uint32_t link, std::string_view gateway = "", std::uint32_t mtu = 0) {
  KernelRoute r;
  r.prefix = prefix(to);
  r.mtu = mtu;
  r.paths.push_back({link, gateway.empty() ? IpAddress{} : ip(gateway), !gateway.empty()});
  return r;
}

ResolveRequest neighbour_request(std::string_view address, std::uint32_t interface = 0) {
  return {ResolveRequest::Kind::kNeighbour, interface, ip(address), 0, 0};
}
ResolveRequest next_hop_request(NextHopId id) { return {ResolveRequest::Kind::kNextHop, 0, {}, id, 0}; }

class NetworkTest : public testing::Test {
 protected:
  NetworkTest() {
    NetworkConfig config;
    config.interfaces.resize(2);
    config.interfaces[0].name = "north";
    config.interfaces[1].name = "south";
    network = Network::offline(config);
    link(kLink0, "north", kMac0, true);
    link(kLink1, "south", kMac1, true);
    network->apply(KernelAddress{kLink0, prefix("192.0.2.1/24")}, now);
    routes({});
    network->take_solicitations();
    network->take_changed();
    tables();
  }

  void link(std::uint32_t index, const char* name, const MacAddress& mac, bool up, std::uint32_t mtu = 1500) {
    network->apply(KernelLink{index, name, mac, mtu, up, up, "veth", 0}, now);
  }
  void routes(std::vector<KernelRoute> more) {
    KernelRoutes all;
    all.routes = {route("192.0.2.0/24", kLink0), route("198.51.100.0/24", kLink1)};
    for (auto& r : more) all.routes.push_back(std::move(r));
    network->apply(all, now);
  }
  void neighbour(std::string_view address, const MacAddress& mac, std::uint16_t state, std::uint32_t index = kLink0) {
    network->apply(KernelNeighbour{index, ip(address), mac, state}, now);
  }
  void request(std::string_view address, std::uint32_t interface = 0) {
    network->request(neighbour_request(address, interface), now);
  }
  /// Lets time pass in the steps of the timers.
  void pass(std::uint64_t ms) {
    const std::uint64_t end = now + ms;
    while (now < end) {
      now = std::min(end, std::max(now + 1, network->next_tick_ms()));
      network->tick(now);
    }
  }
  std::shared_ptr<const NetworkTables> tables() { return network->tables(); }
  NextHopId on_link_id(std::string_view address, std::uint32_t interface = 0) {
    const auto t = tables();
    const auto found = t->neighbours.find({ip(address), interface});
    return found == t->neighbours.end() ? NextHopId{0} : found->second;
  }
  NextHopId gateway_id(std::string_view destination) {
    const auto t = tables();
    const Route* r = t->routes.lookup(ip(destination));
    return r == nullptr ? NextHopId{0} : r->gateway;
  }
  NextHop hop(NextHopId id) { return tables()->next_hops.at(id); }
  std::size_t solicited(std::string_view address) {
    const auto wishes = network->take_solicitations();
    return static_cast<std::size_t>(
        std::count_if(wishes.begin(), wishes.end(), [&](const Solicitation& s) { return s.address == ip(address); }));
  }

  std::uint64_t now = 1000;
  std::unique_ptr<Network> network;
};

TEST_F(NetworkTest, ARequestedNeighbourGetsAnIdAtOnceAndIsAskedFor) {
  request("192.0.2.50");
  const NextHopId id = on_link_id("192.0.2.50");
  ASSERT_NE(id, 0);
  EXPECT_FALSE(hop(id).resolved);
  EXPECT_FALSE(hop(id).failed);
  EXPECT_EQ(solicited("192.0.2.50"), 1u);
  neighbour("192.0.2.50", kPeer, NUD_REACHABLE);
  EXPECT_TRUE(network->take_changed());
  EXPECT_FALSE(network->take_changed());
  const NextHop resolved = hop(id);
  EXPECT_TRUE(resolved.resolved);
  EXPECT_EQ(resolved.destination, kPeer);
  EXPECT_EQ(resolved.source, kMac0);
  EXPECT_EQ(resolved.mtu, 1500);
  EXPECT_EQ(resolved.interface, 0);
}

TEST_F(NetworkTest, AMacChangeKeepsIdAndRouteGeneration) {
  request("192.0.2.50");
  neighbour("192.0.2.50", kPeer, NUD_REACHABLE);
  const NextHopId id = on_link_id("192.0.2.50");
  const auto before = tables();
  neighbour("192.0.2.50", kOther, NUD_REACHABLE);
  EXPECT_EQ(on_link_id("192.0.2.50"), id);
  EXPECT_EQ(hop(id).destination, kOther);
  EXPECT_EQ(tables()->route_generation, before->route_generation);
  EXPECT_EQ(before->next_hops[id].destination, kPeer) << "a published table never changes";
}

TEST_F(NetworkTest, NothingIsPublishedWhenNothingRelevantChanged) {
  request("192.0.2.50");
  neighbour("192.0.2.50", kPeer, NUD_REACHABLE);
  network->take_changed();
  const auto before = tables();
  neighbour("192.0.2.50", kPeer, NUD_DELAY);
  neighbour("192.0.2.50", kPeer, NUD_PROBE);
  neighbour("192.0.2.50", kPeer, NUD_REACHABLE);
  neighbour("192.0.2.99", kOther, NUD_REACHABLE);
  link(kLink0, "north", kMac0, true);
  EXPECT_FALSE(network->take_changed());
  EXPECT_EQ(tables(), before);
}

TEST_F(NetworkTest, ARequestForADestinationThatIsNotOnLinkIsIgnored) {
  request("203.0.113.5");
  request("192.0.2.50", 1);
  request("192.0.2.50", 7);
  network->request(next_hop_request(0), now);
  network->request(next_hop_request(4000), now);
  EXPECT_EQ(network->stats().requests_ignored, 5u);
  EXPECT_TRUE(network->take_solicitations().empty());
  EXPECT_TRUE(tables()->neighbours.empty());
}

TEST_F(NetworkTest, AFailedNeighbourIsRetriedAfterOneSecondBackingOffToFive) {
  network->set_servers({ip("192.0.2.80")}, now);
  EXPECT_EQ(solicited("192.0.2.80"), 1u);
  const std::uint64_t expected[] = {1000, 2000, 4000, 5000, 5000};
  for (const std::uint64_t pause : expected) {
    neighbour("192.0.2.80", {}, NUD_FAILED);
    EXPECT_TRUE(hop(on_link_id("192.0.2.80")).failed);
    pass(pause - 1);
    EXPECT_EQ(solicited("192.0.2.80"), 0u) << "before " << pause;
    pass(501);
    EXPECT_EQ(solicited("192.0.2.80"), 1u) << "after " << pause;
    neighbour("192.0.2.80", {}, NUD_INCOMPLETE);
    EXPECT_TRUE(hop(on_link_id("192.0.2.80")).failed) << "packets need not wait for a neighbour that was just silent";
  }
  neighbour("192.0.2.80", kPeer, NUD_REACHABLE);
  EXPECT_TRUE(hop(on_link_id("192.0.2.80")).resolved);
  EXPECT_FALSE(hop(on_link_id("192.0.2.80")).failed);
}

TEST_F(NetworkTest, AFailedClientIsAskedAgainOnlyWhenAWorkerStillWantsIt) {
  request("192.0.2.50");
  const NextHopId id = on_link_id("192.0.2.50");
  EXPECT_EQ(solicited("192.0.2.50"), 1u);
  neighbour("192.0.2.50", {}, NUD_FAILED);
  pass(5000);
  EXPECT_EQ(solicited("192.0.2.50"), 0u);
  network->request(next_hop_request(id), now);
  EXPECT_EQ(solicited("192.0.2.50"), 1u);
}

TEST_F(NetworkTest, AForgottenClientLeavesTheTableAndComesBackWithItsOldId) {
  request("192.0.2.50");
  const NextHopId id = on_link_id("192.0.2.50");
  neighbour("192.0.2.50", {}, NUD_FAILED);
  pass(kMinute);
  EXPECT_EQ(on_link_id("192.0.2.50"), 0);
  EXPECT_TRUE(hop(id).failed);
  const auto generation = tables()->route_generation;
  request("192.0.2.51");
  EXPECT_NE(on_link_id("192.0.2.51"), id);
  network->request(next_hop_request(id), now);
  EXPECT_EQ(on_link_id("192.0.2.50"), id);
  EXPECT_EQ(tables()->route_generation, generation);
}

TEST_F(NetworkTest, ServersAndGatewaysAreKeptAliveForEverClientsForFiveMinutes) {
  routes({route("0.0.0.0/0", kLink0, "192.0.2.254")});
  network->set_servers({ip("192.0.2.80")}, now);
  request("192.0.2.50");
  for (const char* address : {"192.0.2.254", "192.0.2.80", "192.0.2.50"}) neighbour(address, kPeer, NUD_REACHABLE);
  network->take_solicitations();
  for (int minute = 0; minute < 10; minute++) {
    pass(kMinute);
    const auto wishes = network->take_solicitations();
    const auto count = [&](std::string_view address) {
      return std::count_if(wishes.begin(), wishes.end(), [&](const Solicitation& s) { return s.address == ip(address); });
    };
    EXPECT_GE(count("192.0.2.254"), 2) << minute;
    EXPECT_GE(count("192.0.2.80"), 2) << minute;
    if (minute < 4) {
      EXPECT_GE(count("192.0.2.50"), 2) << minute;
    }
    if (minute >= 5) {
      EXPECT_EQ(count("192.0.2.50"), 0) << minute;
    }
  }
}

TEST_F(NetworkTest, AnEntryInUseThatGoesStaleIsConfirmedAtOnce) {
  network->set_servers({ip("192.0.2.80")}, now);
  neighbour("192.0.2.80", kPeer, NUD_REACHABLE);
  pass(3000);
  network->take_solicitations();
  neighbour("192.0.2.80", kPeer, NUD_STALE);
  EXPECT_EQ(solicited("192.0.2.80"), 1u);
  EXPECT_TRUE(hop(on_link_id("192.0.2.80")).resolved);
}

TEST_F(NetworkTest, AFlushOfTheKernelsTableKeepsWhatIsInUseUntilTheAnswer) {
  network->set_servers({ip("192.0.2.80")}, now);
  neighbour("192.0.2.80", kPeer, NUD_REACHABLE);
  pass(3000);
  network->take_solicitations();
  network->apply(KernelNeighbourGone{kLink0, ip("192.0.2.80")}, now);
  EXPECT_EQ(solicited("192.0.2.80"), 1u);
  neighbour("192.0.2.80", {}, NUD_INCOMPLETE);
  EXPECT_TRUE(hop(on_link_id("192.0.2.80")).resolved);
  neighbour("192.0.2.80", {}, NUD_FAILED);
  EXPECT_FALSE(hop(on_link_id("192.0.2.80")).resolved);
}

TEST_F(NetworkTest, AListingDropsNeighboursThatVanishedUnheard) {
  request("192.0.2.50");
  neighbour("192.0.2.50", kPeer, NUD_REACHABLE);
  pass(6 * kMinute);
  ASSERT_TRUE(hop(on_link_id("192.0.2.50")).resolved);
  const NextHopId id = on_link_id("192.0.2.50");
  network->apply(KernelListing{KernelListing::Kind::kNeighbours, true}, now);
  network->apply(KernelListing{KernelListing::Kind::kNeighbours, false}, now);
  EXPECT_FALSE(hop(id).resolved);
}

TEST_F(NetworkTest, ARouteChangeRaisesTheGenerationAndAnEqualListingDoesNot) {
  const auto before = tables()->route_generation;
  routes({route("0.0.0.0/0", kLink0, "192.0.2.254")});
  const auto with_default = tables()->route_generation;
  EXPECT_NE(with_default, before);
  const NextHopId gateway = gateway_id("203.0.113.1");
  ASSERT_NE(gateway, 0);
  EXPECT_EQ(solicited("192.0.2.254"), 1u);
  network->take_changed();
  routes({route("0.0.0.0/0", kLink0, "192.0.2.254")});
  EXPECT_FALSE(network->take_changed());
  routes({route("0.0.0.0/0", kLink0, "192.0.2.253")});
  EXPECT_NE(tables()->route_generation, with_default);
  EXPECT_NE(gateway_id("203.0.113.1"), gateway);
  EXPECT_TRUE(hop(gateway).failed) << "the old number must not forward to a router that is no longer one";
  routes({route("0.0.0.0/0", kLink0, "192.0.2.254")});
  EXPECT_EQ(gateway_id("203.0.113.1"), gateway) << "a route that flaps keeps its number";
}

TEST_F(NetworkTest, TheGenerationWrapsPastZero) {
  std::uint16_t last = tables()->route_generation;
  for (int i = 0; i < 66'000; i++) {
    routes(i % 2 == 0 ? std::vector<KernelRoute>{route("203.0.113.0/24", kLink0)} : std::vector<KernelRoute>{});
    if (i % 1000 == 0 || last > 65'530) {
      last = tables()->route_generation;
      ASSERT_NE(last, 0);
    }
    last++;
  }
}

TEST_F(NetworkTest, TheMtuIsTheRoutesIfItHasOneAndNeverAboveTheLinks) {
  link(kLink0, "north", kMac0, true, 9000);
  KernelRoute on_link = route("192.0.2.0/25", kLink0, "", 1400);
  routes({route("203.0.113.0/24", kLink0, "192.0.2.254", 1280), route("0.0.0.0/0", kLink0, "192.0.2.254"),
          route("10.0.0.0/8", kLink0, "192.0.2.254", 60'000), on_link});
  request("192.0.2.50");
  request("192.0.2.150");
  EXPECT_EQ(hop(gateway_id("203.0.113.1")).mtu, 1280);
  EXPECT_EQ(hop(gateway_id("8.8.8.8")).mtu, 9000);
  EXPECT_EQ(hop(gateway_id("10.0.0.1")).mtu, 9000);
  EXPECT_EQ(hop(on_link_id("192.0.2.50")).mtu, 1400);
  EXPECT_EQ(hop(on_link_id("192.0.2.150")).mtu, 9000);
  neighbour("192.0.2.254", kPeer, NUD_REACHABLE);
  EXPECT_TRUE(hop(gateway_id("203.0.113.1")).resolved);
  EXPECT_TRUE(hop(gateway_id("8.8.8.8")).resolved);
  link(kLink0, "north", kMac0, true, 1500);
  EXPECT_EQ(hop(gateway_id("8.8.8.8")).mtu, 1500);
}

TEST_F(NetworkTest, ALinkThatComesBackResolvesItsServersAnew) {
  network->set_servers({ip("192.0.2.80")}, now);
  neighbour("192.0.2.80", kPeer, NUD_REACHABLE);
  network->take_solicitations();
  pass(2000);
  network->take_interfaces_changed();
  link(kLink0, "north", kMac0, false);
  EXPECT_TRUE(network->take_interfaces_changed());
  network->apply(KernelNeighbourGone{kLink0, ip("192.0.2.80")}, now);
  EXPECT_FALSE(tables()->interfaces[0].usable);
  EXPECT_FALSE(hop(on_link_id("192.0.2.80")).resolved);
  pass(5000);
  EXPECT_EQ(solicited("192.0.2.80"), 0u) << "nobody can answer on a dead link";
  link(kLink0, "north", kMac0, true);
  EXPECT_TRUE(tables()->interfaces[0].usable);
  EXPECT_EQ(solicited("192.0.2.80"), 1u);
}

TEST_F(NetworkTest, AnOwnMacChangeReachesEveryNextHop) {
  request("192.0.2.50");
  link(kLink0, "north", kOther, true);
  EXPECT_EQ(hop(on_link_id("192.0.2.50")).source, kOther);
  EXPECT_EQ(tables()->interfaces[0].mac, kOther);
}

TEST_F(NetworkTest, StaticNeighboursWinAndAreNeverAskedFor) {
  network->configure({}, {{ip("192.0.2.80"), kOther, 0}}, now);
  network->set_servers({ip("192.0.2.80")}, now);
  neighbour("192.0.2.80", kPeer, NUD_REACHABLE);
  neighbour("192.0.2.80", {}, NUD_FAILED);
  pass(kMinute);
  EXPECT_EQ(hop(on_link_id("192.0.2.80")).destination, kOther);
  EXPECT_TRUE(hop(on_link_id("192.0.2.80")).resolved);
  EXPECT_EQ(solicited("192.0.2.80"), 0u);
  network->configure({}, {}, now);
  EXPECT_FALSE(hop(on_link_id("192.0.2.80")).resolved);
  pass(1000);
  EXPECT_GE(solicited("192.0.2.80"), 1u);
}

TEST_F(NetworkTest, AConfiguredRouteWithGatewayIsPinnedAndAConfiguredOnLinkRouteServesRequests) {
  network->configure({{prefix("10.0.0.0/8"), ip("198.51.100.9"), 1}, {prefix("203.0.113.0/24"), std::nullopt, 1}}, {}, now);
  EXPECT_EQ(solicited("198.51.100.9"), 1u);
  const NextHopId gateway = gateway_id("10.1.2.3");
  ASSERT_NE(gateway, 0);
  EXPECT_EQ(hop(gateway).interface, 1);
  request("203.0.113.7", 1);
  EXPECT_NE(on_link_id("203.0.113.7", 1), 0);
}

TEST_F(NetworkTest, RoutesAndNeighboursOfUnknownInterfacesDoNoHarm) {
  network->configure({{prefix("10.0.0.0/8"), std::nullopt, 2}}, {{ip("10.0.0.1"), kPeer, 2}}, now);
  EXPECT_EQ(tables()->routes.lookup(ip("10.0.0.1")), nullptr);
  EXPECT_TRUE(tables()->neighbours.empty());
}

TEST_F(NetworkTest, PendingServersAreThoseWithoutAnyAnswer) {
  routes({route("10.0.0.0/8", kLink1, "198.51.100.9")});
  network->set_servers({ip("192.0.2.80"), ip("192.0.2.81"), ip("10.0.0.1"), ip("203.0.113.9")}, now);
  EXPECT_EQ(network->pending_servers(), 3u);
  neighbour("192.0.2.80", kPeer, NUD_REACHABLE);
  neighbour("192.0.2.81", {}, NUD_FAILED);
  EXPECT_EQ(network->pending_servers(), 1u);
  neighbour("198.51.100.9", kPeer, NUD_REACHABLE, kLink1);
  EXPECT_EQ(network->pending_servers(), 0u);
}

TEST_F(NetworkTest, AScanIsLimitedButKnownNeighboursAreNot) {
  routes({route("10.0.0.0/8", kLink0)});
  neighbour("192.0.2.50", kPeer, NUD_REACHABLE);
  for (int i = 0; i < 2000; i++) {
    const auto address = IpAddress::v4(be32(0x0a000000u + static_cast<std::uint32_t>(i)));
    network->request({ResolveRequest::Kind::kNeighbour, 0, address, 0, 0}, now);
  }
  EXPECT_EQ(network->take_solicitations().size(), 256u);
  EXPECT_EQ(network->stats().requests_limited, 2000u - 256u);
  request("192.0.2.50");
  EXPECT_TRUE(hop(on_link_id("192.0.2.50")).resolved);
  now += 1000;
  for (int i = 2000; i < 4000; i++) {
    const auto address = IpAddress::v4(be32(0x0a000000u + static_cast<std::uint32_t>(i)));
    network->request({ResolveRequest::Kind::kNeighbour, 0, address, 0, 0}, now);
  }
  EXPECT_EQ(network->take_solicitations().size(), 200u);
}

TEST_F(NetworkTest, WhenAllIdsAreTakenTheOldestClientMakesRoomAndTheGenerationRises) {
  NetworkConfig config;
  config.interfaces.resize(1);
  config.interfaces[0].name = "north";
  config.new_neighbours_per_second = 1'000'000;
  network = Network::offline(config);
  link(kLink0, "north", kMac0, true);
  KernelRoutes all;
  all.routes = {route("10.0.0.0/8", kLink0), route("0.0.0.0/0", kLink0, "10.255.0.1")};
  network->apply(all, now);
  network->set_servers({ip("10.255.0.2")}, now);
  const NextHopId gateway = gateway_id("8.8.8.8");
  const NextHopId server = on_link_id("10.255.0.2");
  for (std::uint32_t i = 0; i < 65'532; i++) {
    now++;
    network->request({ResolveRequest::Kind::kNeighbour, 0, IpAddress::v4(be32(0x0a000000u + i)), 0, 0}, now);
  }
  EXPECT_EQ(network->stats().reclaimed, 0u);
  EXPECT_EQ(tables()->next_hops.size(), 65'535u);
  const auto generation = tables()->route_generation;
  now++;
  request("10.0.0.0");
  request("10.200.0.1");
  EXPECT_EQ(network->stats().reclaimed, 1u);
  EXPECT_EQ(tables()->next_hops.size(), 65'535u);
  EXPECT_NE(on_link_id("10.0.0.0"), 0) << "was asked for a moment ago";
  EXPECT_EQ(on_link_id("10.0.0.1"), 0);
  EXPECT_NE(on_link_id("10.200.0.1"), 0);
  EXPECT_NE(tables()->route_generation, generation);
  EXPECT_EQ(gateway_id("8.8.8.8"), gateway);
  EXPECT_EQ(on_link_id("10.255.0.2"), server);
}

TEST_F(NetworkTest, LargeTablesAreNotRebuiltForEveryChange) {
  NetworkConfig config;
  config.interfaces.resize(1);
  config.interfaces[0].name = "north";
  config.new_neighbours_per_second = 1'000'000;
  network = Network::offline(config);
  link(kLink0, "north", kMac0, true);
  KernelRoutes all;
  all.routes = {route("10.0.0.0/8", kLink0)};
  network->apply(all, now);
  for (std::uint32_t i = 0; i < 20'000; i++) {
    now++;
    network->request({ResolveRequest::Kind::kNeighbour, 0, IpAddress::v4(be32(0x0a000000u + i)), 0, 0}, now);
  }
  ASSERT_TRUE(network->take_changed());
  tables();
  request("10.100.0.1");
  EXPECT_FALSE(network->take_changed()) << "right after a large build";
  pass(50);
  EXPECT_TRUE(network->take_changed());
  EXPECT_NE(on_link_id("10.100.0.1"), 0);
}

TEST_F(NetworkTest, ADestinationThatIsNoLongerOnLinkLosesItsNextHop) {
  request("198.51.100.50", 1);
  neighbour("198.51.100.50", kPeer, NUD_REACHABLE, kLink1);
  const NextHopId id = on_link_id("198.51.100.50", 1);
  ASSERT_NE(id, 0);
  KernelRoutes fewer;
  fewer.routes = {route("192.0.2.0/24", kLink0)};
  network->apply(fewer, now);
  EXPECT_EQ(on_link_id("198.51.100.50", 1), 0);
  EXPECT_TRUE(hop(id).failed);
}

TEST_F(NetworkTest, AMulticastOrEmptyMacIsNoNeighbour) {
  request("192.0.2.255");
  neighbour("192.0.2.255", {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, NUD_NOARP);
  EXPECT_FALSE(hop(on_link_id("192.0.2.255")).resolved);
  EXPECT_TRUE(hop(on_link_id("192.0.2.255")).failed);
}

TEST_F(NetworkTest, AnAddressThatTheKernelHoldsIsRefusedWithTheCommandThatRemovesIt) {
  EXPECT_TRUE(network->check_not_on_kernel(ip("192.0.2.2")).ok());
  const auto refused = network->check_not_on_kernel(ip("192.0.2.1"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, "address_on_kernel");
  EXPECT_NE(refused.error().message.find("ip addr del 192.0.2.1/24 dev north"), std::string::npos) << refused.error().message;
  network->apply(KernelAddressGone{{kLink0, prefix("192.0.2.1/24")}}, now);
  EXPECT_TRUE(network->check_not_on_kernel(ip("192.0.2.1")).ok());
}

TEST_F(NetworkTest, OnLinkPrefixesOfAnInterfaceComeFromAddressesAndRoutes) {
  const auto interfaces = network->interfaces();
  ASSERT_EQ(interfaces.size(), 2u);
  EXPECT_EQ(interfaces[0].on_link, std::vector<Prefix>{prefix("192.0.2.0/24")});
  EXPECT_EQ(interfaces[1].on_link, std::vector<Prefix>{prefix("198.51.100.0/24")});
  EXPECT_EQ(interfaces[0].kernel_index, kLink0);
}

TEST(NetworkFromConfiguration, ConnectedRoutesGatewaysAndStaticNeighboursNeedNoKernel) {
  NetworkConfig config;
  config.interfaces = {{"north", kMac0, 1500, {prefix("192.0.2.1/24"), prefix("2001:db8::1/64")}},
                       {"south", kMac1, 9000, {prefix("10.0.0.1/24")}}};
  config.routes = {{prefix("0.0.0.0/0"), ip("192.0.2.254"), 0}};
  config.neighbours = {{ip("192.0.2.254"), kPeer, 0}, {ip("10.0.0.80"), kOther, 1}, {ip("2001:db8::80"), kOther, 0}};
  const auto tables = Network::from_configuration(config);
  ASSERT_EQ(tables->interfaces.size(), 2u);
  EXPECT_EQ(tables->interfaces[1].mtu, 9000);
  EXPECT_TRUE(tables->interfaces[0].usable);
  const Route* to_client = tables->routes.lookup(ip("203.0.113.1"));
  ASSERT_NE(to_client, nullptr);
  ASSERT_NE(to_client->gateway, 0);
  const NextHop& gateway = tables->next_hops[to_client->gateway];
  EXPECT_TRUE(gateway.resolved);
  EXPECT_EQ(gateway.destination, kPeer);
  EXPECT_EQ(gateway.source, kMac0);
  const Route* to_server = tables->routes.lookup(ip("10.0.0.80"));
  ASSERT_NE(to_server, nullptr);
  EXPECT_EQ(to_server->gateway, 0);
  EXPECT_EQ(to_server->interface, 1);
  const NextHop& server = tables->next_hops[tables->neighbours.at({ip("10.0.0.80"), 1})];
  EXPECT_TRUE(server.resolved);
  EXPECT_EQ(server.mtu, 9000);
  EXPECT_TRUE(tables->next_hops[tables->neighbours.at({ip("2001:db8::80"), 0})].resolved);
  EXPECT_EQ(tables->routes.lookup(ip("2001:db9::1")), nullptr);
}

TEST(NetworkFromConfiguration, TheSameConfigurationGivesTheSameNumbers) {
  NetworkConfig config;
  config.interfaces = {{"north", kMac0, 1500, {prefix("192.0.2.1/24")}}};
  for (std::uint8_t i = 10; i < 60; i++) {
    config.neighbours.push_back({ip("192.0.2." + std::to_string(i)), {{2, 0, 0, 0, 1, i}}, 0});
  }
  const auto a = Network::from_configuration(config);
  const auto b = Network::from_configuration(config);
  EXPECT_EQ(a->neighbours, b->neighbours);
  EXPECT_EQ(a->neighbours.size(), 50u);
}

}  // namespace
}  // namespace millrace
