// Bounds-checked parsing of Ethernet, IPv4, IPv6 with extension headers, TCP, UDP, SCTP, ICMP.
#include "pipeline/parse.h"

#include <cstring>

#include "net/checksum.h"
#include "sessions/sctp_state.h"

namespace millrace {

namespace {

using net::tcp_flag::kAck;
using net::tcp_flag::kFin;
using net::tcp_flag::kRst;
using net::tcp_flag::kSyn;

/// IPv6 headers that may stand between the fixed header and the transport header (RFC 8200 4.1).
constexpr std::uint8_t kHopByHop = 0;
constexpr std::uint8_t kRouting = 43;
constexpr std::uint8_t kFragment = 44;
constexpr std::uint8_t kDestinationOptions = 60;
/// RFC 8200 4.1 recommends at most one of each (destination options twice); more only serves to evade.
constexpr int kMaxExtensionHeaders = 6;

/// One of the customer, one of the provider (IEEE 802.1Q, 802.1ad); as in af_xdp.bpf.c.
constexpr std::uint32_t kMaxVlanTags = 2;

template <typename T>
const T* at(const Packet& packet, std::uint32_t offset) {
  return reinterpret_cast<const T*>(packet.data + offset);
}

bool ipv4_source_allowed(be32 address) {
  const std::uint32_t a = address.host();
  const std::uint32_t top = a >> 24;
  return top != 0 && top != 127 && top < 224;  // 0/8, loopback; 224/4 multicast and 240/4 with broadcast
}

bool ipv6_source_allowed(const IpAddress& a) {
  const std::uint64_t high = be64::from_raw(a.high).host();
  const std::uint64_t low = be64::from_raw(a.low).host();
  if ((high >> 56) == 0xff) return false;  // multicast
  if (high != 0) return true;
  return low > 1 && (low >> 32) != 0x0000ffffu;  // ::, ::1, ::ffff:0:0/96
}

/// IPv4 options are kept, but they must be well formed: somebody behind us will parse them (RFC 791 3.1).
bool ipv4_options_valid(const std::uint8_t* option, std::uint32_t length) {
  std::uint32_t i = 0;
  while (i < length) {
    if (option[i] == 0) return true;
    if (option[i] == 1) {
      i++;
      continue;
    }
    if (i + 1 >= length || option[i + 1] < 2 || i + option[i + 1] > length) return false;
    i += option[i + 1];
  }
  return true;
}

/// Whether a fragment of `length` bytes can be a part of a datagram: something in it, whole units of 8 bytes before the last one,
/// and an end that a length field can tell (RFC 791 3.2, RFC 8200 4.5).
bool fragment_possible(std::uint16_t fragment, std::uint32_t length) {
  if (length == 0 || ((fragment & kMoreFragments) != 0 && length % 8 != 0)) return false;
  return (fragment & kFragmentOffset) * 8u + length <= 0xffff;
}

bool parse_ipv4(Packet& packet, PacketMeta& meta, DropReason& reason) {
  const std::uint32_t l3 = meta.l3_offset;
  if (packet.length < l3 + sizeof(net::Ipv4)) return reason = DropReason::frame_truncated, false;
  const auto* ip = at<net::Ipv4>(packet, l3);
  const std::uint32_t header = ip->header_length();
  if ((ip->version_ihl >> 4) != 4 || header < sizeof(net::Ipv4)) return reason = DropReason::ipv4_header_invalid, false;
  const std::uint32_t total = ip->total_length.host();
  if (total < header || l3 + total > packet.length) return reason = DropReason::ipv4_length_invalid, false;
  if (net::fold(net::add_bytes(0, ip, header)) != 0xffff) return reason = DropReason::ipv4_checksum_wrong, false;
  if (header > sizeof(net::Ipv4) &&
      !ipv4_options_valid(packet.data + l3 + sizeof(net::Ipv4), header - static_cast<std::uint32_t>(sizeof(net::Ipv4)))) {
    return reason = DropReason::ipv4_options_invalid, false;
  }
  if (!ipv4_source_allowed(ip->source)) return reason = DropReason::source_invalid, false;
  meta.source = IpAddress::v4(ip->source);
  meta.destination = IpAddress::v4(ip->destination);
  meta.protocol = ip->protocol;
  meta.ttl = ip->ttl;
  meta.ipv6 = false;
  meta.l3_length = static_cast<std::uint16_t>(total);
  meta.l4_offset = static_cast<std::uint16_t>(l3 + header);
  packet.length = l3 + total;
  meta.fragment = ip->fragment.host() & (kMoreFragments | kFragmentOffset);
  if (meta.fragment != 0) {
    meta.fragment_id = ip->id.host();
    if (!fragment_possible(meta.fragment, total - header)) return reason = DropReason::fragment_invalid, false;
  }
  // ICMP to us is answered and not forwarded: it may have come its whole way (RFC 1122 3.2.1.7).
  if (ip->ttl == 0 || (ip->ttl == 1 && ip->protocol != net::kProtocolIcmp)) return reason = DropReason::ttl_expired, false;
  return true;
}

/// Walks extension headers to the transport header; of a later fragment to what is behind its fragment header.
bool walk_extensions(const Packet& packet, PacketMeta& meta, std::uint8_t next, DropReason& reason) {
  std::uint32_t offset = meta.l4_offset;
  for (int i = 0;; i++) {
    if (next != kHopByHop && next != kRouting && next != kDestinationOptions && next != kFragment) break;
    // Hop-by-hop options must come first (RFC 8200 4.1); routing type 0 is forbidden (RFC 5095). The first fragment has all
    // headers (RFC 7112).
    if (i == kMaxExtensionHeaders || (next == kHopByHop && i != 0) || (next == kFragment && meta.fragment_header != 0)) {
      return reason = DropReason::ipv6_extension_invalid, false;
    }
    const DropReason overrun = meta.fragment != 0 ? DropReason::fragment_tiny : DropReason::ipv6_extension_invalid;
    if (offset + 8 > packet.length) return reason = overrun, false;
    if (next == kRouting && packet.data[offset + 2] == 0) return reason = DropReason::ipv6_extension_invalid, false;
    if (next == kFragment) {
      const auto* header = at<net::Ipv6Fragment>(packet, offset);
      meta.fragment = static_cast<std::uint16_t>(header->offset_more.host() >> 3 |
                                                 ((header->offset_more.host() & 1) != 0 ? kMoreFragments : 0));
      meta.fragment_id = header->id.host();
      meta.fragment_header = static_cast<std::uint16_t>(offset);
      next = header->next_header;
      offset += static_cast<std::uint32_t>(sizeof(net::Ipv6Fragment));
      if (is_later_fragment(meta)) break;
      continue;
    }
    next = packet.data[offset];
    offset += (packet.data[offset + 1] + 1u) * 8u;
    if (offset > packet.length) return reason = overrun, false;
  }
  meta.protocol = next;
  meta.l4_offset = static_cast<std::uint16_t>(offset);
  return true;
}

bool parse_ipv6(Packet& packet, PacketMeta& meta, DropReason& reason) {
  const std::uint32_t l3 = meta.l3_offset;
  if (packet.length < l3 + sizeof(net::Ipv6)) return reason = DropReason::frame_truncated, false;
  const auto* ip = at<net::Ipv6>(packet, l3);
  if ((ip->version_class_label.host() >> 28) != 6) return reason = DropReason::ipv6_header_invalid, false;
  const std::uint32_t total = static_cast<std::uint32_t>(sizeof(net::Ipv6)) + ip->payload_length.host();
  if (l3 + total > packet.length) return reason = DropReason::ipv6_length_invalid, false;
  packet.length = l3 + total;
  meta.source = IpAddress::v6(ip->source);
  meta.destination = IpAddress::v6(ip->destination);
  meta.ttl = ip->hop_limit;
  meta.ipv6 = true;
  meta.l3_length = static_cast<std::uint16_t>(total);
  meta.l4_offset = static_cast<std::uint16_t>(l3 + sizeof(net::Ipv6));
  const std::uint8_t next = ip->next_header;
  if (!walk_extensions(packet, meta, next, reason)) return false;
  if (!ipv6_source_allowed(meta.source)) return reason = DropReason::source_invalid, false;
  if (meta.fragment != 0) {
    const std::uint32_t begin = meta.fragment_header + static_cast<std::uint32_t>(sizeof(net::Ipv6Fragment));
    if (!fragment_possible(meta.fragment, packet.length - begin)) return reason = DropReason::fragment_invalid, false;
  }
  // The protocol of a later fragment is what its sender likes.
  const bool ends_here = meta.protocol == net::kProtocolIcmpv6 && meta.fragment == 0;
  if (meta.ttl == 0 || (meta.ttl == 1 && !ends_here)) return reason = DropReason::ttl_expired, false;
  return true;
}

bool parse_tcp(const Packet& packet, PacketMeta& meta, DropReason& reason) {
  const std::uint32_t room = packet.length - meta.l4_offset;
  // A first fragment that hides a part of the header is an attack on filters (RFC 1858 3).
  const DropReason cut = meta.fragment != 0 ? DropReason::fragment_tiny : DropReason::tcp_header_invalid;
  if (room < sizeof(net::Tcp)) return reason = cut, false;
  const auto* tcp = at<net::Tcp>(packet, meta.l4_offset);
  if (tcp->header_length() < sizeof(net::Tcp)) return reason = DropReason::tcp_header_invalid, false;
  if (tcp->header_length() > room) return reason = cut, false;
  const std::uint8_t flags = tcp->flags & (kFin | kSyn | kRst | kAck);
  const bool syn = (flags & kSyn) != 0;
  if (flags == 0 || flags == kFin || (syn && (flags & (kFin | kRst)) != 0)) return reason = DropReason::tcp_flags_invalid, false;
  if (syn && !ipv4_options_valid(packet.data + meta.l4_offset + sizeof(net::Tcp),
                                 tcp->header_length() - static_cast<std::uint32_t>(sizeof(net::Tcp)))) {
    return reason = DropReason::tcp_options_invalid, false;  // TCP options are encoded like IPv4's (RFC 9293 3.1)
  }
  meta.source_port = tcp->source_port;
  meta.destination_port = tcp->destination_port;
  meta.tcp_flags = tcp->flags;
  return true;
}

bool parse_udp(const Packet& packet, PacketMeta& meta, DropReason& reason) {
  const std::uint32_t room = packet.length - meta.l4_offset;
  const bool whole = meta.fragment == 0;
  if (room < sizeof(net::Udp)) return reason = whole ? DropReason::udp_length_invalid : DropReason::fragment_tiny, false;
  const auto* udp = at<net::Udp>(packet, meta.l4_offset);
  if (udp->length.host() < sizeof(net::Udp) || (whole && udp->length.host() > room)) {
    return reason = DropReason::udp_length_invalid, false;
  }
  if (meta.ipv6 && udp->checksum.raw == 0) return reason = DropReason::udp_checksum_missing, false;
  meta.source_port = udp->source_port;
  meta.destination_port = udp->destination_port;
  return true;
}

/// What a packet means: its first chunk; an ABORT behind the cookie chunks, which may be bundled, counts more. All chunks are for
/// the hosts to judge.
SctpEvent event_of(const std::uint8_t* chunks, std::uint32_t room) {
  const auto* first = reinterpret_cast<const net::SctpChunk*>(chunks);
  const std::uint32_t second = (first->length.host() + 3u) / 4u * 4u;
  const bool cookie = first->type == sctp_chunk::kCookieEcho || first->type == sctp_chunk::kCookieAck;
  if (cookie && second + sizeof(net::SctpChunk) <= room && chunks[second] == sctp_chunk::kAbort) return SctpEvent::kAbort;
  return sctp_event(first->type);
}

bool parse_sctp(const Packet& packet, PacketMeta& meta, DropReason& reason) {
  const std::uint32_t room = packet.length - meta.l4_offset;
  const bool whole = meta.fragment == 0;
  constexpr std::uint32_t headers = sizeof(net::Sctp) + sizeof(net::SctpChunk);
  if (room < headers) return reason = whole ? DropReason::sctp_header_invalid : DropReason::fragment_tiny, false;
  const auto* sctp = at<net::Sctp>(packet, meta.l4_offset);
  const std::uint32_t first = meta.l4_offset + static_cast<std::uint32_t>(sizeof(net::Sctp));
  const std::uint32_t length = at<net::SctpChunk>(packet, first)->length.host();
  if (length < sizeof(net::SctpChunk) || (whole && length > packet.length - first)) {
    return reason = DropReason::sctp_header_invalid, false;
  }
  meta.source_port = sctp->source_port;
  meta.destination_port = sctp->destination_port;
  meta.tcp_flags = static_cast<std::uint8_t>(event_of(packet.data + first, packet.length - first));
  return true;
}

/// The type, and of echo the identifier; not where the packet may only be answered here and not sent on.
void parse_echo(const Packet& packet, PacketMeta& meta) {
  const auto* icmp = at<net::Icmp>(packet, meta.l4_offset);
  meta.tcp_flags = icmp->type;
  const bool request = icmp->type == (meta.ipv6 ? net::kIcmpv6EchoRequest : net::kIcmpEchoRequest);
  const bool reply = icmp->type == (meta.ipv6 ? net::kIcmpv6EchoReply : net::kIcmpEchoReply);
  if (icmp->code != 0 || (!request && !reply) || meta.ttl <= 1) return;
  const be16 identifier(static_cast<std::uint16_t>(icmp->rest.host() >> 16));
  meta.source_port = request ? identifier : kEchoPort;
  meta.destination_port = request ? kEchoPort : identifier;
}

/// Of a fragment only what has sessions is anybody's: an ICMP message has to be whole to be answered or translated.
bool parse_fragment(const PacketMeta& meta, DropReason& reason) {
  const bool later = is_later_fragment(meta);
  // The protocol of later IPv6 fragments means nothing (RFC 8200 4.5).
  if (later && meta.ipv6) return true;
  const bool has_sessions = meta.protocol == net::kProtocolTcp || meta.protocol == net::kProtocolUdp ||
                            meta.protocol == net::kProtocolSctp || meta.protocol == net::kProtocolEsp ||
                            meta.protocol == net::kProtocolAh;
  if (!has_sessions) {
    return reason = DropReason::fragment_unsupported, false;
  }
  // Would overwrite the flags of a TCP header (RFC 1858 4).
  if (meta.protocol == net::kProtocolTcp && (meta.fragment & kFragmentOffset) == 1) {
    return reason = DropReason::fragment_tiny, false;
  }
  return true;
}

bool parse_transport(const Packet& packet, PacketMeta& meta, DropReason& reason) {
  if (meta.fragment != 0) {
    if (!parse_fragment(meta, reason)) return false;
    if (is_later_fragment(meta)) return true;
  }
  switch (meta.protocol) {
    case net::kProtocolTcp:
      if (!parse_tcp(packet, meta, reason)) return false;
      break;
    case net::kProtocolUdp:
      if (!parse_udp(packet, meta, reason)) return false;
      break;
    case net::kProtocolSctp:
      if (!parse_sctp(packet, meta, reason)) return false;
      break;
    case net::kProtocolEsp:
    case net::kProtocolAh:
      return true;  // told apart by addresses alone; nothing behind them is read
    case net::kProtocolIcmp:
    case net::kProtocolIcmpv6:
      if ((meta.protocol == net::kProtocolIcmpv6) != meta.ipv6) return reason = DropReason::protocol_unsupported, false;
      if (packet.length - meta.l4_offset < sizeof(net::Icmp)) return reason = DropReason::icmp_unsupported, false;
      parse_echo(packet, meta);
      return true;
    default:
      return reason = DropReason::protocol_unsupported, false;
  }
  if (meta.source_port.raw == 0 || meta.destination_port.raw == 0) return reason = DropReason::port_zero, false;
  if (meta.source_port == meta.destination_port && meta.source == meta.destination) return reason = DropReason::land, false;
  return true;
}

}  // namespace

bool parse_packet(Packet& packet, PacketMeta& meta, DropReason& reason) {
  if (packet.length < sizeof(net::Ethernet)) return reason = DropReason::frame_truncated, false;
  be16 type = at<net::Ethernet>(packet, 0)->type;
  std::uint32_t l3 = sizeof(net::Ethernet);
  // Tags stay in front of whatever leaves: all later stages write from l3_offset on, and Ethernet addresses before them.
  for (std::uint32_t tags = 0; tags < kMaxVlanTags && (type == net::kEtherTypeVlan || type == net::kEtherTypeServiceVlan); tags++) {
    if (packet.length < l3 + sizeof(net::VlanTag)) return reason = DropReason::frame_truncated, false;
    type = at<net::VlanTag>(packet, l3)->type;
    l3 += static_cast<std::uint32_t>(sizeof(net::VlanTag));
  }
  meta = PacketMeta{};
  meta.l3_offset = static_cast<std::uint16_t>(l3);
  if (type == net::kEtherTypeIpv4) {
    if (!parse_ipv4(packet, meta, reason)) return false;
  } else if (type == net::kEtherTypeIpv6) {
    if (!parse_ipv6(packet, meta, reason)) return false;
  } else {
    return reason = DropReason::ethertype_unsupported, false;
  }
  return parse_transport(packet, meta, reason);
}

}  // namespace millrace
