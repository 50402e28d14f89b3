// Telling servers who their clients are (full NAT): TOA, UOA, PROXY headers; and taking off the PROXY headers of balancers in front.
//
//   client's stream                 |SYN| first byte ................................|
//   accepted header taken off       |SYN| (H bytes) | first byte ....................|
//   server's stream, PROXY          |SYN| header (L bytes) | first byte .............|
//
//   client's number + shift = server's number;  shift = d + L - H,  d = new initial number - client's
//
// While the server has not acknowledged a header, a segment that begins with the client's first byte carries it, whichever one that is:
// a retransmission, a part, or more than the first time. One that begins later goes behind a segment of our own, and a timer sends the
// header again (header_timers.h). From then on numbers are shifted, and nothing else.
//
// Each connection begins with a number and a timestamp of our own, from a keyed hash of the server's side of it and a clock (RFC 6528,
// RFC 7323 5.4): clients that use one local port one after the other look to the server like one host whose clocks only go forward, so
// that neither PAWS nor TIME_WAIT refuse the next one. docs/client-address.md.
//
// Thread: one worker.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "net/proxy_protocol.h"
#include "pipeline/parse.h"
#include "pipeline/session_key.h"
#include "pipeline/tcp_edit.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Kind of the IPv4 option that UOA is; in a header of its own it stands, too.
inline constexpr std::uint8_t kOptionUoa = 31;

/// TOA and UOA have one form: kind, length, port, address.
constexpr std::uint32_t address_option_length(bool ipv4) { return ipv4 ? 8 : 20; }
void write_address_option(std::uint8_t kind, const net::ProxyEndpoints& endpoints, std::uint8_t* out);

/// One packet of a told session on its way: its next hop is known, nothing has been changed yet.
struct Telling {
  WorkerState& state;
  SessionId id;
  Session& session;
  SessionDetail& detail;
  const ClientAddressRule& rule;
  Direction direction;
  Packet& packet;
  PacketMeta& meta;
  const NextHop& hop;
  /// Bytes by which translation lets the packet grow.
  std::int32_t grown;
  Verdict& verdict;
  /// A finished segment that has to leave before the packet.
  std::optional<Packet> ahead{};
  /// The second half of a packet that had to be divided: translated and sent after it.
  std::optional<Packet> behind{};
  PacketMeta behind_meta{};
  /// Bytes that UOA puts between IP and UDP, or into the IP header, once the packet has been translated.
  std::uint32_t uoa = 0;
  /// What UOA says.
  net::ProxyEndpoints endpoints{};

  bool fits(std::int32_t growth) const { return static_cast<std::int32_t>(meta.l3_length) + grown + growth <= hop.mtu; }
};

/// A new session of a service that tells or accepts: how its detail line begins. `meta` is its first packet.
void begin_telling(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, Session& session, SessionDetail& detail);
/// Before its detail line is somebody else's.
void end_telling(WorkerState& state, Session& session, SessionDetail& detail);

/// Makes the packet say what it must, before it is translated. False: it goes no further, and `verdict` says what becomes of it.
bool tell_tcp(Telling& telling);
bool tell_udp(Telling& telling);
/// UOA stands in front of the transport header as the server gets it: after translation.
void insert_uoa(Telling& telling);

/// Whether a client's SYN is that of the connection that the session already has.
bool is_repeated_syn(const SessionDetail& detail, const Packet& packet, const PacketMeta& meta);

/// A client's sequence number as its server knows it, and the server's number for it back: for segments and quotes that are not on their
/// way through tell_tcp().
std::uint32_t to_server_sequence(const ClientAddressRule& rule, const SessionDetail& detail, std::uint32_t sequence);
std::uint32_t to_client_sequence(const Session& session, const SessionDetail& detail, std::uint32_t sequence);

/// Whether a fragment can be sent on: one that would have to carry an address cannot, because it would push those behind it out of their
/// places. Numbers of a first fragment are shifted. False: `reason` says why not.
bool tell_fragment(Telling& telling, DropReason& reason);

/// Sends unacknowledged PROXY headers whose time has come again, into WorkerState::extra.
void repeat_headers(WorkerState& state);

/// The PROXY header of a session, which is the same each time. 0 when it does not fit.
std::uint32_t write_session_header(const WorkerState& state, const Session& session, const SessionDetail& detail,
                                   const net::ProxyEndpoints& endpoints, std::span<const std::uint8_t> accepted_tlvs, bool datagram,
                                   std::span<std::uint8_t> out);
/// Between whom the session is, as servers are told.
net::ProxyEndpoints endpoints_of(const WorkerState& state, const Session& session, const SessionDetail& detail);

/// An initial sequence number for the server's side of the session, and an initial timestamp (RFC 6528 3).
std::uint32_t initial_sequence(const WorkerState& state, const Session& session);
std::uint32_t initial_timestamp(const WorkerState& state, const Session& session);

/// There was no room for a client's address. Noted once per connection; the service's next connections get smaller segments.
void note_crowded(Telling& telling);

/// tell_tcp() for nearly all segments of a connection: its server has been told, the segment has no options or timestamps alone. False:
/// it is none of these, and nothing has been changed.
inline bool shift_settled(const SessionDetail& detail, Direction direction, const Packet& packet, const PacketMeta& meta) {
  constexpr std::uint32_t sequence = 4, acknowledgement = 8, tsval = 24, tsecr = 28;
  std::uint8_t* l4 = packet.data + meta.l4_offset;
  if ((detail.told & (told_flag::kTelling | told_flag::kAwaiting)) != 0 || (meta.tcp_flags & net::tcp_flag::kSyn) != 0) return false;
  const auto word = [&](std::uint32_t at) {
    be32 value;
    std::memcpy(&value, l4 + at, sizeof(value));
    return value;
  };
  const std::uint32_t offset = l4[12] >> 4;
  const bool timestamps = offset == 8 && word(sizeof(net::Tcp)).raw == be32(0x0101080a).raw;
  if (offset != 5 && !timestamps) return false;
  net::Sum sum = 0;
  const auto add = [&](std::uint32_t at, std::uint32_t increment) {
    const be32 before = word(at), after(before.host() + increment);
    std::memcpy(l4 + at, &after, sizeof(after));
    sum += net::Sum{~before.raw} + after.raw;
  };
  if (direction == Direction::kInbound) {
    add(sequence, detail.sequence_shift_in);
    if (timestamps && (detail.told & told_flag::kTimestamps) != 0) add(tsval, detail.timestamp_shift);
  } else if ((meta.tcp_flags & net::tcp_flag::kAck) != 0) {
    // One that comes late may be about the header.
    if (word(acknowledgement).host() - detail.first_byte < detail.length) return false;
    add(acknowledgement, 0u - detail.sequence_shift_in);
    if (timestamps && (detail.told & told_flag::kTimestamps) != 0) add(tsecr, 0u - detail.timestamp_shift);
  }
  auto* tcp = reinterpret_cast<net::Tcp*>(l4);
  tcp->checksum = net::updated(tcp->checksum, net::fold(sum));
  return true;
}

/// Whether a client's packet has options that remove_forged() must look at. TCP: none, and timestamps alone, are what most have.
inline bool may_carry_address(const Packet& packet, const PacketMeta& meta) {
  if (!meta.ipv6 && meta.l4_offset != meta.l3_offset + sizeof(net::Ipv4)) return true;
  if (meta.protocol != net::kProtocolTcp) return false;
  const std::uint8_t* l4 = packet.data + meta.l4_offset;
  const std::uint32_t offset = l4[12] >> 4;
  if (offset == 5) return false;
  std::uint32_t first;
  std::memcpy(&first, l4 + sizeof(net::Tcp), sizeof(first));
  return offset != 8 || first != be32(0x0101080a).raw;
}

/// Makes options of a client's packet that say who a client is into no-operations: nobody but the balancer says so.
void remove_forged(WorkerState& state, Packet& packet, const PacketMeta& meta);

}  // namespace millrace
