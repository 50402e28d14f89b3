// Integers in network byte order as types of their own, so that mixing them with host integers does not compile.
// Thread: any. No state.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>

namespace millrace {

constexpr std::uint16_t swap_bytes(std::uint16_t v) { return __builtin_bswap16(v); }
constexpr std::uint32_t swap_bytes(std::uint32_t v) { return __builtin_bswap32(v); }
constexpr std::uint64_t swap_bytes(std::uint64_t v) { return __builtin_bswap64(v); }

/// An unsigned integer as it stands on the wire (big endian). `raw` is the in-memory image. Alignment 1: behind a 14-byte Ethernet
/// header nothing is aligned, and calling a member of a misaligned object would be undefined.
template <typename T>
struct [[gnu::packed]] BigEndian {
  T raw;

  constexpr BigEndian() = default;
  constexpr explicit BigEndian(T host)
      : raw(std::endian::native == std::endian::little ? swap_bytes(host) : host) {}
  static constexpr BigEndian from_raw(T raw_value) {
    BigEndian r{};
    r.raw = raw_value;
    return r;
  }
  /// The value in host byte order.
  constexpr T host() const { return std::endian::native == std::endian::little ? swap_bytes(raw) : raw; }
  constexpr bool operator==(const BigEndian&) const = default;
};

using be16 = BigEndian<std::uint16_t>;
using be32 = BigEndian<std::uint32_t>;
using be64 = BigEndian<std::uint64_t>;
static_assert(sizeof(be16) == 2 && sizeof(be32) == 4 && sizeof(be64) == 8);
static_assert(alignof(be16) == 1 && alignof(be32) == 1 && alignof(be64) == 1);

}  // namespace millrace
