// UDP: PROXY headers in front of datagrams, and UOA.
//
//   UOA, carrier protocol   IP (protocol 248) | version 1 or 2, 17, length | kind 31, length, port, address | UDP ...
//   UOA, carrier option     IPv4 + option | kind 31, 8, port, address | ... UDP
//
// Formats: DPVS include/uoa.h. The checksum of UDP stays the one between local address and server: whoever takes the header off finds it
// right.
#include <array>

#include "pipeline/client_address.h"
#include "pipeline/log_flow.h"

namespace millrace {

namespace {

/// Datagrams of a flow that carry UOA at least, as DPVS sends them (uoa_max_trail).
constexpr std::uint16_t kLeastUoa = 3;
constexpr std::uint8_t kProtocolUoa = 248;
constexpr std::uint32_t kUoaHead = 4;
constexpr std::uint32_t kIpv4Longest = 60;

/// The byte that says which protocol the transport header has: in the IPv6 header, or in the last one behind it.
std::uint8_t* next_header_byte(std::uint8_t* l3, std::uint8_t* l4) {
  auto* ip = reinterpret_cast<net::Ipv6*>(l3);
  std::uint8_t* next = &ip->next_header;
  for (std::uint8_t* header = l3 + sizeof(net::Ipv6); header < l4;) {
    const std::uint32_t length = *next == net::kProtocolIpv6Fragment ? 8u : *next == net::kProtocolAh ? (header[1] + 2u) * 4 : (header[1] + 1u) * 8;
    next = header;
    header += length;
  }
  return next;
}

/// IPv6 has no place for the option.
bool is_option(const Telling& t) {
  return t.rule.carrier == UoaCarrier::kOption && t.state.server_slots[t.session.server].address.is_v4();
}

void count(SessionDetail& detail) {
  if (detail.length != 0xffff) detail.length++;
}

bool drop(Telling& t, LogEvent event, DropReason reason, std::uint64_t value) {
  log_session(t.state, event, reason, t.id, t.session, value);
  return t.verdict = Verdict::drop(reason), false;
}

bool too_big(Telling& t) { return drop(t, LogEvent::client_address_too_big, DropReason::client_address_too_big, t.hop.mtu); }

/// Takes off a header of the balancer in front and puts ours there. `old`: what was accepted; its length 0 for none.
bool exchange_headers(Telling& t, const net::ProxyHeader& old, bool tells) {
  std::array<std::uint8_t, net::kProxyLongest + 512> buffer;
  std::uint32_t length = 0;
  if (tells) {
    length = write_session_header(t.state, t.session, t.detail, t.endpoints, old.tlvs, true, buffer);
  }
  const std::int32_t growth = static_cast<std::int32_t>(length) - static_cast<std::int32_t>(old.length);
  if (growth > 0) {
    const bool crowded = !t.fits(growth);
    if (crowded && t.rule.when_too_big == WhenTooBig::kDrop) return too_big(t);
    if (t.meta.l3_length + growth > 0xffff || !make_headroom(t.state, t.packet, static_cast<std::uint32_t>(growth))) {
      return too_big(t);
    }
  }
  replace_front_of_datagram(t.packet, t.meta, old.length, std::span(buffer).first(length));
  if (length == 0) return true;
  count(t.detail);
  t.state.counters.add(Counter::client_addresses_sent);
  return true;
}

bool plan_uoa(Telling& t) {
  if (t.detail.length >= kLeastUoa && t.session.state == SessionState::kUdpNormal) return true;
  const bool ipv4 = t.endpoints.source.is_v4();
  const bool option = is_option(t);
  const std::uint32_t length = address_option_length(ipv4) + (option ? 0 : kUoaHead);
  if (option && static_cast<std::uint32_t>(t.meta.l4_offset) - t.meta.l3_offset + length > kIpv4Longest) return note_crowded(t), true;
  // Servers take it off before fragments are put together. Others of the flow will tell.
  const bool fits = t.fits(static_cast<std::int32_t>(length)) && make_headroom(t.state, t.packet, length);
  if (!fits) return note_crowded(t), true;
  t.uoa = length;
  count(t.detail);
  t.state.counters.add(Counter::client_addresses_sent);
  return true;
}

}  // namespace

bool tell_udp(Telling& t) {
  if (t.direction == Direction::kOutbound) return true;
  net::ProxyHeader old{};
  t.endpoints = {t.session.client, vip_of(t.state, t.session, t.detail), t.session.client_port, t.session.vip_port};
  if ((t.detail.told & told_flag::kAwaiting) != 0) {
    const auto payload = udp_payload(t.packet, t.meta);
    old = net::read_proxy_header(payload, true);
    if (old.kind == net::ProxyHeader::Kind::kMalformed || old.kind == net::ProxyHeader::Kind::kIncomplete) {
      return drop(t, LogEvent::proxy_header_malformed, DropReason::proxy_header_malformed, payload.size());
    }
    if (old.kind == net::ProxyHeader::Kind::kProxied) t.endpoints = old.endpoints;
    t.state.counters.add(Counter::proxy_headers_accepted);
  }
  const bool tells = t.rule.method == ClientAddressMethod::kProxyV2 &&
                     (t.rule.datagrams == kEveryDatagram || t.detail.length < t.rule.datagrams);
  if ((old.length != 0 || tells) && !exchange_headers(t, old, tells)) return false;
  return t.rule.method != ClientAddressMethod::kUoa || plan_uoa(t);
}

void insert_uoa(Telling& t) {
  Packet& packet = t.packet;
  PacketMeta& meta = t.meta;
  const bool option = is_option(t);
  const std::uint32_t before = option ? meta.l3_offset + static_cast<std::uint32_t>(sizeof(net::Ipv4)) : meta.l4_offset;
  packet.data -= t.uoa;
  packet.length += t.uoa;
  std::memmove(packet.data, packet.data + t.uoa, before);
  std::uint8_t* l3 = packet.data + meta.l3_offset;
  std::uint8_t* at = packet.data + before;
  if (option) {
    write_address_option(kOptionUoa, t.endpoints, at);
  } else {
    const bool ipv4 = t.endpoints.source.is_v4();
    const std::uint8_t head[kUoaHead] = {static_cast<std::uint8_t>(ipv4 ? 0x10 : 0x20), net::kProtocolUdp, 0, static_cast<std::uint8_t>(t.uoa)};
    std::memcpy(at, head, sizeof(head));
    write_address_option(kOptionUoa, t.endpoints, at + kUoaHead);
  }
  const std::uint32_t length = meta.l3_length + t.uoa;
  if (meta.ipv6) {
    *next_header_byte(l3, packet.data + meta.l4_offset) = kProtocolUoa;
    set_l3_length(packet, meta, length);
    return;
  }
  auto* ip = reinterpret_cast<net::Ipv4*>(l3);
  if (option) {
    ip->version_ihl = static_cast<std::uint8_t>(ip->version_ihl + t.uoa / 4);
    meta.l4_offset = static_cast<std::uint16_t>(meta.l4_offset + t.uoa);
  } else {
    ip->protocol = kProtocolUoa;
  }
  ip->total_length = be16(static_cast<std::uint16_t>(length));
  ip->checksum.raw = 0;
  ip->checksum = net::finish(net::add_bytes(0, ip, ip->header_length()));
  meta.l3_length = static_cast<std::uint16_t>(length);
}

}  // namespace millrace
