// Wire layout of ARP for IPv4 over Ethernet (RFC 826). Structs have alignment 1 and are laid over packet bytes.
// Thread: any. No state.
#pragma once

#include <cstdint>

#include "net/byte_order.h"

namespace millrace::net {

inline constexpr be16 kEtherTypeArp{0x0806};

#pragma pack(push, 1)

struct Arp {
  be16 hardware_type;
  be16 protocol_type;
  std::uint8_t hardware_length;
  std::uint8_t protocol_length;
  be16 operation;
  std::uint8_t sender_mac[6];
  be32 sender;
  std::uint8_t target_mac[6];
  be32 target;
};
static_assert(sizeof(Arp) == 28);

#pragma pack(pop)

namespace arp {
inline constexpr be16 kHardwareEthernet{1};
inline constexpr be16 kProtocolIpv4{0x0800};
inline constexpr be16 kRequest{1};
inline constexpr be16 kReply{2};
}  // namespace arp

}  // namespace millrace::net
