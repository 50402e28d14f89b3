// How the servers of a service learn who their clients are in full NAT, and from whom the service itself believes a PROXY header.
// Configuration, and the record of it that sessions refer to by number.
// Guarantees: a record never changes and stays for the life of the dataplane, so a connection ends by the rule it began with.
// Threads: written by the control thread before the tables that name it are published; read by workers.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "net/prefix.h"

namespace millrace {

enum class ClientAddressMethod : std::uint8_t {
  kNone,
  kToa,      ///< a TCP option
  kUoa,      ///< UDP: an IP option or a header of its own
  kProxyV1,  ///< the text header of the PROXY protocol, in front of a TCP connection's bytes
  kProxyV2   ///< the binary one, in front of a TCP connection's bytes or of a datagram's
};

constexpr bool is_proxy(ClientAddressMethod method) {
  return method == ClientAddressMethod::kProxyV1 || method == ClientAddressMethod::kProxyV2;
}

/// Where UOA stands.
enum class UoaCarrier : std::uint8_t {
  kProtocol,  ///< a header between IP and UDP, IP protocol 248
  kOption     ///< an IPv4 option
};

/// What becomes of a datagram that its link does not carry with a PROXY header.
enum class WhenTooBig : std::uint8_t { kFragment, kDrop };

/// Of `datagrams`: all of them.
inline constexpr std::uint8_t kEveryDatagram = 255;

/// Bytes that the TLVs of a configuration may take, their types and lengths included.
inline constexpr std::size_t kMaxConfiguredTlvs = 128;

/// One TLV of PROXY protocol v2, type 0xe0 to 0xef.
struct ProxyTlv {
  std::uint8_t type = 0;
  std::vector<std::uint8_t> value;
  bool operator==(const ProxyTlv&) const = default;
};

struct ClientAddressConfig {
  ClientAddressMethod method = ClientAddressMethod::kNone;
  /// Kinds of the TCP options for IPv4 and IPv6 clients: 252, 253 or 254.
  std::uint8_t kind_ipv4 = 254;
  std::uint8_t kind_ipv6 = 254;
  /// TOA on the SYN, too.
  bool on_syn = false;
  UoaCarrier carrier = UoaCarrier::kProtocol;
  /// PROXY on TCP: the server speaks first, so the header does not wait for the client's first byte.
  bool server_first = false;
  /// PROXY on UDP: how many datagrams of a flow get the header, from the first; kEveryDatagram for all.
  std::uint8_t datagrams = kEveryDatagram;
  WhenTooBig when_too_big = WhenTooBig::kFragment;
  /// TLVs of our own (PROXY v2).
  bool unique_id = false;
  bool crc32c = false;
  std::vector<ProxyTlv> tlvs{};
  /// Balancers in front whose PROXY headers are taken off and believed.
  std::vector<Prefix> accept_from{};
  bool operator==(const ClientAddressConfig&) const = default;
};

/// ClientAddressConfig as workers read it.
struct ClientAddressRule {
  ClientAddressMethod method;
  std::uint8_t kind_ipv4;
  std::uint8_t kind_ipv6;
  bool on_syn;
  UoaCarrier carrier;
  bool server_first;
  std::uint8_t datagrams;
  WhenTooBig when_too_big;
  bool unique_id;
  bool crc32c;
  /// `tlvs` as on the wire.
  std::uint8_t tlv_length;
  std::array<std::uint8_t, kMaxConfiguredTlvs> tlvs;
};

/// Different rules in the life of one dataplane. Number 0 is the rule that says and accepts nothing.
inline constexpr std::size_t kMaxClientAddressRules = 1u << 12;

}  // namespace millrace
