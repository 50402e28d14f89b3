// Announcer on a real link: who asks is the other namespace's kernel, or a raw socket beside it.
#include <gtest/gtest.h>
#include <linux/neighbour.h>

#include "control/announcer.h"
#include "control/namespaces.h"
#include "control/netlink.h"

namespace millrace {
namespace {

using test::clock_ms;
using test::Namespaces;
using Frame = std::vector<std::uint8_t>;

IpAddress ip(std::string_view text) {
  bool ok = false;
  const IpAddress address = IpAddress::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return address;
}
MacAddress mac(std::string_view text) {
  bool ok = false;
  return MacAddress::parse(text, ok);
}

class AnnouncerKernel : public testing::Test {
 protected:
  void SetUp() override {
    const std::string reason = namespaces.open();
    if (!reason.empty()) GTEST_SKIP() << reason << " (needs root)";
    ASSERT_TRUE(Namespaces::ip("addr add 192.0.2.1/24 dev v0"));
    ASSERT_TRUE(Namespaces::ip("-6 addr add 2001:db8::1/64 dev v0 nodad"));
    namespaces.ip_there("addr add 192.0.2.2/24 dev v1");
    namespaces.ip_there("-6 addr add 2001:db8::2/64 dev v1 nodad");
    NetworkConfig config;
    config.interfaces.resize(1);
    config.interfaces[0].name = "v0";
    auto opened = Network::open(config, clock_ms());
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    network = std::move(opened).value();
    auto made = Announcer::open([this](const AddressConflict& conflict) { conflicts.push_back(conflict); });
    ASSERT_TRUE(made.ok()) << made.error().message;
    announcer = std::move(made).value();
    raw = namespaces.raw_there();
    ASSERT_GE(raw, 0);
    ASSERT_TRUE(until([&] { return network->interfaces()[0].usable; }));
  }
  void TearDown() override {
    if (raw >= 0) close(raw);
  }

  /// Lets network and announcer work until `condition` holds; false after `limit_ms`.
  template <typename Condition>
  bool until(Condition condition, std::uint64_t limit_ms = 8000) {
    const std::uint64_t deadline = clock_ms() + limit_ms;
    for (;;) {
      const std::uint64_t now = clock_ms();
      network->process(now);
      network->tick(now);
      if (network->take_interfaces_changed()) {
        const auto set = announcer->set_interfaces(network->interfaces(), network->kernel_addresses(), now);
        EXPECT_TRUE(set.ok()) << set.error().message;
      }
      announcer->process(now);
      announcer->tick(now);
      while (const auto frame = test::receive_frame(raw)) heard.push_back(*frame);
      if (condition()) return true;
      if (now >= deadline) return false;
      const std::uint64_t wake = std::min({deadline, network->next_tick_ms(), announcer->next_tick_ms()});
      pollfd waiting[3] = {{network->fd(), POLLIN, 0}, {announcer->fd(), POLLIN, 0}, {raw, POLLIN, 0}};
      poll(waiting, 3, wake > now ? static_cast<int>(wake - now) : 0);
    }
  }

  /// How often a frame was heard that says what `expected` says, from our MAC.
  std::size_t count(NeighbourQuery::Kind kind, std::string_view about, bool broadcast) {
    return static_cast<std::size_t>(std::count_if(heard.begin(), heard.end(), [&](const Frame& frame) {
      const auto message = parse_neighbour_query(frame);
      return message && message->kind == kind && message->claims(ip(about)) && message->sender_mac == mac(Namespaces::kHereMac) &&
             ((frame[0] & 1) != 0) == broadcast;
    }));
  }

  void send_there(const Frame& frame) { ASSERT_EQ(send(raw, frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size())); }

  static Frame arp(std::uint8_t operation, std::string_view sender, std::string_view target, std::string_view destination) {
    Frame frame;
    const auto put_mac = [&](const MacAddress& m) { frame.insert(frame.end(), m.bytes.begin(), m.bytes.end()); };
    const auto put_ip = [&](const IpAddress& a) { frame.insert(frame.end(), a.bytes() + 12, a.bytes() + 16); };
    put_mac(mac(destination));
    put_mac(mac(Namespaces::kThereMac));
    for (const int byte : {0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, static_cast<int>(operation)})
      frame.push_back(static_cast<std::uint8_t>(byte));
    put_mac(mac(Namespaces::kThereMac));
    put_ip(ip(sender));
    put_mac(MacAddress{});
    put_ip(ip(target));
    return frame;
  }

  Namespaces namespaces;
  std::unique_ptr<Network> network;
  std::unique_ptr<Announcer> announcer;
  std::vector<AddressConflict> conflicts;
  std::vector<Frame> heard;
  int raw = -1;
};

TEST_F(AnnouncerKernel, AnotherKernelResolvesOurAddressesInBothFamilies) {
  announcer->set_owned({ip("192.0.2.10"), ip("2001:db8::10")}, clock_ms());
  std::unique_ptr<Netlink> there;
  std::uint32_t link = 0;
  namespaces.in_there([&] {
    link = if_nametoindex("v1");
    auto opened = Netlink::open();
    ASSERT_TRUE(opened.ok());
    there = std::move(opened).value();
  });
  std::vector<IpAddress> found;
  const auto sink = [&](const KernelEvent& event) {
    const auto* neighbour = std::get_if<KernelNeighbour>(&event);
    if (neighbour == nullptr || neighbour->state != NUD_REACHABLE) return;
    if (neighbour->mac == mac(Namespaces::kHereMac)) found.push_back(neighbour->address);
  };
  ASSERT_TRUE(there->wait_until_listed(clock_ms(), 5000, sink).ok());
  const Solicitation wishes[] = {{link, ip("192.0.2.10")}, {link, ip("2001:db8::10")}};
  there->solicit(wishes);
  EXPECT_TRUE(until([&] {
    there->process(clock_ms(), sink);
    return std::count(found.begin(), found.end(), ip("192.0.2.10")) > 0 &&
           std::count(found.begin(), found.end(), ip("2001:db8::10")) > 0;
  }));
  EXPECT_GE(announcer->stats().answers, 2u);
}

TEST_F(AnnouncerKernel, AProbeAndAUnicastRequestAreAnswered) {
  announcer->set_owned({ip("192.0.2.10")}, clock_ms());
  ASSERT_TRUE(until([&] { return announcer->stats().announcements >= 4; }));
  heard.clear();
  send_there(arp(1, "0.0.0.0", "192.0.2.10", "ff:ff:ff:ff:ff:ff"));
  EXPECT_TRUE(until([&] { return count(NeighbourQuery::Kind::kArpReply, "192.0.2.10", false) == 1; })) << "RFC 5227 probe";
  send_there(arp(1, "192.0.2.2", "192.0.2.10", Namespaces::kHereMac));
  EXPECT_TRUE(until([&] { return count(NeighbourQuery::Kind::kArpReply, "192.0.2.10", false) == 2; })) << "unicast request";
  EXPECT_EQ(announcer->stats().requests, 2u);
}

TEST_F(AnnouncerKernel, DuplicateAddressDetectionIsAnsweredToAllNodes) {
  announcer->set_owned({ip("2001:db8::10")}, clock_ms());
  ASSERT_TRUE(until([&] { return announcer->stats().announcements >= 2; }));
  heard.clear();
  const Frame detection = {0x33, 0x33, 0xff, 0x00, 0x00, 0x10, 0x02, 0x00, 0x00, 0x00, 0x00, 0x20, 0x86, 0xdd, 0x60, 0x00,
                           0x00, 0x00, 0x00, 0x18, 0x3a, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                           0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                           0x00, 0x01, 0xff, 0x00, 0x00, 0x10, 0x87, 0x00, 0x4c, 0xcf, 0x00, 0x00, 0x00, 0x00, 0x20, 0x01,
                           0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10};
  send_there(detection);
  EXPECT_TRUE(until([&] { return count(NeighbourQuery::Kind::kAdvertisement, "2001:db8::10", true) == 1; }));
}

TEST_F(AnnouncerKernel, NewAddressesAreAnnouncedAtOnceAndAgainAfterASecond) {
  const std::uint64_t start = clock_ms();
  announcer->set_owned({ip("192.0.2.10"), ip("2001:db8::10")}, start);
  const auto announced = [&](std::size_t times) {
    return count(NeighbourQuery::Kind::kArpRequest, "192.0.2.10", true) == times &&
           count(NeighbourQuery::Kind::kArpReply, "192.0.2.10", true) == times &&
           count(NeighbourQuery::Kind::kAdvertisement, "2001:db8::10", true) == times;
  };
  EXPECT_TRUE(until([&] { return announced(1); }, 900));
  EXPECT_TRUE(until([&] { return announced(2); }));
  EXPECT_GE(clock_ms() - start, 1000u);
  EXPECT_EQ(announcer->next_tick_ms(), UINT64_MAX) << "and then there is peace";
}

TEST_F(AnnouncerKernel, ALinkThatComesBackAnnouncesAgain) {
  announcer->set_owned({ip("192.0.2.10")}, clock_ms());
  ASSERT_TRUE(until([&] { return announcer->stats().announcements == 4; }));
  ASSERT_TRUE(Namespaces::ip("link set v0 down"));
  ASSERT_TRUE(until([&] { return !network->interfaces()[0].usable; }));
  heard.clear();
  ASSERT_TRUE(Namespaces::ip("link set v0 up"));
  EXPECT_TRUE(until([&] { return count(NeighbourQuery::Kind::kArpReply, "192.0.2.10", true) >= 1; }));
  send_there(arp(1, "192.0.2.2", "192.0.2.10", "ff:ff:ff:ff:ff:ff"));
  EXPECT_TRUE(until([&] { return count(NeighbourQuery::Kind::kArpReply, "192.0.2.10", false) == 1; })) << "and answers again";
}

TEST_F(AnnouncerKernel, AddressesOfOthersAndOfTheKernelAreNotAnswered) {
  announcer->set_owned({ip("192.0.2.10"), ip("192.0.2.1")}, clock_ms());
  ASSERT_TRUE(until([&] { return announcer->stats().announcements == 4; })) << "192.0.2.1 is the kernel's and is not announced";
  const std::uint64_t ignored = announcer->stats().ignored;
  send_there(arp(1, "192.0.2.2", "192.0.2.1", "ff:ff:ff:ff:ff:ff"));
  send_there(arp(1, "192.0.2.2", "192.0.2.77", "ff:ff:ff:ff:ff:ff"));
  EXPECT_TRUE(until([&] { return announcer->stats().ignored == ignored + 2; }));
  EXPECT_EQ(announcer->stats().answers, 0u);
  announcer->set_owned({}, clock_ms());
  send_there(arp(1, "192.0.2.2", "192.0.2.10", "ff:ff:ff:ff:ff:ff"));
  EXPECT_TRUE(until([&] { return announcer->stats().ignored == ignored + 3; })) << "no longer ours";
  EXPECT_EQ(announcer->stats().answers, 0u);
}

TEST_F(AnnouncerKernel, SomebodyElsesClaimIsReportedOnceAndNotFoughtWith) {
  announcer->set_owned({ip("192.0.2.10")}, clock_ms());
  ASSERT_TRUE(until([&] { return announcer->stats().announcements == 4; }));
  const std::uint64_t sent = announcer->stats().answers + announcer->stats().announcements;
  send_there(arp(2, "192.0.2.10", "192.0.2.10", "ff:ff:ff:ff:ff:ff"));
  send_there(arp(1, "192.0.2.10", "192.0.2.10", "ff:ff:ff:ff:ff:ff"));
  EXPECT_TRUE(until([&] { return announcer->stats().conflicts == 2; }));
  ASSERT_EQ(conflicts.size(), 1u);
  EXPECT_EQ(conflicts[0].address, ip("192.0.2.10"));
  EXPECT_EQ(conflicts[0].claimant, mac(Namespaces::kThereMac));
  EXPECT_EQ(conflicts[0].interface, "v0");
  EXPECT_EQ(announcer->stats().answers + announcer->stats().announcements, sent);
}

TEST_F(AnnouncerKernel, AStormOfQuestionsIsAnsweredOnlyUpToTheLimit) {
  announcer->set_owned({ip("192.0.2.10")}, clock_ms());
  ASSERT_TRUE(until([&] { return announcer->stats().announcements == 4; }));
  const Frame question = arp(1, "192.0.2.2", "192.0.2.10", "ff:ff:ff:ff:ff:ff");
  const std::uint64_t frozen = clock_ms();
  for (int round = 0; round < 100 && announcer->stats().limited == 0; round++) {
    for (int i = 0; i < 100; i++) send_there(question);
    // The clock stands still, so that the limit is the burst alone however slow the machine.
    for (int i = 0; i < 10; i++) announcer->process(frozen);
  }
  EXPECT_GT(announcer->stats().limited, 0u);
  EXPECT_LE(announcer->stats().answers, 2000u);
}

}  // namespace
}  // namespace millrace
