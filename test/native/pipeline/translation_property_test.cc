// Properties of translation, for random services, servers, modes, families and packets:
//
//   - what reaches the server, and what reaches the client back, is the packet that was sent but for what its mode changes;
//     packets are rebuilt from their fields by test code, checksums over all bytes, so incremental updates are compared with full sums
//   - a session stays on its server whatever becomes of the service's servers, weights and scheduler
//   - an incremental checksum (RFC 1624) is the one that a sum over all bytes gives
//
// Every run uses the same seeds; a failure names its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "net/checksum.h"
#include "support/flow.h"
#include "support/fragmenting.h"
#include "support/modes.h"

namespace millrace::test {
namespace {

struct Dice {
  Random random;
  explicit Dice(std::uint32_t seed) : random(seed) {}
  std::uint32_t below(std::uint32_t n) { return random() % n; }
  std::uint32_t between(std::uint32_t low, std::uint32_t high) { return low + below(high - low + 1); }
  bool coin() { return below(2) == 0; }
  std::uint16_t port() { return static_cast<std::uint16_t>(between(1, 65535)); }
  Bytes bytes(std::size_t length) {
    Bytes out(length);
    for (std::uint8_t& b : out) b = static_cast<std::uint8_t>(random());
    return out;
  }
};

/// A service with up to four servers of one mode; the same ports for all of them.
struct World {
  ForwardMode mode;
  bool client6, server6, tcp;
  std::uint16_t vip_port, server_port;
  std::uint8_t dscp = 0;
  TablesConfig tables;

  bool crosses() const { return client6 != server6 && !is_tunnel(mode); }
  bool keeps_port() const { return mode != ForwardMode::kFullNat && mode != ForwardMode::kNat; }
};

std::string server_address(bool six, std::uint32_t n) { return (six ? "fd00:2::" : "10.0.2.") + std::to_string(11 + n); }

World random_world(Dice& dice) {
  World w;
  w.mode = kForwardModes[dice.below(static_cast<std::uint32_t>(kForwardModes.size()))].mode;
  w.client6 = dice.coin();
  const bool may_cross = w.mode == ForwardMode::kFullNat || is_tunnel(w.mode);
  w.server6 = may_cross && dice.coin() ? !w.client6 : w.client6;
  w.tcp = dice.coin();
  w.vip_port = dice.port();
  w.server_port = w.keeps_port() || dice.coin() ? w.vip_port : dice.port();
  if (w.mode == ForwardMode::kL3Dsr) w.dscp = static_cast<std::uint8_t>(dice.between(1, 63));

  ServiceConfig service;
  service.name = "service";
  service.address = ip(w.client6 ? kVip6 : kVip);
  service.port = be16(w.vip_port);
  service.protocol = w.tcp ? 6 : 17;
  service.scheduler = SchedulerKind::kRoundRobin;
  service.dscp = w.dscp;
  const std::uint32_t servers = dice.between(1, 4);
  for (std::uint32_t n = 0; n < servers; n++) {
    ServerConfig server;
    server.address = ip(server_address(w.server6, n));
    server.port = be16(w.server_port);
    server.mode = w.mode;
    service.servers.push_back(server);
  }
  w.tables.services.push_back(std::move(service));
  w.tables.local_addresses = {ip("10.0.3.1"), ip("fd00:3::1")};
  w.tables.timeouts_ms = default_timeouts(TimeoutProfile::kIpvs);
  return w;
}

void randomise_fields(Dice& dice, const World& w, Flow& f) {
  f.ttl = static_cast<std::uint8_t>(dice.between(2, 255));
  f.tos = static_cast<std::uint8_t>(dice.below(256));
  f.id = static_cast<std::uint16_t>(dice.below(65536));
  f.dont_fragment = dice.coin();
  f.seq = dice.random();
  f.ack = dice.random();
  f.window = static_cast<std::uint16_t>(dice.below(65536));
  f.tcp_options.clear();
  if (dice.coin()) f.tcp_options = {tcp_option::mss(500), Bytes{1, 1}, Bytes{8, 10, 1, 2, 3, 4, 5, 6, 7, 8}};
  // A tunnel's outer headers must fit, too.
  f.payload = dice.bytes(dice.coin() ? dice.below(64) : dice.below(1300));
  f.ip_options = !f.six && dice.below(4) == 0 ? Bytes{0x94, 4, 0, 0} : Bytes{};
  f.checksum_error = dice.below(8) == 0 ? static_cast<std::uint16_t>(dice.between(1, 0xfffe)) : std::uint16_t{0};
  f.no_udp_checksum = !w.tcp && !f.six && !w.crosses() && dice.below(4) == 0;
  if (f.no_udp_checksum) f.checksum_error = 0;
}

/// What changes when the family does (RFC 7915): options are left out; an IPv4 header has an identification if it may be cut.
void change_family(Flow& f, bool to_six, const Bytes& out) {
  f.six = to_six;
  f.ip_options.clear();
  f.id = 0;
  f.dont_fragment = false;
  if (to_six) return;
  const bool may_be_cut = out.size() - 14 <= 1260;
  f.dont_fragment = !may_be_cut;
  if (may_be_cut) f.id = read16(out, 18);
}

/// The client's packet as it must reach the server; the choice of server and local port is read from `out`.
Flow at_server(const World& w, const Flow& request, const Bytes& out) {
  Flow f = request;
  f.ttl--;
  f.eth_source = "02:00:00:00:00:02";
  const std::uint32_t n = out[5] - 0x11u;
  f.eth_destination = "02:00:00:00:02:" + std::to_string(11 + n);
  if (w.crosses()) change_family(f, w.server6, out);
  if (w.mode == ForwardMode::kFullNat) {
    f.source = w.server6 ? "fd00:3::1" : "10.0.3.1";
    f.source_port = read16(out, l4_of(f));
  }
  if (!is_tunnel(w.mode) && w.mode != ForwardMode::kDirect) {
    f.destination = server_address(w.server6, n);
    f.destination_port = w.server_port;
  }
  if (w.mode == ForwardMode::kL3Dsr) f.tos = static_cast<std::uint8_t>(w.dscp << 2 | (request.tos & 3));
  return f;
}

/// Outer addresses, lengths and checksums of a tunnel's packet; it goes to the server of its Ethernet address.
void expect_outer(const World& w, const Bytes& out, const Bytes& inner) {
  if (!is_tunnel(w.mode)) return;
  const std::string server = server_address(w.server6, out[5] - 0x11u);
  EXPECT_EQ(address_at(out, w.server6 ? 38 : 30, w.server6), server);
  EXPECT_EQ(address_at(out, w.server6 ? 22 : 26, w.server6), w.server6 ? "fd00:3::1" : "10.0.3.1");
  const std::size_t announced = w.server6 ? 40u + read16(out, 18) : read16(out, 16);
  EXPECT_EQ(announced, out.size() - 14);
  const std::uint8_t inner_tos = w.client6 ? static_cast<std::uint8_t>(inner[14] << 4 | inner[15] >> 4) : inner[15];
  const std::uint8_t outer_tos = w.server6 ? static_cast<std::uint8_t>(out[14] << 4 | out[15] >> 4) : out[15];
  EXPECT_EQ(outer_tos, inner_tos);
  EXPECT_EQ(out[w.server6 ? 21 : 22], inner[w.client6 ? 21 : 22]) << "TTL";
  if (w.server6) return;
  EXPECT_EQ(packet_detail::sum(Bytes(out.begin() + 14, out.begin() + 34)), 0xffffu);
  EXPECT_EQ((out[20] & 0x40) != 0, w.client6 || (inner[20] & 0x40) != 0) << "DF";
}

Flow random_request(Dice& dice, const World& w) {
  Flow f = w.client6 ? flow6() : Flow{};
  f.tcp = w.tcp;
  f.source_port = dice.port();
  f.destination_port = w.vip_port;
  randomise_fields(dice, w, f);
  f.flags = kSyn;
  return f;
}

void expect_conversation(Dice& dice, const World& w, Stage& stage) {
  Flow request = random_request(dice, w);
  Flow seen;
  for (int packet = 0; packet < 4; packet++) {
    if (packet != 0) {
      randomise_fields(dice, w, request);
      request.flags = static_cast<std::uint8_t>(kAck | (dice.coin() ? 8 : 0));
    }
    const std::vector<Sent> sent = stage.pass_through(request.build());
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].interface, kServerSide);
    const Bytes inner = without_tunnel(w.mode, w.client6, w.server6, sent[0].bytes);
    const Flow expected = at_server(w, request, inner);
    ASSERT_EQ(inner, expected.build());
    expect_outer(w, sent[0].bytes, inner);
    if (packet != 0) {
      ASSERT_EQ(expected.source_port, seen.source_port);
      ASSERT_EQ(expected.eth_destination, seen.eth_destination);
    }
    seen = expected;
    if (is_one_way(w.mode)) continue;

    Flow reply = reply_of(expected);
    randomise_fields(dice, w, reply);
    reply.flags = static_cast<std::uint8_t>(packet == 0 ? kSyn | kAck : kAck);
    const std::vector<Sent> back = stage.pass_through(reply.build(), kServerSide);
    ASSERT_EQ(back.size(), 1u);
    Flow at_client = reply;
    if (w.crosses()) change_family(at_client, w.client6, back[0].bytes);
    ASSERT_EQ(back[0].bytes, towards_client(at_client, request).build());
  }
}

TEST(TranslationProperty, WhatIsNotTheModesToChangeArrivesAsItWasSentThereAndBack) {
  for (std::uint32_t seed = 1; seed <= 300; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Dice dice(seed);
    const World w = random_world(dice);
    const std::string families = std::string(w.client6 ? " 6" : " 4") + (w.server6 ? "6" : "4");
    SCOPED_TRACE(std::string(mode_name(w.mode)) + families + (w.tcp ? " tcp" : " udp"));
    Stage stage({}, w.tables);
    for (int flow = 0; flow < 12; flow++) {
      expect_conversation(dice, w, stage);
      if (::testing::Test::HasFatalFailure()) return;
    }
    EXPECT_EQ(stage.drops(), 0u);
    stage.expect_accounted();
  }
}

/// A random change of the servers of the only service: weights, a server more or less, their order, the scheduler.
void change_servers(Dice& dice, TablesConfig& tables, bool server6) {
  ServiceConfig& service = tables.services[0];
  constexpr SchedulerKind kinds[] = {SchedulerKind::kRoundRobin, SchedulerKind::kWeightedRoundRobin};
  service.scheduler = kinds[dice.below(2)];
  for (ServerConfig& server : service.servers) server.weight = dice.below(4);
  if (dice.coin() && !service.servers.empty()) {
    const std::uint32_t which = dice.below(static_cast<std::uint32_t>(service.servers.size()));
    service.servers.erase(service.servers.begin() + static_cast<std::ptrdiff_t>(which));
  }
  std::shuffle(service.servers.begin(), service.servers.end(), dice.random);
  for (std::uint32_t n = 0; n < 4; n++) {
    const IpAddress address = ip(server_address(server6, n));
    const bool there = std::any_of(service.servers.begin(), service.servers.end(),
                                   [&](const ServerConfig& server) { return server.address == address; });
    if (there || dice.below(3) != 0) continue;
    ServerConfig server = service.servers.empty() ? ServerConfig{} : service.servers[0];
    server.address = address;
    server.weight = 1;
    service.servers.push_back(server);
  }
}

TEST(TranslationProperty, ASessionStaysOnItsServerWhateverBecomesOfTheServers) {
  for (std::uint32_t seed = 1; seed <= 60; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Dice dice(1000 + seed);
    World w = random_world(dice);
    const ServerConfig model = w.tables.services[0].servers[0];
    Stage stage({}, w.tables);
    std::vector<std::pair<Flow, Flow>> sessions;
    for (int round = 0; round < 12; round++) {
      for (int i = 0; i < 4; i++) {
        Flow request = random_request(dice, w);
        request.source_port = static_cast<std::uint16_t>(1024 + sessions.size());
        const std::vector<Sent> sent = stage.pass_through(request.build());
        // Without a server that has weight the client is refused.
        if (sent.size() != 1 || sent[0].interface != kServerSide) continue;
        sessions.emplace_back(request, at_server(w, request, without_tunnel(w.mode, w.client6, w.server6, sent[0].bytes)));
      }
      change_servers(dice, w.tables, w.server6);
      for (ServerConfig& server : w.tables.services[0].servers) {
        server.port = model.port;
        server.mode = model.mode;
      }
      stage.apply(w.tables);
      stage.reclaim();
      for (auto& [request, seen] : sessions) {
        request.flags = kAck;
        const std::vector<Sent> sent = stage.pass_through(request.build());
        ASSERT_EQ(sent.size(), 1u);
        const Bytes inner = without_tunnel(w.mode, w.client6, w.server6, sent[0].bytes);
        const Flow now = at_server(w, request, inner);
        ASSERT_EQ(inner, now.build());
        ASSERT_EQ(now.eth_destination, seen.eth_destination);
        ASSERT_EQ(now.source_port, seen.source_port);
      }
    }
    EXPECT_GT(sessions.size(), 3u);
    EXPECT_EQ(stage.count(Counter::sessions_created), sessions.size());
    stage.expect_accounted();
  }
}

/// RFC 1071 by the letter: 16-bit words in network order, the last byte padded.
std::uint16_t plain_sum(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<std::uint32_t>(bytes[i] << 8) | (i + 1 < bytes.size() ? bytes[i + 1] : 0u);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(sum);
}

TEST(ChecksumProperty, AnIncrementalUpdateIsTheSumOverAllBytes) {
  Dice dice(7);
  for (int i = 0; i < 200'000; i++) {
    Bytes data = dice.bytes(dice.between(2, 64));
    if (dice.below(16) == 0) std::fill(data.begin(), data.end(), dice.coin() ? std::uint8_t{0xff} : std::uint8_t{0});
    const auto checksum = static_cast<std::uint16_t>(~plain_sum(data));
    ASSERT_EQ(net::finish(net::add_bytes(0, data.data(), data.size())).host(), checksum);
    const std::size_t at = dice.below(static_cast<std::uint32_t>(data.size() / 2)) * 2;
    std::uint16_t before, after;
    std::memcpy(&before, data.data() + at, 2);
    after = dice.below(8) == 0 ? static_cast<std::uint16_t>(dice.coin() ? 0 : 0xffff) : static_cast<std::uint16_t>(dice.random());
    std::memcpy(data.data() + at, &after, 2);
    const std::uint16_t updated = net::updated(be16(checksum), net::difference(before, after)).host();
    const auto whole = static_cast<std::uint16_t>(~plain_sum(data));
    // Of data without any bit set a sum of ones and one of zeros say the same.
    const bool nothing = std::all_of(data.begin(), data.end(), [](std::uint8_t b) { return b == 0; });
    if (nothing) {
      ASSERT_TRUE(updated == 0xffff || updated == 0);
    } else {
      ASSERT_EQ(updated, whole) << "round " << i;
    }
    // There and back.
    ASSERT_EQ(net::updated(be16(updated), net::difference(after, before)).host() % 0xffff, checksum % 0xffff);
  }
}

}  // namespace
}  // namespace millrace::test
