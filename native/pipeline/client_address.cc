// What TCP and UDP have in common: the beginning and end of telling, headers, numbers, forged options.
#include "pipeline/client_address.h"

#include <array>

#include "core/siphash.h"
#include "net/tcp_options.h"
#include "pipeline/log_flow.h"
#include "sessions/tcp_state.h"

namespace millrace {

namespace {

enum class Purpose : std::uint8_t { kSequence = 1, kTimestamp = 2, kUniqueId = 3, kUniqueIdToo = 4 };

/// A number that nobody can foretell who does not know the secret, of the server's side of the session.
std::uint64_t secret_hash(const WorkerState& state, const Session& session, Purpose purpose, std::uint32_t salt) {
  struct {
    IpAddress local, server;
    be16 local_port, server_port;
    std::uint32_t salt;
    std::uint64_t purpose;
  } input{state.local_slots[session.local].address, state.server_slots[session.server].address, session.local_port,
          server_port_of(state, session), salt, static_cast<std::uint64_t>(purpose)};
  static_assert(sizeof(input) == 48, "no padding");
  return SipHash24(state.secret)({reinterpret_cast<const std::uint8_t*>(&input), sizeof(input)});
}

}  // namespace

std::uint32_t initial_sequence(const WorkerState& state, const Session& session) {
  // A tick of 64 ns, as Linux has: at the 4 us of RFC 6528 a client that sends faster than 250 kB/s would overtake the clock.
  constexpr std::uint32_t ticks_per_ms = 15625;
  return static_cast<std::uint32_t>(secret_hash(state, session, Purpose::kSequence, 0)) + state.now_ms * ticks_per_ms;
}

std::uint32_t initial_timestamp(const WorkerState& state, const Session& session) {
  // No clock of timestamps goes faster than one tick in a millisecond (RFC 7323 5.4).
  return static_cast<std::uint32_t>(secret_hash(state, session, Purpose::kTimestamp, 0)) + state.now_ms;
}

void begin_telling(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, Session& session, SessionDetail& detail) {
  const ClientAddressRule& rule = state.client_address_rules[service.client_address];
  const bool accepts = service.proxy_from != nullptr && service.proxy_from->contains(meta.source);
  const bool tells = meta.protocol == net::kProtocolTcp ? rule.method != ClientAddressMethod::kNone && rule.method != ClientAddressMethod::kUoa
                                                        : rule.method == ClientAddressMethod::kUoa || rule.method == ClientAddressMethod::kProxyV2;
  if ((!tells && !accepts) || session.mode != ForwardMode::kFullNat) return;
  // In the middle of a connection nobody knows where its bytes began.
  if (meta.protocol == net::kProtocolTcp && (meta.tcp_flags & net::tcp_flag::kSyn) == 0) return;
  session.told = 1;
  detail.rule = service.client_address;
  detail.accepted = kNoneAccepted;
  detail.told = static_cast<std::uint8_t>((tells ? told_flag::kTelling : 0) | (accepts ? told_flag::kAwaiting : 0));
  detail.scale = accepts ? kAccepts : std::uint8_t{0};
  if (meta.protocol == net::kProtocolUdp) detail.first_byte = initial_sequence(state, session);
}

void end_telling(WorkerState& state, Session& session, SessionDetail& detail) {
  if (detail.accepted != kNoneAccepted) state.accepted_headers->release(detail.accepted);
  detail.accepted = kNoneAccepted;
  session.told = 0;
}

net::ProxyEndpoints endpoints_of(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  if (detail.accepted != kNoneAccepted && (detail.told & told_flag::kAwaiting) == 0) {
    return state.accepted_headers->at(detail.accepted).endpoints;
  }
  return {session.client, vip_of(state, session, detail), session.client_port, session.vip_port};
}

std::uint32_t write_session_header(const WorkerState& state, const Session& session, const SessionDetail& detail,
                                   const net::ProxyEndpoints& endpoints, std::span<const std::uint8_t> accepted_tlvs, bool datagram,
                                   std::span<std::uint8_t> out) {
  const ClientAddressRule& rule = state.client_address_rules[detail.rule];
  if (rule.method == ClientAddressMethod::kProxyV1) return net::write_proxy_v1(endpoints, out);
  if (!is_proxy(rule.method)) return 0;
  std::array<std::uint64_t, 2> unique_id{};
  net::ProxyExtras extras{.accepted_tlvs = accepted_tlvs, .tlvs = std::span(rule.tlvs).first(rule.tlv_length), .crc32c = rule.crc32c};
  if (rule.unique_id) {
    unique_id = {secret_hash(state, session, Purpose::kUniqueId, detail.first_byte),
                 secret_hash(state, session, Purpose::kUniqueIdToo, detail.first_byte)};
    extras.unique_id = {reinterpret_cast<const std::uint8_t*>(unique_id.data()), sizeof(unique_id)};
  }
  return net::write_proxy_v2(endpoints, datagram, extras, out);
}

void write_address_option(std::uint8_t kind, const net::ProxyEndpoints& endpoints, std::uint8_t* out) {
  const bool ipv4 = endpoints.source.is_v4();
  out[0] = kind;
  out[1] = static_cast<std::uint8_t>(address_option_length(ipv4));
  std::memcpy(out + 2, &endpoints.source_port, 2);
  std::memcpy(out + 4, endpoints.source.bytes() + (ipv4 ? 12 : 0), ipv4 ? 4 : 16);
}

void note_crowded(Telling& telling) {
  if ((telling.detail.told & told_flag::kCrowded) != 0) return;
  telling.detail.told |= told_flag::kCrowded;
  telling.state.counters.add(Counter::client_address_no_room);
  log_session(telling.state, LogEvent::client_address_no_room, DropReason::kCount, telling.id, telling.session, telling.hop.mtu);
  std::uint64_t& crowded = telling.state.crowded[telling.session.service];
  store_relaxed(crowded, crowded + 1);
}

void remove_forged(WorkerState& state, Packet& packet, const PacketMeta& meta) {
  std::uint32_t removed = 0;
  std::uint8_t* l3 = packet.data + meta.l3_offset;
  if (!meta.ipv6 && !is_later_fragment(meta)) {
    auto* ip = reinterpret_cast<net::Ipv4*>(l3);
    std::uint8_t* options = l3 + sizeof(net::Ipv4);
    const std::uint32_t length = ip->header_length() - static_cast<std::uint32_t>(sizeof(net::Ipv4));
    // The parser has checked that they do not overrun; the list has the form of TCP's.
    net::for_each_tcp_option({options, length}, [&](std::uint8_t kind, std::uint32_t at, std::uint32_t size) {
      if (kind != kOptionUoa) return;
      std::memset(options + at, net::tcp_option::kNop, size);
      removed++;
    });
    if (removed != 0) {
      ip->checksum.raw = 0;
      ip->checksum = net::finish(net::add_bytes(0, ip, ip->header_length()));
    }
  }
  if (meta.protocol == net::kProtocolTcp && !is_later_fragment(meta)) {
    const TcpView view(packet, meta);
    TcpPatch patch(view.l4);
    net::for_each_tcp_option(view.options(), [&](std::uint8_t kind, std::uint32_t at, std::uint32_t size) {
      if (!net::is_client_address_option(kind, size)) return;
      for (std::uint32_t i = 0; i < size; i++) patch.put8(static_cast<std::uint32_t>(sizeof(net::Tcp)) + at + i, net::tcp_option::kNop);
      removed++;
    });
  }
  if (removed != 0) state.counters.add(Counter::forged_addresses_removed, removed);
}

}  // namespace millrace
