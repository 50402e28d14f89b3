// Network against a real kernel: a veth pair between two namespaces. Skipped, with the reason, where namespaces cannot be made.
#include <gtest/gtest.h>
#include <linux/neighbour.h>
#include <netinet/in.h>

#include "control/netlink.h"
#include "control/network.h"
#include "control/namespaces.h"
#include "control/neighbour_table.h"

namespace millrace {
namespace {

using test::clock_ms;
using test::Namespaces;

Prefix prefix(std::string_view text) {
  bool ok = false;
  const Prefix p = Prefix::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return p;
}
IpAddress ip(std::string_view text) { return prefix(text).address; }
MacAddress mac(std::string_view text) {
  bool ok = false;
  return MacAddress::parse(text, ok);
}

class NetworkKernel : public testing::Test {
 protected:
  void SetUp() override {
    const std::string reason = namespaces.open();
    if (!reason.empty()) GTEST_SKIP() << reason << " (needs root)";
  }

  void addresses() {
    ASSERT_TRUE(Namespaces::ip("addr add 192.0.2.1/24 dev v0"));
    ASSERT_TRUE(Namespaces::ip("-6 addr add 2001:db8::1/64 dev v0 nodad"));
    peer_addresses();
  }
  void peer_addresses() {
    namespaces.ip_there("addr add 192.0.2.2/24 dev v1");
    namespaces.ip_there("-6 addr add 2001:db8::2/64 dev v1 nodad");
  }

  void open(NetworkConfig config = {}) {
    config.interfaces.resize(1);
    config.interfaces[0].name = "v0";
    auto opened = Network::open(config, clock_ms());
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    network = std::move(opened).value();
  }

  /// Lets the network work until `condition` holds; false after `limit_ms`.
  template <typename Condition>
  bool until(Condition condition, std::uint64_t limit_ms = 8000) {
    const std::uint64_t deadline = clock_ms() + limit_ms;
    for (;;) {
      const std::uint64_t now = clock_ms();
      network->process(now);
      network->tick(now);
      if (condition()) return true;
      if (now >= deadline) return false;
      const std::uint64_t wake = std::min(deadline, network->next_tick_ms());
      pollfd wait{network->fd(), POLLIN, 0};
      poll(&wait, 1, wake > now ? static_cast<int>(wake - now) : 0);
    }
  }

  NextHop on_link(std::string_view address) {
    const auto tables = network->tables();
    const auto found = tables->neighbours.find({ip(address), 0});
    return found == tables->neighbours.end() ? NextHop{} : tables->next_hops[found->second];
  }
  const Route* route(std::string_view destination) {
    held = network->tables();
    return held->routes.lookup(ip(destination));
  }
  NextHop gateway(std::string_view destination) {
    const Route* found = route(destination);
    return found == nullptr ? NextHop{} : held->next_hops[found->gateway];
  }
  bool usable() { return network->tables()->interfaces[0].usable; }

  Namespaces namespaces;
  std::unique_ptr<Network> network;
  std::shared_ptr<const NetworkTables> held;
};

TEST_F(NetworkKernel, ServersAreResolvedThroughTheKernelInBothFamilies) {
  addresses();
  open();
  network->set_servers({ip("192.0.2.2"), ip("2001:db8::2")}, clock_ms());
  EXPECT_TRUE(until([&] { return network->pending_servers() == 0; }));
  for (const char* address : {"192.0.2.2", "2001:db8::2"}) {
    EXPECT_TRUE(on_link(address).resolved) << address;
    EXPECT_EQ(on_link(address).destination, mac(Namespaces::kThereMac)) << address;
    EXPECT_EQ(on_link(address).source, mac(Namespaces::kHereMac)) << address;
    EXPECT_EQ(on_link(address).mtu, 1500) << address;
  }
}

TEST_F(NetworkKernel, ALinkWithoutAnyAddressResolvesToo) {
  peer_addresses();
  NetworkConfig config;
  config.routes = {{prefix("192.0.2.0/24"), std::nullopt, 0}};
  open(config);
  for (const HostAddress& host : network->kernel_addresses()) EXPECT_FALSE(host.interface == "v0" && host.prefix.address.is_v4());
  network->request({ResolveRequest::Kind::kNeighbour, 0, ip("192.0.2.2"), 0, 0}, clock_ms());
  EXPECT_TRUE(until([&] { return on_link("192.0.2.2").resolved; }));
}

TEST_F(NetworkKernel, ANewMacIsTakenOverInPlace) {
  addresses();
  open();
  network->set_servers({ip("192.0.2.2")}, clock_ms());
  ASSERT_TRUE(until([&] { return on_link("192.0.2.2").resolved; }));
  const auto before = network->tables();
  namespaces.ip_there("link set v1 address 02:00:00:00:00:77");
  EXPECT_TRUE(until([&] { return on_link("192.0.2.2").destination == mac("02:00:00:00:00:77"); }));
  EXPECT_EQ(network->tables()->neighbours, before->neighbours);
  EXPECT_EQ(network->tables()->route_generation, before->route_generation);
}

TEST_F(NetworkKernel, RoutesFollowTheKernel) {
  addresses();
  open();
  ASSERT_TRUE(until([&] { return usable(); }));
  EXPECT_EQ(route("203.0.113.1"), nullptr);
  const auto generation = network->tables()->route_generation;
  ASSERT_TRUE(Namespaces::ip("route add 203.0.113.0/24 via 192.0.2.2 mtu 1400"));
  ASSERT_TRUE(Namespaces::ip("route add blackhole 198.51.100.0/24"));
  ASSERT_TRUE(Namespaces::ip("-6 route add 2001:db8:f::/48 via 2001:db8::2"));
  ASSERT_TRUE(Namespaces::ip("route add 10.0.0.0/8 nexthop via 192.0.2.2 dev v0 nexthop via 192.0.2.3 dev v0"));
  ASSERT_TRUE(until(
      [&] { return route("203.0.113.1") != nullptr && route("10.0.0.1") != nullptr && route("2001:db8:f::1") != nullptr; }));
  EXPECT_NE(network->tables()->route_generation, generation);
  EXPECT_TRUE(route("198.51.100.1")->unreachable);
  EXPECT_TRUE(until([&] { return gateway("203.0.113.1").resolved; }));
  EXPECT_TRUE(until([&] { return gateway("2001:db8:f::1").resolved; }));
  EXPECT_EQ(gateway("203.0.113.1").mtu, 1400);
  EXPECT_EQ(gateway("10.0.0.1").mtu, 1500);
  ASSERT_TRUE(Namespaces::ip("route del 203.0.113.0/24"));
  EXPECT_TRUE(until([&] { return route("203.0.113.1") == nullptr; }));
}

TEST_F(NetworkKernel, ALinkThatGoesDownAndComesBackIsFollowedWithItsRoutes) {
  addresses();
  open();
  network->set_servers({ip("192.0.2.2")}, clock_ms());
  ASSERT_TRUE(until([&] { return usable() && on_link("192.0.2.2").resolved; }));
  // The kernel removes IPv4 routes of a link that goes down without a word.
  ASSERT_TRUE(Namespaces::ip("link set v0 down"));
  EXPECT_TRUE(until([&] { return !usable() && route("192.0.2.2") == nullptr && !on_link("192.0.2.2").resolved; }));
  ASSERT_TRUE(Namespaces::ip("link set v0 up"));
  EXPECT_TRUE(until([&] { return usable() && on_link("192.0.2.2").resolved; }));
  namespaces.ip_there("link set v1 down");
  EXPECT_TRUE(until([&] { return !usable(); })) << "carrier lost";
  namespaces.ip_there("link set v1 up");
  EXPECT_TRUE(until([&] { return usable() && on_link("192.0.2.2").resolved; }));
}

TEST_F(NetworkKernel, ASilentNeighbourFailsAndIsFoundWhenItSpeaks) {
  ASSERT_TRUE(Namespaces::ip("addr add 192.0.2.1/24 dev v0"));
  Namespaces::write("/proc/sys/net/ipv4/neigh/v0/retrans_time_ms", "100");
  namespaces.in_there([] { Namespaces::write("/proc/sys/net/ipv4/conf/v1/arp_notify", "0"); });
  open();
  network->set_servers({ip("192.0.2.2")}, clock_ms());
  ASSERT_TRUE(until([&] { return on_link("192.0.2.2").failed; }));
  EXPECT_EQ(network->pending_servers(), 0u);
  namespaces.ip_there("addr add 192.0.2.2/24 dev v1");
  EXPECT_TRUE(until([&] { return on_link("192.0.2.2").resolved; }));
}

TEST_F(NetworkKernel, ANeighbourThatOnlyThePacketPathUsesIsKeptAlive) {
  addresses();
  Namespaces::write("/proc/sys/net/ipv4/neigh/v0/base_reachable_time_ms", "300");
  Namespaces::write("/proc/sys/net/ipv4/neigh/v0/delay_first_probe_time", "1");
  open();
  network->set_servers({ip("192.0.2.2")}, clock_ms());
  ASSERT_TRUE(until([&] { return on_link("192.0.2.2").resolved; }));
  // Each confirmation is an ARP request to the neighbour's own MAC (RFC 1122 2.3.2.1), which nobody but Network causes here.
  const int raw = namespaces.raw_there();
  ASSERT_GE(raw, 0);
  int confirmations = 0;
  EXPECT_TRUE(until(
      [&] {
        while (const auto frame = test::receive_frame(raw)) {
          const bool arp_request = frame->size() >= 42 && (*frame)[12] == 0x08 && (*frame)[13] == 0x06 && (*frame)[21] == 1;
          if (arp_request && (*frame)[0] != 0xff) confirmations++;
        }
        return confirmations >= 2;
      },
      15'000));
  EXPECT_TRUE(on_link("192.0.2.2").resolved);
  close(raw);
}

TEST_F(NetworkKernel, AFlushedNeighbourIsAskedForWhileItsOldMacServesOn) {
  addresses();
  open();
  network->set_servers({ip("192.0.2.2")}, clock_ms());
  ASSERT_TRUE(until([&] { return on_link("192.0.2.2").resolved; }));
  const std::uint64_t asked = network->stats().solicitations;
  ASSERT_TRUE(Namespaces::ip("neigh del 192.0.2.2 dev v0"));
  bool gap = false;
  EXPECT_TRUE(until([&] {
    gap = gap || !on_link("192.0.2.2").resolved;
    return network->stats().solicitations > asked;
  }));
  EXPECT_FALSE(gap);
}

TEST_F(NetworkKernel, AfterLostEventsEverythingIsListedAnew) {
  addresses();
  open();
  network->set_servers({ip("192.0.2.2")}, clock_ms());
  ASSERT_TRUE(until([&] { return on_link("192.0.2.2").resolved; }));
  // More events than the socket holds, none of them read.
  const std::string batch = testing::TempDir() + "millrace_neighbours_" + std::to_string(getpid());
  {
    std::ofstream out(batch);
    for (int i = 0; i < 30'000; i++) {
      out << "neigh replace 10." << (i >> 16) << '.' << ((i >> 8) & 255) << '.' << (i & 255)
          << " lladdr 02:00:00:00:01:01 dev v0 nud permanent\n";
    }
    out << "route add 203.0.113.0/24 via 192.0.2.2\n";
  }
  const bool filled = Namespaces::ip("-batch " + batch);
  unlink(batch.c_str());
  ASSERT_TRUE(filled);
  EXPECT_TRUE(until([&] { return network->stats().lost_events > 0; }));
  EXPECT_TRUE(until([&] { return route("203.0.113.1") != nullptr; }));
  network->configure({{prefix("10.0.0.0/8"), std::nullopt, 0}}, {}, clock_ms());
  EXPECT_TRUE(until([&] {
    network->request({ResolveRequest::Kind::kNeighbour, 0, ip("10.0.117.47"), 0, 0}, clock_ms());
    return on_link("10.0.117.47").resolved;
  })) << "the last neighbour of the burst is known, although its event was lost";
}

TEST_F(NetworkKernel, AnOperatorsPermanentNeighbourStaysPermanent) {
  addresses();
  open();
  ASSERT_TRUE(until([&] { return usable(); }));
  // The kernel has the entry, Network has not heard of it when it asks.
  ASSERT_TRUE(Namespaces::ip("neigh add 192.0.2.66 lladdr 02:00:00:00:00:66 dev v0 nud permanent"));
  network->set_servers({ip("192.0.2.66")}, clock_ms());
  ASSERT_GE(network->stats().solicitations, 1u);
  EXPECT_TRUE(until([&] { return on_link("192.0.2.66").resolved; }));
  // Time passes until each neighbour in use has been asked to confirm itself.
  const std::uint64_t later = clock_ms() + NeighbourTable::kKeepAliveMs + 10'000;
  network->tick(later);
  network->tick(later + 1000);
  std::uint16_t state = 0;
  auto fresh = Netlink::open();
  ASSERT_TRUE(fresh.ok());
  const auto listed = fresh.value()->wait_until_listed(clock_ms(), 5000, [&](const KernelEvent& event) {
    const auto* neighbour = std::get_if<KernelNeighbour>(&event);
    if (neighbour != nullptr && neighbour->address == ip("192.0.2.66")) state = neighbour->state;
  });
  ASSERT_TRUE(listed.ok());
  EXPECT_EQ(state, NUD_PERMANENT);
}

TEST_F(NetworkKernel, AnEntryThatTheKernelMadeForItselfServesToo) {
  ASSERT_TRUE(Namespaces::ip("addr add 192.0.2.1/24 dev v0"));
  namespaces.ip_there("addr add 192.0.2.2/24 dev v1");
  open();
  ASSERT_TRUE(until([&] { return usable(); }));
  const int sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in discard{};
  discard.sin_family = AF_INET;
  discard.sin_port = htons(9);
  discard.sin_addr.s_addr = ip("192.0.2.2").v4_part().raw;
  ASSERT_EQ(sendto(sender, "", 0, 0, reinterpret_cast<const sockaddr*>(&discard), sizeof(discard)), 0);
  close(sender);
  network->request({ResolveRequest::Kind::kNeighbour, 0, ip("192.0.2.2"), 0, 0}, clock_ms());
  EXPECT_TRUE(until([&] { return on_link("192.0.2.2").resolved; }));
}

TEST_F(NetworkKernel, AnAddressOnAnyInterfaceOfTheKernelIsFound) {
  addresses();
  ASSERT_TRUE(Namespaces::ip("addr add 203.0.113.10/32 dev lo"));
  open();
  const auto refused = network->check_not_on_kernel(ip("203.0.113.10"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, "address_on_kernel");
  EXPECT_NE(refused.error().message.find("ip addr del 203.0.113.10/32 dev lo"), std::string::npos);
  EXPECT_FALSE(network->check_not_on_kernel(ip("2001:db8::1")).ok());
  EXPECT_TRUE(network->check_not_on_kernel(ip("192.0.2.2")).ok());
  ASSERT_TRUE(Namespaces::ip("addr del 203.0.113.10/32 dev lo"));
  EXPECT_TRUE(until([&] { return network->check_not_on_kernel(ip("203.0.113.10")).ok(); }));
}

TEST_F(NetworkKernel, AnInterfaceThatDoesNotExistIsNamed) {
  NetworkConfig config;
  config.interfaces.resize(1);
  config.interfaces[0].name = "nowhere0";
  const auto opened = Network::open(config, clock_ms());
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, "interface_missing");
  EXPECT_NE(opened.error().message.find("nowhere0"), std::string::npos);
}

TEST_F(NetworkKernel, AnInterfaceThatIsMadeAnewIsTakenUpAgain) {
  addresses();
  open();
  network->set_servers({ip("192.0.2.2")}, clock_ms());
  ASSERT_TRUE(until([&] { return on_link("192.0.2.2").resolved; }));
  const auto old_index = network->interfaces()[0].kernel_index;
  ASSERT_TRUE(Namespaces::ip("link del v0"));
  ASSERT_TRUE(until([&] { return network->interfaces()[0].kernel_index == 0; }));
  ASSERT_TRUE(Namespaces::ip("link add v0 address 02:00:00:00:00:03 type veth peer name v2 address 02:00:00:00:00:04"));
  ASSERT_TRUE(Namespaces::ip("addr add 192.0.2.1/24 dev v0"));
  ASSERT_TRUE(Namespaces::ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:99 dev v0 nud permanent"));
  ASSERT_TRUE(Namespaces::ip("link set v2 up"));
  ASSERT_TRUE(Namespaces::ip("link set v0 up"));
  EXPECT_TRUE(until([&] { return on_link("192.0.2.2").resolved; }));
  EXPECT_NE(network->interfaces()[0].kernel_index, old_index);
  EXPECT_EQ(on_link("192.0.2.2").destination, mac("02:00:00:00:00:99"));
  EXPECT_EQ(on_link("192.0.2.2").source, mac("02:00:00:00:00:03"));
}

}  // namespace
}  // namespace millrace
