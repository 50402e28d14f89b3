// Translation between the families: the rare part of rewriting.
#include "forwarders/rewrite.h"

namespace millrace::rewrite {

namespace {

/// Largest IPv6 packet that every link carries (RFC 8200 5), as the IPv4 packet that it becomes.
constexpr std::uint32_t kAlwaysCarried = 1280 - 20;

}  // namespace

void complete_udp_checksum(std::uint8_t* l4, const IpAddress& source, const IpAddress& destination) {
  auto* udp = reinterpret_cast<net::Udp*>(l4);
  const std::uint32_t length = udp->length.host();
  net::Sum sum = net::add_address(net::add_address(be32(net::kProtocolUdp).raw, source), destination);
  sum += be32(length).raw;
  udp->checksum = net::finish(net::add_bytes(sum, l4, length));
  if (udp->checksum.raw == 0) udp->checksum.raw = 0xffff;
}

void to_ipv4(Packet& packet, PacketMeta& meta, const IpAddress& source, const IpAddress& destination, std::uint16_t id) {
  const auto old = *reinterpret_cast<const net::Ipv6*>(packet.data + meta.l3_offset);
  const std::uint32_t payload = packet.length - meta.l4_offset;
  const std::uint32_t l3 = meta.l4_offset - static_cast<std::uint32_t>(sizeof(net::Ipv4));
  const std::uint32_t start = l3 - meta.l3_offset;
  std::uint8_t* frame = packet.data + start;
  std::memmove(frame, packet.data, meta.l3_offset);
  const be16 type = net::kEtherTypeIpv4;
  std::memcpy(frame + meta.l3_offset - 2, &type, 2);

  const std::uint32_t total = static_cast<std::uint32_t>(sizeof(net::Ipv4)) + payload;
  auto* ip = reinterpret_cast<net::Ipv4*>(frame + meta.l3_offset);
  ip->version_ihl = 0x45;
  ip->tos = static_cast<std::uint8_t>(old.version_class_label.host() >> 20);
  ip->total_length = be16(static_cast<std::uint16_t>(total));
  // Small packets may be fragmented on the way, so they carry an id; large ones must not be.
  ip->id = be16(total <= kAlwaysCarried ? id : std::uint16_t{0});
  ip->fragment = be16(total <= kAlwaysCarried ? std::uint16_t{0} : std::uint16_t{0x4000});
  ip->ttl = static_cast<std::uint8_t>(old.hop_limit - 1);
  ip->protocol = meta.protocol;
  ip->checksum.raw = 0;
  ip->source = source.v4_part();
  ip->destination = destination.v4_part();
  ip->checksum = net::finish(net::add_bytes(0, ip, sizeof(net::Ipv4)));

  packet.data = frame;
  packet.length -= start;
  meta.l3_length = static_cast<std::uint16_t>(total);
  meta.l4_offset = static_cast<std::uint16_t>(meta.l3_offset + sizeof(net::Ipv4));
  meta.ipv6 = false;
}

void to_ipv6(Packet& packet, PacketMeta& meta, const IpAddress& source, const IpAddress& destination) {
  const auto old = *reinterpret_cast<const net::Ipv4*>(packet.data + meta.l3_offset);
  const std::uint32_t payload = packet.length - meta.l4_offset;
  // Behind the parser's header check the IPv4 header has 20 to 60 bytes; the IPv6 header needs 40.
  const std::int32_t start = static_cast<std::int32_t>(meta.l4_offset) - static_cast<std::int32_t>(sizeof(net::Ipv6)) -
                             static_cast<std::int32_t>(meta.l3_offset);
  std::uint8_t* frame = packet.data + start;
  std::memmove(frame, packet.data, meta.l3_offset);
  const be16 type = net::kEtherTypeIpv6;
  std::memcpy(frame + meta.l3_offset - 2, &type, 2);

  auto* ip = reinterpret_cast<net::Ipv6*>(frame + meta.l3_offset);
  ip->version_class_label = be32(6u << 28 | static_cast<std::uint32_t>(old.tos) << 20);
  ip->payload_length = be16(static_cast<std::uint16_t>(payload));
  ip->next_header = meta.protocol;
  ip->hop_limit = static_cast<std::uint8_t>(old.ttl - 1);
  std::memcpy(ip->source, &source, 16);
  std::memcpy(ip->destination, &destination, 16);

  packet.data = frame;
  packet.length = static_cast<std::uint32_t>(static_cast<std::int32_t>(packet.length) - start);
  meta.l3_length = static_cast<std::uint16_t>(sizeof(net::Ipv6) + payload);
  meta.l4_offset = static_cast<std::uint16_t>(meta.l3_offset + sizeof(net::Ipv6));
  meta.ipv6 = true;
  std::uint8_t* l4 = frame + meta.l4_offset;
  if (meta.protocol == net::kProtocolUdp && reinterpret_cast<const net::Udp*>(l4)->checksum.raw == 0) {
    // Complete for the tuple it has now, so that the incremental update that follows leads to the right one.
    complete_udp_checksum(l4, IpAddress::v4(old.source), IpAddress::v4(old.destination));
  }
}

}  // namespace millrace::rewrite
