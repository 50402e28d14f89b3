// One 16-byte address type for both families: IPv4 is kept as v4-mapped IPv6 (::ffff:a.b.c.d, RFC 4291 2.5.5.2), so tables,
// sessions and comparisons have a single shape. A v4-mapped address never arrives on the wire inside an IPv6 header: the parser
// drops such packets, so the two families cannot be confused.
// Thread: any. No state.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "net/byte_order.h"

namespace millrace {

struct IpAddress {
  /// 16 bytes in network order, as two raw words for cheap comparison.
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  bool operator==(const IpAddress&) const = default;

  static constexpr std::uint32_t kMappedPrefix = be32(0x0000ffff).raw;

  static IpAddress v4(be32 address) {
    IpAddress a;
    std::uint32_t words[2] = {kMappedPrefix, address.raw};
    std::memcpy(&a.low, words, 8);
    return a;
  }
  static IpAddress v6(const void* sixteen_bytes) {
    IpAddress a;
    std::memcpy(&a, sixteen_bytes, 16);
    return a;
  }
  /// Parses dotted IPv4 or any RFC 4291 IPv6 text; `ok` is false for anything else.
  static IpAddress parse(std::string_view text, bool& ok);

  bool is_v4() const {
    std::uint32_t words[2];
    std::memcpy(words, &low, 8);
    return high == 0 && words[0] == kMappedPrefix;
  }
  bool is_unspecified() const { return high == 0 && (low == 0 || (is_v4() && v4_part().raw == 0)); }
  /// The last four bytes; the IPv4 address if is_v4().
  be32 v4_part() const {
    std::uint32_t words[2];
    std::memcpy(words, &low, 8);
    return be32::from_raw(words[1]);
  }
  const std::uint8_t* bytes() const { return reinterpret_cast<const std::uint8_t*>(this); }
  std::string to_string() const;
};
static_assert(sizeof(IpAddress) == 16);

/// Six bytes of an Ethernet address, in transmission order.
struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};
  bool operator==(const MacAddress&) const = default;
  bool is_zero() const { return bytes == std::array<std::uint8_t, 6>{}; }
  bool is_multicast() const { return (bytes[0] & 1) != 0; }
  /// Parses "02:00:00:00:00:01"; `ok` is false for anything else.
  static MacAddress parse(std::string_view text, bool& ok);
  std::string to_string() const;
};
static_assert(sizeof(MacAddress) == 6);

}  // namespace millrace
