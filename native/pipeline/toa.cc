// Making room for TOA.
#include "pipeline/toa.h"

#include <algorithm>
#include <array>

#include "net/tcp_options.h"

namespace millrace {

namespace {

namespace option = net::tcp_option;

/// What goes so that there is room: each level and those before it.
enum Level : std::uint32_t { kNothing, kPadding, kUnknown, kOldSack, kAllSack, kMultipathToo, kFastOpenToo, kLevels };

bool is_known(std::uint8_t kind) {
  switch (kind) {
    case option::kMss:
    case option::kWindowScale:
    case option::kSackPermitted:
    case option::kSack:
    case option::kTimestamps:
    case option::kMd5:
    case option::kAuthentication:
    case option::kMultipath:
    case option::kFastOpen:
      return true;
    default:
      return false;
  }
}

/// How many bytes of an option stay at a level, of those that may go in part: SACK keeps its first blocks, which are the newest (RFC 2018 4).
std::uint32_t kept_of(std::uint8_t kind, std::uint32_t length, std::uint32_t level, bool syn, std::uint32_t sack_room) {
  if (kind == option::kNop) return level >= kPadding ? 0 : length;
  if (!is_known(kind)) return level >= kUnknown ? 0 : length;
  if (kind == option::kSack && !syn && level >= kOldSack) {
    if (level >= kAllSack) return 0;
    return std::min(length, 2 + sack_room / 8 * 8);
  }
  if (kind == option::kMultipath && level >= kMultipathToo) return 0;
  if (kind == option::kFastOpen && level >= kFastOpenToo) return 0;
  return length;
}

/// Bytes of all options at a level, unpadded.
std::uint32_t length_at(std::span<const std::uint8_t> options, bool syn, std::uint32_t level, std::uint32_t sack_room) {
  std::uint32_t length = 0;
  net::for_each_tcp_option(options, [&](std::uint8_t kind, std::uint32_t, std::uint32_t size) {
    length += kept_of(kind, size, level, syn, sack_room);
  });
  return length;
}

std::uint32_t write_at(std::span<const std::uint8_t> options, bool syn, std::uint32_t level, std::uint32_t sack_room, std::span<std::uint8_t> out) {
  std::uint32_t at = 0;
  net::for_each_tcp_option(options, [&](std::uint8_t kind, std::uint32_t offset, std::uint32_t size) {
    const std::uint32_t kept = kept_of(kind, size, level, syn, sack_room);
    if (kept == 0) return;
    std::memcpy(out.data() + at, options.data() + offset, kept);
    if (kept != size) out[at + 1] = static_cast<std::uint8_t>(kept);
    at += kept;
  });
  while (at % 4 != 0) out[at++] = option::kEnd;
  return at;
}

/// Bytes of payload for the first half of a segment that has to be divided, so that both fit with `growth` more bytes of header; 0 when
/// two halves are not enough, or it cannot be divided: an urgent pointer counts from the whole segment.
std::uint32_t first_half(const Telling& telling, const TcpView& view, std::int32_t growth) {
  const std::int32_t excess = static_cast<std::int32_t>(telling.meta.l3_length) + telling.grown + growth - telling.hop.mtu;
  const std::int32_t most = (static_cast<std::int32_t>(view.payload) - excess) & ~1;
  if (most <= 0 || view.payload > 2 * static_cast<std::uint32_t>(most) || view.has(net::tcp_flag::kUrg)) return 0;
  // A wrong checksum says nothing of either half.
  return net::fold(tcp_sum(telling.packet, telling.meta)) == 0xffff ? static_cast<std::uint32_t>(most) : 0;
}

/// Cuts the segment after `first` bytes; the rest becomes telling.behind.
bool divide(Telling& telling, std::uint32_t first) {
  constexpr std::uint8_t window_reduced = 0x80;
  if (telling.state.frames == nullptr) return false;
  std::uint8_t* frame = telling.state.frames->acquire();
  if (frame == nullptr) return false;
  const TcpView view(telling.packet, telling.meta);
  const std::uint32_t front = telling.meta.l4_offset + view.header;
  const std::uint32_t rest = view.payload - first;
  std::memcpy(frame, telling.packet.data, front);
  std::memcpy(frame + front, view.l4 + view.header + first, rest);
  Packet behind = telling.packet;
  behind.data = frame;
  PacketMeta meta = telling.meta;
  set_l3_length(behind, meta, telling.meta.l3_length - first);
  auto* tcp = reinterpret_cast<net::Tcp*>(frame + meta.l4_offset);
  tcp->sequence = be32(view.sequence() + first);
  tcp->flags = static_cast<std::uint8_t>(tcp->flags & ~window_reduced);
  tcp->checksum.raw = 0;
  tcp->checksum = net::finish(tcp_sum(behind, meta));
  if (!meta.ipv6) {
    // Two packets of one source must not share an identification, should somebody cut them (RFC 6864 4.3).
    auto* ip = reinterpret_cast<net::Ipv4*>(frame + meta.l3_offset);
    const be16 id(telling.state.ip_id++);
    ip->checksum = net::updated(ip->checksum, net::difference(ip->id.raw, id.raw));
    ip->id = id;
  }
  truncate_payload(telling.packet, telling.meta, first);
  const std::uint8_t flags = telling.packet.data[telling.meta.l4_offset + 13];
  TcpPatch(telling.packet.data + telling.meta.l4_offset).put8(13, static_cast<std::uint8_t>(flags & ~(net::tcp_flag::kFin | net::tcp_flag::kPsh)));
  telling.meta.tcp_flags = static_cast<std::uint8_t>(telling.meta.tcp_flags & ~(net::tcp_flag::kFin | net::tcp_flag::kPsh));
  telling.behind = behind;
  telling.behind_meta = meta;
  return true;
}

}  // namespace

std::int32_t prune_options(std::span<const std::uint8_t> options, bool syn, std::uint32_t room, std::span<std::uint8_t> out) {
  for (std::uint32_t level = kNothing; level < kLevels; level++) {
    std::uint32_t sack_room = 0;
    if (level == kOldSack) {
      const std::uint32_t others = length_at(options, syn, kAllSack, 0);
      if (others + 2 + 8 > room) continue;
      sack_room = room - others - 2;
    }
    const std::uint32_t length = length_at(options, syn, level, sack_room);
    if ((length + 3) / 4 * 4 <= room / 4 * 4) return static_cast<std::int32_t>(write_at(options, syn, level, sack_room, out));
  }
  return -1;
}

void insert_toa(Telling& telling) {
  const TcpView view(telling.packet, telling.meta);
  const bool syn = view.has(net::tcp_flag::kSyn);
  const net::ProxyEndpoints endpoints = endpoints_of(telling.state, telling.session, telling.detail);
  const bool ipv4 = endpoints.source.is_v4();
  const std::uint32_t toa = address_option_length(ipv4);
  std::array<std::uint8_t, sizeof(net::Tcp) + net::kMaxTcpOptions> header;
  std::memcpy(header.data(), view.l4, sizeof(net::Tcp));
  write_address_option(ipv4 ? telling.rule.kind_ipv4 : telling.rule.kind_ipv6, endpoints, header.data() + sizeof(net::Tcp));
  const std::int32_t others =
      prune_options(view.options(), syn, net::kMaxTcpOptions - toa, std::span(header).subspan(sizeof(net::Tcp) + toa));
  if (others < 0) return note_crowded(telling);
  const std::uint32_t length = static_cast<std::uint32_t>(sizeof(net::Tcp)) + toa + static_cast<std::uint32_t>(others);
  const std::int32_t growth = static_cast<std::int32_t>(length) - static_cast<std::int32_t>(view.header);
  if (growth > 0 && !make_headroom(telling.state, telling.packet, static_cast<std::uint32_t>(growth))) return note_crowded(telling);
  if (!telling.fits(growth)) {
    // A packet that is too big as it is will be refused in any case.
    if (!telling.fits(0)) return;
    note_crowded(telling);
    const std::uint32_t first = first_half(telling, TcpView(telling.packet, telling.meta), growth);
    if (first == 0 || !divide(telling, first)) return;
    telling.state.counters.add(Counter::segments_divided);
    // The header is that of both, but for sequence number and flags.
    std::array<std::uint8_t, sizeof(net::Tcp) + net::kMaxTcpOptions> second = header;
    std::memcpy(second.data(), telling.behind->data + telling.behind_meta.l4_offset, sizeof(net::Tcp));
    replace_front(*telling.behind, telling.behind_meta, {.header = std::span(second).first(length)});
    std::memcpy(header.data(), telling.packet.data + telling.meta.l4_offset, sizeof(net::Tcp));
  }
  replace_front(telling.packet, telling.meta, {.header = std::span(header).first(length)});
  telling.state.counters.add(Counter::client_addresses_sent);
}

}  // namespace millrace
