// First stage: what a frame says, checked against its bounds. Every later stage relies on these checks and makes none of its own.
// Guarantees: reads only inside [data, data + length); a packet that passes has whole, consistent Ethernet, IP and transport
// headers, or is a fragment that may be a part of such a packet. The order of checks is the order of reasons in counters.def.
// Thread: the worker that holds the batch. Fuzzed by test/fuzz/parse_fuzz.cc.
#pragma once

#include <cstdint>
#include <span>

#include "core/batch.h"
#include "net/address.h"
#include "net/headers.h"

namespace millrace {

/// Of PacketMeta::fragment, in both families: another fragment follows, and where in the datagram this one lies, in units of 8
/// bytes.
inline constexpr std::uint16_t kMoreFragments = 0x2000;
inline constexpr std::uint16_t kFragmentOffset = 0x1fff;

/// ICMP echo has its identifier in the place of the port of whoever asked, and this in the place of the other one; ICMP errors have no
/// ports. So requests, replies and errors never look alike.
inline constexpr be16 kEchoPort{8};

/// What the parser found, one cache line per packet of a batch. Offsets are from the first byte of the frame.
struct alignas(64) PacketMeta {
  IpAddress source;
  IpAddress destination;
  be16 source_port{};
  be16 destination_port{};
  std::uint8_t protocol = 0;
  /// TCP flags byte; of ICMP: the type; of SCTP: an SctpEvent.
  std::uint8_t tcp_flags = 0;
  bool ipv6 = false;
  std::uint8_t ttl = 0;
  std::uint16_t l3_offset = 0;
  std::uint16_t l4_offset = 0;
  /// Bytes of the IP packet, header included, padding excluded.
  std::uint16_t l3_length = 0;
  /// 0 for a whole packet; else kMoreFragments and the offset (RFC 791 3.1, RFC 8200 4.5).
  std::uint16_t fragment = 0;
  std::uint64_t hash = 0;
  /// Of a fragment: identification, and of IPv6 where its fragment header lies.
  std::uint32_t fragment_id = 0;
  std::uint16_t fragment_header = 0;
};
static_assert(sizeof(PacketMeta) == 64);

/// Whether this is an answer to an ICMP echo request.
inline bool is_echo_reply(const PacketMeta& meta) {
  return meta.source_port == kEchoPort && (meta.ipv6 ? meta.protocol == net::kProtocolIcmpv6 && meta.tcp_flags == net::kIcmpv6EchoReply
                                                     : meta.protocol == net::kProtocolIcmp && meta.tcp_flags == net::kIcmpEchoReply);
}

/// Whether this is a fragment without the transport header.
inline bool is_later_fragment(const PacketMeta& meta) { return (meta.fragment & kFragmentOffset) != 0; }

/// Fills `meta` and trims link-layer padding from `packet.length`. True when the packet is sound; otherwise `reason` says why
/// not. Sound is also a fragment: `meta.fragment` is not 0 then. The first one has a whole transport header, later ones have
/// none, and their ports are 0. An IPv6 packet whose fragment header says that it is whole is whole (RFC 6946).
bool parse_packet(Packet& packet, PacketMeta& meta, DropReason& reason);

/// The bytes behind the UDP header of a parsed packet; none if it is not UDP.
inline std::span<const std::uint8_t> udp_payload(const Packet& packet, const PacketMeta& meta) {
  if (meta.protocol != net::kProtocolUdp) return {};
  const std::uint32_t begin = meta.l4_offset + static_cast<std::uint32_t>(sizeof(net::Udp));
  const std::uint32_t end = std::uint32_t{meta.l3_offset} + meta.l3_length;
  return begin < end ? std::span<const std::uint8_t>(packet.data + begin, end - begin) : std::span<const std::uint8_t>();
}

}  // namespace millrace
