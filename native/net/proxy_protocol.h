// The PROXY protocol, versions 1 and 2 (HAProxy's doc/proxy-protocol.txt): reading a header that somebody in front has sent, and
// writing our own.
//
//   v1   PROXY TCP4 192.0.2.1 203.0.113.10 31337 80\r\n                       at most 107 bytes
//   v2   | 12 bytes of signature | 2<<4 + command | family<<4 + transport | length | addresses | TLVs ... |
//
// Guarantees: reads only the bytes it is given; whatever they are, the answer is one of four. Fuzzed by test/fuzz/proxy_fuzz.cc.
// Thread: any. No state.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "net/address.h"

namespace millrace::net {

/// Longest version 1 line, its CR LF included.
inline constexpr std::uint32_t kProxyV1Longest = 107;
/// Version 2 without addresses.
inline constexpr std::uint32_t kProxyV2Fixed = 16;
/// Longest header that is accepted. The protocol would allow 65,551 bytes; those in use have a few hundred.
inline constexpr std::uint32_t kProxyLongest = 1024;

namespace proxy_tlv {
inline constexpr std::uint8_t kAuthority = 0x02;
inline constexpr std::uint8_t kCrc32c = 0x03;
inline constexpr std::uint8_t kNoop = 0x04;
inline constexpr std::uint8_t kUniqueId = 0x05;
}  // namespace proxy_tlv

/// Who speaks to whom, as the header says.
struct ProxyEndpoints {
  IpAddress source;
  IpAddress destination;
  be16 source_port;
  be16 destination_port;
  bool operator==(const ProxyEndpoints&) const = default;
};

struct ProxyHeader {
  enum class Kind : std::uint8_t {
    kIncomplete,  ///< may become a header when more bytes come
    kMalformed,   ///< is none, whatever comes
    kLocal,       ///< says nothing about the client (LOCAL, UNKNOWN, a family without IP addresses): the connection's own addresses hold
    kProxied      ///< `endpoints` holds
  };
  Kind kind = Kind::kIncomplete;
  std::uint8_t version = 0;
  /// Bytes of the header, of kLocal and kProxied.
  std::uint32_t length = 0;
  ProxyEndpoints endpoints{};
  /// Of kProxied and version 2: the TLVs, as a part of what was read.
  std::span<const std::uint8_t> tlvs{};
};

/// Reads the header that `bytes` begin with. `datagram`: they are a UDP datagram, whose header must be version 2 and whole.
/// A CRC32c that is there must be right.
ProxyHeader read_proxy_header(std::span<const std::uint8_t> bytes, bool datagram);

/// What a header that we write says beside the addresses.
struct ProxyExtras {
  /// As on the wire: those of a header that was accepted, without checksum and padding, and those of the configuration.
  std::span<const std::uint8_t> accepted_tlvs{};
  std::span<const std::uint8_t> tlvs{};
  /// 16 bytes, or none.
  std::span<const std::uint8_t> unique_id{};
  bool crc32c = false;
};

/// Writes the header into `out`; returns its length, 0 when there is no room. Addresses of two families are both written as IPv6.
std::uint32_t write_proxy_v1(const ProxyEndpoints& endpoints, std::span<std::uint8_t> out);
std::uint32_t write_proxy_v2(const ProxyEndpoints& endpoints, bool datagram, const ProxyExtras& extras, std::span<std::uint8_t> out);

}  // namespace millrace::net
