// Where a QUIC packet has its destination connection id. Only what every version keeps is read (RFC 8999): the header form, and
// in a long header version and lengths. The fixed bit is not looked at: it may be random (RFC 9287).
//
//   long:  |1 type|version (32)|length|destination id|length|source id| ...      short: |0 flags|destination id ...
//
// Guarantees: reads inside the payload only. Fuzzed by test/fuzz/quic_fuzz.cc.
// Thread: any. No state.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

namespace millrace {

/// Longest connection id of QUIC version 1 and 2 (RFC 9000 17.2).
inline constexpr std::size_t kMaxQuicId = 20;

struct QuicDestination {
  /// Of a long header: the whole id, up to 255 bytes. Of a short one the length is known to the server only: what follows the
  /// first byte, at most 20 bytes.
  std::span<const std::uint8_t> id;
  bool long_header = false;
  /// The client may have made the id up: in Initial and 0-RTT packets (RFC 9000 7.2), and in every long header of a version whose
  /// packet types are not known here.
  bool by_client = false;
};

/// The destination of the first packet in a UDP payload, if it is long enough to have one.
inline std::optional<QuicDestination> quic_destination(std::span<const std::uint8_t> payload) {
  constexpr std::uint8_t long_form = 0x80;
  constexpr std::size_t before_id = 6;  // first byte, version, length
  if (payload.empty()) return std::nullopt;
  if ((payload[0] & long_form) == 0) {
    return QuicDestination{payload.subspan(1, std::min(payload.size() - 1, kMaxQuicId)), false, false};
  }
  if (payload.size() < before_id) return std::nullopt;
  const std::size_t length = payload[before_id - 1];
  if (payload.size() < before_id + length) return std::nullopt;
  const std::uint32_t version = static_cast<std::uint32_t>(payload[1]) << 24 | static_cast<std::uint32_t>(payload[2]) << 16 |
                                static_cast<std::uint32_t>(payload[3]) << 8 | payload[4];
  // RFC 9000 17.2: Initial 0, 0-RTT 1. RFC 9369 3.2: Initial 1, 0-RTT 2.
  constexpr std::uint32_t version_1 = 1, version_2 = 0x6b3343cf;
  const int type = payload[0] >> 4 & 3;
  bool by_client = true;
  if (version == version_1) by_client = type == 0 || type == 1;
  if (version == version_2) by_client = type == 1 || type == 2;
  return QuicDestination{payload.subspan(before_id, length), true, by_client};
}

}  // namespace millrace
