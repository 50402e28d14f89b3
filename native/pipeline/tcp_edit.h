// Changes to TCP segments and datagrams on their way, whose checksums follow incrementally (RFC 1624): a wrong one stays wrong.
// They are made before translation, so a packet is whole and consistent between its client's addresses all the time.
// Thread: one worker.
#pragma once

#include <bit>
#include <cstring>
#include <span>

#include "net/checksum.h"
#include "net/headers.h"
#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Overwrites fields of a TCP header in place. Fields of options may stand at odd offsets: then their bytes count in the checksum with
/// their places exchanged.
class TcpPatch {
 public:
  explicit TcpPatch(std::uint8_t* l4) : l4_(l4) {}
  ~TcpPatch() {
    auto* tcp = reinterpret_cast<net::Tcp*>(l4_);
    if (sum_ != 0) tcp->checksum = net::updated(tcp->checksum, net::fold(sum_));
  }
  TcpPatch(const TcpPatch&) = delete;
  TcpPatch& operator=(const TcpPatch&) = delete;

  std::uint32_t get32(std::uint32_t offset) const { return load32(offset).host(); }
  /// Adds to a number in network order.
  void add32(std::uint32_t offset, std::uint32_t increment) { put32(offset, load32(offset).host() + increment); }
  void put32(std::uint32_t offset, std::uint32_t value) {
    const be32 before = load32(offset), after{value};
    std::memcpy(l4_ + offset, &after, 4);
    const int turn = (offset & 1u) != 0 ? 8 : 0;
    sum_ += net::Sum{std::rotl(~before.raw, turn)} + std::rotl(after.raw, turn);
  }
  /// `offset` is even.
  void put16(std::uint32_t offset, std::uint16_t value) {
    be16 before;
    std::memcpy(&before, l4_ + offset, 2);
    const be16 after{value};
    std::memcpy(l4_ + offset, &after, 2);
    sum_ += net::Sum{static_cast<std::uint16_t>(~before.raw)} + after.raw;
  }
  void put8(std::uint32_t offset, std::uint8_t value) {
    const std::uint32_t even = offset & ~1u;
    be16 word;
    std::memcpy(&word, l4_ + even, 2);
    const std::uint16_t host = word.host();
    const std::uint32_t wide = value;
    put16(even, static_cast<std::uint16_t>((offset & 1u) != 0 ? (host & 0xff00u) | wide : (host & 0x00ffu) | wide << 8));
  }

 private:
  be32 load32(std::uint32_t offset) const {
    be32 value;
    std::memcpy(&value, l4_ + offset, 4);
    return value;
  }
  std::uint8_t* l4_;
  net::Sum sum_ = 0;
};

/// The parts of a TCP segment of a parsed packet.
struct TcpView {
  TcpView(const Packet& packet, const PacketMeta& meta)
      : l4(packet.data + meta.l4_offset),
        header(reinterpret_cast<const net::Tcp*>(l4)->header_length()),
        payload(static_cast<std::uint32_t>(meta.l3_offset) + meta.l3_length - meta.l4_offset - header) {}
  const net::Tcp& tcp() const { return *reinterpret_cast<const net::Tcp*>(l4); }
  std::uint32_t sequence() const { return tcp().sequence.host(); }
  std::uint32_t acknowledgement() const { return tcp().acknowledgement.host(); }
  bool has(std::uint8_t flags) const { return (tcp().flags & flags) != 0; }
  std::span<const std::uint8_t> options() const { return {l4 + sizeof(net::Tcp), header - sizeof(net::Tcp)}; }

  std::uint8_t* l4;
  /// Bytes of the TCP header, options included, and of what follows it.
  std::uint32_t header;
  std::uint32_t payload;
};

/// Where the timestamps of a segment stand, from the first byte of the TCP header: TSval, and TSecr four bytes later; 0: it has none.
std::uint32_t timestamps_of(const TcpView& view);

/// Sees to it that `bytes` more fit in front of the packet, its translation to the other family included: where they do not, the packet
/// moves within its frame. False when the frame is too small.
bool make_headroom(const WorkerState& state, Packet& packet, std::uint32_t bytes);

/// What takes the place of a segment's front.
struct NewFront {
  /// A whole TCP header, options included, a multiple of 4 bytes long; its data offset and checksum are filled in.
  std::span<const std::uint8_t> header;
  /// Bytes of the payload that are left out, from its first.
  std::uint32_t left_out = 0;
  /// Bytes that stand before the rest of the payload.
  std::span<const std::uint8_t> inserted{};
};

/// Replaces the front of the TCP segment in `packet`; make_headroom() for what it grows by has been asked.
void replace_front(Packet& packet, PacketMeta& meta, const NewFront& front);
/// The same for a UDP datagram, whose header keeps its ports.
void replace_front_of_datagram(Packet& packet, PacketMeta& meta, std::uint32_t left_out, std::span<const std::uint8_t> inserted);

/// Cuts the segment's payload after its first `kept` bytes, an even number.
void truncate_payload(Packet& packet, PacketMeta& meta, std::uint32_t kept);

/// Sum of a TCP segment and its pseudo header: 0xffff when folded, if its checksum is right.
net::Sum tcp_sum(const Packet& packet, const PacketMeta& meta);

/// Writes the IP packet's length into its header and its meta; `packet.length` follows.
void set_l3_length(Packet& packet, PacketMeta& meta, std::uint32_t length);

}  // namespace millrace
