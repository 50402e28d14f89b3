// Servers that answer clients by themselves hear of ICMP errors about their answers: a router's error to the VIP goes to the server of
// the flow the way its packets go, its source and its quote untouched, its checksum right.
#include <gtest/gtest.h>

#include "support/flow.h"
#include "support/modes.h"

namespace millrace::test {
namespace {

/// What a router on the client's side says about `answer`, which is too long for it.
struct RouterError {
  bool six;
  Bytes quote;
  std::string destination;
  std::uint8_t hops = 64;
  std::uint8_t tos = 0;
  std::string eth_source = "02:00:00:00:00:0c";
  std::string eth_destination = "02:00:00:00:00:01";

  Bytes build() const {
    PacketBuilder b;
    b.eth({.source = eth_source, .destination = eth_destination});
    if (six) {
      b.ipv6({.source = "2001:db8:ffff::1", .destination = destination, .traffic_class = tos, .hop_limit = hops});
      b.icmp({.type = 2, .code = 0, .rest = 1300});
    } else {
      b.ipv4({.source = "192.0.2.254", .destination = destination, .tos = tos, .ttl = hops});
      b.icmp({.type = 3, .code = 4, .rest = 1300});
    }
    return b.payload(quote).build();
  }
};

void expect_error_reaches_server(ForwardMode mode, bool client6, bool server6) {
  SCOPED_TRACE(std::string(mode_name(mode)) + (client6 ? " 6" : " 4") + (server6 ? "6" : "4"));
  Stage stage({}, mode_tables(1, mode, client6, server6));
  const Flow syn = client6 ? flow6() : Flow{};
  const auto first = stage.pass_through(syn.build(), kClientSide);
  ASSERT_EQ(first.size(), 1u);

  Flow answer = reply_of(syn);
  answer.flags = kAck;
  answer.payload = Bytes(400, 0x5a);
  const Bytes frame = answer.build();
  RouterError error{client6, Bytes(frame.begin() + 14, frame.end()), syn.destination};
  const auto out = stage.pass_through(error.build(), kClientSide);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].interface, kServerSide);

  RouterError expected = error;
  expected.hops--;
  const Flow at_server = expected_at_server(mode, server6, syn, first[0].bytes);
  expected.destination = at_server.destination;
  expected.tos = at_server.tos;
  expected.eth_source = at_server.eth_source;
  expected.eth_destination = at_server.eth_destination;
  EXPECT_EQ(without_tunnel(mode, client6, server6, out[0].bytes), expected.build());
  EXPECT_EQ(stage.count(Counter::sessions_created), 1u);
  stage.expect_accounted();
}

TEST(OneWayErrors, OfARouterReachTheServerOfTheFlowWithTheRoutersAddress) {
  for (const bool six : {false, true}) {
    for (const ForwardMode mode : {ForwardMode::kDirect, ForwardMode::kL3Dsr}) expect_error_reaches_server(mode, six, six);
    for (const ForwardMode mode : {ForwardMode::kTunnelIpip, ForwardMode::kTunnelGre, ForwardMode::kTunnelGue}) {
      for (const bool server6 : {false, true}) expect_error_reaches_server(mode, six, server6);
    }
  }
}

}  // namespace
}  // namespace millrace::test
