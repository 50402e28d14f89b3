// Collecting a header's bytes, acknowledging them in the server's name, resetting what is no header.
#include "pipeline/accept_proxy.h"

#include <algorithm>

#include "forwarders/registry.h"
#include "pipeline/log_flow.h"
#include "pipeline/own_segment.h"
#include "pipeline/track.h"

namespace millrace {

namespace {

using Kind = net::ProxyHeader::Kind;

/// A segment in the server's name.
OwnSegment to_client(const Telling& t, std::uint32_t acknowledged, std::uint8_t flags) {
  const TcpView view(t.packet, t.meta);
  const std::uint32_t scale = t.detail.scale & kScaleMask;
  OwnSegment segment{.tuple = outbound_translated(t.state, t.session, t.detail),
                     .sequence = t.detail.server_first,
                     .acknowledgement = acknowledged,
                     .flags = flags,
                     .window = static_cast<std::uint16_t>(std::max(1, t.detail.window >> scale))};
  const std::uint32_t at = (t.detail.told & told_flag::kTimestamps) != 0 ? timestamps_of(view) : 0;
  if (at == 0) return segment;
  // The client echoes the server's last timestamp; the server has not said a newer one.
  const TcpPatch read(view.l4);
  segment.timestamps = true;
  segment.tsval = read.get32(at + 4);
  segment.tsecr = read.get32(at);
  return segment;
}

void acknowledge(const Telling& t, std::uint32_t acknowledged) {
  const NextHop* hop = ready_hop(t.state, t.session.client);
  if (hop != nullptr) send_segment(t.state, to_client(t, acknowledged, net::tcp_flag::kAck), *hop);
}

bool end_here(Telling& t, std::uint32_t acknowledged) {
  acknowledge(t, acknowledged);
  t.verdict = Verdict::consumed();
  return false;
}

/// No header in `bytes` bytes: both ends are told, and nothing of it has reached the server.
bool refuse(Telling& t, std::uint32_t bytes) {
  const TcpView view(t.packet, t.meta);
  if (const NextHop* hop = ready_hop(t.state, t.session.client); hop != nullptr) {
    OwnSegment reset = to_client(t, view.sequence() + view.payload, net::tcp_flag::kRst | net::tcp_flag::kAck);
    reset.window = 0;
    send_segment(t.state, reset, *hop);
  }
  send_segment(t.state, {.tuple = inbound_translated(t.state, t.session, t.detail), .sequence = t.detail.first_byte, .flags = net::tcp_flag::kRst},
               t.hop);
  enter_state(t.state, t.id, t.session, SessionState::kClose);
  t.verdict = Verdict::drop(DropReason::proxy_header_malformed);
  log_session(t.state, LogEvent::proxy_header_malformed, DropReason::proxy_header_malformed, t.id, t.session, bytes);
  return false;
}

/// The header is whole; `from` bytes of this segment belong to what came before the client's own first byte.
bool accept(Telling& t, const net::ProxyHeader& header, std::uint32_t from) {
  SessionDetail& detail = t.detail;
  AcceptedHeader& accepted = t.state.accepted_headers->at(detail.accepted);
  const std::uint32_t first = detail.first_byte - detail.sequence_shift_in + header.length;
  if (header.kind == Kind::kProxied) {
    accepted.endpoints = header.endpoints;
    accepted.tlv_length = static_cast<std::uint32_t>(header.tlvs.size());
    accepted.tlv_offset = accepted.tlv_length == 0 ? 0 : static_cast<std::uint32_t>(header.tlvs.data() - accepted.bytes.data());
  } else {
    accepted.endpoints = endpoints_of(t.state, t.session, detail);
  }
  t.state.counters.add(Counter::proxy_headers_accepted);
  detail.told = static_cast<std::uint8_t>(detail.told & ~told_flag::kAwaiting);
  detail.sequence_shift_in -= header.length;
  if (is_proxy(t.rule.method)) {
    begin_header(t);
  } else if (t.rule.method == ClientAddressMethod::kNone) {
    t.state.accepted_headers->release(detail.accepted);
    detail.accepted = kNoneAccepted;
  }
  const TcpView view(t.packet, t.meta);
  // What follows in the segment will be acknowledged by the server; nothing follows, and nobody else says that the header has come.
  if (view.payload == from && !view.has(net::tcp_flag::kFin)) acknowledge(t, first);
  leave_out_front(t, from);
  return true;
}

}  // namespace

bool take_front(Telling& t) {
  SessionDetail& detail = t.detail;
  const TcpView view(t.packet, t.meta);
  const std::uint32_t first = detail.first_byte - detail.sequence_shift_in;
  const std::uint32_t have = detail.accepted == kNoneAccepted ? 0 : t.state.accepted_headers->at(detail.accepted).have;
  if (view.payload == 0 && !view.has(net::tcp_flag::kFin)) {
    // The end of the handshake, or a probe of whether somebody is there.
    if (view.sequence() == first + have) return t.verdict = Verdict::consumed(), false;
    return end_here(t, first + have);
  }
  const auto offset = static_cast<std::int32_t>(view.sequence() - (first + have));
  if (offset > 0) return t.verdict = Verdict::drop(DropReason::proxy_header_out_of_order), false;
  const std::uint32_t known = 0u - static_cast<std::uint32_t>(offset);
  if (known >= view.payload && view.payload != 0) return end_here(t, first + have);
  if (detail.accepted == kNoneAccepted) {
    detail.accepted = t.state.accepted_headers->take();
    if (detail.accepted == kNoneAccepted) {
      log_session(t.state, LogEvent::proxy_headers_full, DropReason::proxy_headers_full, t.id, t.session, 0);
      return t.verdict = Verdict::drop(DropReason::proxy_headers_full), false;
    }
  }
  AcceptedHeader& accepted = t.state.accepted_headers->at(detail.accepted);
  const std::uint32_t taken = std::min(view.payload - known, net::kProxyLongest - have);
  std::memcpy(accepted.bytes.data() + have, view.l4 + view.header + known, taken);
  const net::ProxyHeader header = net::read_proxy_header(std::span<const std::uint8_t>(accepted.bytes).first(have + taken), false);
  if (header.kind == Kind::kProxied || header.kind == Kind::kLocal) return accept(t, header, known + header.length - have);
  if (header.kind == Kind::kMalformed || view.has(net::tcp_flag::kFin) || have + taken == net::kProxyLongest) return refuse(t, have + taken);
  accepted.have = have + taken;
  return end_here(t, first + accepted.have);
}

}  // namespace millrace
