// Session: everything the packets of one flow need, in one cache line.
//
//   0        16      18      20      22      24       28      32       34       36        40          44          48
//   | client | cport | vport | lport | local | service| server| nh_cli | nh_srv | deadline| timer_next| timer_prev|
//   48       50    51     52    53     54         56           60
//   | rt_gen |state|proto |flags| mode | l4 delta | packets_in | packets_out |                                     = 64
//
// The addresses of the VIP, the server and the local address are slots in stable tables (tables/slots.h): they are few and stay
// in the first-level cache, while sessions are many. What only some sessions need (sequence shifts, how far the server has been
// told of the client) is in one cold line per session, allocated beside, never inside.
// Thread: only the worker that owns the session.
#pragma once

#include <cstdint>

#include "net/address.h"
#include "sessions/forward_mode.h"

namespace millrace {

/// TCP states of IPVS (net/ip_vs.h IP_VS_TCP_S_*), the two of UDP (AH and ESP use them too), and those of SCTP (IP_VS_SCTP_S_*).
/// The order is that of the transition tables. All protocols begin in kNone.
enum class SessionState : std::uint8_t {
  kNone,
  kEstablished,
  kSynSent,
  kSynRecv,
  kFinWait,
  kTimeWait,
  kClose,
  kCloseWait,
  kLastAck,
  kListen,
  kSynAck,
  kUdpOneWay,
  kUdpNormal,
  kSctpInit1,
  kSctpInit,
  kSctpCookieSent,
  kSctpCookieReplied,
  kSctpCookieWait,
  kSctpCookie,
  kSctpCookieEchoed,
  kSctpEstablished,
  kSctpShutdownSent,
  kSctpShutdownReceived,
  kSctpShutdownAckSent,
  kSctpRejected,
  kSctpClosed,
  kCount
};
inline constexpr std::size_t kSessionStates = static_cast<std::size_t>(SessionState::kCount);

enum class Direction : std::uint8_t {
  kInbound = 0,   ///< client -> VIP
  kOutbound = 1,  ///< server -> local address
};

using SessionId = std::uint32_t;
inline constexpr SessionId kNoSession = 0xffffffffu;

using ServiceSlot = std::uint32_t;
using ServerSlot = std::uint32_t;
using LocalSlot = std::uint16_t;
/// Index into Snapshot::next_hops; 0 means "not looked up yet".
using NextHopId = std::uint16_t;

namespace session_flag {
inline constexpr std::uint8_t kIpv6 = 1;
/// Counted as an active connection of its server now; which states are: is_active() in sessions/tcp_state.h.
inline constexpr std::uint8_t kActive = 2;
/// The destination as the client wrote it is in the session's detail line: it is not the address of its service's slot (a prefix,
/// a
/// class of matches, any destination of an outbound gateway).
inline constexpr std::uint8_t kWideKey = 4;
/// Only the client's direction passes here: one entry in the table, the input-only state machine.
inline constexpr std::uint8_t kOneWay = 8;
/// The server is of the other address family than the client.
inline constexpr std::uint8_t kCrossFamily = 16;
/// Lives on the worker that gets the fragments between its addresses, which may not be the one that gets its whole packets
/// (pipeline/fragment_homes.h).
inline constexpr std::uint8_t kAtFragmentHome = 32;
/// A persistence template decided where it goes; the detail line says which (tables/template_table.h).
inline constexpr std::uint8_t kTemplate = 64;
/// The connection ids in its packets may name a server (pipeline/connection_id.h).
inline constexpr std::uint8_t kConnectionId = 128;
}  // namespace session_flag

struct alignas(64) Session {
  IpAddress client;
  be16 client_port;
  be16 vip_port;
  be16 local_port;
  LocalSlot local;
  ServiceSlot service;
  ServerSlot server;
  NextHopId next_hop_client;
  NextHopId next_hop_server;
  /// Milliseconds of the worker's clock, modulo 2^32: the timer fires late rather than being moved by every packet.
  std::uint32_t deadline_ms;
  SessionId timer_next;
  /// Previous session in the wheel's slot, or slot number with the top bit set when first.
  std::uint32_t timer_prev;
  /// Route generation the next hops were looked up in; when the snapshot's differs they are looked up again.
  std::uint16_t route_generation;
  SessionState state;
  std::uint8_t protocol;
  std::uint8_t flags;
  ForwardMode mode : 6;
  /// The server is told the client's address, or its sequence numbers are shifted for that: the detail line says how far this has
  /// come (pipeline/client_address.h).
  std::uint8_t told : 1;
  std::uint8_t spare : 1;
  /// One's complement sum of what translation client->server adds to the transport checksum; its complement serves the way back.
  std::uint16_t l4_delta;
  std::uint32_t packets_in;
  std::uint32_t packets_out;
};
static_assert(sizeof(Session) == 64);

/// How far a server has been told of its client: bits of SessionDetail::told.
namespace told_flag {
/// The client's address is still to be added: TOA until the client has acknowledged what the server said, UOA and PROXY on UDP until
/// their number is reached.
inline constexpr std::uint8_t kTelling = 1;
/// The PROXY header has been sent, and the server has acknowledged it.
inline constexpr std::uint8_t kHeaderSent = 2;
inline constexpr std::uint8_t kHeaderTaken = 4;
/// The client uses TCP timestamps, and they are shifted.
inline constexpr std::uint8_t kTimestamps = 8;
/// The server's SYN-ACK has been seen; the client has acknowledged it.
inline constexpr std::uint8_t kAnswered = 16;
inline constexpr std::uint8_t kConnected = 32;
/// A PROXY header of the balancer in front is still to come.
inline constexpr std::uint8_t kAwaiting = 64;
/// There was no room for the address once, and that was counted.
inline constexpr std::uint8_t kCrowded = 128;
}  // namespace told_flag

/// Of SessionDetail::scale: each connection of this session begins with a PROXY header of the balancer in front.
inline constexpr std::uint8_t kAccepts = 0x80;
inline constexpr std::uint8_t kScaleMask = 0x0f;

/// Of SessionDetail::accepted: no header of a balancer in front is kept.
inline constexpr std::uint32_t kNoneAccepted = 0xffffffffu;

/// The second and last cache line of a session, beside it in an array of its own: touched only by sessions that need more than the
/// first says, and then only where it says so.
///
///   0             16        20         24           28        32          36          40        44        48          52
///   | destination | shift in| shift out| persistence| accepted| first byte| server's 1| ts shift| last ack| last tsval|
///   52          56     58       60       62     63      64
///   | last tsecr| rule| window | length | told | scale |
struct alignas(64) SessionDetail {
  /// With kWideKey: the destination as the client wrote it.
  IpAddress destination;
  /// Added to sequence numbers of the client's packets, and taken from acknowledgements in the other direction (modulo 2^32).
  std::uint32_t sequence_shift_in;
  std::uint32_t sequence_shift_out;
  /// With kTemplate: the persistence template that counts this session.
  std::uint32_t persistence;
  /// The header of a balancer in front (pipeline/accepted_headers.h), or kNoneAccepted.
  std::uint32_t accepted;
  // What follows is of sessions that are `told`. Sequence numbers are in host byte order.
  /// Where the byte stream to the server begins, in its numbering. Of UDP: a number drawn for this session.
  std::uint32_t first_byte;
  /// Where the byte stream from the server begins.
  std::uint32_t server_first;
  /// Added to the client's timestamps.
  std::uint32_t timestamp_shift;
  /// What the client's last packet said, for packets that are sent in its name.
  std::uint32_t last_ack;
  std::uint32_t last_tsval;
  std::uint32_t last_tsecr;
  /// Which ClientAddressRule (tables/client_address.h).
  std::uint16_t rule;
  /// The client's window; before its first packet that of the server's SYN-ACK.
  std::uint16_t window;
  /// Bytes of the PROXY header; of UDP the datagrams that told.
  std::uint16_t length;
  /// told_flag.
  std::uint8_t told;
  /// The server's window scale, and kAccepts.
  std::uint8_t scale;
};
static_assert(sizeof(SessionDetail) == 64);

}  // namespace millrace
