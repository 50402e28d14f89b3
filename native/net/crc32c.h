// CRC32c (Castagnoli), the checksum of SCTP (RFC 9260 appendix A).
// Thread: any. No state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

namespace millrace::net {

/// Continues a CRC over `length` bytes. Begin with ~0, end with ~; the result's least significant byte goes first on the wire.
inline std::uint32_t crc32c_update(std::uint32_t crc, const void* data, std::size_t length) {
  const auto* p = static_cast<const std::uint8_t*>(data);
#if defined(__SSE4_2__)
  std::uint64_t wide = crc;
  for (; length >= 8; length -= 8, p += 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<std::uint32_t>(wide);
  for (; length != 0; length--, p++) crc = _mm_crc32_u8(crc, *p);
#else
  for (; length != 0; length--, p++) {
    crc ^= *p;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0x82f63b78u : 0u);
  }
#endif
  return crc;
}

}  // namespace millrace::net
