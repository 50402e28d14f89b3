// ICMP errors about packets of sessions: who gets them, what they quote then, and what becomes of their TTL. Expected packets are
// built anew from the fields of the flow, so that their checksums owe nothing to the product.
#include "pipeline/icmp_translate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/flow.h"
#include "support/modes.h"

namespace millrace::test {
namespace {

/// An ICMP error and the packet it quotes, as they stand on the wire.
struct Error {
  bool six = false;
  std::string source{};
  std::string destination{};
  std::string eth_source = "02:00:00:00:02:11";
  std::string eth_destination = "02:00:00:00:00:02";
  std::uint8_t ttl = 64;
  std::uint8_t type = 3;
  std::uint8_t code = 1;
  std::uint32_t rest = 0;
  Bytes quote{};

  Bytes build() const {
    PacketBuilder b;
    b.eth({.source = eth_source, .destination = eth_destination});
    if (six) {
      b.ipv6({.source = source, .destination = destination, .hop_limit = ttl});
    } else {
      b.ipv4({.source = source, .destination = destination, .ttl = ttl});
    }
    return b.icmp({.type = type, .code = code, .rest = rest}).payload(quote).build();
  }
};

/// The IP packet in a frame, at most `length` bytes of it.
Bytes quoted(const Bytes& frame, std::size_t length = 4096) {
  return Bytes(frame.begin() + 14, frame.begin() + static_cast<std::ptrdiff_t>(std::min(frame.size(), 14 + length)));
}

Flow request_of(bool six, bool tcp, std::size_t length) {
  Flow f = six ? flow6() : Flow{};
  f.tcp = tcp;
  f.destination_port = tcp ? 80 : 53;
  f.payload = Bytes(length, 0x5a);
  return f;
}

std::string router_of(bool six) { return six ? "fd00:2::1" : "10.0.2.1"; }
std::string far_router_of(bool six) { return six ? "2001:db8:9::1" : "192.0.2.1"; }

/// An error from a router on the servers' side about the client's packet as it left.
Error from_server_side(bool six, const Flow& at_server, const Bytes& frame, std::size_t length = 4096) {
  Error error{.six = six, .source = router_of(six), .destination = at_server.source, .quote = quoted(frame, length)};
  if (six) error.type = 1, error.code = 3;
  return error;
}

/// An error from a router on the client's side about the answer as it left.
Error from_client_side(bool six, const std::string& vip, const Bytes& frame, std::size_t length = 4096) {
  Error error{.six = six, .source = far_router_of(six), .destination = vip, .quote = quoted(frame, length)};
  error.eth_source = "02:00:00:00:00:0c";
  error.eth_destination = "02:00:00:00:00:01";
  if (six) error.type = 1, error.code = 3;
  return error;
}

TEST(IcmpTranslate, AnErrorAboutTheClientsPacketReachesTheClientInItsTerms) {
  for (const bool six : {false, true}) {
    for (const bool tcp : {false, true}) {
      for (const std::size_t cut : {std::size_t{48}, std::size_t{4096}}) {
        Stage stage({});
        const Flow request = request_of(six, tcp, 100);
        const std::vector<Sent> sent = stage.pass_through(request.build());
        ASSERT_EQ(sent.size(), 1u);
        const Flow at_server = towards_server(request, sent[0].bytes);
        const Error error = from_server_side(six, at_server, sent[0].bytes, cut);
        const std::vector<Sent> out = stage.pass_through(error.build(), kServerSide);
        ASSERT_EQ(out.size(), 1u);
        EXPECT_EQ(out[0].interface, kClientSide);
        Flow as_sent = request;
        as_sent.ttl = at_server.ttl;
        Error expected = error;
        expected.source = request.destination;
        expected.destination = request.source;
        expected.eth_source = "02:00:00:00:00:01";
        expected.eth_destination = "02:00:00:00:00:0c";
        expected.ttl--;
        expected.quote = quoted(as_sent.build(), cut);
        EXPECT_EQ(out[0].bytes, expected.build()) << "six " << six << " tcp " << tcp << " cut " << cut;
        EXPECT_EQ(stage.count(Counter::icmp_translated), 1u);
        stage.expect_accounted();
      }
    }
  }
}

TEST(IcmpTranslate, AnErrorAboutTheAnswerReachesTheServerInItsTerms) {
  for (const bool six : {false, true}) {
    for (const bool tcp : {false, true}) {
      Stage stage({});
      const Flow request = request_of(six, tcp, 10);
      const Flow at_server = expect_forwarded(stage, request);
      Flow reply = reply_of(at_server);
      reply.ttl = 64;
      reply.flags = kSyn | kAck;
      const std::vector<Sent> sent = stage.pass_through(reply.build(), kServerSide);
      ASSERT_EQ(sent.size(), 1u);
      const Error error = from_client_side(six, request.destination, sent[0].bytes);
      const std::vector<Sent> out = stage.pass_through(error.build());
      ASSERT_EQ(out.size(), 1u);
      EXPECT_EQ(out[0].interface, kServerSide);
      Flow as_sent = reply;
      as_sent.ttl--;
      Error expected = error;
      expected.source = at_server.source;
      expected.destination = at_server.destination;
      expected.eth_source = at_server.eth_source;
      expected.eth_destination = at_server.eth_destination;
      expected.ttl--;
      expected.quote = quoted(as_sent.build());
      EXPECT_EQ(out[0].bytes, expected.build()) << "six " << six << " tcp " << tcp;
      stage.expect_accounted();
    }
  }
}

TEST(IcmpTranslate, BetweenTheFamiliesTheErrorIsWrittenAnew) {
  for (const bool six : {false, true}) {
    for (const bool tcp : {false, true}) {
      Stage stage({}, mode_tables(1, ForwardMode::kFullNat, six, !six));
      Flow request = request_of(six, tcp, 60);
      const std::vector<Sent> sent = stage.pass_through(request.build());
      ASSERT_EQ(sent.size(), 1u);
      const Flow at_server = expected_at_server(ForwardMode::kFullNat, !six, request, sent[0].bytes);
      Error error = from_server_side(!six, at_server, sent[0].bytes);
      // Port unreachable: 3/3 and 1/4.
      error.type = six ? 3 : 1;
      error.code = six ? 3 : 4;
      const std::vector<Sent> out = stage.pass_through(error.build(), kServerSide);
      ASSERT_EQ(out.size(), 1u);
      EXPECT_EQ(out[0].interface, kClientSide);
      Flow as_sent = request;
      as_sent.ttl = 63;
      as_sent.id = 0;
      // What IPv6 never says: a quoted packet that was one carries DF.
      as_sent.dont_fragment = !six;
      Error expected{.six = six, .source = request.destination, .destination = request.source};
      expected.eth_source = "02:00:00:00:00:01";
      expected.eth_destination = "02:00:00:00:00:0c";
      expected.ttl = 63;
      expected.type = six ? 1 : 3;
      expected.code = six ? 4 : 3;
      expected.quote = quoted(as_sent.build());
      Bytes built = expected.build();
      if (!six) {
        // The identification is the product's to choose.
        built[18] = out[0].bytes[18];
        built[19] = out[0].bytes[19];
        built[24] = out[0].bytes[24];
        built[25] = out[0].bytes[25];
        EXPECT_EQ(packet_detail::sum(Bytes(out[0].bytes.begin() + 14, out[0].bytes.begin() + 34)), 0xffffu);
      }
      EXPECT_EQ(out[0].bytes, built) << "six " << six << " tcp " << tcp;
      stage.expect_accounted();
    }
  }
}

TEST(IcmpTranslate, AnErrorAboutATunnelIsOneAboutTheClientsPacket) {
  for (const ForwardMode mode : {ForwardMode::kTunnelIpip, ForwardMode::kTunnelGre, ForwardMode::kTunnelGue}) {
    for (const bool six : {false, true}) {
      for (const bool server6 : {false, true}) {
        Stage stage({}, mode_tables(1, mode, six, server6));
        Flow request = request_of(six, false, 100);
        const std::vector<Sent> sent = stage.pass_through(request.build());
        ASSERT_EQ(sent.size(), 1u);
        Error error{.six = server6, .source = router_of(server6)};
        error.destination = address_at(sent[0].bytes, server6 ? 22 : 26, server6);
        error.type = server6 ? 2 : 3;
        error.code = server6 ? 0 : 4;
        error.rest = 1400;
        error.quote = quoted(sent[0].bytes);
        const std::vector<Sent> out = stage.pass_through(error.build(), kServerSide);
        ASSERT_EQ(out.size(), 1u) << mode_name(mode);
        const Bytes& told = out[0].bytes;
        const std::size_t icmp = six ? 54 : 34;
        const std::uint32_t overhead = static_cast<std::uint32_t>(sent[0].bytes.size() - request.build().size());
        EXPECT_EQ(told[icmp], six ? 2 : 3);
        EXPECT_EQ(told[icmp + 1], six ? 0 : 4);
        EXPECT_EQ(read16(told, icmp + 6), 1400 - overhead) << mode_name(mode) << " six " << six << " server6 " << server6;
        Flow as_sent = request;
        as_sent.ttl--;
        EXPECT_EQ(Bytes(told.begin() + static_cast<std::ptrdiff_t>(icmp) + 8, told.end()), quoted(as_sent.build()));
        EXPECT_EQ(address_at(told, six ? 22 : 26, six), request.destination);
        EXPECT_EQ(address_at(told, six ? 38 : 30, six), request.source);
        stage.expect_accounted();
      }
    }
  }
}

TEST(IcmpTranslate, AnErrorWhoseTtlIsUsedUpGoesNoFurther) {
  for (const ForwardMode mode : {ForwardMode::kFullNat, ForwardMode::kNat, ForwardMode::kDirect, ForwardMode::kTunnelIpip}) {
    for (const bool six : {false, true}) {
      Stage stage({}, mode_tables(1, mode, six, six));
      Flow request = request_of(six, false, 10);
      ASSERT_EQ(stage.pass_through(request.build()).size(), 1u);
      // The VIP's answer, as it was on its way to the client.
      Flow answer = request;
      std::swap(answer.source, answer.destination);
      std::swap(answer.source_port, answer.destination_port);
      Error error = from_client_side(six, request.destination, answer.build());
      error.ttl = 2;
      const std::vector<Sent> out = stage.pass_through(error.build());
      ASSERT_EQ(out.size(), 1u) << mode_name(mode);
      error.ttl = 1;
      EXPECT_TRUE(stage.pass_through(error.build()).empty()) << mode_name(mode) << " six " << six;
      EXPECT_EQ(stage.count(DropReason::ttl_expired), 1u) << mode_name(mode);
      EXPECT_EQ(stage.count(Counter::originated), 0u) << "no error about an error";
      stage.expect_accounted();
    }
  }
  // Between the families too.
  for (const bool six : {false, true}) {
    Stage stage({}, mode_tables(1, ForwardMode::kFullNat, six, !six));
    const std::vector<Sent> sent = stage.pass_through(request_of(six, false, 10).build());
    ASSERT_EQ(sent.size(), 1u);
    const Flow at_server = expected_at_server(ForwardMode::kFullNat, !six, request_of(six, false, 10), sent[0].bytes);
    Error error = from_server_side(!six, at_server, sent[0].bytes);
    error.ttl = 1;
    EXPECT_TRUE(stage.pass_through(error.build(), kServerSide).empty());
    EXPECT_EQ(stage.count(DropReason::ttl_expired), 1u);
    stage.expect_accounted();
  }
}

TEST(IcmpTranslate, AnErrorAboutATunnelEndsHereSoItsTtlMayBeOne) {
  Stage stage({}, mode_tables(1, ForwardMode::kTunnelIpip, false, false));
  const std::vector<Sent> sent = stage.pass_through(request_of(false, false, 100).build());
  ASSERT_EQ(sent.size(), 1u);
  Error error{.source = router_of(false), .destination = address_at(sent[0].bytes, 26, false), .ttl = 1};
  error.quote = quoted(sent[0].bytes);
  const std::vector<Sent> out = stage.pass_through(error.build(), kServerSide);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].bytes[22], 64);
}

}  // namespace
}  // namespace millrace::test
