// Ethernet frames for the tests of this folder, built field by field, each with a marker in its last eight bytes by which a test
// recognises it wherever it comes out.
// Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/address.h"

namespace millrace::test {

using Bytes = std::vector<std::uint8_t>;

inline IpAddress address(std::string_view text) {
  bool ok = false;
  const IpAddress parsed = IpAddress::parse(text, ok);
  if (!ok) std::abort();
  return parsed;
}

inline void append(Bytes& out, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) out.push_back(static_cast<std::uint8_t>(byte));
}

inline void append(Bytes& out, std::span<const std::uint8_t> bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

/// Ethernet header to a fixed unicast address, with 802.1Q (0x8100) and 802.1ad (0x88a8) tags in front of the type.
inline Bytes ethernet(unsigned type, std::initializer_list<unsigned> tags = {}) {
  Bytes out;
  append(out, {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2});
  for (const unsigned tag : tags) append(out, {tag >> 8, tag & 0xff, 0, 5});
  append(out, {type >> 8, type & 0xff});
  return out;
}

inline void append_marker(Bytes& out, std::uint64_t marker) {
  std::array<std::uint8_t, 8> bytes{};
  std::memcpy(bytes.data(), &marker, sizeof(marker));
  append(out, bytes);
}

/// The marker of a frame; 0 when it is too short for one.
inline std::uint64_t marker_of(std::span<const std::uint8_t> frame) {
  std::uint64_t marker = 0;
  if (frame.size() >= 14 + sizeof(marker)) std::memcpy(&marker, frame.data() + frame.size() - sizeof(marker), sizeof(marker));
  return marker;
}

/// IPv4 and UDP; `fragment` is the flags and offset field. Checksums are left zero: nothing here verifies them. The source port
/// follows the marker, so that the kernel spreads different packets over the queues of a veth.
inline Bytes udp4(std::string_view destination, std::uint64_t marker, std::size_t payload = 18,
                  std::initializer_list<unsigned> tags = {}, unsigned fragment = 0) {
  Bytes out = ethernet(0x0800, tags);
  const std::size_t length = 20 + 8 + payload + 8;
  append(out, {0x45, 0, static_cast<unsigned>(length >> 8), static_cast<unsigned>(length & 0xff), 0, 1, fragment >> 8,
               fragment & 0xff, 64, 17, 0, 0});
  append(out, {198, 51, 100, 2});
  append(out, std::span(address(destination).bytes() + 12, 4));
  const auto source_port = static_cast<unsigned>(1024 + marker % 4096);
  append(out, {source_port >> 8, source_port & 0xff, 0, 7, static_cast<unsigned>((length - 20) >> 8),
               static_cast<unsigned>((length - 20) & 0xff), 0, 0});
  out.resize(out.size() + payload);
  append_marker(out, marker);
  return out;
}

/// IPv6 with any next header and the given first bytes of payload.
inline Bytes ip6(std::string_view destination, std::uint64_t marker, unsigned next_header,
                 std::initializer_list<unsigned> payload, std::initializer_list<unsigned> tags = {}) {
  Bytes out = ethernet(0x86dd, tags);
  const auto length = static_cast<unsigned>(payload.size() + 8);
  append(out, {0x60, 0, 0, 0, length >> 8, length & 0xff, next_header, 64});
  append(out, std::span(address("2001:db8:1::2").bytes(), 16));
  append(out, std::span(address(destination).bytes(), 16));
  append(out, payload);
  append_marker(out, marker);
  return out;
}

inline Bytes udp6(std::string_view destination, std::uint64_t marker, std::initializer_list<unsigned> tags = {}) {
  return ip6(destination, marker, 17, {0x30, 0x39, 0, 7, 0, 16, 0, 0}, tags);
}

inline Bytes icmp6(std::string_view destination, std::uint64_t marker, unsigned type) {
  return ip6(destination, marker, 58, {type, 0, 0, 0, 0, 0, 0, 0});
}

inline Bytes arp(std::uint64_t marker) {
  Bytes out = ethernet(0x0806);
  out.resize(out.size() + 28);
  append_marker(out, marker);
  return out;
}

}  // namespace millrace::test
