// Services of prefixes and any port: what holds for a service of one address and port holds for each of theirs, in both directions,
// for fragments and for ICMP errors too.
#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <vector>

#include "support/flow.h"
#include "support/fragmenting.h"
#include "support/modes.h"

namespace millrace::test {
namespace {

/// The services of a mode, of prefixes around their VIPs and with any port; servers keep the ports they had.
TablesConfig widened(TablesConfig tables) {
  for (ServiceConfig& service : tables.services) {
    service.vip_length = service.address.is_v4() ? 120 : 64;
    service.address = masked(service.address, service.vip_length);
    service.port = be16(0);
    service.ports = PortRange{};
    if (!is_one_way(service.servers[0].mode)) continue;
    for (ServerConfig& server : service.servers) server.port = be16(0);
  }
  return tables;
}

const std::array<const char*, 3> kVips4 = {"203.0.113.0", "203.0.113.77", "203.0.113.255"};
const std::array<const char*, 3> kVips6 = {"2001:db8:f::", "2001:db8:f::77", "2001:db8:f::ffff:1"};

TEST(WideServices, EveryModeTakesEveryAddressAndPortOfThePrefix) {
  for (const ForwardModeInfo& info : kForwardModes) {
    for (const bool six : {false, true}) {
      SCOPED_TRACE(std::string(info.name) + (six ? " IPv6" : " IPv4"));
      Stage stage({}, widened(mode_tables(1, info.mode, six, six)));
      std::uint16_t port = 20000;
      for (const char* vip : six ? kVips6 : kVips4) {
        Flow request = six ? flow6() : Flow{};
        request.destination = vip;
        request.source_port = ++port;
        request.destination_port = static_cast<std::uint16_t>(port * 3);
        const std::vector<Sent> sent = stage.pass_through(request.build(), kClientSide);
        ASSERT_EQ(sent.size(), 1u);
        const Bytes at_server = without_tunnel(info.mode, six, six, sent[0].bytes);
        const Flow expected = expected_at_server(info.mode, six, request, sent[0].bytes);
        EXPECT_EQ(at_server, expected.build());
        if (is_one_way(info.mode)) continue;
        Flow answer = reply_of(expected);
        answer.flags = kSyn | kAck;
        expect_returned(stage, answer, request);
      }
    }
  }
}

TEST(WideServices, FragmentsOfADatagramReachOneServerAndComeBackFromTheVipThatWasAsked) {
  for (const bool six : {false, true}) {
    Stage stage({}, widened(mode_tables(1, ForwardMode::kFullNat, six, six)));
    Flow request = six ? flow6() : Flow{};
    request.tcp = false;
    request.destination = six ? "2001:db8:f::42" : "203.0.113.42";
    request.destination_port = 4242;
    request.payload = Bytes(3000, 0x5a);
    const auto pass = [&](const Flow& flow, std::uint16_t interface) {
      std::vector<Bytes> out;
      for (const Bytes& piece : fragments_of(flow.build(), 1400, 77)) {
        for (const Sent& one : stage.pass_through(piece, interface)) out.push_back(one.bytes);
      }
      return reassembled(out);
    };
    std::vector<Bytes> whole = pass(request, kClientSide);
    ASSERT_EQ(whole.size(), 1u);
    if (!six) request.id = 77;
    const Flow at_server = towards_server(request, whole[0]);
    EXPECT_EQ(whole[0], at_server.build());
    const Flow answer = reply_of(at_server);
    whole = pass(answer, kServerSide);
    ASSERT_EQ(whole.size(), 1u);
    EXPECT_EQ(whole[0], towards_client(answer, request).build());
  }
}

TEST(WideServices, AnErrorOfTheServerReachesTheClientFromTheVipThatWasAsked) {
  Stage stage({}, widened(mode_tables(1, ForwardMode::kFullNat, false, false)));
  Flow request;
  request.tcp = false;
  request.destination = "203.0.113.200";
  request.destination_port = 999;
  request.payload = {1, 2, 3, 4};
  const Flow at_server = expect_forwarded(stage, request);
  const auto error_about = [](const Flow& flow, const std::string& from, const std::string& to, const std::string& eth_from,
                              const std::string& eth_to, std::uint8_t ttl) {
    const Bytes frame = flow.build();
    return PacketBuilder()
        .eth({.source = eth_from, .destination = eth_to})
        .ipv4({.source = from, .destination = to, .ttl = ttl})
        .icmp({.type = 3, .code = 3, .rest = 0})
        .payload(Bytes(frame.begin() + 14, frame.end()))
        .build();
  };
  const auto sent = stage.pass_through(error_about(at_server, at_server.destination, at_server.source, at_server.eth_destination,
                                                   at_server.eth_source, 64),
                                       kServerSide);
  ASSERT_EQ(sent.size(), 1u);
  // The quoted packet is the client's, as it was when it left us: one hop older.
  Flow quoted = request;
  quoted.ttl--;
  EXPECT_EQ(sent[0].bytes,
            error_about(quoted, request.destination, request.source, "02:00:00:00:00:01", "02:00:00:00:00:0c", 63));
  EXPECT_EQ(stage.count(Counter::icmp_translated), 1u);
}

TEST(WideServices, NoLocalPortServesTwoConnectionsToOnePortOfAServer) {
  TablesConfig tables = default_tables(1);
  tables.services.resize(1);
  ServiceConfig& exact = tables.services[0];
  exact.servers.resize(1);
  ServiceConfig wide = exact;
  wide.name = "wide";
  wide.address = ip("203.0.113.11");
  wide.port = be16(0);
  wide.ports = PortRange{};
  wide.servers[0].port = be16(0);
  tables.services.push_back(wide);
  Stage stage({.local_port_low = 3000, .local_port_high = 3007}, tables);
  std::set<std::uint16_t> used;
  // One after the other, so that the two kinds of endpoint meet in every order; and in one batch.
  for (std::uint16_t i = 0; i < 8; i++) {
    Flow request = from_port(static_cast<std::uint16_t>(5000 + i));
    if (i % 2 == 1) request.destination = "203.0.113.11", request.destination_port = 8080;
    EXPECT_TRUE(used.insert(expect_forwarded(stage, request).source_port).second);
  }
  EXPECT_EQ(used.size(), 8u);
  Flow ninth = from_port(6000);
  expect_dropped(stage, ninth.build(), DropReason::local_ports_exhausted);
  ninth.destination = "203.0.113.11";
  ninth.destination_port = 8080;
  expect_dropped(stage, ninth.build(), DropReason::local_ports_exhausted);
  ninth.destination_port = 8081;
  (void)stage.pass_through(ninth.build(), kClientSide);
  EXPECT_EQ(stage.count(Counter::sessions_created), 9u) << "another port of the server has all local ports";
}

TEST(WideServices, AnswersFindTheWorkerThatHasTheSessionWhereverTheyArrive) {
  Stage stage({.workers = 2}, widened(mode_tables(2, ForwardMode::kFullNat, false, false)));
  Flow request;
  request.destination = "203.0.113.33";
  request.destination_port = 33;
  const Flow at_server = expect_forwarded(stage, request, 1);
  Flow answer = reply_of(at_server);
  answer.flags = kSyn | kAck;
  expect_returned(stage, answer, request, 0);
}

}  // namespace
}  // namespace millrace::test
