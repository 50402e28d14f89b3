// Fragmentation.
#include "pipeline/fragment_out.h"

#include <algorithm>
#include <cstring>

#include "core/hash.h"
#include "net/checksum.h"

namespace millrace {

namespace {

/// Bit of an option's type that says whether it is copied into every fragment (RFC 791 3.1).
constexpr std::uint8_t kCopied = 0x80;

/// Options of later fragments: those to be copied; the others become no-operations, so that the header keeps its length.
void blank_uncopied_options(std::uint8_t* option, std::uint32_t length) {
  for (std::uint32_t i = 0; i < length && option[i] != 0;) {
    const std::uint32_t size = option[i] == 1 ? 1u : option[i + 1];
    if ((option[i] & kCopied) == 0) std::memset(option + i, 1, size);
    i += size;
  }
}

void finish_header(std::uint8_t* l3, std::uint32_t header, std::uint32_t payload, std::uint16_t flags_offset) {
  auto* ip = reinterpret_cast<net::Ipv4*>(l3);
  ip->total_length = be16(static_cast<std::uint16_t>(header + payload));
  ip->fragment = be16(flags_offset);
  ip->checksum.raw = 0;
  ip->checksum = net::finish(net::add_bytes(0, ip, header));
}

}  // namespace

int cut_ipv4(WorkerState& state, Packet& packet, const PacketMeta& meta, std::uint32_t mtu, Packet* pieces, std::uint32_t room) {
  std::uint8_t* l3 = packet.data + meta.l3_offset;
  const auto* ip = reinterpret_cast<const net::Ipv4*>(l3);
  const std::uint32_t header = ip->header_length();
  const std::uint32_t payload = packet.length - meta.l3_offset - header;
  if (mtu < header + 8) return -1;
  const std::uint32_t step = (mtu - header) / 8 * 8;
  const std::uint32_t needed = (payload + step - 1) / step - 1;
  if (needed > room || state.frames == nullptr || state.frames->available() < needed) return -1;

  const std::uint16_t original = ip->fragment.host();
  for (std::uint32_t n = 1; n <= needed; n++) {
    const std::uint32_t from = n * step;
    const std::uint32_t size = std::min(step, payload - from);
    Packet& piece = pieces[n - 1];
    piece = packet;
    piece.data = state.frames->acquire();
    piece.length = meta.l3_offset + header + size;
    std::memcpy(piece.data, packet.data, meta.l3_offset + header);
    std::memcpy(piece.data + meta.l3_offset + header, l3 + header + from, size);
    blank_uncopied_options(piece.data + meta.l3_offset + sizeof(net::Ipv4),
                           header - static_cast<std::uint32_t>(sizeof(net::Ipv4)));
    const std::uint16_t more = n < needed ? kMoreFragments : std::uint16_t(original & kMoreFragments);
    finish_header(piece.data + meta.l3_offset, header, size,
                  static_cast<std::uint16_t>(more | ((original & kFragmentOffset) + from / 8)));
  }
  if (needed != 0) {
    packet.length = meta.l3_offset + header + step;
    finish_header(l3, header, step, static_cast<std::uint16_t>(kMoreFragments | (original & kFragmentOffset)));
  }
  return static_cast<int>(needed);
}

int cut_ipv6(WorkerState& state, Packet& packet, const PacketMeta& meta, std::uint32_t mtu, Packet* pieces, std::uint32_t room) {
  constexpr auto header = static_cast<std::uint32_t>(sizeof(net::Ipv6));
  constexpr auto extra = static_cast<std::uint32_t>(sizeof(net::Ipv6Fragment));
  const std::uint32_t front = meta.l3_offset + header;
  const std::uint8_t protocol = reinterpret_cast<const net::Ipv6*>(packet.data + meta.l3_offset)->next_header;
  if (meta.l4_offset != front || meta.fragment != 0 || mtu < header + extra + 8) return -1;
  const std::uint32_t payload = packet.length - front;
  const std::uint32_t step = (mtu - header - extra) / 8 * 8;
  const std::uint32_t needed = (payload + step - 1) / step - 1;
  if (needed > room || state.frames == nullptr || state.frames->available() < needed) return -1;
  if (state.frames->memory().headroom(packet.data) < extra) return -1;

  const auto id = static_cast<std::uint32_t>(mix64(std::uint64_t{state.now_ms} << 32 | state.ip_id++) >> 32);
  const auto write_headers = [&](std::uint8_t* frame, std::uint32_t from, std::uint32_t size) {
    auto* ip = reinterpret_cast<net::Ipv6*>(frame + meta.l3_offset);
    ip->payload_length = be16(static_cast<std::uint16_t>(extra + size));
    ip->next_header = net::kProtocolIpv6Fragment;
    auto* fragment = reinterpret_cast<net::Ipv6Fragment*>(frame + front);
    fragment->next_header = protocol;
    fragment->reserved = 0;
    fragment->offset_more = be16(static_cast<std::uint16_t>(from | (from + size < payload ? 1u : 0u)));
    fragment->id = be32(id);
  };
  for (std::uint32_t n = 1; n <= needed; n++) {
    const std::uint32_t from = n * step;
    const std::uint32_t size = std::min(step, payload - from);
    Packet& piece = pieces[n - 1];
    piece = packet;
    piece.data = state.frames->acquire();
    piece.length = front + extra + size;
    std::memcpy(piece.data, packet.data, front);
    std::memcpy(piece.data + front + extra, packet.data + front + from, size);
    write_headers(piece.data, from, size);
  }
  packet.data -= extra;
  std::memmove(packet.data, packet.data + extra, front);
  packet.length = front + extra + std::min(step, payload);
  write_headers(packet.data, 0, std::min(step, payload));
  return static_cast<int>(needed);
}

}  // namespace millrace
