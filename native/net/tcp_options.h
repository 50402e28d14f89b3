// Walking over the options of a TCP header (RFC 9293 3.1), whatever bytes they are.
// Guarantees: reads only the options; ends at the first one that does not fit, as receivers do. Fuzzed by
// test/fuzz/tcp_options_fuzz.cc. Thread: any. No state.
#pragma once

#include <cstdint>
#include <span>

namespace millrace::net {

namespace tcp_option {
inline constexpr std::uint8_t kEnd = 0;
inline constexpr std::uint8_t kNop = 1;
inline constexpr std::uint8_t kMss = 2;
inline constexpr std::uint8_t kWindowScale = 3;
inline constexpr std::uint8_t kSackPermitted = 4;
inline constexpr std::uint8_t kSack = 5;
inline constexpr std::uint8_t kTimestamps = 8;
inline constexpr std::uint8_t kMd5 = 19;
inline constexpr std::uint8_t kAuthentication = 29;
inline constexpr std::uint8_t kMultipath = 30;
inline constexpr std::uint8_t kFastOpen = 34;
/// Experimental kinds (RFC 6994), and one that no registry knows but which carries client addresses too.
inline constexpr std::uint8_t kAddress252 = 252;
inline constexpr std::uint8_t kExperiment1 = 253;
inline constexpr std::uint8_t kExperiment2 = 254;
}  // namespace tcp_option

/// The most that a TCP header has room for.
inline constexpr std::uint32_t kMaxTcpOptions = 40;

/// Calls visit(kind, offset, length) for each option, those of one byte (kNop) included, until the end of the list. True when the list
/// is sound; false when an option's length is impossible: nothing is visited from there on.
template <class Visit>
inline bool for_each_tcp_option(std::span<const std::uint8_t> options, Visit visit) {
  for (std::uint32_t at = 0; at < options.size();) {
    const std::uint8_t kind = options[at];
    if (kind == tcp_option::kEnd) return true;
    std::uint32_t length = 1;
    if (kind != tcp_option::kNop) {
      if (at + 1 == options.size()) return false;
      length = options[at + 1];
      if (length < 2 || at + length > options.size()) return false;
    }
    visit(kind, at, length);
    at += length;
  }
  return true;
}

/// Whether an option is a client's address (TOA): 8 bytes of an IPv4 client, 20 of an IPv6 one; kind 254 with DPVS and Alibaba LVS, 253
/// with Alibaba for IPv6, 252 with others.
inline bool is_client_address_option(std::uint8_t kind, std::uint32_t length) {
  return kind >= tcp_option::kAddress252 && kind <= tcp_option::kExperiment2 && (length == 8 || length == 20);
}

}  // namespace millrace::net
