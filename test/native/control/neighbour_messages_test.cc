// ARP and neighbour discovery frames against bytes made by an independent implementation (scapy), and against broken bytes.
#include "control/neighbour_messages.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace millrace {
namespace {

std::vector<std::uint8_t> bytes_of(std::string_view hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

std::string hex_of(const NeighbourFrame& frame) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const std::uint8_t byte : frame.span()) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

IpAddress ip(std::string_view text) {
  bool ok = false;
  const IpAddress address = IpAddress::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return address;
}

const MacAddress kOwn{{2, 0, 0, 0, 0, 0x10}};
const MacAddress kPeer{{2, 0, 0, 0, 0, 0x20}};

constexpr std::string_view kArpRequest = "ffffffffffff02000000002008060001080006040001020000000020c0000214000000000000c000020a";
constexpr std::string_view kArpProbe = "ffffffffffff0200000000200806000108000604000102000000002000000000000000000000c000020a";
constexpr std::string_view kSolicitation =
    "3333ff00001002000000002086dd6000000000203aff20010db8000000000000000000000020ff0200000000000000000001ff00001087001bcd00000000"
    "20010db80000000000000000000000100101020000000020";
constexpr std::string_view kUnicastSolicitation =
    "02000000001002000000002086dd6000000000183aff20010db800000000000000000000002020010db80000000000000000000000108700ef4100000000"
    "20010db8000000000000000000000010";
constexpr std::string_view kDuplicateDetection =
    "3333ff00001002000000002086dd6000000000183aff00000000000000000000000000000000ff0200000000000000000001ff00001087004ccf00000000"
    "20010db8000000000000000000000010";
constexpr std::string_view kSolicitedAnswer =
    "02000000002002000000001086dd6000000000203aff20010db800000000000000000000001020010db800000000000000000000002088008a2860000000"
    "20010db80000000000000000000000100201020000000010";
constexpr std::string_view kAdvertisementToAll =
    "33330000000102000000001086dd6000000000203aff20010db8000000000000000000000010ff0200000000000000000000000000018800f8fd20000000"
    "20010db80000000000000000000000100201020000000010";
constexpr std::string_view kPadding = "000000000000000000000000000000000000";

TEST(NeighbourMessages, AnArpRequestIsReadAndAnsweredToItsSender) {
  const auto query = parse_neighbour_query(bytes_of(kArpRequest));
  ASSERT_TRUE(query.has_value());
  EXPECT_EQ(query->kind, NeighbourQuery::Kind::kArpRequest);
  EXPECT_EQ(query->sender, ip("192.0.2.20"));
  EXPECT_EQ(query->sender_mac, kPeer);
  EXPECT_EQ(query->target, ip("192.0.2.10"));
  EXPECT_EQ(hex_of(build_answer(*query, kOwn)),
            "02000000002002000000001008060001080006040002020000000010c000020a020000000020c0000214" + std::string(kPadding));
}

TEST(NeighbourMessages, AnArpProbeHasNoSenderAddressAndClaimsNothing) {
  const auto query = parse_neighbour_query(bytes_of(kArpProbe));
  ASSERT_TRUE(query.has_value());
  EXPECT_TRUE(query->sender.is_unspecified());
  EXPECT_TRUE(query->is_question());
  EXPECT_FALSE(query->claims(ip("192.0.2.10")));
}

TEST(NeighbourMessages, GratuitousArpHasARequestAndAReplyForm) {
  EXPECT_EQ(hex_of(build_announcement(ip("192.0.2.10"), kOwn, AnnouncementForm::kRequest)),
            "ffffffffffff02000000001008060001080006040001020000000010c000020a000000000000c000020a" + std::string(kPadding));
  const NeighbourFrame reply = build_announcement(ip("192.0.2.10"), kOwn, AnnouncementForm::kReply);
  EXPECT_EQ(hex_of(reply),
            "ffffffffffff02000000001008060001080006040002020000000010c000020affffffffffffc000020a" + std::string(kPadding));
  const auto heard = parse_neighbour_query(reply.span());
  ASSERT_TRUE(heard.has_value());
  EXPECT_TRUE(heard->claims(ip("192.0.2.10")));
  EXPECT_FALSE(heard->is_question());
}

TEST(NeighbourMessages, ASolicitationIsAnsweredSolicitedAndOverriding) {
  const auto query = parse_neighbour_query(bytes_of(kSolicitation));
  ASSERT_TRUE(query.has_value());
  EXPECT_EQ(query->kind, NeighbourQuery::Kind::kSolicitation);
  EXPECT_EQ(query->sender, ip("2001:db8::20"));
  EXPECT_EQ(query->sender_mac, kPeer);
  EXPECT_EQ(query->target, ip("2001:db8::10"));
  EXPECT_EQ(hex_of(build_answer(*query, kOwn)), kSolicitedAnswer);
}

TEST(NeighbourMessages, AUnicastSolicitationWithoutOptionIsAnsweredToItsEthernetSource) {
  const auto query = parse_neighbour_query(bytes_of(kUnicastSolicitation));
  ASSERT_TRUE(query.has_value());
  EXPECT_EQ(query->sender_mac, kPeer);
  EXPECT_EQ(hex_of(build_answer(*query, kOwn)), kSolicitedAnswer);
}

TEST(NeighbourMessages, DuplicateAddressDetectionIsAnsweredToAllNodes) {
  const auto query = parse_neighbour_query(bytes_of(kDuplicateDetection));
  ASSERT_TRUE(query.has_value());
  EXPECT_TRUE(query->sender.is_unspecified());
  EXPECT_EQ(hex_of(build_answer(*query, kOwn)), kAdvertisementToAll);
}

TEST(NeighbourMessages, AnUnsolicitedAdvertisementGoesToAllNodesAndClaimsItsTarget) {
  const NeighbourFrame frame = build_announcement(ip("2001:db8::10"), kOwn, AnnouncementForm::kRequest);
  EXPECT_EQ(hex_of(frame), kAdvertisementToAll);
  const auto heard = parse_neighbour_query(frame.span());
  ASSERT_TRUE(heard.has_value());
  EXPECT_EQ(heard->kind, NeighbourQuery::Kind::kAdvertisement);
  EXPECT_TRUE(heard->claims(ip("2001:db8::10")));
}

TEST(NeighbourMessages, EveryTruncationIsRefused) {
  for (const std::string_view hex : {kArpRequest, kSolicitation, kUnicastSolicitation, kSolicitedAnswer}) {
    const auto whole = bytes_of(hex);
    ASSERT_TRUE(parse_neighbour_query(whole).has_value());
    for (std::size_t length = 0; length < whole.size(); length++) {
      // A copy of exactly this length, so that a sanitizer sees any read beyond it.
      const std::vector<std::uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      EXPECT_FALSE(parse_neighbour_query(cut).has_value()) << hex << " cut to " << length;
    }
  }
}

struct Damage {
  const char* what;
  std::string_view hex;
  std::size_t offset;
  std::uint8_t value;
};

TEST(NeighbourMessages, FramesThatBreakTheirStandardAreRefused) {
  const Damage cases[] = {
      {"ethernet type of IPv4", kArpRequest, 13, 0x00},
      {"hardware other than Ethernet", kArpRequest, 15, 6},
      {"protocol other than IPv4", kArpRequest, 16, 0x86},
      {"hardware address length", kArpRequest, 18, 8},
      {"protocol address length", kArpRequest, 19, 16},
      {"operation RARP", kArpRequest, 21, 3},
      {"multicast sender MAC", kArpRequest, 22, 0x03},
      {"IP version", kSolicitation, 14, 0x40},
      {"next header", kSolicitation, 20, 17},
      {"hop limit of a routed packet", kSolicitation, 21, 254},
      {"payload beyond the frame", kSolicitation, 19, 0x28},
      {"payload too short for the message", kSolicitation, 19, 0x10},
      {"wrong checksum", kSolicitation, 57, 0xce},
      {"a target changed behind the checksum", kSolicitation, 77, 0x11},
  };
  for (const Damage& damage : cases) {
    auto frame = bytes_of(damage.hex);
    ASSERT_NE(frame[damage.offset], damage.value) << damage.what;
    frame[damage.offset] = damage.value;
    EXPECT_FALSE(parse_neighbour_query(frame).has_value()) << damage.what;
  }
}

/// Changes 16-bit words and keeps the ICMPv6 checksum right, by adding what was taken away (RFC 1624).
void patch_word(std::vector<std::uint8_t>& frame, std::size_t offset, std::uint16_t value) {
  const auto word = [&](std::size_t at) { return static_cast<std::uint32_t>(frame[at] << 8 | frame[at + 1]); };
  std::uint32_t sum = (~word(56) & 0xffff) + (~word(offset) & 0xffff) + value;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  frame[offset] = static_cast<std::uint8_t>(value >> 8);
  frame[offset + 1] = static_cast<std::uint8_t>(value);
  frame[56] = static_cast<std::uint8_t>(~sum >> 8);
  frame[57] = static_cast<std::uint8_t>(~sum);
}

TEST(NeighbourMessages, SolicitationsWithARightChecksumButWrongContentAreRefused) {
  auto zero_option = bytes_of(kSolicitation);
  patch_word(zero_option, 78, 0x0100);
  EXPECT_FALSE(parse_neighbour_query(zero_option).has_value()) << "option of length 0";
  auto long_option = bytes_of(kSolicitation);
  patch_word(long_option, 78, 0x0102);
  EXPECT_FALSE(parse_neighbour_query(long_option).has_value()) << "option beyond the message";
  auto multicast_target = bytes_of(kSolicitation);
  patch_word(multicast_target, 62, 0xff02);
  EXPECT_FALSE(parse_neighbour_query(multicast_target).has_value()) << "multicast target";
  auto code = bytes_of(kSolicitation);
  patch_word(code, 54, 0x8701);
  EXPECT_FALSE(parse_neighbour_query(code).has_value()) << "code other than 0";
  auto detection_elsewhere = bytes_of(kDuplicateDetection);
  patch_word(detection_elsewhere, 52, 0x0011);
  EXPECT_FALSE(parse_neighbour_query(detection_elsewhere).has_value()) << "unspecified source to another group";
  auto unchanged = bytes_of(kSolicitation);
  patch_word(unchanged, 78, 0x0101);
  EXPECT_TRUE(parse_neighbour_query(unchanged).has_value()) << "the patch itself must keep the checksum right";
}

TEST(NeighbourMessages, AMappedAddressIsNoTarget) {
  auto frame = bytes_of(kDuplicateDetection);
  for (const std::size_t offset : {62u, 64u}) patch_word(frame, offset, 0);
  patch_word(frame, 72, 0xffff);
  patch_word(frame, 74, 0xc000);
  patch_word(frame, 76, 0x020a);
  patch_word(frame, 50, 0xff00);
  patch_word(frame, 52, 0x020a);
  EXPECT_FALSE(parse_neighbour_query(frame).has_value());
}

TEST(NeighbourMessages, GroupsFollowTheLast24Bits) {
  EXPECT_EQ(solicited_node_group(ip("2001:db8::12:3456")), ip("ff02::1:ff12:3456"));
  EXPECT_EQ(multicast_mac(ip("ff02::1:ff12:3456")).to_string(), "33:33:ff:12:34:56");
}

}  // namespace
}  // namespace millrace
