// The parser: each reason of the parse stage, limits byte by byte, and that nothing outside the frame is ever read. Frames stand in
// heap blocks of exactly their size, so that AddressSanitizer sees the first byte too far.
#include "pipeline/parse.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "support/packet_builder.h"

namespace millrace {
namespace {

using test::Bytes;
using test::ExtensionFields;
using test::PacketBuilder;
namespace tcp_option = test::tcp_option;

struct Parsed {
  bool whole = false;
  PacketMeta meta;
  DropReason reason{};
  std::uint32_t length = 0;
  std::string why() const {
    return whole ? "whole" : std::string(kCounterInfo[kPlainCounters + static_cast<std::size_t>(reason)].name);
  }
};

Parsed parse(const Bytes& frame) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[frame.size()]);
  std::copy(frame.begin(), frame.end(), exact.get());
  Parsed p;
  Packet packet{exact.get(), static_cast<std::uint32_t>(frame.size()), 0, 0, 0};
  p.whole = parse_packet(packet, p.meta, p.reason);
  p.length = packet.length;
  EXPECT_TRUE(std::equal(frame.begin(), frame.end(), exact.get())) << "parsing changes nothing";
  return p;
}

std::string why(const PacketBuilder& builder) { return parse(builder.build()).why(); }
PacketBuilder eth() { return PacketBuilder().eth(); }

TEST(Parse, FindsAllFieldsOfIpv4) {
  const Parsed p = parse(eth().ipv4({.ttl = 33, .options = {1, 1, 1, 0}}).tcp({.source_port = 1234, .destination_port = 80, .flags = 0x18}).payload("abc").build());
  ASSERT_TRUE(p.whole);
  EXPECT_EQ(p.meta.source.to_string(), "198.51.100.7");
  EXPECT_EQ(p.meta.destination.to_string(), "203.0.113.10");
  EXPECT_EQ(p.meta.source_port.host(), 1234);
  EXPECT_EQ(p.meta.destination_port.host(), 80);
  EXPECT_EQ(p.meta.protocol, 6);
  EXPECT_EQ(p.meta.tcp_flags, 0x18);
  EXPECT_FALSE(p.meta.ipv6);
  EXPECT_EQ(p.meta.ttl, 33);
  EXPECT_EQ(p.meta.l3_offset, 14);
  EXPECT_EQ(p.meta.l4_offset, 38);
  EXPECT_EQ(p.meta.l3_length, 47);
}

TEST(Parse, FindsTheTransportBehindIpv6Extensions) {
  const Parsed p = parse(eth().ipv6({.hop_limit = 9})
                             .extension({.kind = 0, .data = {1, 4, 0, 0, 0, 0}})
                             .extension({.kind = 60, .data = Bytes(14, 0)})
                             .extension({.kind = 43, .data = {4, 0, 0, 0, 0, 0}})
                             .udp({.source_port = 7, .destination_port = 53})
                             .build());
  ASSERT_TRUE(p.whole) << p.why();
  EXPECT_TRUE(p.meta.ipv6);
  EXPECT_EQ(p.meta.protocol, 17);
  EXPECT_EQ(p.meta.l4_offset, 14 + 40 + 8 + 16 + 8);
  EXPECT_EQ(p.meta.destination_port.host(), 53);
  EXPECT_EQ(p.meta.ttl, 9);
}

TEST(Parse, TrimsPaddingBehindThePacket) {
  EXPECT_EQ(parse(eth().ipv4().udp().pad_to(60).build()).length, 42u);
  EXPECT_EQ(parse(eth().ipv6().udp().pad_to(100).build()).length, 62u);
}

TEST(Parse, SaysWhatIsWrongWithAnIpHeader) {
  EXPECT_EQ(why(eth().ipv4({.version = 5}).udp()), "ipv4_header_invalid");
  EXPECT_EQ(why(eth().ipv4({.ihl = 4}).udp()), "ipv4_header_invalid");
  EXPECT_EQ(why(eth().ipv4({.total_length = 19}).udp()), "ipv4_length_invalid");
  EXPECT_EQ(why(eth().ipv4({.ihl = 15}).udp()), "ipv4_length_invalid") << "a header longer than the packet";
  EXPECT_EQ(why(eth().ipv4({.total_length = 1000}).udp()), "ipv4_length_invalid");
  EXPECT_EQ(why(eth().ipv4({.checksum_error = 1}).udp()), "ipv4_checksum_wrong");
  EXPECT_EQ(why(eth().ipv4({.options = {7, 3, 4, 7}}).udp()), "ipv4_options_invalid") << "ends in an option without a length";
  EXPECT_EQ(why(eth().ipv4({.options = {7, 5, 4, 0}}).udp()), "ipv4_options_invalid") << "longer than the header";
  EXPECT_EQ(why(eth().ipv4({.options = {7, 1, 0, 0}}).udp()), "ipv4_options_invalid") << "shorter than itself";
  EXPECT_EQ(why(eth().ipv4({.options = {0, 7, 99, 99}}).udp()), "whole") << "what follows the end of options is not looked at";
  EXPECT_EQ(why(eth().ipv6({.version = 4}).udp()), "ipv6_header_invalid");
  EXPECT_EQ(why(eth().ipv6({.payload_length = 9}).udp()), "ipv6_length_invalid");
  EXPECT_EQ(why(PacketBuilder().eth({.type = 0x0806}).ipv4().udp()), "ethertype_unsupported");
  EXPECT_EQ(why(eth().vlan({.id = 5}).vlan({.id = 6}).vlan({.id = 7}).ipv4().udp()), "ethertype_unsupported");
  EXPECT_EQ(why(eth().vlan({.id = 5}).vlan({.id = 6}).ipv4().udp()), "whole");
}

TEST(Parse, RefusesSourcesThatNoHostMayUse) {
  for (const char* source : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.1", "240.0.0.1", "255.255.255.255"}) {
    EXPECT_EQ(why(eth().ipv4({.source = source}).udp()), "source_invalid") << source;
  }
  for (const char* source : {"1.0.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255"}) {
    EXPECT_EQ(why(eth().ipv4({.source = source}).udp()), "whole") << source;
  }
  for (const char* source : {"::", "::1", "ff02::1", "ff0e::5", "::ffff:192.0.2.1"}) {
    EXPECT_EQ(why(eth().ipv6({.source = source}).udp()), "source_invalid") << source;
  }
  for (const char* source : {"::2", "fe80::1", "fec0::1", "0:0:0:1::", "::fffe:c000:201", "::1:0:0:1"}) {
    EXPECT_EQ(why(eth().ipv6({.source = source}).udp()), "whole") << source;
  }
}

/// A fragment header (RFC 8200 4.5): offset in units of 8 bytes, and its identification.
ExtensionFields fragment6(std::uint16_t offset, bool more, std::optional<std::uint8_t> next = std::nullopt) {
  const auto field = static_cast<std::uint16_t>(offset << 3 | (more ? 1 : 0));
  return {.kind = 44, .next_header = next, .data = {static_cast<std::uint8_t>(field >> 8), static_cast<std::uint8_t>(field), 0xa, 0xb, 0xc, 0xd}};
}

TEST(Parse, KnowsFragmentsOfIpv4) {
  EXPECT_EQ(parse(eth().ipv4({.dont_fragment = true}).udp().build()).meta.fragment, 0);
  const auto first = parse(eth().ipv4({.id = 0x1234, .more_fragments = true}).udp({.length = 900}).payload_of(16).build());
  ASSERT_TRUE(first.whole);
  EXPECT_EQ(first.meta.fragment, kMoreFragments);
  EXPECT_EQ(first.meta.fragment_id, 0x1234u);
  EXPECT_EQ(first.meta.destination_port.host(), 53);
  EXPECT_FALSE(is_later_fragment(first.meta));
  const auto later = parse(eth().ipv4({.more_fragments = true, .fragment_offset = 3, .protocol = 17}).payload_of(8).build());
  ASSERT_TRUE(later.whole);
  EXPECT_EQ(later.meta.fragment, kMoreFragments | 3);
  EXPECT_EQ(later.meta.destination_port.host(), 0);
  EXPECT_TRUE(is_later_fragment(later.meta));
  EXPECT_EQ(why(eth().ipv4({.fragment_offset = 3, .protocol = 6}).payload_of(5)), "whole");
}

TEST(Parse, KnowsFragmentsOfIpv6AndTakesAtomicOnesForWholePackets) {
  const auto first = parse(eth().ipv6().extension({.kind = 60}).extension(fragment6(0, true)).udp({.length = 900}).payload_of(16).build());
  ASSERT_TRUE(first.whole);
  EXPECT_EQ(first.meta.fragment, kMoreFragments);
  EXPECT_EQ(first.meta.fragment_id, 0x0a0b0c0du);
  EXPECT_EQ(first.meta.fragment_header, 14 + 40 + 8);
  EXPECT_EQ(first.meta.destination_port.host(), 53);
  const auto later = parse(eth().ipv6().extension(fragment6(0x1000, false, 60)).payload_of(5).build());
  ASSERT_TRUE(later.whole);
  EXPECT_EQ(later.meta.fragment, 0x1000);
  const auto atomic = parse(eth().ipv6().extension(fragment6(0, false)).udp().build());
  ASSERT_TRUE(atomic.whole);
  EXPECT_EQ(atomic.meta.fragment, 0) << "RFC 6946";
  EXPECT_EQ(atomic.meta.destination_port.host(), 53);
}

TEST(Parse, RefusesFragmentsThatBelongToNoDatagram) {
  EXPECT_EQ(why(eth().ipv4({.more_fragments = true, .fragment_offset = 3, .protocol = 17}).payload_of(12)), "fragment_invalid") << "no multiple of 8";
  EXPECT_EQ(why(eth().ipv4({.fragment_offset = 3, .protocol = 17})), "fragment_invalid") << "empty";
  EXPECT_EQ(why(eth().ipv4({.fragment_offset = 0x1fff, .protocol = 17}).payload_of(7)), "whole");
  EXPECT_EQ(why(eth().ipv4({.fragment_offset = 0x1fff, .protocol = 17}).payload_of(8)), "fragment_invalid") << "ends beyond 65535";
  EXPECT_EQ(why(eth().ipv6().extension(fragment6(3, true, 17)).payload_of(12)), "fragment_invalid");
  EXPECT_EQ(why(eth().ipv6().extension(fragment6(3, false, 17))), "fragment_invalid");
  EXPECT_EQ(why(eth().ipv6().extension(fragment6(3, true, 17)).extension(fragment6(0, true)).payload_of(16)), "whole") << "behind the first header is data";
  EXPECT_EQ(why(eth().ipv6().extension(fragment6(0, true)).extension(fragment6(0, true)).udp().payload_of(16)), "ipv6_extension_invalid") << "two";
}

TEST(Parse, RefusesFirstFragmentsWithoutTheWholeTransportHeader) {
  EXPECT_EQ(why(eth().ipv4({.more_fragments = true, .protocol = 6}).payload_of(16)), "fragment_tiny");
  EXPECT_EQ(why(eth().ipv4({.more_fragments = true}).tcp({.data_offset = 8}).payload_of(4)), "fragment_tiny") << "options cut";
  EXPECT_EQ(why(eth().ipv4({.more_fragments = true}).tcp({.data_offset = 4}).payload_of(4)), "tcp_header_invalid");
  EXPECT_EQ(why(eth().ipv4({.more_fragments = true, .fragment_offset = 1, .protocol = 6}).payload_of(16)), "fragment_tiny") << "RFC 1858 4";
  EXPECT_EQ(why(eth().ipv6().extension(fragment6(0, true, 60)).payload(Bytes{17, 2, 0, 0, 0, 0, 0, 0})), "fragment_tiny") << "RFC 7112";
  EXPECT_EQ(why(eth().ipv6().extension(fragment6(0, true, 6)).payload_of(8)), "fragment_tiny");
}

TEST(Parse, RefusesFragmentsOfWhatIsAnsweredWhole) {
  EXPECT_EQ(why(eth().ipv4({.more_fragments = true}).icmp().payload_of(16)), "fragment_unsupported");
  EXPECT_EQ(why(eth().ipv4({.fragment_offset = 2, .protocol = 1}).payload_of(16)), "fragment_unsupported");
  EXPECT_EQ(why(eth().ipv6().extension(fragment6(0, true)).icmp({.type = 128}).payload_of(16)), "fragment_unsupported");
}

TEST(Parse, ATtlThatWouldReachZeroEndsHere) {
  for (const auto& [ttl, reason] : {std::pair<int, const char*>{0, "ttl_expired"}, {1, "ttl_expired"}, {2, "whole"}}) {
    EXPECT_EQ(why(eth().ipv4({.ttl = static_cast<std::uint8_t>(ttl)}).udp()), reason);
    EXPECT_EQ(why(eth().ipv6({.hop_limit = static_cast<std::uint8_t>(ttl)}).udp()), reason);
  }
}

TEST(Parse, RefusesExtensionHeadersThatServeOnlyToEvade) {
  EXPECT_EQ(why(eth().ipv6().extension({.kind = 43, .data = {0, 0, 0, 0, 0, 0}}).udp()), "ipv6_extension_invalid") << "routing type 0";
  EXPECT_EQ(why(eth().ipv6().extension({.kind = 60}).extension({.kind = 0}).udp()), "ipv6_extension_invalid") << "hop-by-hop not first";
  PacketBuilder six = eth().ipv6();
  for (int i = 0; i < 6; i++) six.extension({.kind = 60});
  PacketBuilder seven = six;
  EXPECT_EQ(why(six.udp()), "whole");
  EXPECT_EQ(why(seven.extension({.kind = 60}).udp()), "ipv6_extension_invalid");
  EXPECT_EQ(why(eth().ipv6().extension({.kind = 60, .length = 2}).udp()), "ipv6_extension_invalid") << "longer than the packet";
  EXPECT_EQ(why(eth().ipv6({.payload_length = 7}).extension({.kind = 60}).udp()), "ipv6_extension_invalid");
}

TEST(Parse, SaysWhatIsWrongWithATransportHeader) {
  EXPECT_EQ(why(eth().ipv4().tcp({.data_offset = 4})), "tcp_header_invalid");
  EXPECT_EQ(why(eth().ipv4().tcp({.data_offset = 6})), "tcp_header_invalid");
  EXPECT_EQ(why(eth().ipv4().tcp({.flags = 2, .options = {tcp_option::raw(2, 5, {5, 180})}})), "tcp_options_invalid");
  EXPECT_EQ(why(eth().ipv4().tcp({.flags = 2, .options = {tcp_option::raw(2, 0)}})), "tcp_options_invalid");
  EXPECT_EQ(why(eth().ipv4().tcp({.flags = 16, .options = {tcp_option::raw(2, 0)}})), "whole") << "only of a SYN are they looked at";
  EXPECT_EQ(why(eth().ipv4().udp({.length = 7})), "udp_length_invalid");
  EXPECT_EQ(why(eth().ipv4().udp({.length = 9})), "udp_length_invalid");
  EXPECT_EQ(why(eth().ipv4().udp({.checksum = 0})), "whole");
  EXPECT_EQ(why(eth().ipv6().udp({.checksum = 0})), "udp_checksum_missing");
  EXPECT_EQ(why(eth().ipv4().udp({.source_port = 0})), "port_zero");
  EXPECT_EQ(why(eth().ipv6().tcp({.destination_port = 0})), "port_zero");
  EXPECT_EQ(why(eth().ipv4({.source = "192.0.2.1", .destination = "192.0.2.1"}).udp({.source_port = 9, .destination_port = 9})), "land");
  EXPECT_EQ(why(eth().ipv4({.source = "192.0.2.1", .destination = "192.0.2.1"}).udp({.source_port = 9, .destination_port = 8})), "whole");
  EXPECT_EQ(why(eth().ipv4({.protocol = 47}).payload_of(40)), "protocol_unsupported");
  EXPECT_EQ(why(eth().ipv4({.protocol = 58}).payload_of(40)), "protocol_unsupported") << "ICMPv6 inside IPv4";
  EXPECT_EQ(why(eth().ipv6({.next_header = 1}).payload_of(40)), "protocol_unsupported");
  EXPECT_EQ(why(eth().ipv4({.protocol = 1}).payload_of(7)), "icmp_unsupported");
}

TEST(Parse, JudgesEveryCombinationOfTcpFlags) {
  for (std::uint32_t flags = 0; flags < 256; flags++) {
    const bool fin = (flags & 1) != 0, syn = (flags & 2) != 0, rst = (flags & 4) != 0, ack = (flags & 16) != 0;
    const bool sane = (fin || syn || rst || ack) && !(syn && (fin || rst)) && !(fin && !ack && !rst);
    EXPECT_EQ(why(eth().ipv4().tcp({.flags = static_cast<std::uint8_t>(flags)})), sane ? "whole" : "tcp_flags_invalid") << flags;
  }
}

TEST(Parse, TheFirstReasonInTheOrderOfTheListWins) {
  EXPECT_EQ(why(eth().ipv4({.source = "127.0.0.1", .more_fragments = true, .ttl = 0, .checksum_error = 5}).udp()), "ipv4_checksum_wrong");
  EXPECT_EQ(why(eth().ipv4({.source = "127.0.0.1", .more_fragments = true, .ttl = 0}).udp()), "source_invalid");
  EXPECT_EQ(why(eth().ipv4({.more_fragments = true, .ttl = 0}).udp({.source_port = 0}).payload_of(1)), "fragment_invalid");
  EXPECT_EQ(why(eth().ipv4({.more_fragments = true, .ttl = 0}).udp({.source_port = 0})), "ttl_expired");
  EXPECT_EQ(why(eth().ipv6({.source = "::1", .hop_limit = 0}).extension(fragment6(0, true)).udp().payload_of(1)), "source_invalid");
}

std::vector<Bytes> valid_frames() {
  return {eth().ipv4().tcp({.flags = 2, .options = {tcp_option::mss(1460), tcp_option::window_scale(7)}}).build(),
          eth().ipv4({.options = {7, 7, 4, 0, 0, 0, 0}}).udp().payload_of(33).build(),
          eth().ipv4().icmp().payload_of(20).build(),
          eth().ipv6().tcp({.flags = 2, .options = {tcp_option::mss(1440)}}).build(),
          eth().ipv6().extension({.kind = 0}).extension({.kind = 60, .data = Bytes(22, 0)}).udp().payload_of(7).build(),
          eth().ipv6().icmp({.type = 128}).payload_of(9).build()};
}

TEST(Parse, ACutFrameIsNeverWhole) {
  for (const Bytes& frame : valid_frames()) {
    ASSERT_TRUE(parse(frame).whole);
    const bool six = frame[12] == 0x86;
    for (std::size_t length = 0; length < frame.size(); length++) {
      const std::string reason = parse(Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length))).why();
      EXPECT_EQ(reason, length < (six ? 54u : 34u) ? "frame_truncated" : six ? "ipv6_length_invalid" : "ipv4_length_invalid") << length;
    }
  }
}

TEST(Parse, AnHonestlyShorterPacketIsWholeFromItsLastHeaderOn) {
  // The IP header tells the truth about the length, the headers behind it do not fit any more.
  struct Case {
    PacketBuilder packet;
    std::uint16_t headers;  // bytes of IP packet that must be there
    std::set<std::string> reasons;
  };
  const Case cases[] = {
      {eth().ipv4().tcp({.flags = 16, .options = {tcp_option::timestamps(1, 2)}}), 52, {"tcp_header_invalid"}},
      {eth().ipv4().icmp().payload_of(5), 28, {"icmp_unsupported"}},
  };
  for (const Case& c : cases) {
    const Bytes full = c.packet.build();
    for (std::uint16_t length = 20; length < full.size() - 14; length++) {
      Bytes frame(full.begin(), full.begin() + 14 + length);
      frame[16] = static_cast<std::uint8_t>(length >> 8);
      frame[17] = static_cast<std::uint8_t>(length);
      frame[24] = frame[25] = 0;
      const std::uint32_t sum = ~test::packet_detail::sum(Bytes(frame.begin() + 14, frame.begin() + 34)) & 0xffff;
      frame[24] = static_cast<std::uint8_t>(sum >> 8);
      frame[25] = static_cast<std::uint8_t>(sum);
      const std::string reason = parse(frame).why();
      EXPECT_TRUE(length >= c.headers ? reason == "whole" : c.reasons.contains(reason)) << length << " " << reason;
    }
  }
  const Bytes full = eth().ipv6().extension({.kind = 60, .data = Bytes(14, 0)}).udp().build();
  for (std::uint16_t length = 0; length < full.size() - 54; length++) {
    Bytes frame(full.begin(), full.begin() + 54 + length);
    frame[18] = static_cast<std::uint8_t>(length >> 8);
    frame[19] = static_cast<std::uint8_t>(length);
    EXPECT_EQ(parse(frame).why(), length < 16 ? "ipv6_extension_invalid" : "udp_length_invalid") << length;
  }
}

TEST(Parse, WhateverBytesComeAWholePacketHasItsHeadersInside) {
  std::mt19937 random(3);
  const std::vector<Bytes> frames = valid_frames();
  std::set<std::string> seen;
  for (int round = 0; round < 60000; round++) {
    Bytes frame = frames[random() % frames.size()];
    for (std::uint32_t changes = 1 + random() % 4; changes-- > 0;) frame[random() % frame.size()] = static_cast<std::uint8_t>(random());
    if (round % 3 == 0) frame.resize(random() % frame.size());
    if (round % 2 == 0 && frame.size() >= 34 && frame[12] == 8) {
      // A right header checksum, so that the stages behind it are reached.
      frame[24] = frame[25] = 0;
      const std::size_t header = std::min<std::size_t>((frame[14] & 15u) * 4u, frame.size() - 14);
      const std::uint32_t sum =
          ~test::packet_detail::sum(Bytes(frame.begin() + 14, frame.begin() + 14 + static_cast<std::ptrdiff_t>(header))) & 0xffff;
      frame[24] = static_cast<std::uint8_t>(sum >> 8);
      frame[25] = static_cast<std::uint8_t>(sum);
    }
    const Parsed p = parse(frame);
    seen.insert(p.why());
    if (!p.whole) continue;
    ASSERT_LE(p.length, frame.size());
    ASSERT_EQ(p.length, std::uint32_t{p.meta.l3_offset} + p.meta.l3_length);
    const std::uint32_t transport = is_later_fragment(p.meta) ? 1u : p.meta.protocol == 6 ? 20u : 8u;
    ASSERT_LE(p.meta.l4_offset + transport, p.length);
    ASSERT_GE(p.meta.l4_offset, 14 + (p.meta.ipv6 ? 40 : 20));
  }
  EXPECT_GT(seen.size(), 15u) << "the random frames reach most of the parser";
}

}  // namespace
}  // namespace millrace
