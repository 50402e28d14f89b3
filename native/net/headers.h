// Wire layouts of the headers that the packet path reads and writes. Structs have alignment 1 and are laid over packet bytes.
// Sources: IEEE 802.3, RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443.
// Thread: any. No state.
#pragma once

#include <cstdint>

#include "net/byte_order.h"

namespace millrace::net {

#pragma pack(push, 1)

struct Ethernet {
  std::uint8_t destination[6];
  std::uint8_t source[6];
  be16 type;
};
static_assert(sizeof(Ethernet) == 14);

inline constexpr be16 kEtherTypeIpv4{0x0800};
inline constexpr be16 kEtherTypeIpv6{0x86dd};
/// Tags of IEEE 802.1Q: customer's and service provider's (802.1ad).
inline constexpr be16 kEtherTypeVlan{0x8100};
inline constexpr be16 kEtherTypeServiceVlan{0x88a8};

struct VlanTag {
  be16 control;
  be16 type;
};
static_assert(sizeof(VlanTag) == 4);

struct Ipv4 {
  std::uint8_t version_ihl;
  std::uint8_t tos;
  be16 total_length;
  be16 id;
  be16 fragment;  ///< 3 flag bits (0, DF, MF), 13 bits offset in units of 8 bytes
  std::uint8_t ttl;
  std::uint8_t protocol;
  be16 checksum;
  be32 source;
  be32 destination;

  std::uint32_t header_length() const { return (version_ihl & 0x0fu) * 4u; }
};
static_assert(sizeof(Ipv4) == 20);

struct Ipv6 {
  be32 version_class_label;
  be16 payload_length;
  std::uint8_t next_header;
  std::uint8_t hop_limit;
  std::uint8_t source[16];
  std::uint8_t destination[16];
};
static_assert(sizeof(Ipv6) == 40);

struct Ipv6Fragment {
  std::uint8_t next_header;
  std::uint8_t reserved;
  be16 offset_more;  ///< 13 bits offset in units of 8 bytes, 2 reserved, 1 "another one follows"
  be32 id;
};
static_assert(sizeof(Ipv6Fragment) == 8);

struct Tcp {
  be16 source_port;
  be16 destination_port;
  be32 sequence;
  be32 acknowledgement;
  std::uint8_t data_offset;  ///< upper 4 bits, in units of 4 bytes
  std::uint8_t flags;
  be16 window;
  be16 checksum;
  be16 urgent;

  std::uint32_t header_length() const { return (data_offset >> 4) * 4u; }
};
static_assert(sizeof(Tcp) == 20);

namespace tcp_flag {
inline constexpr std::uint8_t kFin = 0x01;
inline constexpr std::uint8_t kSyn = 0x02;
inline constexpr std::uint8_t kRst = 0x04;
inline constexpr std::uint8_t kPsh = 0x08;
inline constexpr std::uint8_t kAck = 0x10;
inline constexpr std::uint8_t kUrg = 0x20;
}  // namespace tcp_flag

struct Udp {
  be16 source_port;
  be16 destination_port;
  be16 length;
  be16 checksum;
};
static_assert(sizeof(Udp) == 8);

struct Sctp {
  be16 source_port;
  be16 destination_port;
  be32 verification_tag;
  /// CRC32c over the whole SCTP packet with this field zero (RFC 9260 6.8), least significant byte first.
  std::uint32_t checksum;
};
static_assert(sizeof(Sctp) == 12);

struct SctpChunk {
  std::uint8_t type;
  std::uint8_t flags;
  be16 length;  ///< bytes, this header included, padding to four bytes not (RFC 9260 3.2)
};
static_assert(sizeof(SctpChunk) == 4);

struct Gre {
  be16 flags_version;  ///< 0: no checksum, key or sequence number (RFC 2784)
  be16 protocol;       ///< Ethernet type of what is inside
};
static_assert(sizeof(Gre) == 4);

struct Icmp {
  std::uint8_t type;
  std::uint8_t code;
  be16 checksum;
  be32 rest;
};
static_assert(sizeof(Icmp) == 8);

#pragma pack(pop)

inline constexpr std::uint8_t kProtocolIcmp = 1;
inline constexpr std::uint8_t kProtocolIpip = 4;
inline constexpr std::uint8_t kProtocolTcp = 6;
inline constexpr std::uint8_t kProtocolUdp = 17;
inline constexpr std::uint8_t kProtocolIpv6 = 41;
inline constexpr std::uint8_t kProtocolIpv6Fragment = 44;
inline constexpr std::uint8_t kProtocolGre = 47;
inline constexpr std::uint8_t kProtocolEsp = 50;
inline constexpr std::uint8_t kProtocolAh = 51;
inline constexpr std::uint8_t kProtocolIcmpv6 = 58;
inline constexpr std::uint8_t kProtocolSctp = 132;

inline constexpr std::uint8_t kIcmpEchoReply = 0;
inline constexpr std::uint8_t kIcmpEchoRequest = 8;
inline constexpr std::uint8_t kIcmpv6EchoRequest = 128;
inline constexpr std::uint8_t kIcmpv6EchoReply = 129;

}  // namespace millrace::net
