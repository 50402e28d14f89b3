// ICMP errors about packets of sessions: to whom they matter, in the terms that he knows.
//
//   error about                                   arrives at       goes to    quotes afterwards
//   client -> VIP as it left for the server       local, client    client     client -> VIP
//   VIP -> client as it left for the client       VIP              server     server -> local (full NAT), server -> client (NAT)
//   the same, in modes where servers answer       VIP              server     VIP -> client, untouched, as a packet of the client
//   goes a tunnel's outer packet                       local            client     client -> VIP
//
// Types: destination unreachable, too big, time exceeded, parameter problem (RFC 792, RFC 1191, RFC 4443); between the families
// by RFC 7915 4.2 and 5.2. Redirects are for hosts on a link and end here. Not the same as IPVS: parameter problems are passed on
// too, and the transport checksum inside is translated back. Guarantees: reads and writes only inside the packet; an error with a
// wrong checksum does not become one with a right checksum; an error must come to the address that the quoted packet came from.
// Thread: one worker. Fuzzed by test/fuzz/icmp_fuzz.cc.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Whether this is an ICMP error that may concern a session. parse_packet() keeps the type in tcp_flags.
inline bool is_icmp_error(const PacketMeta& meta) {
  if (meta.protocol == net::kProtocolIcmp && !meta.ipv6)
    return meta.tcp_flags == 3 || meta.tcp_flags == 11 || meta.tcp_flags == 12;
  return meta.protocol == net::kProtocolIcmpv6 && meta.ipv6 && meta.tcp_flags >= 1 && meta.tcp_flags <= 4;
}

/// Translates an error and says where it goes: on, to the worker that has or may have the session, or to the counters.
Verdict translate_icmp_error(WorkerState& state, Packet& packet, const PacketMeta& meta);

/// An error's type, code and second word, between the families (RFC 7915).
struct IcmpHead {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  /// Bytes 4 to 7 in host byte order: MTU, pointer, or 0.
  std::uint32_t rest = 0;
  bool operator==(const IcmpHead&) const = default;
};
/// RFC 7915 4.2: an ICMPv4 error as ICMPv6. `quoted_length` is the total length of the quoted packet, for routers that do not
/// tell an MTU (RFC 1191 5). False: there is nothing to say in the other family.
bool icmp_to_ipv6(const IcmpHead& from, std::uint32_t quoted_length, IcmpHead& to);
/// RFC 7915 5.2.
bool icmp_to_ipv4(const IcmpHead& from, IcmpHead& to);

}  // namespace millrace
