// Building the outer headers.
#include "forwarders/tunnel.h"

namespace millrace::tunnel {

namespace {

/// What the outer header takes over from the inner one.
struct Inner {
  std::uint8_t traffic_class;
  std::uint8_t ttl;
  bool dont_fragment;
  std::uint8_t protocol;  ///< as next header of an outer one: 4 or 41
  be16 ether_type;
};

/// Decrements the inner TTL and reads what the outer header needs.
Inner prepare_inner(std::uint8_t* l3, const PacketMeta& meta) {
  if (meta.ipv6) {
    auto* ip = reinterpret_cast<net::Ipv6*>(l3);
    ip->hop_limit = static_cast<std::uint8_t>(ip->hop_limit - 1);
    return {static_cast<std::uint8_t>(ip->version_class_label.host() >> 20), ip->hop_limit, true, net::kProtocolIpv6,
            net::kEtherTypeIpv6};
  }
  auto* ip = reinterpret_cast<net::Ipv4*>(l3);
  rewrite::ipv4_addresses(l3, IpAddress::v4(ip->source), IpAddress::v4(ip->destination));  // the TTL and its checksum
  return {ip->tos, ip->ttl, (ip->fragment.host() & 0x4000) != 0, net::kProtocolIpip, net::kEtherTypeIpv4};
}

void write_ipv4(std::uint8_t* l3, const Inner& inner, std::uint8_t protocol, std::uint32_t total, const IpAddress& source,
                const IpAddress& destination, std::uint16_t id) {
  auto* ip = reinterpret_cast<net::Ipv4*>(l3);
  ip->version_ihl = 0x45;
  ip->tos = inner.traffic_class;
  ip->total_length = be16(static_cast<std::uint16_t>(total));
  ip->id = be16(inner.dont_fragment ? std::uint16_t{0} : id);
  ip->fragment = be16(inner.dont_fragment ? std::uint16_t{0x4000} : std::uint16_t{0});
  ip->ttl = inner.ttl;
  ip->protocol = protocol;
  ip->checksum.raw = 0;
  ip->source = source.v4_part();
  ip->destination = destination.v4_part();
  ip->checksum = net::finish(net::add_bytes(0, ip, sizeof(net::Ipv4)));
}

void write_ipv6(std::uint8_t* l3, const Inner& inner, std::uint8_t protocol, std::uint32_t payload, const IpAddress& source,
                const IpAddress& destination, std::uint32_t flow_label) {
  auto* ip = reinterpret_cast<net::Ipv6*>(l3);
  ip->version_class_label = be32(6u << 28 | static_cast<std::uint32_t>(inner.traffic_class) << 20 | (flow_label & 0xfffffu));
  ip->payload_length = be16(static_cast<std::uint16_t>(payload));
  ip->next_header = protocol;
  ip->hop_limit = inner.ttl;
  std::memcpy(ip->source, &source, 16);
  std::memcpy(ip->destination, &destination, 16);
}

/// UDP and GUE headers. Over IPv4 without a checksum, as the kernel's fou device sends it; IPv6 wants one (RFC 8200 8.1).
void write_gue(std::uint8_t* l4, const Inner& inner, std::uint32_t length, be16 port, std::uint64_t hash, bool outer_ipv6,
               const IpAddress& source, const IpAddress& destination) {
  auto* udp = reinterpret_cast<net::Udp*>(l4);
  udp->source_port = be16(static_cast<std::uint16_t>(0xc000u | (hash & 0x3fffu)));  // 49152 and up (RFC 6335 6)
  udp->destination_port = port;
  udp->length = be16(static_cast<std::uint16_t>(length));
  udp->checksum.raw = 0;
  std::uint8_t* gue = l4 + sizeof(net::Udp);
  gue[0] = 0;  // variant 0, no control, no optional fields
  gue[1] = inner.protocol;
  gue[2] = 0;
  gue[3] = 0;
  if (!outer_ipv6) return;
  net::Sum sum = net::add_address(net::add_address(be32(net::kProtocolUdp).raw, source), destination);
  sum += be32(length).raw;
  udp->checksum = net::finish(net::add_bytes(sum, l4, length));
  if (udp->checksum.raw == 0) udp->checksum.raw = 0xffff;
}

}  // namespace

IpAddress outer_source(const WorkerState& state, const Session& session, bool outer_ipv6, std::uint64_t hash) {
  const SourceRange& range = state.snapshot->services->tunnel_sources[outer_ipv6 ? 1 : 0];
  return range.empty() ? state.local_slots[session.local].address : range.of_flow(hash);
}

void apply(WorkerState& state, const Session& session, Packet& packet, PacketMeta& meta, const NextHop& hop) {
  const ServerIdentity& server = state.server_slots[session.server];
  const bool outer_ipv6 = !server.address.is_v4();
  const IpAddress source = outer_source(state, session, outer_ipv6, meta.hash);
  const Inner inner = prepare_inner(packet.data + meta.l3_offset, meta);
  const std::uint32_t inner_length = packet.length - meta.l3_offset;
  const std::uint32_t added = tunnel_overhead(state, session);

  std::uint8_t* frame = packet.data - added;
  std::memmove(frame, packet.data, meta.l3_offset);
  const be16 type = outer_ipv6 ? net::kEtherTypeIpv6 : net::kEtherTypeIpv4;
  std::memcpy(frame + meta.l3_offset - 2, &type, 2);
  std::uint8_t* l3 = frame + meta.l3_offset;
  std::uint8_t* l4 = l3 + (outer_ipv6 ? sizeof(net::Ipv6) : sizeof(net::Ipv4));
  const std::uint32_t payload = inner_length + added - static_cast<std::uint32_t>(l4 - l3);

  std::uint8_t protocol = inner.protocol;
  if (session.mode == ForwardMode::kTunnelGre) {
    protocol = net::kProtocolGre;
    *reinterpret_cast<net::Gre*>(l4) = {be16(0), inner.ether_type};
  } else if (session.mode == ForwardMode::kTunnelGue) {
    protocol = net::kProtocolUdp;
    write_gue(l4, inner, payload, server.tunnel_port, meta.hash, outer_ipv6, source, server.address);
  }
  if (outer_ipv6) {
    write_ipv6(l3, inner, protocol, payload, source, server.address, static_cast<std::uint32_t>(meta.hash));
  } else {
    write_ipv4(l3, inner, protocol, payload + static_cast<std::uint32_t>(sizeof(net::Ipv4)), source, server.address,
               state.ip_id++);
  }
  packet.data = frame;
  packet.length += added;
  rewrite::ethernet(packet.data, hop);
}

}  // namespace millrace::tunnel
