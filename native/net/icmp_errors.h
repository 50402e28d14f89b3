// Types, codes and sizes of ICMP errors, for those that we send and those that we translate.
// Sources: RFC 792, RFC 1812 4.3.2.3, RFC 4443. Thread: any. No state.
#pragma once

#include <cstdint>

namespace millrace::net::icmp_error {

inline constexpr std::uint8_t kIpv4Unreachable = 3;
inline constexpr std::uint8_t kIpv4HostUnreachable = 1;
inline constexpr std::uint8_t kIpv4PortUnreachable = 3;
inline constexpr std::uint8_t kIpv4FragmentationNeeded = 4;
inline constexpr std::uint8_t kIpv4TimeExceeded = 11;
inline constexpr std::uint8_t kIpv4ParameterProblem = 12;

inline constexpr std::uint8_t kIpv6Unreachable = 1;
inline constexpr std::uint8_t kIpv6AddressUnreachable = 3;
inline constexpr std::uint8_t kIpv6PortUnreachable = 4;
inline constexpr std::uint8_t kIpv6TooBig = 2;
inline constexpr std::uint8_t kIpv6TimeExceeded = 3;
inline constexpr std::uint8_t kIpv6ParameterProblem = 4;

/// An error that we write is at most this long (RFC 1812 4.3.2.3, RFC 4443 2.4 c).
inline constexpr std::uint32_t kLargestIpv4 = 576;
inline constexpr std::uint32_t kLargestIpv6 = 1280;
/// TTL and hop limit of an error that we write.
inline constexpr std::uint8_t kTtl = 64;

}  // namespace millrace::net::icmp_error
