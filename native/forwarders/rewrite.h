// Rewriting addresses and ports: what every mode that changes them shares. Checksums follow incrementally (RFC 1624; a wrong one
// stays wrong: it is not ours to bless), except where the family changes and the IP header is written anew (RFC 7915). What else
// changes: TTL or hop limit by one. What does not: TOS, options of a header that stays, sequence numbers, payload. Thread: one
// worker.
#pragma once

#include "net/checksum.h"
#include "net/crc32c.h"
#include "net/headers.h"
#include "pipeline/parse.h"
#include "pipeline/session_key.h"

namespace millrace::rewrite {

inline net::Sum sum_of(const FlowTuple& tuple) {
  return net::add_address(net::add_address(net::Sum{tuple.source_port.raw} + tuple.destination_port.raw, tuple.source),
                          tuple.destination);
}

/// What a change from one tuple to the other adds to a transport checksum. The prefix of a v4-mapped address counts as zero in
/// one's complement, so this holds across families too.
inline std::uint16_t delta(const FlowTuple& from, const FlowTuple& to) { return net::difference(sum_of(from), sum_of(to)); }

inline void ethernet(std::uint8_t* frame, const NextHop& hop) {
  std::memcpy(frame, &hop, 12);  // destination and source stand there as on the wire
}

inline void ipv4_addresses(std::uint8_t* l3, const IpAddress& source, const IpAddress& destination) {
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

inline void ipv6_addresses(std::uint8_t* l3, const IpAddress& source, const IpAddress& destination) {
  auto* ip = reinterpret_cast<net::Ipv6*>(l3);
  ip->hop_limit = static_cast<std::uint8_t>(ip->hop_limit - 1);
  std::memcpy(ip->source, &source, 16);
  std::memcpy(ip->destination, &destination, 16);
}

/// ICMP echo: the identifier of whoever asked stands where ports have theirs (parse.h).
inline void echo_identifier(std::uint8_t* l4, be16 source, be16 destination, std::uint16_t l4_delta) {
  auto* icmp = reinterpret_cast<net::Icmp*>(l4);
  const bool request = icmp->type == net::kIcmpEchoRequest || icmp->type == net::kIcmpv6EchoRequest;
  if (!request && icmp->type != net::kIcmpEchoReply && icmp->type != net::kIcmpv6EchoReply) return;
  const be16 identifier = request ? source : destination;
  std::memcpy(&icmp->rest, &identifier, sizeof(identifier));
  icmp->checksum = net::updated(icmp->checksum, l4_delta);
}

/// ports() of what is neither TCP nor UDP: SCTP and ICMP echo. AH and ESP have no ports, nothing of theirs is changed.
[[gnu::noinline]] inline void other_ports(std::uint8_t* l4, std::uint32_t l4_length, std::uint8_t protocol, be16 source,
                                          be16 destination, std::uint16_t l4_delta) {
  if (protocol == net::kProtocolIcmp || protocol == net::kProtocolIcmpv6) return echo_identifier(l4, source, destination, l4_delta);
  if (protocol != net::kProtocolSctp) return;
  // A CRC is not incremental in a useful way: one pass over old bytes, one over new. The difference keeps a wrong one wrong.
  auto* sctp = reinterpret_cast<net::Sctp*>(l4);
  if (sctp->source_port == source && sctp->destination_port == destination) return;  // no pseudo header: nothing changed
  const std::uint32_t claimed = sctp->checksum;
  sctp->checksum = 0;
  const std::uint32_t before = ~net::crc32c_update(~0u, l4, l4_length);
  sctp->source_port = source;
  sctp->destination_port = destination;
  sctp->checksum = ~net::crc32c_update(~0u, l4, l4_length) ^ before ^ claimed;
}

/// Writes ports and updates the transport checksum by `l4_delta`. `l4_length` bytes belong to the transport packet.
[[gnu::always_inline]] inline void ports(std::uint8_t* l4, std::uint32_t l4_length, std::uint8_t protocol, be16 source, be16 destination,
                  std::uint16_t l4_delta) {
  if (protocol == net::kProtocolTcp) {
    auto* tcp = reinterpret_cast<net::Tcp*>(l4);
    tcp->source_port = source;
    tcp->destination_port = destination;
    tcp->checksum = net::updated(tcp->checksum, l4_delta);
  } else if (protocol == net::kProtocolUdp) [[likely]] {
    auto* udp = reinterpret_cast<net::Udp*>(l4);
    udp->source_port = source;
    udp->destination_port = destination;
    if (udp->checksum.raw == 0) return;  // IPv4: none was computed (RFC 768)
    udp->checksum = net::updated(udp->checksum, l4_delta);
    if (udp->checksum.raw == 0) udp->checksum.raw = 0xffff;  // zero would mean "none"
  } else {
    other_ports(l4, l4_length, protocol, source, destination, l4_delta);
  }
}

/// Makes the IPv6 packet an IPv4 one, extension headers left out; the frame begins later then. RFC 7915 5.1.
void to_ipv4(Packet& packet, PacketMeta& meta, const IpAddress& source, const IpAddress& destination, std::uint16_t id);
/// Makes the IPv4 packet an IPv6 one, options left out; the frame begins earlier then. RFC 7915 4.1.
void to_ipv6(Packet& packet, PacketMeta& meta, const IpAddress& source, const IpAddress& destination);

/// Computes the checksum that a whole UDP datagram lacks, for the addresses it has now: IPv6 does not allow it to be missing
/// (RFC 8200 8.1). It covers what the UDP length says; the packet may be longer.
void complete_udp_checksum(std::uint8_t* l4, const IpAddress& source, const IpAddress& destination);

/// Addresses, ports and Ethernet header of a packet that stays in its family.
[[gnu::always_inline]] inline void within_family(Packet& packet, const PacketMeta& meta, const FlowTuple& to, std::uint16_t l4_delta,
                                                 const NextHop& hop) {
  if (meta.ipv6) {
    ipv6_addresses(packet.data + meta.l3_offset, to.source, to.destination);
  } else {
    ipv4_addresses(packet.data + meta.l3_offset, to.source, to.destination);
  }
  ethernet(packet.data, hop);
  ports(packet.data + meta.l4_offset, packet.length - meta.l4_offset, meta.protocol, to.source_port, to.destination_port,
        l4_delta);
}

/// Everything a mode that changes addresses or ports does to the packet, Ethernet header included.
inline void apply(WorkerState& state, Packet& packet, PacketMeta& meta, const FlowTuple& to, std::uint16_t l4_delta,
                  const NextHop& hop) {
  if (meta.ipv6 != to.destination.is_v4()) return within_family(packet, meta, to, l4_delta, hop);
  if (meta.ipv6) {
    to_ipv4(packet, meta, to.source, to.destination, state.ip_id++);
  } else {
    to_ipv6(packet, meta, to.source, to.destination);
  }
  ethernet(packet.data, hop);
  ports(packet.data + meta.l4_offset, packet.length - meta.l4_offset, meta.protocol, to.source_port, to.destination_port,
        l4_delta);
}

}  // namespace millrace::rewrite
