// VLAN tags are kept on the way out in every mode and in ICMP errors; AH and ESP are balanced by their addresses.
#include <gtest/gtest.h>

#include "support/flow.h"
#include "support/modes.h"

namespace millrace {
namespace {

using namespace test;

using Tags = std::vector<std::pair<std::uint16_t, std::uint16_t>>;
const Tags kTagSets[] = {{{0x8100, 0x6005}}, {{0x88a8, 0x0007}, {0x8100, 0x2005}}, {{0x8100, 0x0007}, {0x8100, 0x0005}}};

Bytes tagged(const Bytes& frame, const Tags& tags) {
  Bytes out(frame.begin(), frame.begin() + 12);
  for (const auto& [type, control] : tags) {
    packet_detail::put16(out, type);
    packet_detail::put16(out, control);
  }
  out.insert(out.end(), frame.begin() + 12, frame.end());
  return out;
}

/// The frame without its tags, which must be `tags`.
Bytes untagged(const Bytes& frame, const Tags& tags) {
  Bytes out(frame.begin(), frame.begin() + 12);
  const auto rest = frame.begin() + 12 + static_cast<std::ptrdiff_t>(4 * tags.size());
  out.insert(out.end(), rest, frame.end());
  EXPECT_EQ(frame, tagged(out, tags));
  return out;
}

TEST(Tags, OneAndTwoAreKeptInEveryModeThereAndBack) {
  struct Case {
    ForwardMode mode;
    bool client6, server6;
  };
  std::vector<Case> cases = {{ForwardMode::kFullNat, true, false}, {ForwardMode::kFullNat, false, true},
                             {ForwardMode::kTunnelIpip, false, true}, {ForwardMode::kTunnelGue, true, false}};
  for (const ForwardModeInfo& info : kForwardModes) {
    for (const bool six : {false, true}) cases.push_back({info.mode, six, six});
  }
  for (const Case& c : cases) {
    for (const Tags& tags : kTagSets) {
      SCOPED_TRACE(std::string(mode_name(c.mode)) + (c.client6 ? " 6" : " 4") + (c.server6 ? "6 " : "4 ") + std::to_string(tags.size()));
      // The same packets through one stage with tags and one without: they differ in the tags alone.
      Stage with({}, mode_tables(1, c.mode, c.client6, c.server6)), without({}, mode_tables(1, c.mode, c.client6, c.server6));
      Flow request = c.client6 ? flow6() : Flow{};
      for (const std::uint8_t flags : {kSyn, kAck}) {
        request.flags = flags;
        request.payload = flags == kSyn ? Bytes{} : Bytes(33, 7);
        const auto a = with.pass_through(tagged(request.build(), tags)), b = without.pass_through(request.build());
        ASSERT_EQ(a.size(), 1u);
        ASSERT_EQ(b.size(), 1u);
        EXPECT_EQ(untagged(a[0].bytes, tags), b[0].bytes);
        if (is_one_way(c.mode)) continue;
        Flow reply = reply_of(expected_at_server(c.mode, c.server6, request, b[0].bytes));
        reply.flags = kAck | (flags & kSyn);
        const auto back_a = with.pass_through(tagged(reply.build(), tags), kServerSide);
        const auto back_b = without.pass_through(reply.build(), kServerSide);
        ASSERT_EQ(back_a.size(), 1u);
        ASSERT_EQ(back_b.size(), 1u);
        EXPECT_EQ(untagged(back_a[0].bytes, tags), back_b[0].bytes);
      }
    }
  }
}

TEST(Tags, AreKeptInWhatTheBalancerAnswersItself) {
  for (const Tags& tags : kTagSets) {
    Stage with({}), without({});
    Flow expired;
    expired.ttl = 1;
    Bytes echo = PacketBuilder().eth().ipv4().icmp({.type = 8}).payload("ping").build();
    for (const Bytes& frame : {expired.build(), echo}) {
      const auto a = with.pass_through(tagged(frame, tags)), b = without.pass_through(frame);
      ASSERT_EQ(a.size(), 1u);
      ASSERT_EQ(b.size(), 1u);
      EXPECT_EQ(untagged(a[0].bytes, tags), b[0].bytes);
    }
  }
}

TEST(Tags, ThreeAndCutOnesAreDroppedWithTheirReasons) {
  Stage stage({});
  const Bytes frame = Flow{}.build();
  expect_dropped(stage, tagged(frame, {{0x8100, 1}, {0x8100, 2}, {0x8100, 3}}), DropReason::ethertype_unsupported);
  for (const std::size_t length : {14u, 17u, 18u, 30u}) {
    Bytes cut = tagged(frame, kTagSets[0]);
    cut.resize(length);
    expect_dropped(stage, cut, DropReason::frame_truncated);
  }
}

TEST(Tags, AFragmentedDatagramKeepsThemInEveryPiece) {
  Stage stage({}, mode_tables(1, ForwardMode::kFullNat, false, false));
  const Tags& tags = kTagSets[1];
  const UdpFields udp{.length = std::uint16_t{40}, .checksum = std::uint16_t{0}};
  const Bytes first = PacketBuilder().eth().ipv4({.id = 9, .more_fragments = true}).udp(udp).payload_of(16).build();
  const Bytes last = PacketBuilder().eth().ipv4({.id = 9, .fragment_offset = 3, .protocol = 17}).payload_of(16).build();
  for (const Bytes& part : {first, last}) {
    const auto out = stage.pass_through(tagged(part, tags));
    ASSERT_EQ(out.size(), 1u);
    untagged(out[0].bytes, tags);
  }
}

TablesConfig ipsec_tables(ForwardMode mode, std::uint8_t protocol, bool six, std::uint32_t workers = 1) {
  TablesConfig config = mode_tables(workers, mode, six, six);
  config.services.resize(1);
  config.services[0].protocol = protocol;
  config.services[0].port = be16(0);
  for (ServerConfig& server : config.services[0].servers) server.port = be16(0);
  return config;
}

Bytes ipsec(std::uint8_t protocol, bool six, const std::string& source, const std::string& destination, std::uint8_t ttl,
            const std::string& eth_source, const std::string& eth_destination, std::uint8_t tos = 0) {
  PacketBuilder b;
  b.eth({.source = eth_source, .destination = eth_destination});
  if (six) {
    b.ipv6({.source = source, .destination = destination, .traffic_class = tos, .next_header = protocol, .hop_limit = ttl});
  } else {
    b.ipv4({.source = source, .destination = destination, .tos = tos, .ttl = ttl, .protocol = protocol});
  }
  return b.payload_of(40).build();
}

TEST(Ipsec, IsBalancedByAddressInEveryModeThatCanCarryIt) {
  for (const ForwardMode mode : {ForwardMode::kNat, ForwardMode::kDirect, ForwardMode::kTunnelIpip, ForwardMode::kTunnelGre,
                                 ForwardMode::kTunnelGue, ForwardMode::kL3Dsr}) {
    for (const std::uint8_t protocol : {net::kProtocolEsp, net::kProtocolAh}) {
      if (mode == ForwardMode::kNat && protocol == net::kProtocolAh) continue;  // refused in configurations
      for (const bool six : {false, true}) {
        SCOPED_TRACE(std::string(mode_name(mode)) + (six ? " 6 " : " 4 ") + std::to_string(protocol));
        Stage stage({}, ipsec_tables(mode, protocol, six));
        const std::string base = six ? "2001:db8:1::" : "198.51.100.", client_mac = "02:00:00:00:00:0c";
        std::string servers[2];
        for (const int n : {7, 8}) {
          const std::string client = base + std::to_string(n), vip = six ? kVip6 : kVip;
          for (int packet = 0; packet < 2; packet++) {
            const auto out = stage.pass_through(ipsec(protocol, six, client, vip, 64, client_mac, "02:00:00:00:00:01"));
            ASSERT_EQ(out.size(), 1u);
            const std::string last = out[0].bytes[5] == 0x11 ? "11" : "12", server = (six ? "fd00:2::" : "10.0.2.") + last;
            if (packet == 1) { EXPECT_EQ(servers[n - 7], server); }
            servers[n - 7] = server;
            const bool translated = mode == ForwardMode::kNat || mode == ForwardMode::kL3Dsr;
            EXPECT_EQ(without_tunnel(mode, six, six, out[0].bytes),
                      ipsec(protocol, six, client, translated ? server : vip, 63, "02:00:00:00:00:02", "02:00:00:00:02:" + last,
                            mode == ForwardMode::kL3Dsr ? std::uint8_t{kTestDscp << 2} : std::uint8_t{0}));
          }
          if (mode != ForwardMode::kNat) continue;
          const auto back = stage.pass_through(
              ipsec(protocol, six, servers[n - 7], client, 64, "02:00:00:00:02:11", "02:00:00:00:00:02"), kServerSide);
          ASSERT_EQ(back.size(), 1u);
          EXPECT_EQ(back[0].bytes, ipsec(protocol, six, vip, client, 63, "02:00:00:00:00:01", client_mac));
        }
        EXPECT_NE(servers[0], servers[1]) << "round robin: two clients, two servers";
        EXPECT_EQ(stage.count(Counter::sessions_created), 2u);
        EXPECT_EQ(stage.count(Counter::sessions_active), 0u);
        EXPECT_EQ(stage.drops(), 0u);
        stage.expect_accounted();
      }
    }
  }
}

TEST(Ipsec, ItsSessionLivesAsLongAsOneOfUdp) {
  Stage stage({}, ipsec_tables(ForwardMode::kDirect, net::kProtocolEsp, false));
  stage.pass_through(ipsec(net::kProtocolEsp, false, "198.51.100.7", kVip, 64, "02:00:00:00:00:0c", "02:00:00:00:00:01"));
  stage.state().sessions->for_each([&](SessionId, Session& session) {
    EXPECT_EQ(session.state, SessionState::kUdpOneWay);
    EXPECT_EQ(session.deadline_ms - stage.now_ms(), 300000u);
  });
  EXPECT_EQ(stage.count(Counter::sessions), 1u);
}

TEST(Ipsec, WithoutAServiceItIsDroppedAsAnythingElse) {
  Stage stage({});
  expect_dropped(stage, ipsec(net::kProtocolEsp, false, "198.51.100.7", kVip, 64, "02:00:00:00:00:0c", "02:00:00:00:00:01"),
                 DropReason::no_service);
  expect_dropped(stage, ipsec(net::kProtocolAh, true, "2001:db8:1::7", kVip6, 64, "02:00:00:00:00:0c", "02:00:00:00:00:01"),
                 DropReason::no_service);
}

TEST(Ipsec, AnswersFindTheWorkerThatHasTheSession) {
  Stage stage({.workers = 4}, ipsec_tables(ForwardMode::kNat, net::kProtocolEsp, false, 4));
  const auto out = stage.pass_through(
      ipsec(net::kProtocolEsp, false, "198.51.100.7", kVip, 64, "02:00:00:00:00:0c", "02:00:00:00:00:01"), kClientSide, 2);
  ASSERT_EQ(out.size(), 1u);
  const std::string server = address_at(out[0].bytes, 30, false);
  const auto back = stage.pass_through(
      ipsec(net::kProtocolEsp, false, server, "198.51.100.7", 64, "02:00:00:00:02:11", "02:00:00:00:00:02"), kServerSide, 0);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].worker, 2u);
}

}  // namespace
}  // namespace millrace
