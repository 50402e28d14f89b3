// The everyday packet, recognised at once: a whole TCP segment without SYN or a UDP datagram, with a plain IPv4 or IPv6 header.
// Guarantees: true only for packets that parse_packet() accepts, with the same PacketMeta; for all others false, nothing decided:
// parse_packet() then looks at them one check at a time and has the reasons. So nothing here needs to know reasons or their
// order, and checks are combined where that saves branches. test/native/pipeline/parse_fast_test.cc compares the two.
// Thread: the worker that holds the batch.
#pragma once

#include <cstring>

#include "net/checksum.h"
#include "pipeline/parse.h"

namespace millrace {

namespace detail {

template <typename T>
T load(const std::uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

/// Whether the 20 bytes of an IPv4 header have a right checksum: they sum to 0xffff (RFC 1071).
inline bool ipv4_checksum_right(const std::uint8_t* header) {
  return net::fold(net::Sum{load<std::uint32_t>(header)} + load<std::uint32_t>(header + 4) + load<std::uint32_t>(header + 8) +
                   load<std::uint32_t>(header + 12) + load<std::uint32_t>(header + 16)) == 0xffff;
}

/// Ports, flags and lengths of the transport header at `l4`, which has `room` bytes. Everything but the addresses.
inline bool transport_plain(const std::uint8_t* l4, std::uint32_t room, std::uint8_t protocol, bool zero_checksum_allowed,
                            PacketMeta& meta) {
  if (protocol == net::kProtocolUdp) {
    const auto* udp = reinterpret_cast<const net::Udp*>(l4);
    const std::uint32_t length = udp->length.host();
    if (length < sizeof(net::Udp) || length > room || (udp->checksum.raw == 0 && !zero_checksum_allowed)) return false;
    meta.tcp_flags = 0;
  } else if (protocol == net::kProtocolTcp && room >= sizeof(net::Tcp)) {
    using namespace net::tcp_flag;
    const auto* tcp = reinterpret_cast<const net::Tcp*>(l4);
    const std::uint8_t flags = tcp->flags & (kFin | kSyn | kRst | kAck);
    // Without SYN, what is left is legal if it has ACK or RST (parse.cc).
    if ((flags & kSyn) != 0 || (flags & (kAck | kRst)) == 0) return false;
    if (tcp->header_length() < sizeof(net::Tcp) || tcp->header_length() > room) return false;
    meta.tcp_flags = tcp->flags;
  } else {
    return false;
  }
  const auto source_port = load<std::uint16_t>(l4);
  const auto destination_port = load<std::uint16_t>(l4 + 2);
  meta.source_port = be16::from_raw(source_port);
  meta.destination_port = be16::from_raw(destination_port);
  meta.protocol = protocol;
  // Equal ports are rare; those that are also a land attack are for parse_packet() to find.
  return source_port != 0 && destination_port != 0 && source_port != destination_port;
}

inline bool parse_fast_ipv4(Packet& packet, PacketMeta& meta) {
  constexpr std::uint32_t l3 = sizeof(net::Ethernet), l4 = l3 + sizeof(net::Ipv4);
  const auto* ip = reinterpret_cast<const net::Ipv4*>(packet.data + l3);
  const std::uint32_t total = ip->total_length.host();
  if (total < sizeof(net::Ipv4) + sizeof(net::Udp) || l3 + total > packet.length) return false;
  const std::uint32_t top = ip->source.host() >> 24;
  const bool source_allowed = top - 1 < 223 && top != 127;
  const bool whole = (ip->fragment.raw & be16(0x3fff).raw) == 0;
  if (!source_allowed || !whole || ip->ttl <= 1 || !ipv4_checksum_right(packet.data + l3)) return false;
  const IpAddress source_address = IpAddress::v4(ip->source);
  const IpAddress destination_address = IpAddress::v4(ip->destination);
  const std::uint8_t ttl = ip->ttl;
  const std::uint32_t room = total - static_cast<std::uint32_t>(sizeof(net::Ipv4));
  if (!transport_plain(packet.data + l4, room, ip->protocol, true, meta)) return false;
  meta.source = source_address;
  meta.destination = destination_address;
  meta.ipv6 = false;
  meta.ttl = ttl;
  meta.l3_offset = l3;
  meta.l4_offset = l4;
  meta.l3_length = static_cast<std::uint16_t>(total);
  meta.fragment = 0;
  packet.length = l3 + total;
  return true;
}

inline bool parse_fast_ipv6(Packet& packet, PacketMeta& meta) {
  constexpr std::uint32_t l3 = sizeof(net::Ethernet), l4 = l3 + sizeof(net::Ipv6);
  if (packet.length < l4 + sizeof(net::Udp)) return false;
  const auto* ip = reinterpret_cast<const net::Ipv6*>(packet.data + l3);
  const std::uint32_t payload = ip->payload_length.host();
  if (payload < sizeof(net::Udp) || l4 + payload > packet.length || ip->hop_limit <= 1) return false;
  // Global unicast, 2000::/3, and unique local, fc00::/7: none of the sources that no host may use lies there.
  const std::uint8_t first = ip->source[0];
  if ((first & 0xe0) != 0x20 && (first & 0xfe) != 0xfc) return false;
  if (!transport_plain(packet.data + l4, payload, ip->next_header, false, meta)) return false;
  meta.source = IpAddress::v6(ip->source);
  meta.destination = IpAddress::v6(ip->destination);
  meta.ipv6 = true;
  meta.ttl = ip->hop_limit;
  meta.l3_offset = l3;
  meta.l4_offset = l4;
  meta.l3_length = static_cast<std::uint16_t>(sizeof(net::Ipv6) + payload);
  meta.fragment = 0;
  packet.length = l4 + payload;
  return true;
}

}  // namespace detail

/// True: `packet` is whole and ordinary, `meta` is filled (all but the hash) and padding is trimmed. False: ask parse_packet().
inline bool parse_fast(Packet& packet, PacketMeta& meta) {
  if (packet.length < sizeof(net::Ethernet) + sizeof(net::Ipv4) + sizeof(net::Udp)) return false;
  const be16 type = reinterpret_cast<const net::Ethernet*>(packet.data)->type;
  const std::uint8_t version = packet.data[sizeof(net::Ethernet)];
  if (type == net::kEtherTypeIpv4 && version == 0x45) return detail::parse_fast_ipv4(packet, meta);
  if (type == net::kEtherTypeIpv6 && version >> 4 == 6) return detail::parse_fast_ipv6(packet, meta);
  return false;
}

}  // namespace millrace
