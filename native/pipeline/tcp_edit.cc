// Moving headers, and the checksums of what is moved.
#include "pipeline/tcp_edit.h"

#include "net/tcp_options.h"

namespace millrace {

namespace {

/// Left free in front of a packet: an IPv6 header is so much longer than an IPv4 one, and as much again for whoever receives it.
constexpr std::uint32_t kReservedHeadroom = 40;

/// A payload whose first `left_out` bytes go and before which `inserted` bytes come: what becomes of its sum.
net::Sum payload_sum(net::Sum before, const std::uint8_t* payload, std::uint32_t left_out, std::span<const std::uint8_t> inserted) {
  net::Sum sum = before;
  if (left_out != 0) sum += static_cast<std::uint16_t>(~net::fold(net::add_bytes(0, payload, left_out)));
  const bool moved = ((left_out ^ inserted.size()) & 1u) != 0;
  const std::uint16_t rest = net::fold(sum);
  return net::add_bytes(moved ? swap_bytes(rest) : rest, inserted.data(), inserted.size());
}

/// What remains of a checksum's sum when this part of what it covers is taken out.
net::Sum without(be16 checksum, net::Sum part) {
  return net::Sum{static_cast<std::uint16_t>(~checksum.raw)} + static_cast<std::uint16_t>(~net::fold(part));
}

/// Moves everything in front of the transport header, so that `growth` more bytes come behind it.
void move_front(Packet& packet, const PacketMeta& meta, std::int32_t growth) {
  std::uint8_t* frame = packet.data - growth;
  std::memmove(frame, packet.data, meta.l4_offset);
  packet.data = frame;
  packet.length = static_cast<std::uint32_t>(static_cast<std::int32_t>(packet.length) + growth);
}

/// What the pseudo header adds, without its length.
net::Sum pseudo_sum(const PacketMeta& meta) {
  return net::add_address(net::add_address(be32(meta.protocol).raw, meta.source), meta.destination);
}

}  // namespace

std::uint32_t timestamps_of(const TcpView& view) {
  const auto options = view.options();
  // How nearly every stack lays them out (RFC 7323 appendix A).
  if (options.size() == 12 && options[0] == 1 && options[1] == 1 && options[2] == 8 && options[3] == 10) return sizeof(net::Tcp) + 4;
  std::uint32_t found = 0;
  net::for_each_tcp_option(options, [&](std::uint8_t kind, std::uint32_t offset, std::uint32_t length) {
    if (kind == net::tcp_option::kTimestamps && length == 10 && found == 0) found = static_cast<std::uint32_t>(sizeof(net::Tcp)) + offset + 2;
  });
  return found;
}

bool make_headroom(const WorkerState& state, Packet& packet, std::uint32_t bytes) {
  if (state.frames == nullptr) return bytes + kReservedHeadroom <= kFrameHeadroom;
  const PacketMemory& memory = state.frames->memory();
  const auto in_front = static_cast<std::uint32_t>(memory.headroom(packet.data));
  if (bytes + kReservedHeadroom <= in_front) return true;
  const std::uint32_t needed = bytes + kReservedHeadroom - in_front;
  if (in_front + packet.length + needed > memory.frame_size()) return false;
  std::memmove(packet.data + needed, packet.data, packet.length);
  packet.data += needed;
  return true;
}

void set_l3_length(Packet& packet, PacketMeta& meta, std::uint32_t length) {
  if (meta.ipv6) {
    reinterpret_cast<net::Ipv6*>(packet.data + meta.l3_offset)->payload_length = be16(static_cast<std::uint16_t>(length - sizeof(net::Ipv6)));
  } else {
    auto* ip = reinterpret_cast<net::Ipv4*>(packet.data + meta.l3_offset);
    const be16 after(static_cast<std::uint16_t>(length));
    ip->checksum = net::updated(ip->checksum, net::difference(ip->total_length.raw, after.raw));
    ip->total_length = after;
  }
  meta.l3_length = static_cast<std::uint16_t>(length);
  packet.length = meta.l3_offset + length;
}

net::Sum tcp_sum(const Packet& packet, const PacketMeta& meta) {
  const std::uint32_t length = static_cast<std::uint32_t>(meta.l3_offset) + meta.l3_length - meta.l4_offset;
  return net::add_bytes(pseudo_sum(meta) + be32(length).raw, packet.data + meta.l4_offset, length);
}

void replace_front(Packet& packet, PacketMeta& meta, const NewFront& front) {
  const TcpView view(packet, meta);
  const std::uint8_t* payload = view.l4 + view.header;
  const be16 checksum = view.tcp().checksum;
  const std::uint32_t l4_before = view.header + view.payload;
  const auto growth = static_cast<std::int32_t>(front.header.size() + front.inserted.size()) - static_cast<std::int32_t>(view.header + front.left_out);
  const auto l4_after = static_cast<std::uint32_t>(static_cast<std::int32_t>(l4_before) + growth);

  // The old header counts without its checksum; adding the checksum's complement to the sum takes both out.
  net::Sum head = net::add_bytes(pseudo_sum(meta), view.l4, view.header) + static_cast<std::uint16_t>(~checksum.raw);
  head += be32(l4_before).raw;
  net::Sum sum = payload_sum(without(checksum, head), payload, front.left_out, front.inserted);

  std::uint8_t header[sizeof(net::Tcp) + net::kMaxTcpOptions];
  std::memcpy(header, front.header.data(), front.header.size());
  auto* tcp = reinterpret_cast<net::Tcp*>(header);
  tcp->data_offset = static_cast<std::uint8_t>((front.header.size() / 4) << 4 | (tcp->data_offset & 0x0fu));
  tcp->checksum.raw = 0;
  sum += net::add_bytes(pseudo_sum(meta), header, front.header.size());
  sum += be32(l4_after).raw;
  tcp->checksum = net::finish(sum);

  move_front(packet, meta, growth);
  std::uint8_t* l4 = packet.data + meta.l4_offset;
  std::memcpy(l4, header, front.header.size());
  if (!front.inserted.empty()) std::memcpy(l4 + front.header.size(), front.inserted.data(), front.inserted.size());
  set_l3_length(packet, meta, static_cast<std::uint32_t>(static_cast<std::int32_t>(meta.l3_length) + growth));
}

void replace_front_of_datagram(Packet& packet, PacketMeta& meta, std::uint32_t left_out, std::span<const std::uint8_t> inserted) {
  auto udp = *reinterpret_cast<const net::Udp*>(packet.data + meta.l4_offset);
  const std::uint8_t* payload = packet.data + meta.l4_offset + sizeof(net::Udp);
  const auto growth = static_cast<std::int32_t>(inserted.size()) - static_cast<std::int32_t>(left_out);
  const be16 length(static_cast<std::uint16_t>(udp.length.host() + growth));
  if (udp.checksum.raw != 0) {
    // The length counts twice: in the header and in the pseudo header.
    net::Sum head = pseudo_sum(meta) + udp.source_port.raw + udp.destination_port.raw + 2 * net::Sum{udp.length.raw};
    net::Sum sum = payload_sum(without(udp.checksum, head), payload, left_out, inserted);
    sum += pseudo_sum(meta) + udp.source_port.raw + udp.destination_port.raw + 2 * net::Sum{length.raw};
    udp.checksum = net::finish(sum);
    if (udp.checksum.raw == 0) udp.checksum.raw = 0xffff;
  }
  udp.length = length;
  move_front(packet, meta, growth);
  std::uint8_t* l4 = packet.data + meta.l4_offset;
  std::memcpy(l4, &udp, sizeof(udp));
  if (!inserted.empty()) std::memcpy(l4 + sizeof(udp), inserted.data(), inserted.size());
  set_l3_length(packet, meta, static_cast<std::uint32_t>(static_cast<std::int32_t>(meta.l3_length) + growth));
}

void truncate_payload(Packet& packet, PacketMeta& meta, std::uint32_t kept) {
  const TcpView view(packet, meta);
  const std::uint32_t gone = view.payload - kept;
  if (gone == 0) return;
  const std::uint32_t before = view.header + view.payload, after = view.header + kept;
  const net::Sum cut = net::add_bytes(0, view.l4 + after, gone) + be32(before).raw;
  auto* tcp = reinterpret_cast<net::Tcp*>(view.l4);
  tcp->checksum = net::updated(tcp->checksum, net::difference(cut, be32(after).raw));
  set_l3_length(packet, meta, meta.l3_length - gone);
}

}  // namespace millrace
