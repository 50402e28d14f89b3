// Finding the session of the quoted packet, and writing the error anew.
#include "pipeline/icmp_translate.h"

#include <algorithm>

#include "forwarders/registry.h"
#include "net/checksum.h"
#include "net/icmp_errors.h"
#include "pipeline/client_address.h"
#include "pipeline/resolve.h"
#include "pipeline/search.h"
#include "pipeline/session_key.h"
#include "pipeline/track.h"

namespace millrace {

namespace {

using namespace net::icmp_error;

/// The least MTU that an IPv4 link may have (RFC 791 3.2); of an IPv6 one it is 1280 (RFC 8200 5).
constexpr std::uint32_t kLeastIpv4Mtu = 68;
constexpr std::uint32_t kLeastIpv6Mtu = 1280;
/// RFC 792 promises so much of the quoted transport packet.
constexpr std::uint32_t kQuotedTransport = 8;

/// A packet inside an error. Offsets are from its first byte.
struct Quote {
  const std::uint8_t* bytes = nullptr;
  std::uint32_t length = 0;
  bool ipv6 = false;
  std::uint8_t protocol = 0;
  std::uint32_t l4 = 0;
  /// What its length field says.
  std::uint32_t total = 0;
  /// As in PacketMeta.
  std::uint16_t fragment = 0;
  std::uint32_t fragment_id = 0;
  IpAddress source;
  IpAddress destination;
  be16 source_port{};
  be16 destination_port{};
};

bool has_ports(std::uint8_t protocol) {
  return protocol == net::kProtocolTcp || protocol == net::kProtocolUdp || protocol == net::kProtocolSctp;
}

bool is_echo_request(std::uint8_t protocol, std::uint8_t type) {
  return (protocol == net::kProtocolIcmp && type == net::kIcmpEchoRequest) ||
         (protocol == net::kProtocolIcmpv6 && type == net::kIcmpv6EchoRequest);
}

bool is_echo(std::uint8_t protocol, std::uint8_t type) {
  return is_echo_request(protocol, type) || (protocol == net::kProtocolIcmp && type == net::kIcmpEchoReply) ||
         (protocol == net::kProtocolIcmpv6 && type == net::kIcmpv6EchoReply);
}

bool read_ipv4_quote(Quote& quote) {
  if (quote.length < sizeof(net::Ipv4)) return false;
  const auto* ip = reinterpret_cast<const net::Ipv4*>(quote.bytes);
  const std::uint32_t header = ip->header_length();
  quote.total = ip->total_length.host();
  if ((ip->version_ihl >> 4) != 4 || header < sizeof(net::Ipv4) || header > quote.length || quote.total < header) return false;
  quote.protocol = ip->protocol;
  quote.l4 = header;
  quote.fragment = ip->fragment.host() & (kMoreFragments | kFragmentOffset);
  quote.fragment_id = ip->id.host();
  quote.source = IpAddress::v4(ip->source);
  quote.destination = IpAddress::v4(ip->destination);
  return true;
}

bool read_ipv6_quote(Quote& quote) {
  constexpr std::uint8_t hop_by_hop = 0, routing = 43, destination_options = 60;
  constexpr int most_headers = 6;
  if (quote.length < sizeof(net::Ipv6)) return false;
  const auto* ip = reinterpret_cast<const net::Ipv6*>(quote.bytes);
  if ((ip->version_class_label.host() >> 28) != 6) return false;
  quote.total = static_cast<std::uint32_t>(sizeof(net::Ipv6)) + ip->payload_length.host();
  quote.source = IpAddress::v6(ip->source);
  quote.destination = IpAddress::v6(ip->destination);
  if (quote.source.is_v4() || quote.destination.is_v4()) return false;
  std::uint8_t next = ip->next_header;
  std::uint32_t offset = sizeof(net::Ipv6);
  for (int i = 0; next == hop_by_hop || next == routing || next == destination_options || next == net::kProtocolIpv6Fragment;
       i++) {
    if (i == most_headers || offset + 8 > quote.length) return false;
    if (next == net::kProtocolIpv6Fragment) {
      const auto* header = reinterpret_cast<const net::Ipv6Fragment*>(quote.bytes + offset);
      quote.fragment = static_cast<std::uint16_t>(header->offset_more.host() >> 3 |
                                                  ((header->offset_more.host() & 1) != 0 ? kMoreFragments : 0));
      quote.fragment_id = header->id.host();
      if ((quote.fragment & kFragmentOffset) != 0) return false;
      next = header->next_header;
      offset += static_cast<std::uint32_t>(sizeof(net::Ipv6Fragment));
      continue;
    }
    next = quote.bytes[offset];
    offset += (quote.bytes[offset + 1] + 1u) * 8u;
  }
  quote.protocol = next;
  quote.l4 = offset;
  return offset <= quote.length && offset <= quote.total;
}

/// Reads a quoted packet up to its ports. False when it cannot be told whose it is: cut too early, inconsistent, a later
/// fragment.
bool read_quote(const std::uint8_t* bytes, std::uint32_t length, bool ipv6, Quote& quote) {
  quote = Quote{};
  quote.bytes = bytes;
  quote.length = length;
  quote.ipv6 = ipv6;
  if (!(ipv6 ? read_ipv6_quote(quote) : read_ipv4_quote(quote))) return false;
  if ((quote.fragment & kFragmentOffset) != 0) return false;
  // Nothing behind the quoted packet's own end is it, were it whole.
  if (quote.length - quote.l4 < kQuotedTransport || quote.total - quote.l4 < kQuotedTransport) return false;
  if (is_echo(quote.protocol, bytes[quote.l4])) {
    const bool request = is_echo_request(quote.protocol, bytes[quote.l4]);
    std::memcpy(request ? &quote.source_port : &quote.destination_port, bytes + quote.l4 + 4, 2);
    (request ? quote.destination_port : quote.source_port) = kEchoPort;
  } else if (has_ports(quote.protocol)) {
    std::memcpy(&quote.source_port, bytes + quote.l4, 2);
    std::memcpy(&quote.destination_port, bytes + quote.l4 + 2, 2);
  }
  return true;
}

/// A session and the direction in which packets like `tuple` travel.
SessionRef find_session(const WorkerState& state, const FlowTuple& tuple, std::uint8_t protocol, bool ipv6, std::uint64_t& hash) {
  PacketMeta meta;
  meta.source = tuple.source;
  meta.destination = tuple.destination;
  meta.source_port = tuple.source_port;
  meta.destination_port = tuple.destination_port;
  meta.protocol = protocol;
  meta.ipv6 = ipv6;
  meta.hash = hash = hash_of(state, meta);
  return state.sessions->find(meta.hash, [&](const Session& session, Direction direction) {
    return belongs_to(state, state.sessions->id_of(session), session, direction, meta);
  });
}

/// The client's packet inside a tunnel's: what it quotes. False when there is none or too little of it.
bool read_tunnelled(const WorkerState& state, const Quote& outer, Quote& inner, SessionId& id) {
  std::uint32_t at = outer.l4;
  std::uint8_t protocol = outer.protocol;
  ForwardMode mode = ForwardMode::kTunnelIpip;
  if (protocol == net::kProtocolGre) {
    const auto* gre = reinterpret_cast<const net::Gre*>(outer.bytes + at);
    if (gre->flags_version.raw != 0) return false;
    protocol = gre->protocol == net::kEtherTypeIpv6   ? net::kProtocolIpv6
               : gre->protocol == net::kEtherTypeIpv4 ? net::kProtocolIpip
                                                      : 0;
    at += static_cast<std::uint32_t>(sizeof(net::Gre));
    mode = ForwardMode::kTunnelGre;
  } else if (protocol == net::kProtocolUdp) {
    constexpr std::uint32_t gue_header = 4;
    at += static_cast<std::uint32_t>(sizeof(net::Udp));
    if (outer.length < at + gue_header || outer.bytes[at] != 0) return false;
    protocol = outer.bytes[at + 1];
    at += gue_header;
    mode = ForwardMode::kTunnelGue;
  }
  if (protocol != net::kProtocolIpip && protocol != net::kProtocolIpv6) return false;
  if (at > outer.length || !read_quote(outer.bytes + at, outer.length - at, protocol == net::kProtocolIpv6, inner)) return false;
  std::uint64_t hash;
  const SessionRef ref = find_session(state, {inner.source, inner.destination, inner.source_port, inner.destination_port},
                                      inner.protocol, inner.ipv6, hash);
  if (ref == kNoRef || ref_direction(ref) != Direction::kInbound) return false;
  const Session& session = state.sessions->at(ref_id(ref));
  const ServerIdentity& server = state.server_slots[session.server];
  if (session.mode != mode || tunnel::outer_source(state, session, outer.ipv6, hash) != outer.source || server.address != outer.destination) {
    return false;
  }
  if (mode == ForwardMode::kTunnelGue && server.tunnel_port != outer.destination_port) return false;
  id = ref_id(ref);
  return true;
}

net::Sum pseudo_header(const IpAddress& source, const IpAddress& destination, std::uint32_t length) {
  net::Sum sum = net::add_address(net::add_address(be32(net::kProtocolIcmpv6).raw, source), destination);
  return sum + be32(length).raw;
}

/// Puts the quoted packet's ports and transport checksum back to what they were before translation.
void restore_transport(std::uint8_t* l4, std::uint32_t length, std::uint8_t protocol, be16 source, be16 destination,
                       std::uint16_t delta) {
  if (is_echo(protocol, l4[0])) {
    std::memcpy(l4 + 4, is_echo_request(protocol, l4[0]) ? &source : &destination, 2);
    auto* icmp = reinterpret_cast<net::Icmp*>(l4);
    icmp->checksum = net::updated(icmp->checksum, delta);
    return;
  }
  if (!has_ports(protocol)) return;
  std::memcpy(l4, &source, 2);
  std::memcpy(l4 + 2, &destination, 2);
  // Quoted may be less than the checksum; of SCTP it covers bytes that are not here, and nobody looks at it.
  if (protocol == net::kProtocolTcp && length >= 18) {
    auto* tcp = reinterpret_cast<net::Tcp*>(l4);
    tcp->checksum = net::updated(tcp->checksum, delta);
  } else if (protocol == net::kProtocolUdp) {
    auto* udp = reinterpret_cast<net::Udp*>(l4);
    if (udp->checksum.raw == 0) return;
    udp->checksum = net::updated(udp->checksum, delta);
    if (udp->checksum.raw == 0) udp->checksum.raw = 0xffff;
  }
}

void replace_addresses(std::uint8_t* l3, bool ipv6, const IpAddress& source, const IpAddress& destination) {
  if (ipv6) {
    auto* ip = reinterpret_cast<net::Ipv6*>(l3);
    std::memcpy(ip->source, &source, 16);
    std::memcpy(ip->destination, &destination, 16);
    return;
  }
  auto* ip = reinterpret_cast<net::Ipv4*>(l3);
  const be32 new_source = source.v4_part(), new_destination = destination.v4_part();
  ip->checksum = net::updated(ip->checksum, net::difference(net::Sum{ip->source.raw} + ip->destination.raw,
                                                            net::Sum{new_source.raw} + new_destination.raw));
  ip->source = new_source;
  ip->destination = new_destination;
}

/// Bytes 4 to 7 of an error that is written anew, from one that came: what RFC 4884 says about extensions is not taken along.
std::uint32_t rest_of(const net::Icmp& icmp, bool ipv6) {
  const std::uint32_t rest = icmp.rest.host();
  if (ipv6) return icmp.type == kIpv6TooBig || icmp.type == kIpv6ParameterProblem ? rest : 0;
  if (icmp.type == kIpv4ParameterProblem) return rest >> 24;
  return icmp.type == kIpv4Unreachable && icmp.code == kIpv4FragmentationNeeded ? rest & 0xffff : 0;
}

/// How much of the quote is the quoted packet: behind it there may be extensions (RFC 4884 3).
std::uint32_t quoted_length(const net::Icmp& icmp, const Quote& quote) {
  const std::uint32_t rest = icmp.rest.host();
  // A length field in units of 4 bytes in ICMPv4, of 8 in ICMPv6; too big and parameter problems of ICMPv6 have none.
  std::uint32_t length = 0;
  if (!quote.ipv6) length = (rest >> 16 & 0xffu) * 4;
  if (quote.ipv6 && (icmp.type == kIpv6Unreachable || icmp.type == kIpv6TimeExceeded)) length = (rest >> 24) * 8;
  const std::uint32_t whole = std::min(quote.length, quote.total);
  return length != 0 ? std::min(length, whole) : whole;
}

/// For routers that do not say an MTU: the next of the usual ones (RFC 1191 7.1).
std::uint32_t told_mtu(std::uint32_t mtu, std::uint32_t packet_length) {
  if (mtu != 0) return mtu;
  for (const std::uint32_t plateau : {32000u, 17914u, 8166u, 4352u, 2002u, 1492u, 1006u, 508u, 296u}) {
    if (plateau < packet_length) return plateau;
  }
  return kLeastIpv4Mtu;
}

/// An error written anew behind the packet's Ethernet header.
struct NewError {
  bool ipv6;
  IpAddress source;
  IpAddress destination;
  std::uint8_t ttl;
  std::uint8_t traffic_class;
  IcmpHead head;
};

/// `quoted` may lie in the packet itself.
void write_error(WorkerState& state, Packet& packet, const PacketMeta& meta, const NewError& error, const std::uint8_t* quoted,
                 std::uint32_t quoted_bytes) {
  const auto ip_header = static_cast<std::uint32_t>(error.ipv6 ? sizeof(net::Ipv6) : sizeof(net::Ipv4));
  const std::uint32_t headers = ip_header + static_cast<std::uint32_t>(sizeof(net::Icmp));
  quoted_bytes = std::min(quoted_bytes, (error.ipv6 ? kLargestIpv6 : kLargestIpv4) - headers);
  std::uint8_t* l3 = packet.data + meta.l3_offset;
  std::memmove(l3 + headers, quoted, quoted_bytes);
  const be16 type = error.ipv6 ? net::kEtherTypeIpv6 : net::kEtherTypeIpv4;
  std::memcpy(l3 - 2, &type, 2);
  const std::uint32_t length = static_cast<std::uint32_t>(sizeof(net::Icmp)) + quoted_bytes;
  auto* icmp = reinterpret_cast<net::Icmp*>(l3 + ip_header);
  icmp->type = error.head.type;
  icmp->code = error.head.code;
  icmp->checksum.raw = 0;
  // A pointer is one byte in ICMPv4 (RFC 792), a word in ICMPv6.
  icmp->rest = be32(!error.ipv6 && error.head.type == kIpv4ParameterProblem ? error.head.rest << 24 : error.head.rest);
  net::Sum sum = 0;
  if (error.ipv6) {
    auto* ip = reinterpret_cast<net::Ipv6*>(l3);
    ip->version_class_label = be32(6u << 28 | static_cast<std::uint32_t>(error.traffic_class) << 20);
    ip->payload_length = be16(static_cast<std::uint16_t>(length));
    ip->next_header = net::kProtocolIcmpv6;
    ip->hop_limit = error.ttl;
    std::memcpy(ip->source, &error.source, 16);
    std::memcpy(ip->destination, &error.destination, 16);
    sum = pseudo_header(error.source, error.destination, length);
  } else {
    auto* ip = reinterpret_cast<net::Ipv4*>(l3);
    ip->version_ihl = 0x45;
    ip->tos = error.traffic_class;
    ip->total_length = be16(static_cast<std::uint16_t>(sizeof(net::Ipv4) + length));
    ip->id = be16(static_cast<std::uint16_t>(state.now_ms));
    ip->fragment.raw = 0;
    ip->ttl = error.ttl;
    ip->protocol = net::kProtocolIcmp;
    ip->checksum.raw = 0;
    ip->source = error.source.v4_part();
    ip->destination = error.destination.v4_part();
    ip->checksum = net::finish(net::add_bytes(0, ip, sizeof(net::Ipv4)));
  }
  icmp->checksum = net::finish(net::add_bytes(sum, icmp, length));
  packet.length = meta.l3_offset + headers + quoted_bytes;
}

/// A quoted packet in the other family, into `out`, which has room for the quote and 40 bytes more. Returns its length.
std::uint32_t rebuild_quote(const Quote& quote, std::uint32_t length, const FlowTuple& as, std::uint16_t delta,
                            std::uint8_t* out) {
  const std::uint32_t l4_length = length - quote.l4;
  std::uint32_t header;
  if (quote.ipv6) {
    const auto* old = reinterpret_cast<const net::Ipv6*>(quote.bytes);
    auto* ip = reinterpret_cast<net::Ipv4*>(out);
    header = sizeof(net::Ipv4);
    ip->version_ihl = 0x45;
    ip->tos = static_cast<std::uint8_t>(old->version_class_label.host() >> 20);
    ip->total_length = be16(static_cast<std::uint16_t>(std::min(0xffffu, header + quote.total - quote.l4)));
    ip->id = be16(static_cast<std::uint16_t>(quote.fragment_id));
    ip->fragment = be16(quote.fragment != 0 ? quote.fragment : std::uint16_t{0x4000});
    ip->ttl = old->hop_limit;
    ip->protocol = quote.protocol;
    ip->checksum.raw = 0;
    ip->source = as.source.v4_part();
    ip->destination = as.destination.v4_part();
    ip->checksum = net::finish(net::add_bytes(0, ip, sizeof(net::Ipv4)));
  } else {
    const auto* old = reinterpret_cast<const net::Ipv4*>(quote.bytes);
    auto* ip = reinterpret_cast<net::Ipv6*>(out);
    const auto fragment_header = static_cast<std::uint32_t>(quote.fragment != 0 ? sizeof(net::Ipv6Fragment) : 0);
    header = static_cast<std::uint32_t>(sizeof(net::Ipv6)) + fragment_header;
    ip->version_class_label = be32(6u << 28 | static_cast<std::uint32_t>(old->tos) << 20);
    ip->payload_length = be16(static_cast<std::uint16_t>(quote.total - quote.l4 + fragment_header));
    ip->next_header = fragment_header != 0 ? net::kProtocolIpv6Fragment : quote.protocol;
    ip->hop_limit = old->ttl;
    std::memcpy(ip->source, &as.source, 16);
    std::memcpy(ip->destination, &as.destination, 16);
    if (fragment_header != 0) {
      auto* fragment = reinterpret_cast<net::Ipv6Fragment*>(ip + 1);
      *fragment = {quote.protocol, 0, be16(1), be32(quote.fragment_id)};  // the first one, and more follow
    }
  }
  std::memcpy(out + header, quote.bytes + quote.l4, l4_length);
  restore_transport(out + header, l4_length, quote.protocol, as.source_port, as.destination_port, delta);
  return header + l4_length;
}

/// The way on of a session's direction, before anything is written: a packet that has to wait is kept as it came.
const NextHop* way_on(WorkerState& state, SessionId id, Direction direction, const Packet& packet, Verdict& verdict) {
  const NetworkView network(*state.snapshot->network);
  const NextHop* hop = resolve_next_hop(state, network, id, state.sessions->at(id), direction, packet, verdict);
  if (hop == nullptr) return nullptr;
  if (!network.interfaces[hop->interface].usable) return verdict = Verdict::drop(DropReason::interface_gone), nullptr;
  return hop;
}

Verdict send_on(WorkerState& state, Session& session, Direction direction, const Packet& packet, std::uint32_t length,
                const NextHop& hop) {
  if (length > hop.mtu) return Verdict::drop(DropReason::mtu_exceeded);
  count_packet(state, session, direction, packet.length);
  state.counters.add(Counter::icmp_translated);
  return Verdict::forward(hop.interface);
}

/// To a server that answers by itself: it hears of errors about its answers as it gets everything else.
Verdict to_one_way_server(WorkerState& state, SessionId id, Packet& packet, PacketMeta meta, std::uint64_t flow,
                          const NextHop& hop) {
  Session& session = state.sessions->at(id);
  meta.hash = flow;  // so that a tunnel's outer headers are those of the flow
  const std::uint32_t length = meta.l3_length + tunnel_overhead(state, session);
  if (length > hop.mtu) return Verdict::drop(DropReason::mtu_exceeded);
  if (session.mode == ForwardMode::kL3Dsr && meta.ipv6) {
    auto* icmp = reinterpret_cast<net::Icmp*>(packet.data + meta.l4_offset);
    icmp->checksum = net::updated(icmp->checksum, session.l4_delta);  // the destination stands in the pseudo header
  }
  translate(state, id, session, Direction::kInbound, packet, meta, hop);
  return send_on(state, session, Direction::kInbound, packet, length, hop);
}

/// Addresses change, the family does not: everything stays in its place, extensions included.
Verdict translate_in_place(WorkerState& state, SessionRef ref, Packet& packet, const PacketMeta& meta, const Quote& quote,
                           const FlowTuple& to, std::uint16_t delta, const NextHop& hop) {
  Session& session = state.sessions->at(ref_id(ref));
  auto* quoted = const_cast<std::uint8_t*>(quote.bytes);
  replace_addresses(quoted, quote.ipv6, to.destination, to.source);
  restore_transport(quoted + quote.l4, std::min(quote.length, quote.total) - quote.l4, quote.protocol, to.destination_port,
                    to.source_port, delta);
  // Where translation hides who sends, the error comes from whom he is hidden behind, routers on his side included; IPVS does so
  // too.
  const IpAddress& source = to.source == quote.destination ? meta.source : to.source;
  const std::uint32_t length = packet.length - meta.l4_offset;
  auto* icmp = reinterpret_cast<net::Icmp*>(packet.data + meta.l4_offset);
  icmp->checksum.raw = 0;
  if (meta.ipv6) {
    rewrite::ipv6_addresses(packet.data + meta.l3_offset, source, to.destination);
    icmp->checksum = net::finish(net::add_bytes(pseudo_header(source, to.destination, length), icmp, length));
  } else {
    rewrite::ipv4_addresses(packet.data + meta.l3_offset, source, to.destination);
    icmp->checksum = net::finish(net::add_bytes(0, icmp, length));
  }
  rewrite::ethernet(packet.data, hop);
  return send_on(state, session, ref_direction(ref), packet, meta.l3_length, hop);
}

Verdict translate_family(WorkerState& state, SessionRef ref, Packet& packet, const PacketMeta& meta, const net::Icmp& icmp,
                         const Quote& quote, const FlowTuple& to, std::uint16_t delta, const NextHop& hop) {
  Session& session = state.sessions->at(ref_id(ref));
  NewError error{!meta.ipv6, to.source, to.destination, static_cast<std::uint8_t>(meta.ttl - 1), 0, {}};
  const IcmpHead head{icmp.type, icmp.code, rest_of(icmp, meta.ipv6)};
  if (meta.ipv6 ? !icmp_to_ipv4(head, error.head) : !icmp_to_ipv6(head, quote.total, error.head)) {
    return Verdict::drop(DropReason::icmp_unsupported);
  }
  error.traffic_class =
      meta.ipv6 ? static_cast<std::uint8_t>(
                      reinterpret_cast<const net::Ipv6*>(packet.data + meta.l3_offset)->version_class_label.host() >> 20)
                : reinterpret_cast<const net::Ipv4*>(packet.data + meta.l3_offset)->tos;
  std::array<std::uint8_t, kLargestIpv6 + 64> rebuilt;
  // Not shorter than its headers: the ports have been read.
  const std::uint32_t kept = std::max(quote.l4 + kQuotedTransport, std::min(quoted_length(icmp, quote), quote.l4 + kLargestIpv6));
  const std::uint32_t length =
      rebuild_quote(quote, kept, {to.destination, to.source, to.destination_port, to.source_port}, delta, rebuilt.data());
  write_error(state, packet, meta, error, rebuilt.data(), length);
  rewrite::ethernet(packet.data, hop);
  return send_on(state, session, ref_direction(ref), packet, packet.length - meta.l3_offset, hop);
}

/// An error about a tunnel's packet is one about the client's packet, from the VIP (RFC 2003 4, RFC 2473 8).
Verdict from_tunnel(WorkerState& state, SessionId id, Packet& packet, const PacketMeta& meta, const net::Icmp& icmp,
                    const Quote& outer, const Quote& inner, const NextHop& hop) {
  Session& session = state.sessions->at(id);
  NewError error{inner.ipv6, inner.destination, inner.source, kTtl, 0, {}};
  if (!inner.ipv6) error.traffic_class = 0xc0;  // internetwork control (RFC 1812 4.3.2.5)
  const bool too_big =
      meta.ipv6 ? icmp.type == kIpv6TooBig : icmp.type == kIpv4Unreachable && icmp.code == kIpv4FragmentationNeeded;
  if (too_big) {
    // Clients take no smaller MTU for true (RFC 8201 4).
    const std::uint32_t least = inner.ipv6 ? kLeastIpv6Mtu : kLeastIpv4Mtu;
    const std::uint32_t mtu = told_mtu(rest_of(icmp, meta.ipv6), outer.total);
    const std::uint32_t overhead = tunnel_overhead(state, session);
    const std::uint32_t left = mtu > overhead + least ? mtu - overhead : least;
    error.head = inner.ipv6 ? IcmpHead{kIpv6TooBig, 0, left}
                            : IcmpHead{kIpv4Unreachable, kIpv4FragmentationNeeded, std::min(left, 0xffffu)};
  } else if (icmp.type == (meta.ipv6 ? kIpv6ParameterProblem : kIpv4ParameterProblem)) {
    return Verdict::drop(DropReason::icmp_unsupported);  // about headers that the client did not write
  } else {
    error.head =
        inner.ipv6 ? IcmpHead{kIpv6Unreachable, kIpv6AddressUnreachable, 0} : IcmpHead{kIpv4Unreachable, kIpv4HostUnreachable, 0};
  }
  const std::uint32_t end = quoted_length(icmp, outer);
  const auto begin = static_cast<std::uint32_t>(inner.bytes - outer.bytes);
  const std::uint32_t length = std::max(inner.l4 + kQuotedTransport, std::min(end > begin ? end - begin : 0, inner.total));
  write_error(state, packet, meta, error, inner.bytes, length);
  rewrite::ethernet(packet.data, hop);
  return send_on(state, session, Direction::kOutbound, packet, packet.length - meta.l3_offset, hop);
}

/// Nobody here knows the quoted packet: the owner of the local address may, or any other worker. `flow`: hash of its answers.
Verdict ask_others(WorkerState& state, const Packet& packet, const PacketMeta& meta, std::uint64_t flow) {
  const OwnedAddress* owned = state.snapshot->services->owner_of(meta.destination);
  if (owned != nullptr && owned->kind == OwnedAddress::Kind::kLocal) {
    const std::uint32_t owner = state.local_slots[owned->local].worker;
    if (owner != state.worker && packet.hops < state.workers) return Verdict::handoff(owner);
    return Verdict::drop(DropReason::icmp_no_session);
  }
  return to_owner(state, packet, flow, DropReason::icmp_no_session);
}

bool checksum_right(const Packet& packet, const PacketMeta& meta) {
  const std::uint32_t length = packet.length - meta.l4_offset;
  const net::Sum start = meta.ipv6 ? pseudo_header(meta.source, meta.destination, length) : 0;
  return net::fold(net::add_bytes(start, packet.data + meta.l4_offset, length)) == 0xffff;
}

}  // namespace

bool icmp_to_ipv6(const IcmpHead& from, std::uint32_t quoted_length, IcmpHead& to) {
  constexpr std::uint8_t no_route = 0, prohibited = 1, port = 4, unrecognised_next_header = 1;
  constexpr std::uint32_t next_header_pointer = 6;
  if (from.type == kIpv4TimeExceeded) return to = {kIpv6TimeExceeded, from.code, 0}, true;
  if (from.type == kIpv4ParameterProblem) {
    // By IPv4 header byte: where the same thing stands in an IPv6 header; 255: nowhere.
    constexpr std::array<std::uint8_t, 20> pointers = {0,   1,   4, 4, 255, 255, 255, 255, 7,  6,
                                                       255, 255, 8, 8, 8,   8,   24,  24,  24, 24};
    if ((from.code != 0 && from.code != 2) || from.rest >= pointers.size() || pointers[from.rest] == 255) return false;
    return to = {kIpv6ParameterProblem, 0, pointers[from.rest]}, true;
  }
  if (from.type != kIpv4Unreachable) return false;
  switch (from.code) {
    case 2:
      return to = {kIpv6ParameterProblem, unrecognised_next_header, next_header_pointer}, true;
    case 3:
      return to = {kIpv6Unreachable, port, 0}, true;
    case kIpv4FragmentationNeeded: {
      const std::uint32_t mtu =
          told_mtu(from.rest, quoted_length) + static_cast<std::uint32_t>(sizeof(net::Ipv6) - sizeof(net::Ipv4));
      return to = {kIpv6TooBig, 0, std::max(mtu, kLeastIpv6Mtu)}, true;
    }
    case 9:
    case 10:
    case 13:
    case 15:
      return to = {kIpv6Unreachable, prohibited, 0}, true;
    case 0:
    case 1:
    case 5:
    case 6:
    case 7:
    case 8:
    case 11:
    case 12:
      return to = {kIpv6Unreachable, no_route, 0}, true;
    default:
      return false;
  }
}

bool icmp_to_ipv4(const IcmpHead& from, IcmpHead& to) {
  constexpr std::uint8_t protocol = 2, port = 3, prohibited = 10;
  switch (from.type) {
    case kIpv6Unreachable:
      if (from.code > 4) return false;
      return to = {kIpv4Unreachable, from.code == 4 ? port : from.code == 1 ? prohibited : kIpv4HostUnreachable, 0}, true;
    case kIpv6TooBig: {
      const std::uint32_t mtu = std::min(from.rest, 0xffffu);
      constexpr std::uint32_t shorter = sizeof(net::Ipv6) - sizeof(net::Ipv4);
      return to = {kIpv4Unreachable, kIpv4FragmentationNeeded, mtu > kLeastIpv4Mtu + shorter ? mtu - shorter : kLeastIpv4Mtu},
             true;
    }
    case kIpv6TimeExceeded:
      return to = {kIpv4TimeExceeded, from.code, 0}, true;
    case kIpv6ParameterProblem: {
      if (from.code == 1) return to = {kIpv4Unreachable, protocol, 0}, true;
      if (from.code != 0 || from.rest >= sizeof(net::Ipv6) || from.rest == 2 || from.rest == 3) return false;
      // By IPv6 header byte (RFC 7915 figure 6).
      constexpr std::array<std::uint8_t, 8> first = {0, 1, 255, 255, 2, 2, 9, 8};
      const std::uint32_t pointer = from.rest < 8 ? first[from.rest] : from.rest < 24 ? 12u : 16u;
      return to = {kIpv4ParameterProblem, 0, pointer}, true;
    }
    default:
      return false;
  }
}

Verdict translate_icmp_error(WorkerState& state, Packet& packet, const PacketMeta& meta) {
  if (!checksum_right(packet, meta)) return Verdict::drop(DropReason::icmp_checksum_wrong);
  const auto icmp = *reinterpret_cast<const net::Icmp*>(packet.data + meta.l4_offset);
  const std::uint32_t begin = meta.l4_offset + static_cast<std::uint32_t>(sizeof(net::Icmp));
  Quote quote;
  if (!read_quote(packet.data + begin, packet.length - begin, meta.ipv6, quote) || quote.source != meta.destination) {
    return Verdict::drop(DropReason::icmp_quote_invalid);
  }
  const FlowTuple back{quote.destination, quote.source, quote.destination_port, quote.source_port};
  std::uint64_t flow;
  const SessionRef ref = find_session(state, back, quote.protocol, quote.ipv6, flow);
  Verdict verdict;
  if (ref == kNoRef) {
    Quote inner;
    SessionId id;
    if (!read_tunnelled(state, quote, inner, id)) return ask_others(state, packet, meta, flow);
    const NextHop* hop = way_on(state, id, Direction::kOutbound, packet, verdict);
    return hop == nullptr ? verdict : from_tunnel(state, id, packet, meta, icmp, quote, inner, *hop);
  }
  // The parser lets ICMP come with its last hop, since much of it ends here; this goes on.
  if (meta.ttl <= 1) return Verdict::drop(DropReason::ttl_expired);
  const SessionId id = ref_id(ref);
  const Direction direction = ref_direction(ref);
  const Session& session = state.sessions->at(id);
  const NextHop* hop = way_on(state, id, direction, packet, verdict);
  if (hop == nullptr) return verdict;
  if ((session.flags & session_flag::kOneWay) != 0) return to_one_way_server(state, id, packet, meta, flow, *hop);
  const SessionDetail& detail = state.sessions->detail(id);
  const bool inbound = direction == Direction::kInbound;
  if (!inbound && session.told != 0 && quote.protocol == net::kProtocolTcp) {
    // The client knows the segment by its own number, and would not believe another one (RFC 5927 4).
    auto* sequence = const_cast<std::uint8_t*>(quote.bytes) + quote.l4 + 4;
    be32 number;
    std::memcpy(&number, sequence, sizeof(number));
    number = be32(to_client_sequence(session, detail, number.host()));
    std::memcpy(sequence, &number, sizeof(number));
  }
  const FlowTuple to = inbound ? inbound_translated(state, session, detail) : outbound_translated(state, session, detail);
  const std::uint16_t delta = inbound ? session.l4_delta : net::inverse(session.l4_delta);
  if ((session.flags & session_flag::kCrossFamily) != 0)
    return translate_family(state, ref, packet, meta, icmp, quote, to, delta, *hop);
  return translate_in_place(state, ref, packet, meta, quote, to, delta, *hop);
}

}  // namespace millrace
