// See selection.h. Kept beside af_xdp.bpf.c, function by function.
#include "ports/selection.h"

#include <cstring>

#include "net/headers.h"

namespace millrace {

namespace {

constexpr std::size_t kTagLength = 4;
constexpr int kMaxTags = 2;

std::optional<IpAddress> steerable_ipv6(std::span<const std::uint8_t> l3) {
  if (l3.size() < sizeof(net::Ipv6)) return std::nullopt;
  const auto* ip = reinterpret_cast<const net::Ipv6*>(l3.data());
  if (ip->next_header == net::kProtocolIcmpv6) {
    constexpr std::uint8_t first_nd_type = 133, last_nd_type = 137;  // RFC 4861 4
    if (l3.size() < sizeof(net::Ipv6) + sizeof(net::Icmp)) return std::nullopt;
    const std::uint8_t type = l3[sizeof(net::Ipv6)];
    if (type >= first_nd_type && type <= last_nd_type) return std::nullopt;
  }
  const IpAddress destination = IpAddress::v6(ip->destination);
  return destination.is_v4() ? std::nullopt : std::optional<IpAddress>(destination);
}

bool has_ports(std::uint8_t protocol) {
  return protocol == net::kProtocolTcp || protocol == net::kProtocolUdp || protocol == net::kProtocolSctp;
}

/// One of the two ports in front of `transport`; 0 for a protocol without. None when they are cut off.
std::optional<be16> port_of(std::uint8_t protocol, std::span<const std::uint8_t> transport, std::size_t offset) {
  if (!has_ports(protocol)) return be16(0);
  if (transport.size() < 4) return std::nullopt;
  be16 port;
  std::memcpy(&port, transport.data() + offset, 2);
  return port;
}

constexpr std::size_t kSourcePort = 0;
constexpr std::size_t kDestinationPort = 2;

}  // namespace

std::optional<TaggedPacket> behind_tags(std::span<const std::uint8_t> frame) {
  if (frame.size() < sizeof(net::Ethernet)) return std::nullopt;
  std::size_t offset = sizeof(net::Ethernet);
  be16 type = reinterpret_cast<const net::Ethernet*>(frame.data())->type;
  for (int i = 0; i < kMaxTags && (type == net::kEtherTypeVlan || type == net::kEtherTypeServiceVlan); i++) {
    if (frame.size() < offset + kTagLength) return std::nullopt;
    std::memcpy(&type, frame.data() + offset + 2, sizeof(type));
    offset += kTagLength;
  }
  return TaggedPacket{type, frame.subspan(offset)};
}

std::optional<IpAddress> steerable_destination(std::span<const std::uint8_t> frame) {
  const auto found = behind_tags(frame);
  if (!found) return std::nullopt;
  if (found->type == net::kEtherTypeIpv6) return steerable_ipv6(found->l3);
  if (found->type != net::kEtherTypeIpv4 || found->l3.size() < sizeof(net::Ipv4)) return std::nullopt;
  return IpAddress::v4(reinterpret_cast<const net::Ipv4*>(found->l3.data())->destination);
}

AnswerSelection::AnswerSelection(std::span<const ServiceKey> servers, std::span<const IpAddress> kernel)
    : servers_(servers.begin(), servers.end()), kernel_(kernel.begin(), kernel.end()) {
  for (const ServiceKey& server : servers) hosts_.insert({server.address, be16(0), server.protocol});
}

bool AnswerSelection::wants_ipv4(std::span<const std::uint8_t> l3) const {
  if (l3.size() < sizeof(net::Ipv4)) return false;
  const auto* ip = reinterpret_cast<const net::Ipv4*>(l3.data());
  const std::uint32_t header = ip->header_length();
  if (header < sizeof(net::Ipv4) || kernel_.contains(IpAddress::v4(ip->destination))) return false;
  const auto rest = [](std::span<const std::uint8_t> bytes, std::size_t from) {
    return from <= bytes.size() ? bytes.subspan(from) : std::span<const std::uint8_t>();
  };
  const IpAddress source = IpAddress::v4(ip->source);
  if ((ip->fragment.host() & 0x3fff) != 0) return hosts_.contains({source, be16(0), ip->protocol});
  const std::span<const std::uint8_t> transport = rest(l3, header);
  if (ip->protocol != net::kProtocolIcmp) {
    const auto port = port_of(ip->protocol, transport, kSourcePort);
    return port && is_server(source, *port, ip->protocol);
  }
  if (transport.size() < sizeof(net::Icmp) + sizeof(net::Ipv4)) return false;
  const std::uint8_t type = transport[0];
  if (type != 3 && type != 11 && type != 12) return false;
  const std::span<const std::uint8_t> quote = transport.subspan(sizeof(net::Icmp));
  const auto* inner = reinterpret_cast<const net::Ipv4*>(quote.data());
  if (inner->header_length() < sizeof(net::Ipv4) || inner->source.raw != ip->destination.raw) return false;
  const auto port = port_of(inner->protocol, rest(quote, inner->header_length()), kDestinationPort);
  return port && is_server(IpAddress::v4(inner->destination), *port, inner->protocol);
}

bool AnswerSelection::wants_ipv6(std::span<const std::uint8_t> l3) const {
  if (l3.size() < sizeof(net::Ipv6)) return false;
  const auto* ip = reinterpret_cast<const net::Ipv6*>(l3.data());
  const IpAddress source = IpAddress::v6(ip->source);
  if (source.is_v4() || kernel_.contains(IpAddress::v6(ip->destination))) return false;
  const std::span<const std::uint8_t> transport = l3.subspan(sizeof(net::Ipv6));
  if (ip->next_header == net::kProtocolIpv6Fragment) {
    return transport.size() >= sizeof(net::Ipv6Fragment) && hosts_.contains({source, be16(0), transport[0]});
  }
  if (ip->next_header != net::kProtocolIcmpv6) {
    const auto port = port_of(ip->next_header, transport, kSourcePort);
    return port && is_server(source, *port, ip->next_header);
  }
  constexpr std::size_t quoted = sizeof(net::Icmp) + sizeof(net::Ipv6);
  if (transport.size() < quoted + 4 || transport[0] < 1 || transport[0] > 4) return false;
  const auto* inner = reinterpret_cast<const net::Ipv6*>(transport.data() + sizeof(net::Icmp));
  if (std::memcmp(inner->source, ip->destination, 16) != 0) return false;
  const auto port = port_of(inner->next_header, transport.subspan(quoted), kDestinationPort);
  return is_server(IpAddress::v6(inner->destination), *port, inner->next_header);
}

bool AnswerSelection::wants(std::span<const std::uint8_t> frame) const {
  if (servers_.empty()) return false;
  const auto found = behind_tags(frame);
  if (!found || (frame[0] & 1) != 0) return false;
  if (found->type == net::kEtherTypeIpv4) return wants_ipv4(found->l3);
  return found->type == net::kEtherTypeIpv6 && wants_ipv6(found->l3);
}

}  // namespace millrace
