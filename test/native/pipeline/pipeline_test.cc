// The pipeline from frame to frame: translation, echo, whose a packet is, and MSS.
#include "pipeline/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/mss.h"
#include "support/flow.h"

namespace millrace::test {
namespace {

TEST(FullNat, TranslatesRandomPacketsThereAndBackAndChangesNothingElse) {
  std::mt19937 random(4);
  Stage stage({.max_sessions = 100000});
  std::set<std::string> servers;
  for (int round = 0; round < 4000; round++) {
    Flow f = random() % 2 == 0 ? Flow{} : flow6();
    f.tcp = random() % 2 == 0;
    f.destination_port = f.tcp ? 80 : 53;
    f.source = f.six ? "2001:db8:1::" + std::to_string(1 + random() % 9000)
                     : "198.51." + std::to_string(random() % 256) + "." + std::to_string(random() % 256);
    f.source_port = static_cast<std::uint16_t>(1 + random() % 65535);
    f.ttl = static_cast<std::uint8_t>(2 + random() % 254);
    f.tos = static_cast<std::uint8_t>(random());
    f.id = static_cast<std::uint16_t>(random());
    f.dont_fragment = random() % 2 == 0;
    if (!f.six && random() % 4 == 0) f.ip_options = {7, 7, 4, 1, 2, 3, 4, 0};
    f.seq = static_cast<std::uint32_t>(random());
    f.window = static_cast<std::uint16_t>(random());
    if (f.tcp && random() % 2 == 0) f.tcp_options = {tcp_option::nop(), tcp_option::timestamps(static_cast<std::uint32_t>(random()), 7), tcp_option::mss(1000)};
    f.payload.resize(random() % 700);
    for (std::uint8_t& byte : f.payload) byte = static_cast<std::uint8_t>(random());
    f.no_udp_checksum = !f.tcp && !f.six && random() % 4 == 0;
    const Flow at_server = expect_forwarded(stage, f);
    servers.insert(at_server.destination);
    Flow reply = reply_of(at_server);
    reply.flags = kSyn | kAck;
    reply.payload.resize(random() % 300, 0x5a);
    reply.ttl = static_cast<std::uint8_t>(2 + random() % 254);
    expect_returned(stage, reply, f);
    if (HasFailure()) FAIL() << "round " << round;
  }
  EXPECT_EQ(servers.size(), 4u) << "both servers of both families have had sessions";
  EXPECT_EQ(stage.drops(), 0u);
  stage.expect_accounted();
}

TEST(FullNat, AWrongChecksumStaysWrongByTheSameAmount) {
  Stage stage({});
  for (const bool six : {false, true}) {
    for (const bool tcp : {false, true}) {
      Flow f = six ? flow6() : Flow{};
      f.tcp = tcp;
      f.destination_port = tcp ? 80 : 53;
      f.checksum_error = 0x1234;
      f.payload = {1, 2, 3};
      Flow reply = reply_of(expect_forwarded(stage, f));
      reply.flags = kAck;
      expect_returned(stage, reply, f);
    }
  }
}

TEST(FullNat, AUdpChecksumThatComesOutAsZeroIsSentAsAllOnes) {
  // Whatever the local port is, some payload word makes the translated sum zero: all of them are tried.
  Stage stage({});
  int ones = 0;
  for (std::uint32_t word = 0; word < 65536; word++) {
    Flow f = from_port(5000, false);
    f.payload = {static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)};
    ASSERT_TRUE(stage.inject(f.build()));
    if (word % 64 != 63) continue;
    stage.settle();
    for (const Sent& sent : stage.take()) {
      const std::uint16_t checksum = read16(sent.bytes, 40);
      ASSERT_NE(checksum, 0);
      ones += checksum == 0xffff ? 1 : 0;
    }
  }
  EXPECT_GE(ones, 1);
}

TEST(FullNat, CountsWhatEachServerGetsAndSends) {
  Stage stage({});
  const Flow f = from_port(5000);
  const Flow at_server = expect_forwarded(stage, f);
  Flow reply = reply_of(at_server);
  reply.flags = kSyn | kAck;
  reply.payload = Bytes(100, 1);
  expect_returned(stage, reply, f);
  ServerSlot slot = 0;
  while (stage.builder().server_slots()[slot].address != ip(at_server.destination) || stage.builder().server_slots()[slot].port != be16(8080)) slot++;
  const ServerStats& stats = stage.state().server_stats[slot];
  EXPECT_EQ(stats.connections, 1u);
  EXPECT_EQ(stats.in_packets, 1u);
  EXPECT_EQ(stats.in_bytes, f.build().size());
  EXPECT_EQ(stats.out_packets, 1u);
  EXPECT_EQ(stats.out_bytes, reply.build().size());
  EXPECT_EQ(stats.active, 1u);
  EXPECT_EQ(stats.inactive, 0u);
}

TEST(Echo, IsAnsweredForOurAddressesOfBothFamilies) {
  Stage stage({});
  for (const char* address : {"203.0.113.10", "10.0.3.1"}) {
    const auto echo = [&](bool reply, std::uint8_t ttl) {
      EthFields eth;
      if (reply) std::swap(eth.source, eth.destination);
      Ipv4Fields v4{.destination = address, .tos = 3, .id = 77, .ttl = ttl};
      if (reply) std::swap(v4.source, v4.destination);
      return PacketBuilder().eth(eth).ipv4(v4).icmp({.type = static_cast<std::uint8_t>(reply ? 0 : 8), .rest = 0x12340001}).payload("odd").build();
    };
    const std::vector<Sent> sent = stage.pass_through(echo(false, 9));
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].interface, kClientSide);
    EXPECT_EQ(sent[0].bytes, echo(true, 64));
  }
  const auto echo6 = [&](bool reply, std::uint8_t hops) {
    EthFields eth;
    if (reply) std::swap(eth.source, eth.destination);
    Ipv6Fields v6{.flow_label = 5, .hop_limit = hops};
    if (reply) std::swap(v6.source, v6.destination);
    return PacketBuilder().eth(eth).ipv6(v6).icmp({.type = static_cast<std::uint8_t>(reply ? 129 : 128), .rest = 7}).payload("odd").build();
  };
  const std::vector<Sent> sent = stage.pass_through(echo6(false, 255));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, echo6(true, 64));
  EXPECT_EQ(stage.count(Counter::consumed), 3u);
  EXPECT_EQ(stage.count(Counter::originated), 3u);
  stage.expect_accounted();
}

TEST(Echo, OtherMessagesAndWrongChecksumsAreNotAnswered) {
  Stage stage({});
  for (const std::uint8_t type : {std::uint8_t{0}, std::uint8_t{13}}) {
    expect_dropped(stage, PacketBuilder().eth().ipv4().icmp({.type = type}).build(), DropReason::icmp_unsupported);
  }
  // Errors that quote nothing.
  for (const std::uint8_t type : {std::uint8_t{3}, std::uint8_t{11}}) {
    expect_dropped(stage, PacketBuilder().eth().ipv4().icmp({.type = type}).build(), DropReason::icmp_quote_invalid);
  }
  expect_dropped(stage, PacketBuilder().eth().ipv4().icmp({.type = 8, .code = 1}).build(), DropReason::icmp_unsupported);
  expect_dropped(stage, PacketBuilder().eth().ipv4().icmp({.checksum_error = 1}).build(), DropReason::icmp_unsupported);
  expect_dropped(stage, PacketBuilder().eth().ipv6().icmp({.type = 128, .checksum_error = 1}).build(), DropReason::icmp_unsupported);
  expect_dropped(stage, PacketBuilder().eth().ipv4({.destination = "203.0.113.11"}).icmp().build(), DropReason::address_not_owned);
}

TEST(Classify, NamesWhyAPacketBeginsNoSession) {
  Stage stage({});
  Flow f;
  f.destination = "203.0.113.99";
  expect_dropped(stage, f.build(), DropReason::address_not_owned);
  f = from_port(5000);
  f.destination_port = 81;
  expect_dropped(stage, f.build(), DropReason::no_service);
  f.destination_port = 53;
  expect_dropped(stage, f.build(), DropReason::no_service);
  f.destination = "10.0.3.1";
  expect_dropped(stage, f.build(), DropReason::local_no_session);
  f = flow6();
  f.destination = "::ffff:203.0.113.10";
  expect_dropped(stage, f.build(), DropReason::address_not_owned);
  for (const int flags : {int{kAck}, kAck | kFin, int{kRst}, kRst | kAck}) {
    f = from_port(5000);
    f.flags = static_cast<std::uint8_t>(flags);
    expect_dropped(stage, f.build(), DropReason::tcp_no_session);
  }
  EXPECT_EQ(stage.count(Counter::sessions_created), 0u);
  stage.expect_accounted();
}

TEST(Classify, AServiceWhoseServersHaveNoWeightTakesNothing) {
  TablesConfig tables = default_tables(1);
  for (ServerConfig& server : tables.services[0].servers) server.weight = 0;
  Stage stage({}, tables);
  expect_refused(stage, from_port(5000).build(), DropReason::no_server, 3, 3);
  tables.services[0].servers[0].weight = 1;
  stage.apply(tables);
  EXPECT_EQ(expect_forwarded(stage, from_port(5000)).destination, "10.0.2.11");
}

TEST(Classify, AStrayPacketVisitsEveryWorkerOnceAndIsThenDropped) {
  Stage stage({.workers = 4});
  Flow f = from_port(5000);
  f.flags = kAck;
  EXPECT_TRUE(stage.pass_through(f.build(), kClientSide, 2).empty());
  for (std::uint32_t worker = 0; worker < 4; worker++) {
    const Counters& c = stage.state(worker).counters;
    EXPECT_EQ(c.get(Counter::handoff_sent), worker == 1 ? 0u : 1u);
    EXPECT_EQ(c.get(Counter::handoff_received), worker == 2 ? 0u : 1u);
    EXPECT_EQ(c.get(DropReason::tcp_no_session), worker == 1 ? 1u : 0u);
  }
  stage.expect_accounted();
}

TEST(Classify, APacketOnTheWrongWorkerFindsItsSession) {
  Stage stage({.workers = 4});
  Flow f = from_port(5000);
  const Flow at_server = expect_forwarded(stage, f, 1);
  f.flags = kAck;
  f.payload = {1, 2, 3};
  EXPECT_EQ(expect_forwarded(stage, f, 3).source_port, at_server.source_port);
  EXPECT_EQ(stage.state(1).counters.get(Counter::forwarded), 2u);
  Flow reply = reply_of(at_server);
  reply.flags = kSyn | kAck;
  for (const std::uint32_t worker : {0u, 1u, 2u, 3u}) expect_returned(stage, reply, f, worker);
  EXPECT_EQ(stage.state(1).counters.get(Counter::forwarded), 6u);
  EXPECT_EQ(stage.drops(), 0u);
  stage.expect_accounted();
}

TEST(Classify, StrayPacketsArePassedRoundWithinABudgetPerMillisecond) {
  Stage stage({.workers = 2, .now_ms = 0});
  Flow f;
  f.flags = kAck;
  for (int millisecond = 0; millisecond < 3; millisecond++) {
    for (std::uint16_t n = 0; n < 100; n++) {
      f.source_port = static_cast<std::uint16_t>(1000 + n);
      ASSERT_TRUE(stage.inject(f.build()));
    }
    stage.settle();
    EXPECT_EQ(stage.count(Counter::handoff_sent), 64u * static_cast<std::uint64_t>(millisecond + 1));
    stage.pass(1);
  }
  EXPECT_EQ(stage.count(DropReason::tcp_no_session), 300u);
  stage.expect_accounted();
}

TEST(Classify, APacketToALocalAddressIsHandedOverAtMostAsOftenAsThereAreWorkers) {
  Stage stage({.workers = 2});
  Bytes frame = PacketBuilder().eth().ipv4({.source = "10.0.2.11", .destination = "10.0.3.2"}).udp().build();
  auto batch = std::make_unique<Batch>();
  for (const std::uint8_t hops : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{2}}) {
    batch->clear();
    batch->push({frame.data(), static_cast<std::uint32_t>(frame.size()), 1, hops, 0});
    run_pipeline(stage.state(0), *batch);
    EXPECT_EQ(batch->verdicts[0].action, hops < 2 ? Action::kHandoff : Action::kDrop);
    EXPECT_EQ(batch->verdicts[0].target, hops < 2 ? 1 : 0);
  }
  EXPECT_EQ(batch->verdicts[0].reason, DropReason::local_no_session);
}

TEST(Mss, IsLoweredToTheNarrowerSideInBothDirections) {
  Stage stage({});
  for (const bool six : {false, true}) {
    NetworkTables network = default_network();
    for (NextHop& hop : network.next_hops) hop.mtu = hop.interface == kServerSide ? 1400 : 1500;
    stage.network(std::move(network));
    Flow f = six ? flow6() : Flow{};
    f.tcp_options = {tcp_option::nop(), tcp_option::mss(9000), tcp_option::sack_permitted()};  // at an odd offset
    const std::vector<Sent> sent = stage.pass_through(f.build());
    ASSERT_EQ(sent.size(), 1u);
    Flow expected = towards_server(f, sent[0].bytes);
    expected.tcp_options[1] = tcp_option::mss(six ? 1340 : 1360);
    EXPECT_EQ(sent[0].bytes, expected.build());
    Flow reply = reply_of(expected);
    reply.flags = kSyn | kAck;
    reply.tcp_options = {tcp_option::mss(1460)};
    const std::vector<Sent> back = stage.pass_through(reply.build(), kServerSide);
    ASSERT_EQ(back.size(), 1u);
    Flow at_client = towards_client(reply, f);
    at_client.tcp_options = {tcp_option::mss(six ? 1340 : 1360)};
    EXPECT_EQ(back[0].bytes, at_client.build());
  }
  EXPECT_EQ(stage.count(Counter::mss_clamped), 4u);
}

TEST(Mss, IsFoundAtEveryOffsetAndOnlyThere) {
  for (const std::uint16_t announced : {std::uint16_t{100}, std::uint16_t{1459}, std::uint16_t{1460}, std::uint16_t{1461}, std::uint16_t{65535}}) {
    for (std::size_t nops = 0; nops <= 36; nops++) {
      Flow f;
      f.tcp_options.assign(nops, tcp_option::nop());
      f.tcp_options.push_back(tcp_option::mss(announced));
      f.payload = {9};
      Bytes frame = f.build();
      Packet packet{frame.data(), static_cast<std::uint32_t>(frame.size()), 0, 0, 0};
      PacketMeta meta;
      DropReason reason;
      ASSERT_TRUE(parse_packet(packet, meta, reason));
      EXPECT_EQ(clamp_mss(packet, meta, 1460), announced > 1460);
      f.tcp_options.back() = tcp_option::mss(std::min<std::uint16_t>(announced, 1460));
      EXPECT_EQ(frame, f.build()) << nops << " " << announced;
      // Behind the end of options nothing is an option.
      if (nops == 0) continue;
      f.tcp_options[0] = tcp_option::end();
      f.tcp_options.back() = tcp_option::mss(announced);
      frame = f.build();
      EXPECT_FALSE(clamp_mss({frame.data(), static_cast<std::uint32_t>(frame.size()), 0, 0, 0}, meta, 1460));
      EXPECT_EQ(frame, f.build());
    }
  }
}

TEST(Mss, AnUnknownPathClampsNothing) {
  Flow f;
  f.tcp_options = {tcp_option::mss(9000)};
  Bytes frame = f.build();
  Packet packet{frame.data(), static_cast<std::uint32_t>(frame.size()), 0, 0, 0};
  PacketMeta meta;
  DropReason reason;
  ASSERT_TRUE(parse_packet(packet, meta, reason));
  EXPECT_FALSE(clamp_mss(packet, meta, 0));
  EXPECT_EQ(frame, f.build());
}

}  // namespace
}  // namespace millrace::test
