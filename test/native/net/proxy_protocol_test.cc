// PROXY headers: the published vectors, headers of every kind and of none, and that reading gives back what was written.
#include "net/proxy_protocol.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace millrace {
namespace {

using net::ProxyHeader;
using Kind = ProxyHeader::Kind;
using Bytes = std::vector<std::uint8_t>;

Bytes hex(const std::string& digits) {
  Bytes bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2) bytes.push_back(static_cast<std::uint8_t>(std::stoul(digits.substr(i, 2), nullptr, 16)));
  return bytes;
}
Bytes text(const std::string& words) { return {words.begin(), words.end()}; }
IpAddress ip(const std::string& words) {
  bool ok = false;
  return IpAddress::parse(words, ok);
}
net::ProxyEndpoints endpoints(const std::string& source, const std::string& destination) { return {ip(source), ip(destination), be16(31337), be16(80)}; }

const std::string kSignature = "0d0a0d0a000d0a515549540a";

Bytes written(const net::ProxyEndpoints& e, bool datagram, const net::ProxyExtras& extras = {}) {
  Bytes out(600);
  out.resize(net::write_proxy_v2(e, datagram, extras, out));
  return out;
}

TEST(ProxyHeaders, AreTheOnesOfTheSpecification) {
  EXPECT_EQ(written(endpoints("192.168.1.1", "10.200.1.1"), false), hex(kSignature + "2111000cc0a801010ac801017a690050"));
  EXPECT_EQ(written(endpoints("192.168.1.1", "10.200.1.1"), true), hex(kSignature + "2112000cc0a801010ac801017a690050"));
  EXPECT_EQ(written(endpoints("2001:db8::1", "2001:db8::50"), false),
            hex(kSignature + "2121002420010db800000000000000000000000120010db80000000000000000000000507a690050"));
  Bytes line(120);
  line.resize(net::write_proxy_v1(endpoints("192.168.1.1", "10.200.1.1"), line));
  EXPECT_EQ(line, text("PROXY TCP4 192.168.1.1 10.200.1.1 31337 80\r\n"));
  line.assign(120, 0);
  line.resize(net::write_proxy_v1(endpoints("2001:db8::1", "2001:db8::50"), line));
  EXPECT_EQ(line, text("PROXY TCP6 2001:db8::1 2001:db8::50 31337 80\r\n"));
}

TEST(ProxyHeaders, OfTwoFamiliesAreIpv6) {
  const auto mixed = endpoints("192.0.2.1", "2001:db8::50");
  const ProxyHeader read = net::read_proxy_header(written(mixed, false), false);
  EXPECT_EQ(read.kind, Kind::kProxied);
  EXPECT_EQ(read.endpoints, mixed);
  Bytes line(120);
  line.resize(net::write_proxy_v1(mixed, line));
  EXPECT_EQ(line, text("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::50 31337 80\r\n"));
}

TEST(ProxyHeaders, ThatFitNowhereAreNotWritten) {
  Bytes small(27);
  EXPECT_EQ(net::write_proxy_v2(endpoints("192.0.2.1", "192.0.2.2"), false, {}, small), 0u);
  EXPECT_EQ(net::write_proxy_v1(endpoints("192.0.2.1", "192.0.2.2"), small), 0u);
}

TEST(ProxyHeaders, CarryTlvsAndTheirChecksum) {
  const Bytes own = hex("e00003766970"), accepted = hex("02000474657374" "040002ffff" "030004deadbeef"), id(16, 7);
  const Bytes out = written(endpoints("192.0.2.1", "192.0.2.2"), false, {.accepted_tlvs = accepted, .tlvs = own, .unique_id = id, .crc32c = true});
  const ProxyHeader read = net::read_proxy_header(out, false);
  ASSERT_EQ(read.kind, Kind::kProxied);
  EXPECT_EQ(read.length, out.size());
  // The checksum and the padding in front were those of the header in front.
  Bytes expected = hex("02000474657374");
  const Bytes unique = hex("050010" + std::string("07070707070707070707070707070707"));
  expected.insert(expected.end(), unique.begin(), unique.end());
  expected.insert(expected.end(), own.begin(), own.end());
  EXPECT_EQ(Bytes(read.tlvs.begin(), read.tlvs.end() - 7), expected);
  for (std::size_t i = 12; i < out.size(); i++) {
    if (i + 7 == out.size()) continue;  // with another type it would be no checksum
    Bytes wrong = out;
    wrong[i] ^= 0x10;
    const ProxyHeader changed = net::read_proxy_header(wrong, false);
    EXPECT_NE(changed.kind, Kind::kProxied) << "byte " << i;
  }
}

TEST(ProxyHeaders, KeepTheNameThatAConnectionHasAlready) {
  const Bytes accepted = hex("050003616263"), id(16, 7);
  // What is read points into the bytes that it was read from.
  const Bytes out = written(endpoints("192.0.2.1", "192.0.2.2"), false, {.accepted_tlvs = accepted, .unique_id = id});
  const ProxyHeader read = net::read_proxy_header(out, false);
  EXPECT_EQ(Bytes(read.tlvs.begin(), read.tlvs.end()), accepted);
}

TEST(ProxyHeaders, OfVersionOneAreReadStrictly) {
  const auto kind = [](const std::string& line) { return net::read_proxy_header(text(line), false).kind; };
  EXPECT_EQ(kind("PROXY TCP4 192.0.2.1 192.0.2.2 1 65535\r\nGET"), Kind::kProxied);
  EXPECT_EQ(kind("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), Kind::kProxied);
  EXPECT_EQ(kind("PROXY UNKNOWN\r\n"), Kind::kLocal);
  EXPECT_EQ(kind("PROXY UNKNOWN anything at all\r\n"), Kind::kLocal);
  for (const char* wrong : {"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
                            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
                            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
                            "PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n", "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "PROXY \r\n", "GET / HTTP/1.1\r\n", "PROXYTCP4"}) {
    EXPECT_EQ(kind(wrong), Kind::kMalformed) << wrong;
  }
  const std::string whole = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
  for (std::size_t i = 0; i < whole.size(); i++) EXPECT_EQ(kind(whole.substr(0, i)), Kind::kIncomplete) << i;
  EXPECT_EQ(kind("PROXY TCP4 " + std::string(96, '1')), Kind::kMalformed) << "107 bytes without an end";
}

TEST(ProxyHeaders, OfVersionTwoAreReadStrictly) {
  const auto read = [](const std::string& digits, bool datagram = false) { return net::read_proxy_header(hex(kSignature + digits), datagram); };
  EXPECT_EQ(read("20000000").kind, Kind::kLocal);
  EXPECT_EQ(read("2011000cffffffffffffffffffffffff").length, 28u) << "LOCAL is skipped whole";
  EXPECT_EQ(read("2100000401020304").kind, Kind::kLocal) << "unspecified family";
  EXPECT_EQ(read("2131" "00d8" + std::string(432, '0')).kind, Kind::kLocal) << "UNIX";
  EXPECT_EQ(read("2112000cc0a801010ac801017a690050").kind, Kind::kLocal) << "datagrams over TCP";
  EXPECT_EQ(read("2112000cc0a801010ac801017a690050", true).kind, Kind::kProxied);
  for (const char* wrong : {"1111000cc0a801010ac801017a690050", "2211000cc0a801010ac801017a690050", "2141000cc0a801010ac801017a690050",
                            "2113000cc0a801010ac801017a690050", "2111000bc0a801010ac801017a6900", "21110401", "2111000ec0a801010ac801017a690050e000",
                            "21110010c0a801010ac801017a690050e0000200"}) {
    EXPECT_EQ(read(wrong).kind, Kind::kMalformed) << wrong;
  }
  const Bytes whole = written(endpoints("192.0.2.1", "192.0.2.2"), false);
  for (std::size_t i = 0; i < whole.size(); i++) {
    EXPECT_EQ(net::read_proxy_header(std::span(whole).first(i), false).kind, Kind::kIncomplete) << i;
    if (i != 0) {
      EXPECT_EQ(net::read_proxy_header(std::span(whole).first(i), true).kind, Kind::kMalformed) << "a datagram is all there is: " << i;
    }
  }
}

TEST(ProxyHeaders, WrittenAreReadBack) {
  std::mt19937 random(7);
  for (int round = 0; round < 5000; round++) {
    net::ProxyEndpoints e;
    Bytes raw(16);
    const auto address = [&](bool six) {
      for (auto& byte : raw) byte = static_cast<std::uint8_t>(random());
      if (six) return IpAddress::v6(raw.data());
      return IpAddress::v4(be32(static_cast<std::uint32_t>(random())));
    };
    const bool six = random() % 2 == 0;
    e.source = address(six);
    e.destination = address(six);
    e.source_port = be16(static_cast<std::uint16_t>(random()));
    e.destination_port = be16(static_cast<std::uint16_t>(random()));
    const bool datagram = random() % 2 == 0;
    const ProxyHeader second = net::read_proxy_header(written(e, datagram, {.crc32c = random() % 2 == 0}), datagram);
    EXPECT_EQ(second.kind, Kind::kProxied);
    EXPECT_EQ(second.endpoints, e);
    Bytes line(net::kProxyV1Longest);
    line.resize(net::write_proxy_v1(e, line));
    ASSERT_NE(line.size(), 0u);
    const ProxyHeader first = net::read_proxy_header(line, false);
    EXPECT_EQ(first.kind, Kind::kProxied);
    EXPECT_EQ(first.endpoints, e);
    EXPECT_EQ(first.length, line.size());
  }
}

}  // namespace
}  // namespace millrace
