// The Internet checksum: over bytes (RFC 1071) and incrementally (RFC 1624).
// Sums are kept in the byte order of memory: a one's complement sum does not care (RFC 1071 2.B), so nothing is ever swapped.
// Thread: any. No state.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "net/address.h"
#include "net/byte_order.h"

namespace millrace::net {

/// A partial one's complement sum, 64 bits wide so that carries are folded once at the end.
using Sum = std::uint64_t;

/// The 16-bit one's complement sum. A number plus itself with exchanged halves has in its upper half the sum of the halves, and
/// the carry out of the lower half has come back in.
inline std::uint16_t fold(Sum sum) {
  const auto half = static_cast<std::uint32_t>((sum + std::rotl(sum, 32)) >> 32);
  return static_cast<std::uint16_t>((half + std::rotl(half, 16)) >> 16);
}

/// One's complement sum of two 16-bit words: with only two there is one carry, which comes back in at the other end.
inline std::uint16_t add_folded(std::uint16_t a, std::uint16_t b) {
  const std::uint32_t sum = std::uint32_t{a} + b;
  return static_cast<std::uint16_t>(sum + (sum >> 16));
}

inline Sum add(Sum sum, std::uint32_t word) { return sum + word; }

/// Adds `length` bytes that begin at an even offset of the checksummed data. At most 16 MiB per sum.
inline Sum add_bytes(Sum sum, const void* data, std::size_t length) {
  const auto* p = static_cast<const std::uint8_t*>(data);
  while (length >= 4) {
    std::uint32_t word;
    std::memcpy(&word, p, 4);
    sum += word;
    p += 4;
    length -= 4;
  }
  if (length >= 2) {
    std::uint16_t half;
    std::memcpy(&half, p, 2);
    sum += half;
    p += 2;
    length -= 2;
  }
  if (length != 0) {
    const std::uint8_t last[2] = {*p, 0};
    std::uint16_t half;
    std::memcpy(&half, last, 2);
    sum += half;
  }
  return sum;
}

/// Adds an address of either family as it counts in a pseudo header (RFC 9293 3.1, RFC 8200 8.1).
/// The constant part of a v4-mapped address cancels out in differences of same-family addresses.
inline Sum add_address(Sum sum, const IpAddress& address) {
  return sum + (address.high & 0xffffffffu) + (address.high >> 32) + (address.low & 0xffffffffu) + (address.low >> 32);
}

/// Checksum field value for a sum.
inline be16 finish(Sum sum) { return be16::from_raw(static_cast<std::uint16_t>(~fold(sum))); }

/// What must be added to a checksum's sum when `removed` is replaced by `added`: RFC 1624 equation 3, ~m + m'.
inline std::uint16_t difference(Sum removed, Sum added) {
  return add_folded(static_cast<std::uint16_t>(~fold(removed)), fold(added));
}

/// The checksum field after the data changed by `delta`.
inline be16 updated(be16 checksum, std::uint16_t delta) {
  return be16::from_raw(static_cast<std::uint16_t>(~add_folded(static_cast<std::uint16_t>(~checksum.raw), delta)));
}

/// The difference that undoes `delta`.
inline std::uint16_t inverse(std::uint16_t delta) { return static_cast<std::uint16_t>(~delta); }

}  // namespace millrace::net
