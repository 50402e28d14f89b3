// TCP: numbers and timestamps shifted, PROXY headers in front of the first byte, TOA on segments until the server has been heard.
#include <algorithm>
#include <array>

#include "net/tcp_options.h"
#include "pipeline/accept_proxy.h"
#include "pipeline/client_address.h"
#include "pipeline/mss.h"
#include "pipeline/own_segment.h"
#include "pipeline/resolve.h"
#include "pipeline/toa.h"
#include "sessions/tcp_state.h"

namespace millrace {

namespace {

namespace option = net::tcp_option;
using namespace told_flag;

constexpr std::uint32_t kSequenceOffset = 4;
constexpr std::uint32_t kAcknowledgementOffset = 8;
constexpr std::uint32_t kWindowOffset = 14;

/// A PROXY header that the server has not acknowledged, or that has not even been sent.
bool is_pending(const Telling& t) { return is_proxy(t.rule.method) && (t.detail.told & kHeaderTaken) == 0; }

std::int32_t distance(std::uint32_t from, std::uint32_t to) { return static_cast<std::int32_t>(to - from); }

/// The client's numbers have not come round yet: where its first byte stands in them means something.
bool is_young(const Session& session) { return session.packets_in < 100'000; }

/// The client's first byte, in its own numbering.
std::uint32_t client_first(const SessionDetail& detail) { return detail.first_byte + detail.length - detail.sequence_shift_in; }

/// Shifts the numbers of a client's segment.
void shift_inbound(const Telling& t, std::uint32_t shift) {
  const TcpView view(t.packet, t.meta);
  TcpPatch patch(view.l4);
  patch.add32(kSequenceOffset, shift);
  if ((t.detail.told & kTimestamps) == 0) return;
  if (const std::uint32_t at = timestamps_of(view); at != 0) patch.add32(at, t.detail.timestamp_shift);
}

/// What segments in the client's name need to know.
void remember(Telling& t, const TcpView& view) {
  if (!view.has(net::tcp_flag::kAck) || view.has(net::tcp_flag::kRst)) return;
  t.detail.last_ack = view.acknowledgement();
  t.detail.window = view.tcp().window.host();
  const std::uint32_t at = (t.detail.told & kTimestamps) != 0 ? timestamps_of(view) : 0;
  if (at == 0) return;
  const TcpPatch read(view.l4);
  t.detail.last_tsval = read.get32(at);
  t.detail.last_tsecr = read.get32(at + 4);
}

/// The PROXY header as a segment of its own.
OwnSegment header_segment(const WorkerState& state, const Session& session, const SessionDetail& detail, std::span<const std::uint8_t> header) {
  return {.tuple = {state.local_slots[session.local].address, state.server_slots[session.server].address, session.local_port,
                    server_port_of(state, session)},
          .sequence = detail.first_byte,
          .acknowledgement = detail.last_ack,
          .flags = net::tcp_flag::kAck | net::tcp_flag::kPsh,
          .window = detail.window,
          .timestamps = (detail.told & kTimestamps) != 0,
          .tsval = detail.last_tsval + detail.timestamp_shift,
          .tsecr = detail.last_tsecr,
          .payload = header};
}

std::span<const std::uint8_t> kept_tlvs(const WorkerState& state, const SessionDetail& detail) {
  if (detail.accepted == kNoneAccepted) return {};
  return state.accepted_headers->at(detail.accepted).tlvs();
}

/// The header's bytes; none when it is not what was counted on any more.
std::span<const std::uint8_t> header_bytes(const WorkerState& state, const Session& session, const SessionDetail& detail,
                                           std::span<std::uint8_t> buffer) {
  const std::uint32_t length =
      write_session_header(state, session, detail, endpoints_of(state, session, detail), kept_tlvs(state, detail), false, buffer);
  return buffer.first(length == detail.length ? length : 0);
}

constexpr std::uint32_t kHeaderBuffer = net::kProxyLongest + 512;

void note_sent(Telling& t) {
  t.state.counters.add(Counter::client_addresses_sent);
  if ((t.detail.told & kHeaderSent) != 0) return;
  t.detail.told |= kHeaderSent;
  t.state.header_timers->add(0, t.id, t.detail.first_byte, t.state.now_ms);
}

/// The header leaves before the packet, which then follows it in the stream.
void send_header_ahead(Telling& t) {
  std::array<std::uint8_t, kHeaderBuffer> buffer;
  const auto header = header_bytes(t.state, t.session, t.detail, buffer);
  Packet ahead;
  // Where no frame is left the timer tries again.
  if (!header.empty() && make_segment(t.state, header_segment(t.state, t.session, t.detail, header), t.hop, ahead)) t.ahead = ahead;
  note_sent(t);
}

/// The segment begins with the client's first byte, or ends the connection before it: the header stands in it, or goes ahead.
void carry_header(Telling& t) {
  std::array<std::uint8_t, kHeaderBuffer> buffer;
  const auto header = header_bytes(t.state, t.session, t.detail, buffer);
  const auto length = static_cast<std::uint32_t>(header.size());
  const bool urgent = TcpView(t.packet, t.meta).has(net::tcp_flag::kUrg);  // its pointer counts from the segment's first byte
  if (length == 0 || urgent || !t.fits(static_cast<std::int32_t>(length)) || !make_headroom(t.state, t.packet, length)) {
    send_header_ahead(t);
    return shift_inbound(t, t.detail.sequence_shift_in);
  }
  shift_inbound(t, t.detail.sequence_shift_in - length);
  const TcpView view(t.packet, t.meta);
  std::array<std::uint8_t, sizeof(net::Tcp) + net::kMaxTcpOptions> front;
  std::memcpy(front.data(), view.l4, view.header);
  reinterpret_cast<net::Tcp*>(front.data())->flags |= net::tcp_flag::kPsh;
  replace_front(t.packet, t.meta, {.header = std::span(front).first(view.header), .inserted = header});
  note_sent(t);
}

/// Leaves out the first `count` bytes of the segment's payload.
void leave_out(Telling& t, std::uint32_t count) {
  const TcpView view(t.packet, t.meta);
  std::array<std::uint8_t, sizeof(net::Tcp) + net::kMaxTcpOptions> front;
  std::memcpy(front.data(), view.l4, view.header);
  auto* tcp = reinterpret_cast<net::Tcp*>(front.data());
  tcp->sequence = be32(view.sequence() + count);
  if (view.has(net::tcp_flag::kUrg)) {
    const std::uint32_t pointer = tcp->urgent.host();
    tcp->urgent = be16(static_cast<std::uint16_t>(pointer > count ? pointer - count : 0));
    if (pointer <= count) tcp->flags = static_cast<std::uint8_t>(tcp->flags & ~net::tcp_flag::kUrg);
  }
  replace_front(t.packet, t.meta, {.header = std::span(front).first(view.header), .left_out = count});
}

/// A client's segment while the server has not acknowledged the header.
void before_header_is_taken(Telling& t) {
  TcpView view(t.packet, t.meta);
  const std::uint32_t after = t.detail.sequence_shift_in;
  const std::uint32_t before = after - t.detail.length;
  const bool sent = (t.detail.told & kHeaderSent) != 0;
  if ((t.detail.told & kAnswered) == 0) return shift_inbound(t, before);
  if (view.has(net::tcp_flag::kRst)) {
    if ((t.detail.told & kConnected) == 0) return shift_inbound(t, before);
    // Who logs connections learns whose it was.
    send_header_ahead(t);
    return shift_inbound(t, after);
  }
  std::int32_t begin = distance(client_first(t.detail), view.sequence());
  const bool fin = view.has(net::tcp_flag::kFin);
  if (view.payload != 0 && begin < 0) {
    // A keepalive probe with a byte of nothing, or again the header of a balancer in front: not to stand in our header's place.
    const std::uint32_t old = std::min(view.payload, static_cast<std::uint32_t>(-begin));
    const bool nothing_new = old == view.payload && !fin;
    leave_out(t, old);
    begin += static_cast<std::int32_t>(old);
    view = TcpView(t.packet, t.meta);
    // The server answers what is behind its time.
    if (nothing_new && !(begin == 0 && sent)) {
      TcpPatch(view.l4).put32(kSequenceOffset, t.detail.first_byte - 1 - before);
      return shift_inbound(t, before);
    }
  }
  if (view.payload == 0 && !fin) {
    if (begin == 0 && (sent || t.rule.server_first)) return carry_header(t);
    return shift_inbound(t, sent && begin >= 0 ? after : before);
  }
  if (begin == 0) return carry_header(t);
  // The first byte is still on its way, or lost.
  if (!sent) send_header_ahead(t);
  shift_inbound(t, after);
}

/// TOA on what the server may still need to learn the address from.
void tell_by_option(Telling& t) {
  const TcpView view(t.packet, t.meta);
  if ((t.detail.told & kAnswered) == 0 || !view.has(net::tcp_flag::kAck) || view.has(net::tcp_flag::kRst)) return;
  const std::int32_t heard = distance(t.detail.server_first, view.acknowledgement());
  if (heard == 0) return insert_toa(t);
  if (heard < 0) return;
  t.detail.told = static_cast<std::uint8_t>(t.detail.told & ~kTelling);
  if (t.detail.accepted == kNoneAccepted) return;
  t.state.accepted_headers->release(t.detail.accepted);
  t.detail.accepted = kNoneAccepted;
}

/// TCP fast open: the server would act on data before it knows whose they are, and its cookies would be those of a local address.
void refuse_fast_open(Telling& t) {
  constexpr std::uint32_t magic = 0xf989;  // of the experimental form (RFC 7413 4.1.1)
  const TcpView view(t.packet, t.meta);
  bool refused = view.payload != 0;
  {
    TcpPatch patch(view.l4);
    const auto options = view.options();
    net::for_each_tcp_option(options, [&](std::uint8_t kind, std::uint32_t at, std::uint32_t length) {
      const bool experimental = (kind == option::kExperiment1 || kind == option::kExperiment2) && length >= 4 &&
                                (options[at + 2] << 8 | options[at + 3]) == magic;
      if (kind != option::kFastOpen && !experimental) return;
      for (std::uint32_t i = 0; i < length; i++) patch.put8(static_cast<std::uint32_t>(sizeof(net::Tcp)) + at + i, option::kNop);
      refused = true;
    });
  }
  // The client sends it again when the SYN-ACK does not acknowledge it.
  truncate_payload(t.packet, t.meta, 0);
  if (refused) t.state.counters.add(Counter::fast_open_refused);
}

/// A client's SYN: new numbers for a new connection, the same for the same one.
void tell_with_syn(Telling& t) {
  refuse_fast_open(t);
  SessionDetail& detail = t.detail;
  const TcpView view(t.packet, t.meta);
  const SessionState state = t.session.state;
  const bool opening = state == SessionState::kSynSent || state == SessionState::kSynRecv;
  const bool repeated = state != SessionState::kNone && is_repeated_syn(detail, t.packet, t.meta);
  // The server knows better than we which connection it is in; its answer leads the client to reset that one.
  if (!repeated && state == SessionState::kEstablished) return shift_inbound(t, detail.sequence_shift_in);
  if (!repeated) {
    const std::uint32_t own = opening ? detail.first_byte - 1 : initial_sequence(t.state, t.session);
    end_telling(t.state, t.session, detail);
    t.session.told = 1;
    const bool tells = t.rule.method != ClientAddressMethod::kNone;
    const bool accepts = (detail.scale & kAccepts) != 0;
    detail.told = static_cast<std::uint8_t>((tells ? kTelling : 0) | (accepts ? kAwaiting : 0) | (detail.told & kCrowded));
    detail.first_byte = own + 1;
    detail.scale &= kAccepts;
    detail.length = 0;
    detail.sequence_shift_in = own - view.sequence();
    if (const std::uint32_t at = timestamps_of(view); at != 0) {
      detail.told |= kTimestamps;
      detail.timestamp_shift = initial_timestamp(t.state, t.session) - TcpPatch(view.l4).get32(at);
    }
    if (is_proxy(t.rule.method) && !accepts) begin_header(t);
  }
  shift_inbound(t, detail.first_byte - 1 - view.sequence());
  if (t.rule.method == ClientAddressMethod::kToa && t.rule.on_syn && (detail.told & kAwaiting) == 0) insert_toa(t);
}

/// What the server's window scale is, or 0.
std::uint8_t window_scale(const TcpView& view) {
  std::uint8_t scale = 0;
  const auto options = view.options();
  net::for_each_tcp_option(options, [&](std::uint8_t kind, std::uint32_t at, std::uint32_t length) {
    if (kind == option::kWindowScale && length == 3) scale = std::min<std::uint8_t>(options[at + 2], 14);
  });
  return scale;
}

/// SACK blocks in the client's numbers. A block of our header alone, which a D-SACK of a repeated one is, is none of the client's.
void shift_sack(const Telling& t, const TcpView& view, TcpPatch& patch) {
  const SessionDetail& detail = t.detail;
  const bool young = is_young(t.session);
  const std::uint32_t first = client_first(detail);
  net::for_each_tcp_option(view.options(), [&](std::uint8_t kind, std::uint32_t offset, std::uint32_t length) {
    if (kind != option::kSack || (length - 2) % 8 != 0) return;
    const std::uint32_t at = static_cast<std::uint32_t>(sizeof(net::Tcp)) + offset;
    std::uint32_t kept = 0;
    for (std::uint32_t block = 2; block < length; block += 8) {
      std::uint32_t edges[2];
      for (std::uint32_t i = 0; i < 2; i++) {
        edges[i] = patch.get32(at + block + 4 * i) - detail.sequence_shift_in;
        if (young && distance(first, edges[i]) < 0) edges[i] = first;
      }
      if (edges[0] == edges[1]) continue;
      patch.put32(at + 2 + kept, edges[0]);
      patch.put32(at + 2 + kept + 4, edges[1]);
      kept += 8;
    }
    if (kept + 2 == length) return;
    if (kept != 0) patch.put8(at + 1, static_cast<std::uint8_t>(kept + 2));
    for (std::uint32_t i = kept == 0 ? 0 : kept + 2; i < length; i++) patch.put8(at + i, option::kNop);
  });
}

/// Bytes that a header takes of the server's window are not the client's to fill.
void shrink_window(TcpPatch& patch, const TcpView& view, std::uint32_t taken, std::uint32_t scale) {
  const std::uint32_t window = view.tcp().window.host();
  const std::uint32_t less = (taken + (1u << scale) - 1) >> scale;
  patch.put16(kWindowOffset, static_cast<std::uint16_t>(window > less ? window - less : 0));
}

void note_syn_ack(Telling& t, const TcpView& view) {
  SessionDetail& detail = t.detail;
  detail.server_first = view.sequence() + 1;
  detail.last_ack = detail.server_first;
  detail.told |= kAnswered;
  detail.scale = static_cast<std::uint8_t>((detail.scale & kAccepts) | window_scale(view));
  if (timestamps_of(view) == 0) detail.told = static_cast<std::uint8_t>(detail.told & ~kTimestamps);
  detail.window = view.tcp().window.host();
  if (t.rule.method != ClientAddressMethod::kToa || t.state.crowded[t.session.service] == 0) return;
  const std::uint16_t largest = largest_segment(t.state, t.session);
  const std::uint32_t toa = address_option_length((t.session.flags & session_flag::kIpv6) == 0);
  if (largest > toa && clamp_mss(t.packet, t.meta, static_cast<std::uint16_t>(largest - toa))) t.state.counters.add(Counter::mss_clamped);
}

bool from_server(Telling& t) {
  SessionDetail& detail = t.detail;
  const TcpView view(t.packet, t.meta);
  const bool syn = view.has(net::tcp_flag::kSyn);
  if (syn && view.has(net::tcp_flag::kAck)) note_syn_ack(t, view);
  if (!view.has(net::tcp_flag::kAck)) return true;
  const std::uint32_t acknowledged = view.acknowledgement();
  if (is_pending(t) && (detail.told & kHeaderSent) != 0 && distance(detail.first_byte + detail.length, acknowledged) >= 0) {
    detail.told = static_cast<std::uint8_t>((detail.told | kHeaderTaken) & ~kTelling);
    if (detail.accepted != kNoneAccepted) {
      t.state.accepted_headers->release(detail.accepted);
      detail.accepted = kNoneAccepted;
    }
  }
  TcpPatch patch(view.l4);
  std::uint32_t shifted = acknowledged - detail.sequence_shift_in;
  if (is_pending(t) && (detail.told & kAnswered) == 0) {
    shifted += detail.length;  // about another connection, or none: as the client's answer will be
  } else if (is_pending(t) || (is_young(t.session) && acknowledged - detail.first_byte < detail.length)) {  // one may come late
    const std::int32_t missing = distance(shifted, client_first(detail));
    if (missing > 0) {
      shifted += static_cast<std::uint32_t>(missing);
      shrink_window(patch, view, static_cast<std::uint32_t>(missing), syn ? 0 : detail.scale & kScaleMask);
    }
  }
  patch.put32(kAcknowledgementOffset, shifted);
  if (view.header == sizeof(net::Tcp)) return true;
  if ((detail.told & kTimestamps) != 0) {
    if (const std::uint32_t at = timestamps_of(view); at != 0) patch.add32(at + 4, 0u - detail.timestamp_shift);
  }
  const bool timestamps_alone = view.header == sizeof(net::Tcp) + 12 && view.options()[2] == option::kTimestamps;
  if (!timestamps_alone) shift_sack(t, view, patch);
  return true;
}

}  // namespace

void begin_header(Telling& t) {
  std::array<std::uint8_t, kHeaderBuffer> buffer;
  const std::uint32_t length = write_session_header(t.state, t.session, t.detail, endpoints_of(t.state, t.session, t.detail),
                                                    kept_tlvs(t.state, t.detail), false, buffer);
  t.detail.length = static_cast<std::uint16_t>(length);
  t.detail.sequence_shift_in += length;
}

std::uint32_t to_server_sequence(const ClientAddressRule& rule, const SessionDetail& detail, std::uint32_t sequence) {
  const bool unsent = is_proxy(rule.method) && (detail.told & (kHeaderSent | kHeaderTaken)) == 0;
  return sequence + detail.sequence_shift_in - (unsent ? detail.length : 0u);
}

std::uint32_t to_client_sequence(const Session& session, const SessionDetail& detail, std::uint32_t sequence) {
  const std::uint32_t shifted = sequence - detail.sequence_shift_in, first = client_first(detail);
  // A quote of our own header is one of the client's first byte.
  return is_young(session) && distance(shifted, first) > 0 && distance(shifted, first) <= detail.length ? first : shifted;
}

bool tell_fragment(Telling& t, DropReason& reason) {
  const bool inbound = t.direction == Direction::kInbound;
  if (t.meta.protocol == net::kProtocolUdp) {
    const bool carries = t.rule.method == ClientAddressMethod::kProxyV2 && (t.rule.datagrams == kEveryDatagram || t.detail.length < t.rule.datagrams);
    if (!inbound || (!carries && (t.detail.told & kAwaiting) == 0)) return true;
    return reason = DropReason::client_address_fragment, false;
  }
  if (is_later_fragment(t.meta)) return true;
  const bool carries = is_pending(t) || (t.detail.told & kAwaiting) != 0 ||
                       (t.rule.method == ClientAddressMethod::kToa && (t.detail.told & kTelling) != 0);
  if (inbound && (carries || (t.meta.tcp_flags & net::tcp_flag::kSyn) != 0)) return reason = DropReason::client_address_fragment, false;
  return tell_tcp(t);
}

bool is_repeated_syn(const SessionDetail& detail, const Packet& packet, const PacketMeta& meta) {
  // Between the SYN and the first byte that goes on there may have been a header that was taken off.
  const std::uint32_t taken_off = (detail.scale & kAccepts) != 0 && (detail.told & kAwaiting) == 0 ? net::kProxyLongest : 0;
  return client_first(detail) - 1 - TcpView(packet, meta).sequence() <= taken_off;
}

void leave_out_front(Telling& t, std::uint32_t count) { leave_out(t, count); }

bool tell_tcp(Telling& t) {
  if (t.direction == Direction::kOutbound) return from_server(t);
  const TcpView view(t.packet, t.meta);
  if (view.has(net::tcp_flag::kSyn)) return tell_with_syn(t), true;
  if ((t.detail.told & kAwaiting) != 0) {
    if (view.has(net::tcp_flag::kRst) || (t.detail.told & kAnswered) == 0) return shift_inbound(t, t.detail.sequence_shift_in), true;
    if (!take_front(t)) return false;
  }
  const TcpView now(t.packet, t.meta);
  const bool pending = is_pending(t);
  if (pending) remember(t, now);
  if (now.has(net::tcp_flag::kAck) && !now.has(net::tcp_flag::kRst) && (t.detail.told & kAnswered) != 0 &&
      distance(t.detail.server_first, now.acknowledgement()) >= 0) {
    t.detail.told |= kConnected;
  }
  if (pending) return before_header_is_taken(t), true;
  shift_inbound(t, t.detail.sequence_shift_in);
  if (t.rule.method == ClientAddressMethod::kToa && (t.detail.told & kTelling) != 0) tell_by_option(t);
  return true;
}

void repeat_headers(WorkerState& state) {
  constexpr std::uint32_t per_turn = kBatchSize;
  HeaderTimers::Entry entry;
  std::uint32_t stage;
  for (std::uint32_t i = 0; i < per_turn && state.header_timers->take(state.now_ms, entry, stage); i++) {
    if (!state.sessions->is_live(entry.session)) continue;
    Session& session = state.sessions->at(entry.session);
    SessionDetail& detail = state.sessions->detail(entry.session);
    if (session.told == 0 || session.protocol != net::kProtocolTcp || detail.first_byte != entry.first_byte) continue;
    if ((detail.told & kHeaderTaken) != 0 || session.state == SessionState::kClose) continue;
    std::array<std::uint8_t, kHeaderBuffer> buffer;
    const auto header = header_bytes(state, session, detail, buffer);
    const NextHop* hop = ready_hop(state, state.server_slots[session.server].address);
    if (hop != nullptr && !header.empty() && send_segment(state, header_segment(state, session, detail, header), *hop)) {
      state.counters.add(Counter::proxy_headers_repeated);
    }
    state.header_timers->add(std::min(stage + 1, HeaderTimers::kStages - 1), entry.session, entry.first_byte, state.now_ms);
  }
}

}  // namespace millrace
