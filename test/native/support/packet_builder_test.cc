// The packet builder against the product's parser, which shares no code with it: what one builds the other understands.
#include "support/packet_builder.h"

#include <gtest/gtest.h>

#include "pipeline/parse.h"

namespace millrace::test {
namespace {

struct Parsed {
  bool whole;
  PacketMeta meta;
  DropReason reason;
  std::uint32_t length;
};

Parsed parse(Bytes frame) {
  Parsed p{};
  Packet packet{frame.data(), static_cast<std::uint32_t>(frame.size()), 0, 0, 0};
  p.whole = parse_packet(packet, p.meta, p.reason);
  p.length = packet.length;
  return p;
}

TEST(PacketBuilder, BuildsWholePacketsOfBothFamilies) {
  EXPECT_TRUE(parse(PacketBuilder().eth().ipv4().tcp({.flags = 2, .options = {tcp_option::mss(1460)}}).build()).whole);
  EXPECT_TRUE(parse(PacketBuilder().eth().ipv4().udp().payload("odd").build()).whole);
  EXPECT_TRUE(parse(PacketBuilder().eth().ipv6().extension({.data = {1, 4}}).udp().payload_of(100).build()).whole);
  EXPECT_TRUE(parse(PacketBuilder().eth().ipv6().icmp({.type = 128}).payload("echo").build()).whole);
}

TEST(PacketBuilder, SaysWhatItWasTold) {
  const Parsed p = parse(PacketBuilder().eth().ipv4({.source = "192.0.2.1", .ttl = 9}).udp({.source_port = 7, .destination_port = 9}).build());
  ASSERT_TRUE(p.whole);
  EXPECT_EQ(p.meta.source.to_string(), "192.0.2.1");
  EXPECT_EQ(p.meta.ttl, 9);
  EXPECT_EQ(p.meta.source_port.host(), 7);
  EXPECT_EQ(p.meta.destination_port.host(), 9);
}

TEST(PacketBuilder, KnowsTheChecksumOfAPacketRecordedElsewhere) {
  // IPv4 header of RFC-style examples: 4500 0073 0000 4000 4011 ---- c0a8 0001 c0a8 00c7 has checksum b861.
  const Bytes frame = PacketBuilder()
                          .eth()
                          .ipv4({.source = "192.168.0.1", .destination = "192.168.0.199", .total_length = 0x73, .dont_fragment = true})
                          .udp()
                          .build();
  EXPECT_EQ(frame[14 + 10], 0xb8);
  EXPECT_EQ(frame[14 + 11], 0x61);
}

TEST(PacketBuilder, BuildsOneWrongThingAtATime) {
  EXPECT_EQ(parse(PacketBuilder().eth().ipv4({.ihl = 4}).tcp().build()).reason, DropReason::ipv4_header_invalid);
  EXPECT_EQ(parse(PacketBuilder().eth().ipv4({.total_length = 19}).tcp().build()).reason, DropReason::ipv4_length_invalid);
  EXPECT_EQ(parse(PacketBuilder().eth().ipv4({.checksum_error = 1}).tcp().build()).reason, DropReason::ipv4_checksum_wrong);
  EXPECT_EQ(parse(PacketBuilder().eth().ipv4({.more_fragments = true}).udp().payload("odd").build()).reason, DropReason::fragment_invalid);
  EXPECT_EQ(parse(PacketBuilder().eth().ipv6().tcp({.data_offset = 4}).build()).reason, DropReason::tcp_header_invalid);
  EXPECT_EQ(parse(PacketBuilder().eth().ipv6().udp({.checksum = 0}).build()).reason, DropReason::udp_checksum_missing);
  EXPECT_EQ(parse(PacketBuilder().eth().vlan({.id = 5}).vlan({.id = 6}).vlan({.id = 7}).ipv4().tcp().build()).reason,
            DropReason::ethertype_unsupported);
  EXPECT_EQ(parse(PacketBuilder().eth().ipv4().tcp().truncate(33).build()).reason, DropReason::frame_truncated);
}

TEST(PacketBuilder, PadsBehindThePacket) {
  const Bytes frame = PacketBuilder().eth().ipv4().udp().payload("x").pad_to(60, 0xee).build();
  ASSERT_EQ(frame.size(), 60u);
  EXPECT_EQ(frame.back(), 0xee);
  EXPECT_EQ(parse(frame).length, 14u + 20u + 8u + 1u);
}

}  // namespace
}  // namespace millrace::test
