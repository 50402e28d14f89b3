// The two small hashes of addresses that IPVS uses: folding an address to 32 bits, and hash_32 (multiplication by the golden
// ratio, include/linux/hash.h of Linux, described by Knuth, The Art of Computer Programming 3, 6.4). Thread: any. No state.
#pragma once

#include <cstdint>
#include <cstring>

#include "net/address.h"

namespace millrace {

/// An IPv4 address as a number; of an IPv6 address the four words folded by exclusive or.
inline std::uint32_t fold_address(const IpAddress& address) {
  if (address.is_v4()) return address.v4_part().host();
  std::uint32_t words[4];
  std::memcpy(words, &address, sizeof(words));
  return be32::from_raw(words[0] ^ words[1] ^ words[2] ^ words[3]).host();
}

/// The `bits` highest bits of value * 0x61c88647.
inline std::uint32_t hash_32(std::uint32_t value, int bits) { return (value * 0x61c88647u) >> (32 - bits); }

/// Slots of the tables of sh and dh: CONFIG_IP_VS_SH_TAB_BITS and CONFIG_IP_VS_DH_TAB_BITS at their default.
inline constexpr int kAddressSlotBits = 8;
inline constexpr std::uint32_t kAddressSlots = 1u << kAddressSlotBits;

}  // namespace millrace
