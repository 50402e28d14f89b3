// parse_fast() against parse_packet(): what the first accepts, the second accepts too, with the same result; and everyday packets
// are accepted, or the fast way would be one more check and no gain.
#include "pipeline/parse_fast.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "net/checksum.h"
#include "support/packet_builder.h"

namespace millrace {
namespace {

using test::Bytes;
using test::PacketBuilder;

struct Parsed {
  bool accepted = false;
  std::uint32_t length = 0;
  PacketMeta meta;
};

Parsed fast(Bytes frame) {
  Packet packet{frame.data(), static_cast<std::uint32_t>(frame.size()), 0, 0, 0};
  Parsed parsed;
  parsed.accepted = parse_fast(packet, parsed.meta);
  parsed.length = packet.length;
  return parsed;
}

Parsed careful(Bytes frame) {
  Packet packet{frame.data(), static_cast<std::uint32_t>(frame.size()), 0, 0, 0};
  DropReason reason;
  Parsed parsed;
  parsed.accepted = parse_packet(packet, parsed.meta, reason);
  parsed.length = packet.length;
  return parsed;
}

void expect_same(const Parsed& a, const Parsed& b) {
  EXPECT_EQ(a.length, b.length);
  EXPECT_EQ(a.meta.source, b.meta.source);
  EXPECT_EQ(a.meta.destination, b.meta.destination);
  EXPECT_EQ(a.meta.source_port, b.meta.source_port);
  EXPECT_EQ(a.meta.destination_port, b.meta.destination_port);
  EXPECT_EQ(a.meta.protocol, b.meta.protocol);
  EXPECT_EQ(a.meta.tcp_flags, b.meta.tcp_flags);
  EXPECT_EQ(a.meta.ipv6, b.meta.ipv6);
  EXPECT_EQ(a.meta.ttl, b.meta.ttl);
  EXPECT_EQ(a.meta.l3_offset, b.meta.l3_offset);
  EXPECT_EQ(a.meta.l4_offset, b.meta.l4_offset);
  EXPECT_EQ(a.meta.l3_length, b.meta.l3_length);
}

std::vector<Bytes> everyday() {
  return {
      PacketBuilder().eth().ipv4().udp().payload("hello").build(),
      PacketBuilder().eth().ipv4().udp().build(),
      PacketBuilder().eth().ipv4().tcp({.flags = net::tcp_flag::kAck}).payload("GET /").build(),
      PacketBuilder().eth().ipv4().tcp({.flags = net::tcp_flag::kRst}).build(),
      PacketBuilder().eth().ipv4().tcp({.flags = static_cast<std::uint8_t>(net::tcp_flag::kFin | net::tcp_flag::kAck)}).build(),
      PacketBuilder().eth().ipv6().udp().payload("hello").build(),
      PacketBuilder().eth().ipv6().tcp({.flags = net::tcp_flag::kAck}).payload("GET /").build(),
  };
}

TEST(ParseFast, EverydayPacketsAreAcceptedAndReadAsTheCarefulParserReadsThem) {
  for (const Bytes& frame : everyday()) {
    const Parsed a = fast(frame);
    const Parsed b = careful(frame);
    ASSERT_TRUE(a.accepted);
    ASSERT_TRUE(b.accepted);
    expect_same(a, b);
  }
}

TEST(ParseFast, PaddingBehindTheDatagramIsTrimmed) {
  Bytes frame = PacketBuilder().eth().ipv4().udp().payload("hi").build();
  const auto whole = static_cast<std::uint32_t>(frame.size());
  frame.resize(frame.size() + 9);
  EXPECT_EQ(fast(frame).length, whole);
}

TEST(ParseFast, APacketThatOpensAConnectionIsLeftToTheCarefulParser) {
  EXPECT_FALSE(fast(PacketBuilder().eth().ipv4().tcp({.flags = net::tcp_flag::kSyn}).build()).accepted);
}

TEST(ParseFast, EveryIpv4ChecksumIsJudgedAsByTheCarefulParser) {
  Bytes frame = PacketBuilder().eth().ipv4().udp().payload("hello").build();
  int right = 0;
  for (std::uint32_t checksum = 0; checksum <= 0xffff; checksum++) {
    frame[24] = static_cast<std::uint8_t>(checksum >> 8);
    frame[25] = static_cast<std::uint8_t>(checksum);
    const bool accepted = fast(frame).accepted;
    ASSERT_EQ(accepted, careful(frame).accepted) << checksum;
    right += accepted ? 1 : 0;
  }
  EXPECT_GE(right, 1);
  EXPECT_LE(right, 2);  // zero has two forms in one's complement
}

TEST(ParseFast, WhateverBytesChangeNothingIsAcceptedThatTheCarefulParserRefuses) {
  std::mt19937 random(7);
  std::uint32_t accepted = 0;
  const std::vector<Bytes> frames = everyday();
  for (int round = 0; round < 200'000; round++) {
    Bytes frame = frames[random() % frames.size()];
    for (std::uint32_t change = random() % 4; change-- > 0;) {
      frame[12 + random() % (frame.size() - 12)] = static_cast<std::uint8_t>(random() % 3 == 0 ? random() % 8 : random());
    }
    if (frame[12] == 8 && random() % 4 != 0) {  // most IPv4 headers get a right checksum, or it alone would decide
      frame[24] = frame[25] = 0;
      const std::uint32_t length = std::min<std::uint32_t>((frame[14] & 15u) * 4, static_cast<std::uint32_t>(frame.size()) - 14);
      const be16 checksum = net::finish(net::add_bytes(0, frame.data() + 14, length));
      std::memcpy(frame.data() + 24, &checksum, 2);
    }
    if (random() % 4 == 0) frame.resize(random() % (frame.size() + 8));
    const Parsed a = fast(frame);
    if (!a.accepted) continue;
    accepted++;
    const Parsed b = careful(frame);
    ASSERT_TRUE(b.accepted);
    expect_same(a, b);
  }
  EXPECT_GT(accepted, 20'000u);
}

}  // namespace
}  // namespace millrace
