// Wire formats: checksums against a byte-wise sum written here from RFC 1071, addresses and their text, byte order, header layouts.
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "net/address.h"
#include "net/arp.h"
#include "net/byte_order.h"
#include "net/checksum.h"
#include "net/headers.h"
#include "net/ndp.h"

namespace millrace {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// RFC 1071, word by word and folded at once: slow and plain. The sum in host order, not complemented.
std::uint16_t plain_sum(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<std::uint32_t>(bytes[i] << 8) + (i + 1 < bytes.size() ? bytes[i + 1] : 0u);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return static_cast<std::uint16_t>(sum);
}

/// One's complement has two zeros; as a checksum they are equal.
std::uint16_t same_zero(std::uint16_t value) { return value == 0xffff ? std::uint16_t{0} : value; }

Bytes random_bytes(std::mt19937& random, std::size_t length) {
  Bytes bytes(length);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

TEST(Checksum, OfTheExampleInRfc1071) {
  // RFC 1071 section 3: the bytes 00 01 f2 03 f4 f5 f6 f7 sum up to ddf2.
  const Bytes bytes = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(be16::from_raw(net::fold(net::add_bytes(0, bytes.data(), bytes.size()))).host(), 0xddf2);
  EXPECT_EQ(net::finish(net::add_bytes(0, bytes.data(), bytes.size())).host(), 0x220d);
}

TEST(Checksum, EqualsThePlainSumForEveryLengthOddOnesIncluded) {
  std::mt19937 random(1);
  for (std::size_t length = 0; length < 300; length++) {
    const Bytes bytes = random_bytes(random, length);
    // Begins at any address: packets are not aligned behind an Ethernet header.
    Bytes shifted(1, 0);
    shifted.insert(shifted.end(), bytes.begin(), bytes.end());
    EXPECT_EQ(same_zero(be16::from_raw(net::fold(net::add_bytes(0, bytes.data(), length))).host()), same_zero(plain_sum(bytes)));
    EXPECT_EQ(same_zero(be16::from_raw(net::fold(net::add_bytes(0, shifted.data() + 1, length))).host()), same_zero(plain_sum(bytes)));
  }
}

TEST(Checksum, CarriesOfLongRunsOfOnesAreNotLost) {
  const Bytes ones(65535, 0xff);
  EXPECT_EQ(be16::from_raw(net::fold(net::add_bytes(0, ones.data(), ones.size()))).host(), plain_sum(ones));
  EXPECT_EQ(net::fold(~net::Sum{0}), 0xffff);
  EXPECT_EQ(net::fold(0), 0);
}

TEST(Checksum, UpdatesAsInTheExamplesOfRfc1624) {
  // RFC 1624 section 4: the word 5555 becomes 3285 under the checksum dd2f; the result is 0000 and not ffff.
  const std::uint16_t delta = net::difference(be16(0x5555).raw, be16(0x3285).raw);
  EXPECT_EQ(net::updated(be16(0xdd2f), delta).host(), 0x0000);
  EXPECT_EQ(net::updated(be16(0x0000), net::inverse(delta)).host(), 0xdd2f);
}

TEST(Checksum, AnIncrementalUpdateEqualsAFullRecomputation) {
  std::mt19937 random(2);
  for (int round = 0; round < 20000; round++) {
    Bytes bytes = random_bytes(random, 2 + random() % 120);
    if (round % 5 == 0) std::fill(bytes.begin(), bytes.end(), static_cast<std::uint8_t>(round % 2 == 0 ? 0 : 0xff));
    const be16 before = net::finish(net::add_bytes(0, bytes.data(), bytes.size()));
    // A run of bytes at an even offset changes, as addresses and ports do.
    const std::size_t start = random() % (bytes.size() / 2) * 2;
    const std::size_t length = std::min<std::size_t>(bytes.size() - start, 1 + random() % 40);
    const Bytes replacement = random_bytes(random, length);
    const net::Sum removed = net::add_bytes(0, bytes.data() + start, length);
    const net::Sum added = net::add_bytes(0, replacement.data(), length);
    std::copy(replacement.begin(), replacement.end(), bytes.begin() + static_cast<std::ptrdiff_t>(start));
    const std::uint16_t delta = net::difference(removed, added);
    const be16 after = net::updated(before, delta);
    ASSERT_EQ(same_zero(after.host()), same_zero(static_cast<std::uint16_t>(~plain_sum(bytes)))) << "round " << round;
    ASSERT_EQ(same_zero(net::updated(after, net::inverse(delta)).host()), same_zero(before.host())) << "round " << round;
  }
}

TEST(Checksum, AnAddressCountsAsItsBytes) {
  std::mt19937 random(3);
  for (int round = 0; round < 1000; round++) {
    const Bytes bytes = random_bytes(random, 16);
    EXPECT_EQ(net::fold(net::add_address(0, IpAddress::v6(bytes.data()))), net::fold(net::add_bytes(0, bytes.data(), 16)));
  }
  // Of two IPv4 addresses the difference is that of their four bytes: the mapped prefix cancels out.
  const IpAddress a = IpAddress::v4(be32(0xc0a80101));
  const IpAddress b = IpAddress::v4(be32(0x0a0b0c0d));
  EXPECT_EQ(same_zero(net::difference(net::add_address(0, a), net::add_address(0, b))),
            same_zero(net::difference(be32(0xc0a80101).raw, be32(0x0a0b0c0d).raw)));
}

TEST(Address, TextsOfBothFamiliesComeBackInCanonicalForm) {
  const std::array<std::array<const char*, 2>, 10> cases = {{{"192.0.2.1", "192.0.2.1"},
                                                             {"0.0.0.0", "0.0.0.0"},
                                                             {"255.255.255.255", "255.255.255.255"},
                                                             {"::", "::"},
                                                             {"::1", "::1"},
                                                             {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
                                                             {"2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"},
                                                             {"fe80::ffff:ffff:ffff:ffff", "fe80::ffff:ffff:ffff:ffff"},
                                                             {"::ffff:192.0.2.1", "192.0.2.1"},
                                                             {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"}}};
  for (const auto& [text, canonical] : cases) {
    bool ok = false;
    const IpAddress address = IpAddress::parse(text, ok);
    EXPECT_TRUE(ok) << text;
    EXPECT_EQ(address.to_string(), canonical);
    EXPECT_TRUE(IpAddress::parse(address.to_string(), ok) == address) << text;
  }
}

TEST(Address, EveryAddressSurvivesItsText) {
  std::mt19937_64 random(4);
  for (int round = 0; round < 5000; round++) {
    IpAddress address;
    if (round % 2 == 0) {
      address = IpAddress::v4(be32(static_cast<std::uint32_t>(random())));
    } else {
      // Runs of zeros, so that abbreviations occur.
      address.high = be64(random() & (random() % 2 == 0 ? 0xffff00000000ffff : ~0ull)).raw;
      address.low = be64(random() & (random() % 2 == 0 ? 0x0000ffff00000000 : ~0ull)).raw;
    }
    bool ok = false;
    const IpAddress again = IpAddress::parse(address.to_string(), ok);
    ASSERT_TRUE(ok) << address.to_string();
    ASSERT_TRUE(again == address) << address.to_string();
  }
}

TEST(Address, RefusesWhatIsNoAddress) {
  const std::string with_zero_byte("192.0.2.1\0", 10);
  const std::vector<std::string> wrong = {"", " ", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4/24", "01.2.3.4x",
                                          ":", ":::", "1::2::3", "12345::", "g::", "fe80::1%eth0", "[::1]", with_zero_byte,
                                          std::string(100, '1')};
  for (const std::string& text : wrong) {
    bool ok = true;
    (void)IpAddress::parse(text, ok);
    EXPECT_FALSE(ok) << "'" << text << "'";
  }
}

TEST(Address, KnowsItsFamily) {
  bool ok = false;
  const IpAddress v4 = IpAddress::parse("192.0.2.1", ok);
  EXPECT_TRUE(v4.is_v4());
  EXPECT_EQ(v4.v4_part().host(), 0xc0000201u);
  EXPECT_FALSE(v4.is_unspecified());
  EXPECT_TRUE(IpAddress::parse("0.0.0.0", ok).is_unspecified());
  EXPECT_TRUE(IpAddress{}.is_unspecified());
  EXPECT_FALSE(IpAddress{}.is_v4());
  EXPECT_FALSE(IpAddress::parse("::192.0.2.1", ok).is_v4()) << "the old compatible form is not the mapped one";
  EXPECT_FALSE(IpAddress::parse("1::ffff:192.0.2.1", ok).is_v4());
}

TEST(MacAddress, TextsComeBack) {
  std::mt19937 random(5);
  for (int round = 0; round < 1000; round++) {
    MacAddress mac;
    for (std::uint8_t& byte : mac.bytes) byte = static_cast<std::uint8_t>(random());
    bool ok = false;
    ASSERT_TRUE(MacAddress::parse(mac.to_string(), ok) == mac);
    ASSERT_TRUE(ok);
  }
  bool ok = false;
  EXPECT_EQ(MacAddress::parse("0A:1b:2C:3d:4E:5f", ok).to_string(), "0a:1b:2c:3d:4e:5f");
  EXPECT_TRUE(ok);
  EXPECT_TRUE(MacAddress::parse("01:00:5e:00:00:01", ok).is_multicast());
  EXPECT_FALSE(MacAddress::parse("02:00:00:00:00:01", ok).is_multicast());
  EXPECT_TRUE(MacAddress{}.is_zero());
}

TEST(MacAddress, RefusesWhatIsNoMac) {
  for (const char* text : {"", "02:00:00:00:00", "02:00:00:00:00:0", "02:00:00:00:00:01:", "02-00-00-00-00-01", "02:00:00:00:00:0g",
                           "02:00:00:00:0:001", " 2:00:00:00:00:01", "020000000001"}) {
    bool ok = true;
    (void)MacAddress::parse(text, ok);
    EXPECT_FALSE(ok) << text;
  }
}

TEST(ByteOrder, ValuesStandOnTheWireInNetworkOrder) {
  const auto bytes_of = [](const auto& value) {
    Bytes bytes(sizeof(value));
    std::memcpy(bytes.data(), &value, sizeof(value));
    return bytes;
  };
  EXPECT_EQ(bytes_of(be16(0x0102)), (Bytes{1, 2}));
  EXPECT_EQ(bytes_of(be32(0x01020304)), (Bytes{1, 2, 3, 4}));
  EXPECT_EQ(bytes_of(be64(0x0102030405060708)), (Bytes{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(be32(0xdeadbeef).host(), 0xdeadbeefu);
  EXPECT_TRUE(be16::from_raw(be16(7).raw) == be16(7));
}

TEST(Headers, FieldsLieWhereTheirStandardsPutThem) {
  EXPECT_EQ(offsetof(net::Ethernet, type), 12u);
  EXPECT_EQ(offsetof(net::Ipv4, total_length), 2u);
  EXPECT_EQ(offsetof(net::Ipv4, fragment), 6u);
  EXPECT_EQ(offsetof(net::Ipv4, ttl), 8u);
  EXPECT_EQ(offsetof(net::Ipv4, checksum), 10u);
  EXPECT_EQ(offsetof(net::Ipv4, destination), 16u);
  EXPECT_EQ(offsetof(net::Ipv6, payload_length), 4u);
  EXPECT_EQ(offsetof(net::Ipv6, next_header), 6u);
  EXPECT_EQ(offsetof(net::Ipv6, source), 8u);
  EXPECT_EQ(offsetof(net::Ipv6, destination), 24u);
  EXPECT_EQ(offsetof(net::Tcp, sequence), 4u);
  EXPECT_EQ(offsetof(net::Tcp, data_offset), 12u);
  EXPECT_EQ(offsetof(net::Tcp, flags), 13u);
  EXPECT_EQ(offsetof(net::Tcp, checksum), 16u);
  EXPECT_EQ(offsetof(net::Udp, length), 4u);
  EXPECT_EQ(offsetof(net::Udp, checksum), 6u);
  EXPECT_EQ(offsetof(net::Icmp, checksum), 2u);
  EXPECT_EQ(offsetof(net::Arp, operation), 6u);
  EXPECT_EQ(offsetof(net::Arp, sender), 14u);
  EXPECT_EQ(offsetof(net::Arp, target), 24u);
  EXPECT_EQ(offsetof(net::NeighbourMessage, target), 8u);
  net::Ipv4 ip{};
  ip.version_ihl = 0x4f;
  EXPECT_EQ(ip.header_length(), 60u);
  net::Tcp tcp{};
  tcp.data_offset = 0x5f;
  EXPECT_EQ(tcp.header_length(), 20u);
}

}  // namespace
}  // namespace millrace
