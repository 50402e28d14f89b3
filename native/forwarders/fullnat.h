// Full NAT: client:port -> VIP:port becomes local:port -> server:port, and back. Both addresses and both ports change, so the server
// answers to the balancer whatever its routes are.
//
//   inbound    client:cport -> VIP:vport       ==>  local:lport -> server:sport
//   outbound   server:sport -> local:lport     ==>  VIP:vport -> client:cport
//
// What else changes: TTL or hop limit by one, checksums incrementally (a wrong one stays wrong: it is not ours to bless).
// What does not: id, TOS, flags, options, sequence numbers, payload.
// Thread: one worker.
#pragma once

#include "net/checksum.h"
#include "net/headers.h"
#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace::fullnat {

/// What translation inbound adds to the transport checksum: pseudo header and ports.
inline std::uint16_t l4_delta(const WorkerState& state, const Session& session) {
  const ServiceIdentity& service = state.service_slots[session.service];
  const ServerIdentity& server = state.server_slots[session.server];
  const LocalIdentity& local = state.local_slots[session.local];
  const net::Sum removed = net::add_address(net::add_address(net::Sum{session.client_port.raw} + session.vip_port.raw, session.client),
                                            service.address);
  const net::Sum added =
      net::add_address(net::add_address(net::Sum{session.local_port.raw} + server.port.raw, local.address), server.address);
  return net::difference(removed, added);
}

namespace detail {

inline void rewrite_ipv4(std::uint8_t* l3, const IpAddress& source, const IpAddress& destination) {
  auto* ip = reinterpret_cast<net::Ipv4*>(l3);
  // ~m + m' of RFC 1624 equation 3 for all that changes, in one sum with one fold. TTL stands in the upper byte of its word and
  // falls by one: that word is not read back after the byte was written, because the CPU would wait for the store to finish.
  constexpr std::uint16_t one_hop_less = static_cast<std::uint16_t>(~be16(0x0100).raw);
  const be32 new_source = source.v4_part();
  const be32 new_destination = destination.v4_part();
  const net::Sum sum = net::Sum{static_cast<std::uint16_t>(~ip->checksum.raw)} + one_hop_less + ~ip->source.raw + new_source.raw +
                       ~ip->destination.raw + new_destination.raw;
  ip->ttl = static_cast<std::uint8_t>(ip->ttl - 1);
  ip->source = new_source;
  ip->destination = new_destination;
  ip->checksum = net::finish(sum);
}

inline void rewrite_ipv6(std::uint8_t* l3, const IpAddress& source, const IpAddress& destination) {
  auto* ip = reinterpret_cast<net::Ipv6*>(l3);
  ip->hop_limit = static_cast<std::uint8_t>(ip->hop_limit - 1);
  std::memcpy(ip->source, &source, 16);
  std::memcpy(ip->destination, &destination, 16);
}

inline void rewrite_ports(std::uint8_t* l4, std::uint8_t protocol, be16 source, be16 destination, std::uint16_t delta) {
  std::memcpy(l4, &source, 2);
  std::memcpy(l4 + 2, &destination, 2);
  if (protocol == net::kProtocolTcp) {
    auto* tcp = reinterpret_cast<net::Tcp*>(l4);
    tcp->checksum = net::updated(tcp->checksum, delta);
  } else {
    auto* udp = reinterpret_cast<net::Udp*>(l4);
    if (udp->checksum.raw == 0) return;  // IPv4: none was computed (RFC 768)
    udp->checksum = net::updated(udp->checksum, delta);
    if (udp->checksum.raw == 0) udp->checksum.raw = 0xffff;  // zero would mean "none"
  }
}

inline void rewrite(const Packet& packet, const PacketMeta& meta, const NextHop& hop, const IpAddress& source,
                    const IpAddress& destination, be16 source_port, be16 destination_port, std::uint16_t delta) {
  std::memcpy(packet.data, &hop, 12);  // destination and source stand there as on the wire
  if (meta.ipv6) {
    rewrite_ipv6(packet.data + meta.l3_offset, source, destination);
  } else {
    rewrite_ipv4(packet.data + meta.l3_offset, source, destination);
  }
  rewrite_ports(packet.data + meta.l4_offset, meta.protocol, source_port, destination_port, delta);
}

}  // namespace detail

/// Rewrites the packet for its way on; Ethernet addresses are those of `hop`. One branch for the direction, not one per value.
inline void translate(const WorkerState& state, const Session& session, Direction direction, const Packet& packet,
                      const PacketMeta& meta, const NextHop& hop) {
  const ServerIdentity& server = state.server_slots[session.server];
  if (direction == Direction::kInbound) {
    detail::rewrite(packet, meta, hop, state.local_slots[session.local].address, server.address, session.local_port, server.port,
                    session.l4_delta);
  } else {
    detail::rewrite(packet, meta, hop, state.service_slots[session.service].address, session.client, session.vip_port,
                    session.client_port, net::inverse(session.l4_delta));
  }
}

}  // namespace millrace::fullnat
