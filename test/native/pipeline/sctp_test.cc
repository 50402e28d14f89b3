// SCTP through every mode: addresses and ports as the mode says, the CRC right again (computed bit by bit by the builder), a
// wrong one
// still wrong, and what a packet must be to begin an association or to be translated at all.
#include <gtest/gtest.h>

#include <random>

#include "sessions/sctp_state.h"
#include "support/flow.h"
#include "support/modes.h"

namespace millrace {
namespace {

using namespace test;

constexpr std::uint16_t kPort = 9100;
constexpr std::uint16_t kServerPort = 9200;

/// One SCTP service of a mode; local addresses of both families.
TablesConfig sctp_tables(ForwardMode mode, bool client6, bool server6, std::uint32_t workers = 1) {
  TablesConfig config = mode_tables(workers, mode, client6, server6);
  config.services.resize(1);
  ServiceConfig& service = config.services[0];
  service.protocol = net::kProtocolSctp;
  service.port = be16(kPort);
  service.servers.resize(1);
  service.servers[0].port = be16(is_one_way(mode) ? kPort : kServerPort);
  return config;
}

struct SctpPacket {
  bool six = false;
  std::string source = "198.51.100.7";
  std::string destination = kVip;
  std::uint16_t source_port = 40000;
  std::uint16_t destination_port = kPort;
  std::vector<SctpChunkFields> chunks = {{.type = sctp_chunk::kInit, .value = Bytes(16, 0x5a)}};
  std::uint32_t checksum_error = 0;
  std::uint8_t ttl = 64;
  std::string eth_source = "02:00:00:00:00:0c";
  std::string eth_destination = "02:00:00:00:00:01";
  bool dont_fragment = true;

  Bytes build() const {
    PacketBuilder b;
    b.eth({.source = eth_source, .destination = eth_destination});
    if (six) {
      b.ipv6({.source = source, .destination = destination, .hop_limit = ttl});
    } else {
      b.ipv4({.source = source, .destination = destination, .dont_fragment = dont_fragment, .ttl = ttl});
    }
    return b.sctp({.source_port = source_port, .destination_port = destination_port, .chunks = chunks, .checksum_error = checksum_error})
        .build();
  }
};

SctpPacket from_client(bool six, std::uint8_t chunk, std::size_t length = 17) {
  SctpPacket p;
  p.six = six;
  p.source = six ? "2001:db8:1::7" : "198.51.100.7";
  p.destination = six ? kVip6 : kVip;
  p.chunks = {{.type = chunk, .value = Bytes(length, 0x5a)}};
  return p;
}

/// The IPv4 frame without the identification and DF, which are the balancer's to choose between the families.
Bytes without_identification(Bytes frame) {
  frame[18] = frame[19] = frame[20] = frame[24] = frame[25] = 0;
  const std::uint32_t sum = ~packet_detail::sum(Bytes(frame.begin() + 14, frame.begin() + 34)) & 0xffffu;
  frame[24] = static_cast<std::uint8_t>(sum >> 8);
  frame[25] = static_cast<std::uint8_t>(sum);
  return frame;
}

/// The same as its server gets it, where source and source port may be ours.
SctpPacket at_server(ForwardMode mode, bool server6, SctpPacket p, const Bytes& out) {
  p.ttl--;
  p.eth_source = "02:00:00:00:00:02";
  p.eth_destination = "02:00:00:00:02:11";
  if (mode == ForwardMode::kFullNat) {
    p.six = server6;
    p.source = address_at(out, server6 ? 22 : 26, server6);
    p.source_port = read16(out, server6 ? 54 : 34);
  }
  if (mode == ForwardMode::kFullNat || mode == ForwardMode::kNat) {
    p.destination = server6 ? "fd00:2::11" : "10.0.2.11";
    p.destination_port = kServerPort;
  }
  return p;
}

/// What the server sends back for what it got.
SctpPacket answer(const SctpPacket& got, std::uint8_t chunk) {
  SctpPacket p = got;
  p.source = got.destination;
  p.destination = got.source;
  p.source_port = got.destination_port;
  p.destination_port = got.source_port;
  p.eth_source = got.eth_destination;
  p.eth_destination = got.eth_source;
  p.ttl = 64;
  p.chunks = {{.type = chunk, .value = Bytes(21, 0xa5)}};
  return p;
}

TEST(Sctp, GoesThereAndBackThroughBothNatsWithARightChecksum) {
  struct Case {
    ForwardMode mode;
    bool client6, server6;
  };
  for (const Case& c : {Case{ForwardMode::kFullNat, false, false}, Case{ForwardMode::kFullNat, true, true},
                        Case{ForwardMode::kFullNat, true, false}, Case{ForwardMode::kFullNat, false, true},
                        Case{ForwardMode::kNat, false, false}, Case{ForwardMode::kNat, true, true}}) {
    SCOPED_TRACE(std::string(mode_name(c.mode)) + (c.client6 ? " 6" : " 4") + (c.server6 ? "6" : "4"));
    Stage stage({}, sctp_tables(c.mode, c.client6, c.server6));
    for (const std::uint8_t chunk : {sctp_chunk::kInit, sctp_chunk::kCookieEcho, std::uint8_t{0}}) {
      const SctpPacket request = from_client(c.client6, chunk);
      const auto out = stage.pass_through(request.build());
      ASSERT_EQ(out.size(), 1u);
      SctpPacket expected = at_server(c.mode, c.server6, request, out[0].bytes);
      const bool chosen = c.client6 && !c.server6;
      expected.dont_fragment = !chosen;
      const Bytes sent = chosen ? without_identification(out[0].bytes) : out[0].bytes;
      EXPECT_EQ(sent, expected.build()) << "chunk " << int{chunk};

      const SctpPacket reply = answer(expected, chunk == sctp_chunk::kInit ? sctp_chunk::kInitAck : std::uint8_t{3});
      const auto back = stage.pass_through(reply.build(), kServerSide);
      ASSERT_EQ(back.size(), 1u);
      SctpPacket at_client = answer(request, reply.chunks[0].type);
      at_client.ttl = 63;
      at_client.eth_source = "02:00:00:00:00:01";
      at_client.eth_destination = "02:00:00:00:00:0c";
      const bool chosen_back = !c.client6 && c.server6;
      at_client.dont_fragment = !chosen_back;
      EXPECT_EQ(chosen_back ? without_identification(back[0].bytes) : back[0].bytes, at_client.build()) << "reply to chunk " << int{chunk};
    }
    EXPECT_EQ(stage.drops(), 0u);
    stage.expect_accounted();
  }
}

TEST(Sctp, RandomPacketsComeThereAndBackAndNothingElseChanges) {
  std::mt19937 random(23);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  for (int world = 0; world < 60; world++) {
    const ForwardMode mode = below(2) == 0 ? ForwardMode::kFullNat : ForwardMode::kNat;
    const bool client6 = below(2) == 0;
    const bool server6 = mode == ForwardMode::kFullNat && below(2) == 0 ? !client6 : client6;
    SCOPED_TRACE("world " + std::to_string(world));
    Stage stage({}, sctp_tables(mode, client6, server6));
    const auto random_chunks = [&](std::uint8_t first) {
      std::vector<SctpChunkFields> chunks = {{.type = first, .value = Bytes(first == sctp_chunk::kInit ? 16 : below(400), 0x33)}};
      // INIT stands alone (RFC 9260 3.1); what follows another chunk is data.
      while (first != sctp_chunk::kInit && chunks.size() < 4 && below(3) == 0) chunks.push_back({.type = 0, .value = Bytes(below(300), 0x77)});
      for (SctpChunkFields& chunk : chunks) {
        for (std::uint8_t& byte : chunk.value) byte = static_cast<std::uint8_t>(random());
      }
      return chunks;
    };
    SctpPacket request = from_client(client6, sctp_chunk::kInit);
    request.source_port = static_cast<std::uint16_t>(1 + below(65535));
    for (int i = 0; i < 40; i++) {
      request.ttl = static_cast<std::uint8_t>(2 + below(254));
      request.chunks = random_chunks(i == 0 ? sctp_chunk::kInit : static_cast<std::uint8_t>(below(2) == 0 ? 0 : 3));
      request.checksum_error = i != 0 && below(4) == 0 ? static_cast<std::uint32_t>(random() | 1u) : 0;
      const auto out = stage.pass_through(request.build());
      ASSERT_EQ(out.size(), 1u);
      SctpPacket expected = at_server(mode, server6, request, out[0].bytes);
      const bool chosen = client6 && !server6;
      expected.dont_fragment = !chosen;
      ASSERT_EQ(chosen ? without_identification(out[0].bytes) : out[0].bytes, expected.build());

      SctpPacket reply = answer(expected, 3);
      reply.chunks = random_chunks(3);
      reply.ttl = static_cast<std::uint8_t>(2 + below(254));
      reply.checksum_error = below(4) == 0 ? static_cast<std::uint32_t>(random() | 1u) : 0;
      const auto back = stage.pass_through(reply.build(), kServerSide);
      ASSERT_EQ(back.size(), 1u);
      SctpPacket at_client = answer(request, 3);
      at_client.chunks = reply.chunks;
      at_client.checksum_error = reply.checksum_error;
      at_client.ttl = static_cast<std::uint8_t>(reply.ttl - 1);
      at_client.eth_source = "02:00:00:00:00:01";
      at_client.eth_destination = "02:00:00:00:00:0c";
      const bool chosen_back = !client6 && server6;
      at_client.dont_fragment = !chosen_back;
      ASSERT_EQ(chosen_back ? without_identification(back[0].bytes) : back[0].bytes, at_client.build());
    }
    EXPECT_EQ(stage.drops(), 0u);
    stage.expect_accounted();
  }
}

TEST(Sctp, TravelsUntouchedInTheModesThatChangeNoPort) {
  for (const ForwardMode mode : {ForwardMode::kDirect, ForwardMode::kTunnelIpip, ForwardMode::kTunnelGre, ForwardMode::kTunnelGue}) {
    for (const bool six : {false, true}) {
      SCOPED_TRACE(std::string(mode_name(mode)) + (six ? " 6" : " 4"));
      Stage stage({}, sctp_tables(mode, six, six));
      SctpPacket request = from_client(six, sctp_chunk::kInit);
      request.checksum_error = 0x1000;  // nor is a wrong checksum looked at
      const auto out = stage.pass_through(request.build());
      ASSERT_EQ(out.size(), 1u);
      EXPECT_EQ(without_tunnel(mode, six, six, out[0].bytes), at_server(mode, six, request, out[0].bytes).build());
    }
  }
}

TEST(Sctp, OfL3DsrKeepsPortsAndChecksumAndGetsItsMark) {
  Stage stage({}, sctp_tables(ForwardMode::kL3Dsr, false, false));
  const SctpPacket request = from_client(false, sctp_chunk::kInit);
  const auto out = stage.pass_through(request.build());
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(address_at(out[0].bytes, 30, false), "10.0.2.11");
  EXPECT_EQ(out[0].bytes[15] >> 2, int{kTestDscp});
  EXPECT_EQ(Bytes(out[0].bytes.begin() + 34, out[0].bytes.end()), [&] {
    const Bytes sent = request.build();
    return Bytes(sent.begin() + 34, sent.end());
  }());
}

TEST(Sctp, AWrongChecksumStaysWrongByTheSameBits) {
  for (const bool six : {false, true}) {
    Stage stage({}, sctp_tables(ForwardMode::kFullNat, six, six));
    SctpPacket request = from_client(six, sctp_chunk::kInit);
    request.checksum_error = 0x00c0ffee;
    const auto out = stage.pass_through(request.build());
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0].bytes, at_server(ForwardMode::kFullNat, six, request, out[0].bytes).build());
  }
}

TEST(Sctp, OnlyAnInitBeginsAnAssociationAndEveryWorkerIsAskedForTheOthers) {
  for (const std::uint32_t workers : {1u, 2u, 4u}) {
    Stage stage({.workers = workers}, sctp_tables(ForwardMode::kFullNat, false, false, workers));
    for (const int chunk : {0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 64, 255}) {
      EXPECT_TRUE(stage.pass_through(from_client(false, static_cast<std::uint8_t>(chunk)).build()).empty()) << chunk;
    }
    EXPECT_EQ(stage.count(DropReason::sctp_no_session), 14u);
    EXPECT_EQ(stage.count(Counter::handoff_sent), 14u * (workers - 1));
    EXPECT_EQ(stage.count(Counter::sessions_created), 0u);
    // A packet on the wrong worker finds its association.
    EXPECT_EQ(stage.pass_through(from_client(false, sctp_chunk::kInit).build()).size(), 1u);
    EXPECT_EQ(stage.pass_through(from_client(false, sctp_chunk::kCookieEcho).build(), kClientSide, workers - 1).size(), 1u);
    EXPECT_EQ(stage.count(Counter::sessions_created), 1u);
    stage.expect_accounted();
  }
}

TEST(Sctp, AnAbortBehindACookieChunkEndsTheAssociation) {
  Stage stage({}, sctp_tables(ForwardMode::kDirect, false, false));
  SctpPacket packet = from_client(false, sctp_chunk::kInit);
  ASSERT_EQ(stage.pass_through(packet.build()).size(), 1u);
  packet.chunks = {{.type = sctp_chunk::kCookieEcho, .value = Bytes(5)}};
  ASSERT_EQ(stage.pass_through(packet.build()).size(), 1u);
  EXPECT_EQ(stage.count(Counter::sessions_active), 1u);
  packet.chunks = {{.type = sctp_chunk::kCookieEcho, .value = Bytes(5)}, {.type = sctp_chunk::kAbort}};
  ASSERT_EQ(stage.pass_through(packet.build()).size(), 1u);
  EXPECT_EQ(stage.count(Counter::sessions_active), 0u);
  // Over: an INIT from the same port begins another.
  packet.chunks = {{.type = sctp_chunk::kInit, .value = Bytes(16)}};
  ASSERT_EQ(stage.pass_through(packet.build()).size(), 1u);
  EXPECT_EQ(stage.count(Counter::sessions_created), 2u);
  EXPECT_EQ(stage.count(Counter::sessions), 1u);
}

TEST(Sctp, APacketWithoutAWholeFirstChunkIsDroppedWithTheReason) {
  Stage stage({}, sctp_tables(ForwardMode::kFullNat, false, false));
  SctpPacket packet = from_client(false, sctp_chunk::kInit);
  packet.chunks = {};
  stage.pass_through(packet.build());
  packet.chunks = {{.type = sctp_chunk::kInit, .length = std::uint16_t{3}}};
  stage.pass_through(packet.build());
  packet.chunks = {{.type = sctp_chunk::kInit, .value = Bytes(16), .length = std::uint16_t{21}}};
  stage.pass_through(packet.build());
  EXPECT_EQ(stage.count(DropReason::sctp_header_invalid), 3u);
  packet = from_client(false, sctp_chunk::kInit);
  packet.source_port = 0;
  stage.pass_through(packet.build());
  EXPECT_EQ(stage.count(DropReason::port_zero), 1u);
}

/// Two fragments of one IPv4 packet.
std::vector<Bytes> in_two(const Bytes& frame) {
  std::vector<Bytes> parts;
  const std::size_t begin = 34, cut = begin + 24;
  for (const bool first : {true, false}) {
    Bytes part(frame.begin(), frame.begin() + begin);
    part.insert(part.end(), frame.begin() + static_cast<std::ptrdiff_t>(first ? begin : cut),
                first ? frame.begin() + static_cast<std::ptrdiff_t>(cut) : frame.end());
    const std::size_t total = part.size() - 14;
    part[16] = static_cast<std::uint8_t>(total >> 8);
    part[17] = static_cast<std::uint8_t>(total);
    part[20] = first ? 0x20 : 0;
    part[21] = first ? 0 : 3;
    part[24] = part[25] = 0;
    const std::uint32_t sum = ~packet_detail::sum(Bytes(part.begin() + 14, part.begin() + 34)) & 0xffffu;
    part[24] = static_cast<std::uint8_t>(sum >> 8);
    part[25] = static_cast<std::uint8_t>(sum);
    parts.push_back(part);
  }
  return parts;
}

TEST(Sctp, FragmentsPassWherePortsStayAndAreDroppedWhereTheChecksumIsOutOfReach) {
  SctpPacket packet = from_client(false, 0, 60);
  packet.dont_fragment = false;
  for (const ForwardMode mode : {ForwardMode::kDirect, ForwardMode::kNat, ForwardMode::kFullNat}) {
    Stage stage({}, sctp_tables(mode, false, false));
    ASSERT_EQ(stage.pass_through(from_client(false, sctp_chunk::kInit).build()).size(), 1u);
    std::size_t passed = 0;
    for (const Bytes& part : in_two(packet.build())) passed += stage.pass_through(part).size();
    EXPECT_EQ(passed, mode == ForwardMode::kDirect ? 2u : 0u) << mode_name(mode);
    EXPECT_EQ(stage.count(DropReason::fragment_unsupported), mode == ForwardMode::kDirect ? 0u : 2u) << mode_name(mode);
    stage.expect_accounted();
  }
  TablesConfig same_port = sctp_tables(ForwardMode::kNat, false, false);
  same_port.services[0].servers[0].port = be16(kPort);
  Stage stage({}, same_port);
  ASSERT_EQ(stage.pass_through(from_client(false, sctp_chunk::kInit).build()).size(), 1u);
  std::size_t passed = 0;
  for (const Bytes& part : in_two(packet.build())) passed += stage.pass_through(part).size();
  EXPECT_EQ(passed, 2u);
}

TEST(Sctp, AnIcmpErrorAboutAnAssociationReachesItsClientWithItsOwnPorts) {
  Stage stage({}, sctp_tables(ForwardMode::kFullNat, false, false));
  const SctpPacket request = from_client(false, sctp_chunk::kInit);
  const auto out = stage.pass_through(request.build());
  ASSERT_EQ(out.size(), 1u);
  const Bytes quoted(out[0].bytes.begin() + 14, out[0].bytes.begin() + 14 + 28);
  const std::string local = address_at(out[0].bytes, 26, false);
  const auto error = stage.pass_through(PacketBuilder()
                                            .eth({.source = "02:00:00:00:02:11", .destination = "02:00:00:00:00:02"})
                                            .ipv4({.source = "10.0.2.11", .destination = local})
                                            .icmp({.type = 3, .code = 2})
                                            .payload(quoted)
                                            .build(),
                                        kServerSide);
  ASSERT_EQ(error.size(), 1u);
  EXPECT_EQ(address_at(error[0].bytes, 26, false), kVip);
  EXPECT_EQ(address_at(error[0].bytes, 30, false), "198.51.100.7");
  const std::size_t inner = 14 + 20 + 8;
  EXPECT_EQ(address_at(error[0].bytes, inner + 12, false), "198.51.100.7");
  EXPECT_EQ(address_at(error[0].bytes, inner + 16, false), kVip);
  EXPECT_EQ(read16(error[0].bytes, inner + 20), 40000);
  EXPECT_EQ(read16(error[0].bytes, inner + 22), kPort);
}

}  // namespace
}  // namespace millrace
