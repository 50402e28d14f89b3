// MD5 (RFC 1321), for consistent hashing only: the ring of ketama and libconhash is made of MD5 digests. Nothing here is secret.
// Thread: any. No state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace millrace {

/// The four words of the digest; the digest's bytes are these in little-endian order.
inline std::array<std::uint32_t, 4> md5(std::string_view text) {
  // RFC 1321 3.4: table[i] is the integer part of 2^32 * abs(sin(i + 1)).
  static constexpr std::array<std::uint32_t, 64> table = {
      0xd76aa478u, 0xe8c7b756u, 0x242070dbu, 0xc1bdceeeu, 0xf57c0fafu, 0x4787c62au, 0xa8304613u, 0xfd469501u,
      0x698098d8u, 0x8b44f7afu, 0xffff5bb1u, 0x895cd7beu, 0x6b901122u, 0xfd987193u, 0xa679438eu, 0x49b40821u,
      0xf61e2562u, 0xc040b340u, 0x265e5a51u, 0xe9b6c7aau, 0xd62f105du, 0x02441453u, 0xd8a1e681u, 0xe7d3fbc8u,
      0x21e1cde6u, 0xc33707d6u, 0xf4d50d87u, 0x455a14edu, 0xa9e3e905u, 0xfcefa3f8u, 0x676f02d9u, 0x8d2a4c8au,
      0xfffa3942u, 0x8771f681u, 0x6d9d6122u, 0xfde5380cu, 0xa4beea44u, 0x4bdecfa9u, 0xf6bb4b60u, 0xbebfbc70u,
      0x289b7ec6u, 0xeaa127fau, 0xd4ef3085u, 0x04881d05u, 0xd9d4d039u, 0xe6db99e5u, 0x1fa27cf8u, 0xc4ac5665u,
      0xf4292244u, 0x432aff97u, 0xab9423a7u, 0xfc93a039u, 0x655b59c3u, 0x8f0ccc92u, 0xffeff47du, 0x85845dd1u,
      0x6fa87e4fu, 0xfe2ce6e0u, 0xa3014314u, 0x4e0811a1u, 0xf7537e82u, 0xbd3af235u, 0x2ad7d2bbu, 0xeb86d391u};
  static constexpr std::array<int, 16> shifts = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};

  std::array<std::uint32_t, 4> digest = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u};
  const std::size_t blocks = (text.size() + 8) / 64 + 1;
  const std::uint64_t bits = std::uint64_t{text.size()} * 8;
  const auto byte_at = [&](std::size_t at) -> std::uint32_t {
    if (at < text.size()) return static_cast<std::uint8_t>(text[at]);
    if (at == text.size()) return 0x80;
    const std::size_t from_end = blocks * 64 - at;  // 8 to 1 are the length
    return from_end > 8 ? 0 : static_cast<std::uint32_t>(bits >> (8 * (8 - from_end)) & 0xff);
  };
  for (std::size_t block = 0; block < blocks; block++) {
    std::array<std::uint32_t, 16> words;
    for (std::size_t i = 0; i < 16; i++) {
      const std::size_t at = block * 64 + i * 4;
      words[i] = byte_at(at) | byte_at(at + 1) << 8 | byte_at(at + 2) << 16 | byte_at(at + 3) << 24;
    }
    auto [a, b, c, d] = digest;
    for (std::size_t i = 0; i < 64; i++) {
      std::uint32_t f;
      std::size_t word;
      switch (i / 16) {
        case 0:
          f = (b & c) | (~b & d), word = i;
          break;
        case 1:
          f = (d & b) | (~d & c), word = (5 * i + 1) % 16;
          break;
        case 2:
          f = b ^ c ^ d, word = (3 * i + 5) % 16;
          break;
        default:
          f = c ^ (b | ~d), word = 7 * i % 16;
          break;
      }
      const std::uint32_t sum = a + f + table[i] + words[word];
      const int shift = shifts[i / 16 * 4 + i % 4];
      a = d;
      d = c;
      c = b;
      b += sum << shift | sum >> (32 - shift);
    }
    digest = {digest[0] + a, digest[1] + b, digest[2] + c, digest[3] + d};
  }
  return digest;
}

}  // namespace millrace
