// Which packets of inside hosts the outbound gateway takes: the decision of af_xdp.bpf.c, for captures. By addresses, interface, protocol
// and port; fragments behind the first have no ports and are judged without, ICMP errors by addresses alone: their session decides.
// Thread: any; pure.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "net/headers.h"
#include "tables/service_index.h"

namespace millrace {

struct OutboundPacket {
  enum class Kind : std::uint8_t { kOther, kWithPort, kLaterFragment, kError };
  Kind kind = Kind::kOther;
  std::uint8_t protocol = 0;
  std::uint16_t port = 0;
};

/// What the rules are asked about; `l4` is what is left of the packet behind its IP headers.
inline OutboundPacket outbound_packet(std::uint8_t protocol, bool later_fragment, std::span<const std::uint8_t> l4) {
  using Kind = OutboundPacket::Kind;
  if (protocol == net::kProtocolTcp || protocol == net::kProtocolUdp) {
    if (later_fragment) return {Kind::kLaterFragment, protocol, 0};
    if (l4.size() < 4) return {};
    return {Kind::kWithPort, protocol, static_cast<std::uint16_t>(l4[2] << 8 | l4[3])};
  }
  if (later_fragment || l4.empty()) return {};
  const std::uint8_t type = l4[0];
  if (protocol == net::kProtocolIcmp) {
    if (type == net::kIcmpEchoRequest) return {Kind::kWithPort, protocol, 0};
    if (type == 3 || type == 11 || type == 12) return {Kind::kError, protocol, 0};
  }
  if (protocol == net::kProtocolIcmpv6) {
    if (type == net::kIcmpv6EchoRequest) return {Kind::kWithPort, protocol, 0};
    if (type >= 1 && type <= 4) return {Kind::kError, protocol, 0};
  }
  return {};
}

inline bool rule_takes(const ServiceMatch& rule, const IpAddress& source, const IpAddress& destination, const OutboundPacket& packet,
                       std::uint16_t interface) {
  using Kind = OutboundPacket::Kind;
  if (packet.kind == Kind::kOther || !rule.source.contains(source) || !rule.destination.contains(destination)) return false;
  if (rule.interface != kAnyInterface && rule.interface != interface) return false;
  if (packet.kind == Kind::kError) return true;
  if (rule.protocol != 0 && rule.protocol != packet.protocol) return false;
  return packet.kind == Kind::kLaterFragment || rule.ports.contains(packet.port);
}

/// Whether one of the rules takes the IP packet. Not those to many: their Ethernet destination tells.
inline bool takes_outbound(std::span<const std::uint8_t> l3, bool ipv6, std::uint16_t interface, std::span<const ServiceMatch> rules) {
  if (rules.empty() || l3.size() < (ipv6 ? sizeof(net::Ipv6) : sizeof(net::Ipv4))) return false;
  OutboundPacket packet;
  IpAddress source, destination;
  if (ipv6) {
    const auto* ip = reinterpret_cast<const net::Ipv6*>(l3.data());
    source = IpAddress::v6(ip->source);
    destination = IpAddress::v6(ip->destination);
    if (source.is_v4() || destination.is_v4()) return false;
    if (ip->next_header == net::kProtocolIpv6Fragment) {
      if (l3.size() < sizeof(net::Ipv6) + sizeof(net::Ipv6Fragment)) return false;
      const auto* fragment = reinterpret_cast<const net::Ipv6Fragment*>(ip + 1);
      packet = outbound_packet(fragment->next_header, (fragment->offset_more.host() & 0xfff8) != 0,
                               l3.subspan(sizeof(net::Ipv6) + sizeof(net::Ipv6Fragment)));
    } else {
      packet = outbound_packet(ip->next_header, false, l3.subspan(sizeof(net::Ipv6)));
    }
  } else {
    const auto* ip = reinterpret_cast<const net::Ipv4*>(l3.data());
    if (ip->header_length() < sizeof(net::Ipv4) || ip->header_length() > l3.size()) return false;
    source = IpAddress::v4(ip->source);
    destination = IpAddress::v4(ip->destination);
    packet = outbound_packet(ip->protocol, (ip->fragment.host() & 0x1fff) != 0, l3.subspan(ip->header_length()));
  }
  return std::any_of(rules.begin(), rules.end(),
                     [&](const ServiceMatch& rule) { return rule_takes(rule, source, destination, packet, interface); });
}

}  // namespace millrace
