// Cutting whole frames into fragments and putting fragments together again, by RFC 791 3.2 and RFC 8200 4.5, sharing no code with
// native/. Thread: any. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/packet_builder.h"

namespace millrace::test {

/// 32 random bits in a type of 32 bits: that of std::mt19937 has 64 here.
struct Random {
  using result_type = std::uint32_t;
  explicit Random(std::uint32_t seed) : engine(seed) {}
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return 0xffffffffu; }
  result_type operator()() { return static_cast<result_type>(engine()); }
  std::mt19937 engine;
};

inline bool frame_is_ipv6(const Bytes& frame) { return frame[12] == 0x86; }

namespace fragment_detail {
inline void write16(Bytes& bytes, std::size_t at, std::size_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}
inline std::size_t word(const Bytes& bytes, std::size_t at) { return static_cast<std::size_t>(bytes[at] << 8 | bytes[at + 1]); }
inline void right_checksum(Bytes& frame) {
  const std::size_t header = (frame[14] & 15u) * 4u;
  write16(frame, 24, 0);
  write16(frame, 24, ~packet_detail::sum(Bytes(frame.begin() + 14, frame.begin() + 14 + static_cast<std::ptrdiff_t>(header))) & 0xffffu);
}
}  // namespace fragment_detail

/// One fragment of a whole frame: bytes [from, to) of what is behind the IP header. `from` is a multiple of 8.
inline Bytes fragment_of(const Bytes& frame, std::size_t from, std::size_t to, std::uint32_t id) {
  using namespace fragment_detail;
  const bool six = frame_is_ipv6(frame);
  const std::size_t header = 14 + (six ? 40u : (frame[14] & 15u) * 4u);
  const std::size_t end = frame.size() - header;
  Bytes out(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(header));
  const bool more = to < end;
  if (six) {
    const std::uint8_t next = out[20];
    out[20] = 44;
    write16(out, 18, 8 + to - from);
    out.push_back(next);
    out.push_back(0);
    packet_detail::put16(out, static_cast<std::uint32_t>(from | (more ? 1u : 0u)));
    packet_detail::put32(out, id);
  } else {
    write16(out, 16, header - 14 + to - from);
    write16(out, 18, id & 0xffffu);
    write16(out, 20, from / 8 | (more ? 0x2000u : 0u));
    right_checksum(out);
  }
  out.insert(out.end(), frame.begin() + static_cast<std::ptrdiff_t>(header + from), frame.begin() + static_cast<std::ptrdiff_t>(header + to));
  return out;
}

/// All fragments, each of `size` bytes but the last; `size` is a multiple of 8.
inline std::vector<Bytes> fragments_of(const Bytes& frame, std::size_t size, std::uint32_t id) {
  const std::size_t payload = frame.size() - 14 - (frame_is_ipv6(frame) ? 40u : (frame[14] & 15u) * 4u);
  std::vector<Bytes> out;
  for (std::size_t from = 0; from < payload; from += size) out.push_back(fragment_of(frame, from, std::min(from + size, payload), id));
  return out;
}

/// Fragments of random lengths, the first one with at least `first` bytes.
inline std::vector<Bytes> random_fragments_of(const Bytes& frame, std::size_t first, std::uint32_t id, Random& random) {
  const std::size_t payload = frame.size() - 14 - (frame_is_ipv6(frame) ? 40u : (frame[14] & 15u) * 4u);
  std::vector<Bytes> out;
  for (std::size_t from = 0; from < payload;) {
    std::size_t size = (1 + random() % 80) * 8;
    if (from == 0) size = std::max(size, (first + 7) / 8 * 8);
    const std::size_t to = std::min(from + size, payload);
    out.push_back(fragment_of(frame, from, to, id));
    from = to;
  }
  return out;
}

/// Puts fragments together: the whole frames, in the order in which they became whole. Frames that are no fragments are whole.
/// What does not fit, overlaps, or is left over fails the test.
inline std::vector<Bytes> reassembled(const std::vector<Bytes>& frames) {
  using namespace fragment_detail;
  struct Datagram {
    Bytes header;
    std::map<std::size_t, Bytes> parts;
    std::size_t total = 0;
  };
  std::map<Bytes, Datagram> open;
  std::vector<Bytes> whole;
  for (const Bytes& frame : frames) {
    const bool six = frame_is_ipv6(frame);
    std::size_t header = 14 + (six ? 40u : (frame[14] & 15u) * 4u);
    std::size_t field = six ? 0 : word(frame, 20);
    if (six ? frame[20] != 44 : (field & 0x3fff) == 0) {
      whole.push_back(frame);
      continue;
    }
    Bytes key(frame.begin() + (six ? 22 : 26), frame.begin() + (six ? 54 : 34));
    const std::size_t offset = six ? word(frame, header + 2) & ~std::size_t{7} : (field & 0x1fff) * 8;
    const bool more = six ? (frame[header + 3] & 1) != 0 : (field & 0x2000) != 0;
    if (six) {
      key.insert(key.end(), frame.begin() + static_cast<std::ptrdiff_t>(header + 4), frame.begin() + static_cast<std::ptrdiff_t>(header + 8));
    } else {
      key.insert(key.end(), {frame[18], frame[19], frame[23]});
    }
    Datagram& d = open[key];
    const std::size_t data = header + (six ? 8u : 0u);
    const Bytes part(frame.begin() + static_cast<std::ptrdiff_t>(data), frame.end());
    EXPECT_TRUE(!more || part.size() % 8 == 0);
    for (const auto& [at, other] : d.parts) EXPECT_TRUE(at + other.size() <= offset || offset + part.size() <= at) << "overlap at " << offset;
    d.parts[offset] = part;
    if (offset == 0) {
      d.header = Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(header));
      if (six) d.header[20] = frame[header];
    }
    if (!more) d.total = offset + part.size();
    std::size_t reached = 0;
    for (const auto& [at, piece] : d.parts) reached = at == reached ? reached + piece.size() : reached;
    if (d.total == 0 || reached != d.total || d.header.empty()) continue;
    Bytes out = d.header;
    for (const auto& [at, piece] : d.parts) packet_detail::append(out, piece);
    write16(out, six ? 18 : 16, six ? d.total : header - 14 + d.total);
    if (!six) {
      write16(out, 20, 0);
      right_checksum(out);
    }
    whole.push_back(out);
    open.erase(key);
  }
  EXPECT_TRUE(open.empty()) << open.size() << " datagrams never became whole";
  return whole;
}

}  // namespace millrace::test
