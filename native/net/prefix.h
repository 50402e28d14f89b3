// Prefix: an address and how many of its bits count. Lengths are those of the 16-byte form, so that tables have one shape for both
// families: an IPv4 /24 is 120.
// Thread: any. No state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "net/address.h"

namespace millrace {

/// The first `length` bits of `address`, the rest zero.
IpAddress masked(const IpAddress& address, std::uint8_t length);

struct Prefix {
  IpAddress address;
  std::uint8_t length = 0;
  bool operator==(const Prefix&) const = default;

  /// Parses "a.b.c.d/len" or "v6/len"; without "/len" it is a host. The address keeps its host bits. `ok` is false for anything
  /// else.
  static Prefix parse(std::string_view text, bool& ok);
  /// True when `other` lies inside. The families never mix: ::/0 does not contain IPv4.
  bool contains(const IpAddress& other) const;
  /// One address and no more.
  bool is_host() const { return length == 128; }
  /// Length as people write it: 24 for an IPv4 /24.
  std::uint8_t family_length() const { return address.is_v4() ? static_cast<std::uint8_t>(length - 96) : length; }
  std::string to_string() const;
};

}  // namespace millrace
