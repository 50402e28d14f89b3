// Wire layout of neighbour solicitations and advertisements (RFC 4861 4.3, 4.4): both have the same shape.
// Structs have alignment 1 and are laid over packet bytes.
// Thread: any. No state.
#pragma once

#include <cstdint>

#include "net/byte_order.h"

namespace millrace::net {

#pragma pack(push, 1)

struct NeighbourMessage {
  std::uint8_t type;
  std::uint8_t code;
  be16 checksum;
  be32 flags;  ///< advertisement: R, S, O in the highest bits; solicitation: zero
  std::uint8_t target[16];
};
static_assert(sizeof(NeighbourMessage) == 24);

/// Link-layer address option (RFC 4861 4.6.1) for Ethernet.
struct LinkLayerOption {
  std::uint8_t type;
  std::uint8_t length;  ///< in units of 8 bytes
  std::uint8_t mac[6];
};
static_assert(sizeof(LinkLayerOption) == 8);

#pragma pack(pop)

namespace ndp {
inline constexpr std::uint8_t kSolicitation = 135;
inline constexpr std::uint8_t kAdvertisement = 136;
inline constexpr std::uint32_t kSolicited = 0x40000000;
inline constexpr std::uint32_t kOverride = 0x20000000;
inline constexpr std::uint8_t kOptionSourceMac = 1;
inline constexpr std::uint8_t kOptionTargetMac = 2;
/// Messages with another hop limit have passed a router and are not believed (RFC 4861 7.1.1).
inline constexpr std::uint8_t kHopLimit = 255;
}  // namespace ndp

}  // namespace millrace::net
