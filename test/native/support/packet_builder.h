// PacketBuilder: frames for native tests, layer by layer, in the order of the wire:
//
//   PacketBuilder().eth().ipv4({.source = "192.0.2.1", .destination = "192.0.2.2"}).udp({.destination_port = 53}).payload("hi").build()
//
// Lengths, protocol numbers and checksums are computed unless a field says otherwise, so that one wrong thing can be built at a time.
// Guarantees: shares no code with native/ (its checksum is its own); wrong address text aborts the test. Thread: any. Tests only.
#pragma once

#include <arpa/inet.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace millrace::test {

using Bytes = std::vector<std::uint8_t>;

namespace packet_detail {

inline void put16(Bytes& out, std::uint32_t v) {
  out.push_back(static_cast<std::uint8_t>(v >> 8));
  out.push_back(static_cast<std::uint8_t>(v));
}
inline void put32(Bytes& out, std::uint32_t v) {
  put16(out, v >> 16);
  put16(out, v & 0xffff);
}
inline void append(Bytes& out, const Bytes& more) { out.insert(out.end(), more.begin(), more.end()); }
inline void pad_to_multiple(Bytes& out, std::size_t unit) {
  while (out.size() % unit != 0) out.push_back(0);
}

/// One's complement sum of big-endian words (RFC 1071), folded at each step.
inline std::uint32_t sum(const Bytes& bytes, std::uint32_t start = 0) {
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    start += static_cast<std::uint32_t>(bytes[i]) << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0u);
    if (start > 0xffff) start = (start & 0xffff) + 1;
  }
  return start;
}

/// Bit by bit (RFC 9260 appendix A).
inline std::uint32_t crc32c(const Bytes& bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const std::uint8_t byte : bytes) {
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (((crc ^ (byte >> bit)) & 1u) != 0 ? 0x82f63b78u : 0u);
  }
  return ~crc;
}

[[noreturn]] inline void refuse(const char* what, const std::string& text) {
  std::fprintf(stderr, "packet_builder.h: not %s: \"%s\"\n", what, text.c_str());
  std::abort();
}

inline Bytes ip_bytes(const std::string& text) {
  const bool v6 = text.find(':') != std::string::npos;
  Bytes bytes(v6 ? 16 : 4);
  if (inet_pton(v6 ? AF_INET6 : AF_INET, text.c_str(), bytes.data()) != 1) refuse("an IP address", text);
  return bytes;
}

inline Bytes mac_bytes(const std::string& text) {
  Bytes bytes(6);
  unsigned v[6];
  if (std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5]) != 6) {
    refuse("an Ethernet address", text);
  }
  for (std::size_t i = 0; i < 6; i++) bytes[i] = static_cast<std::uint8_t>(v[i]);
  return bytes;
}

inline std::uint32_t pseudo_sum(const Bytes& source, const Bytes& destination, std::uint8_t protocol, std::size_t length) {
  Bytes tail;
  put32(tail, static_cast<std::uint32_t>(length));
  put32(tail, protocol);
  return sum(tail, sum(destination, sum(source)));
}

}  // namespace packet_detail

namespace tcp_option {
inline Bytes end() { return {0}; }
inline Bytes nop() { return {1}; }
inline Bytes mss(std::uint16_t bytes) { return {2, 4, static_cast<std::uint8_t>(bytes >> 8), static_cast<std::uint8_t>(bytes)}; }
inline Bytes window_scale(std::uint8_t shift) { return {3, 3, shift}; }
inline Bytes sack_permitted() { return {4, 2}; }
inline Bytes sack(const std::vector<std::pair<std::uint32_t, std::uint32_t>>& blocks) {
  Bytes out{5, static_cast<std::uint8_t>(2 + 8 * blocks.size())};
  for (const auto& [left, right] : blocks) {
    packet_detail::put32(out, left);
    packet_detail::put32(out, right);
  }
  return out;
}
inline Bytes timestamps(std::uint32_t value, std::uint32_t echo) {
  Bytes out{8, 10};
  packet_detail::put32(out, value);
  packet_detail::put32(out, echo);
  return out;
}
/// Any kind, any claimed length: it may lie about `data`.
inline Bytes raw(std::uint8_t kind, std::uint8_t length, const Bytes& data = {}) {
  Bytes out{kind, length};
  packet_detail::append(out, data);
  return out;
}
}  // namespace tcp_option

struct EthFields {
  std::string source = "02:00:00:00:00:0c";
  std::string destination = "02:00:00:00:00:01";
  std::optional<std::uint16_t> type{};
};
struct VlanFields {
  std::uint16_t id = 1;
  std::uint8_t priority = 0;
  std::optional<std::uint16_t> type{};
};
struct Ipv4Fields {
  std::string source = "198.51.100.7";
  std::string destination = "203.0.113.10";
  std::uint8_t version = 4;
  /// Header length in 32-bit words.
  std::optional<std::uint8_t> ihl{};
  std::uint8_t tos = 0;
  /// Bytes.
  std::optional<std::uint16_t> total_length{};
  std::uint16_t id = 0;
  bool dont_fragment = false;
  bool more_fragments = false;
  /// In units of 8 bytes.
  std::uint16_t fragment_offset = 0;
  std::uint8_t ttl = 64;
  std::optional<std::uint8_t> protocol{};
  /// Padded with zeros to a multiple of 4.
  Bytes options{};
  /// Written as it is.
  std::optional<std::uint16_t> checksum{};
  /// Added to the right checksum (one's complement).
  std::uint16_t checksum_error = 0;
};
struct Ipv6Fields {
  std::string source = "2001:db8:1::7";
  std::string destination = "2001:db8:f::10";
  std::uint8_t version = 6;
  std::uint8_t traffic_class = 0;
  std::uint32_t flow_label = 0;
  std::optional<std::uint16_t> payload_length{};
  std::optional<std::uint8_t> next_header{};
  std::uint8_t hop_limit = 64;
};
/// An IPv6 extension header (RFC 8200 4.3 to 4.6); `kind` 0 hop-by-hop, 43 routing, 44 fragment, 60 destination options.
struct ExtensionFields {
  std::uint8_t kind = 60;
  /// Units of 8 bytes beyond the first.
  std::optional<std::uint8_t> length{};
  std::optional<std::uint8_t> next_header{};
  /// Bytes after the first two, padded with zeros to 8-byte units.
  Bytes data{};
};
struct TcpFields {
  std::uint16_t source_port = 40000;
  std::uint16_t destination_port = 80;
  std::uint32_t seq = 1000;
  std::uint32_t ack = 0;
  /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
  std::uint8_t flags = 0x10;
  std::uint16_t window = 64240;
  std::uint16_t urgent = 0;
  /// Header length in 32-bit words.
  std::optional<std::uint8_t> data_offset{};
  /// In this order; padded with end-of-options to a multiple of 4.
  std::vector<Bytes> options{};
  std::optional<std::uint16_t> checksum{};
  std::uint16_t checksum_error = 0;
};
struct UdpFields {
  std::uint16_t source_port = 40000;
  std::uint16_t destination_port = 53;
  /// Bytes, with the header.
  std::optional<std::uint16_t> length{};
  std::optional<std::uint16_t> checksum{};
  std::uint16_t checksum_error = 0;
};
struct IcmpFields {
  std::uint8_t type = 8;
  std::uint8_t code = 0;
  /// Bytes 4 to 7.
  std::uint32_t rest = 0;
  std::optional<std::uint16_t> checksum{};
  std::uint16_t checksum_error = 0;
};

/// Type, flags and what follows the chunk's length; padded with zeros to a multiple of 4 behind that length.
struct SctpChunkFields {
  std::uint8_t type = 0;
  std::uint8_t flags = 3;
  Bytes value{};
  std::optional<std::uint16_t> length{};
};
struct SctpFields {
  std::uint16_t source_port = 40000;
  std::uint16_t destination_port = 9100;
  std::uint32_t verification_tag = 0x01020304;
  std::vector<SctpChunkFields> chunks{};
  /// Added to the right CRC (exclusive or).
  std::uint32_t checksum_error = 0;
};

class PacketBuilder {
 public:
  PacketBuilder& eth(EthFields f = {}) { return add(std::move(f)); }
  PacketBuilder& vlan(VlanFields f) { return add(std::move(f)); }
  PacketBuilder& ipv4(Ipv4Fields f = {}) { return add(std::move(f)); }
  PacketBuilder& ipv6(Ipv6Fields f = {}) { return add(std::move(f)); }
  /// May be called several times: a chain in this order.
  PacketBuilder& extension(ExtensionFields f) { return add(std::move(f)); }
  PacketBuilder& tcp(TcpFields f = {}) { return add(std::move(f)); }
  PacketBuilder& udp(UdpFields f = {}) { return add(std::move(f)); }
  PacketBuilder& sctp(SctpFields f = {}) { return add(std::move(f)); }
  /// ICMP over IPv4, ICMPv6 (with its pseudo header) over IPv6.
  PacketBuilder& icmp(IcmpFields f = {}) { return add(std::move(f)); }
  PacketBuilder& payload(std::string_view text) { return add(Bytes(text.begin(), text.end())); }
  PacketBuilder& payload(Bytes bytes) { return add(std::move(bytes)); }
  /// So many bytes of a recognisable pattern.
  PacketBuilder& payload_of(std::size_t length) {
    Bytes bytes(length);
    for (std::size_t i = 0; i < length; i++) bytes[i] = static_cast<std::uint8_t>(i);
    return add(std::move(bytes));
  }
  /// Ethernet padding behind the packet, up to `length` bytes of frame.
  PacketBuilder& pad_to(std::size_t length, std::uint8_t fill = 0) {
    minimum_ = length;
    fill_ = fill;
    return *this;
  }
  /// Cuts the finished frame.
  PacketBuilder& truncate(std::size_t length) {
    limit_ = length;
    return *this;
  }

  Bytes build() const {
    Bytes frame = encode(0, nullptr);
    if (frame.size() < minimum_) frame.resize(minimum_, fill_);
    if (frame.size() > limit_) frame.resize(limit_);
    return frame;
  }

 private:
  using Layer = std::variant<EthFields, VlanFields, Ipv4Fields, Ipv6Fields, ExtensionFields, TcpFields, UdpFields, SctpFields, IcmpFields, Bytes>;
  struct Addresses {
    Bytes source, destination;
  };

  template <typename F>
  PacketBuilder& add(F fields) {
    layers_.emplace_back(std::move(fields));
    return *this;
  }

  template <typename F>
  bool is(std::size_t i) const {
    return i < layers_.size() && std::holds_alternative<F>(layers_[i]);
  }
  std::uint16_t type_of(std::size_t i) const {
    return is<VlanFields>(i) ? 0x8100 : is<Ipv4Fields>(i) ? 0x0800 : is<Ipv6Fields>(i) ? 0x86dd : 0xffff;
  }
  std::uint8_t protocol_of(std::size_t i, bool v6) const {
    if (is<ExtensionFields>(i)) return std::get<ExtensionFields>(layers_[i]).kind;
    if (is<TcpFields>(i)) return 6;
    if (is<UdpFields>(i)) return 17;
    if (is<SctpFields>(i)) return 132;
    if (is<IcmpFields>(i)) return v6 ? 58 : 1;
    return v6 ? 59 : 0;
  }

  Bytes encode(std::size_t i, const Addresses* addresses) const {
    if (i >= layers_.size()) return {};
    return std::visit([&](const auto& fields) { return encode_layer(fields, i, addresses); }, layers_[i]);
  }

  Bytes encode_layer(const EthFields& f, std::size_t i, const Addresses* addresses) const {
    Bytes out = packet_detail::mac_bytes(f.destination);
    packet_detail::append(out, packet_detail::mac_bytes(f.source));
    packet_detail::put16(out, f.type.value_or(type_of(i + 1)));
    packet_detail::append(out, encode(i + 1, addresses));
    return out;
  }

  Bytes encode_layer(const VlanFields& f, std::size_t i, const Addresses* addresses) const {
    Bytes out;
    packet_detail::put16(out, static_cast<std::uint32_t>(f.priority) << 13 | f.id);
    packet_detail::put16(out, f.type.value_or(type_of(i + 1)));
    packet_detail::append(out, encode(i + 1, addresses));
    return out;
  }

  Bytes encode_layer(const Ipv4Fields& f, std::size_t i, const Addresses*) const {
    const Addresses own{packet_detail::ip_bytes(f.source), packet_detail::ip_bytes(f.destination)};
    const Bytes rest = encode(i + 1, &own);
    Bytes options = f.options;
    packet_detail::pad_to_multiple(options, 4);
    const std::size_t header = 20 + options.size();
    Bytes out{static_cast<std::uint8_t>(f.version << 4 | f.ihl.value_or(static_cast<std::uint8_t>(header / 4))), f.tos};
    packet_detail::put16(out, f.total_length.value_or(static_cast<std::uint16_t>(header + rest.size())));
    packet_detail::put16(out, f.id);
    packet_detail::put16(out, (f.dont_fragment ? 0x4000u : 0u) | (f.more_fragments ? 0x2000u : 0u) | f.fragment_offset);
    out.push_back(f.ttl);
    out.push_back(f.protocol.value_or(protocol_of(i + 1, false)));
    packet_detail::put16(out, 0);
    packet_detail::append(out, own.source);
    packet_detail::append(out, own.destination);
    packet_detail::append(out, options);
    fill_checksum(out, 10, 0, f.checksum, f.checksum_error, false);
    packet_detail::append(out, rest);
    return out;
  }

  Bytes encode_layer(const Ipv6Fields& f, std::size_t i, const Addresses*) const {
    const Addresses own{packet_detail::ip_bytes(f.source), packet_detail::ip_bytes(f.destination)};
    const Bytes rest = encode(i + 1, &own);
    Bytes out;
    packet_detail::put32(out, static_cast<std::uint32_t>(f.version) << 28 | static_cast<std::uint32_t>(f.traffic_class) << 20 |
                                  f.flow_label);
    packet_detail::put16(out, f.payload_length.value_or(static_cast<std::uint16_t>(rest.size())));
    out.push_back(f.next_header.value_or(protocol_of(i + 1, true)));
    out.push_back(f.hop_limit);
    packet_detail::append(out, own.source);
    packet_detail::append(out, own.destination);
    packet_detail::append(out, rest);
    return out;
  }

  Bytes encode_layer(const ExtensionFields& f, std::size_t i, const Addresses* addresses) const {
    Bytes out{f.next_header.value_or(protocol_of(i + 1, true)), 0};
    packet_detail::append(out, f.data);
    packet_detail::pad_to_multiple(out, 8);
    out[1] = f.length.value_or(f.kind == 44 ? std::uint8_t{0} : static_cast<std::uint8_t>(out.size() / 8 - 1));
    packet_detail::append(out, encode(i + 1, addresses));
    return out;
  }

  Bytes encode_layer(const TcpFields& f, std::size_t i, const Addresses* addresses) const {
    Bytes options;
    for (const Bytes& option : f.options) packet_detail::append(options, option);
    packet_detail::pad_to_multiple(options, 4);
    Bytes out;
    packet_detail::put16(out, f.source_port);
    packet_detail::put16(out, f.destination_port);
    packet_detail::put32(out, f.seq);
    packet_detail::put32(out, f.ack);
    out.push_back(static_cast<std::uint8_t>(f.data_offset.value_or(static_cast<std::uint8_t>((20 + options.size()) / 4)) << 4));
    out.push_back(f.flags);
    packet_detail::put16(out, f.window);
    packet_detail::put16(out, 0);
    packet_detail::put16(out, f.urgent);
    packet_detail::append(out, options);
    packet_detail::append(out, encode(i + 1, addresses));
    fill_checksum(out, 16, pseudo(addresses, 6, out.size()), f.checksum, f.checksum_error, false);
    return out;
  }

  Bytes encode_layer(const UdpFields& f, std::size_t i, const Addresses* addresses) const {
    const Bytes rest = encode(i + 1, addresses);
    Bytes out;
    packet_detail::put16(out, f.source_port);
    packet_detail::put16(out, f.destination_port);
    packet_detail::put16(out, f.length.value_or(static_cast<std::uint16_t>(8 + rest.size())));
    packet_detail::put16(out, 0);
    packet_detail::append(out, rest);
    fill_checksum(out, 6, pseudo(addresses, 17, out.size()), f.checksum, f.checksum_error, true);
    return out;
  }

  Bytes encode_layer(const SctpFields& f, std::size_t i, const Addresses* addresses) const {
    Bytes out;
    packet_detail::put16(out, f.source_port);
    packet_detail::put16(out, f.destination_port);
    packet_detail::put32(out, f.verification_tag);
    packet_detail::put32(out, 0);
    for (const SctpChunkFields& chunk : f.chunks) {
      out.push_back(chunk.type);
      out.push_back(chunk.flags);
      packet_detail::put16(out, chunk.length.value_or(static_cast<std::uint16_t>(4 + chunk.value.size())));
      packet_detail::append(out, chunk.value);
      packet_detail::pad_to_multiple(out, 4);
    }
    packet_detail::append(out, encode(i + 1, addresses));
    const std::uint32_t crc = packet_detail::crc32c(out) ^ f.checksum_error;
    for (std::size_t n = 0; n < 4; n++) out[8 + n] = static_cast<std::uint8_t>(crc >> (8 * n));  // RFC 9260 appendix A
    return out;
  }

  Bytes encode_layer(const IcmpFields& f, std::size_t i, const Addresses* addresses) const {
    Bytes out{f.type, f.code, 0, 0};
    packet_detail::put32(out, f.rest);
    packet_detail::append(out, encode(i + 1, addresses));
    const bool v6 = addresses != nullptr && addresses->source.size() == 16;
    fill_checksum(out, 2, v6 ? pseudo(addresses, 58, out.size()) : 0, f.checksum, f.checksum_error, false);
    return out;
  }

  Bytes encode_layer(const Bytes& bytes, std::size_t i, const Addresses* addresses) const {
    Bytes out = bytes;
    packet_detail::append(out, encode(i + 1, addresses));
    return out;
  }

  static std::uint32_t pseudo(const Addresses* addresses, std::uint8_t protocol, std::size_t length) {
    return addresses == nullptr ? 0 : packet_detail::pseudo_sum(addresses->source, addresses->destination, protocol, length);
  }

  static void fill_checksum(Bytes& out, std::size_t at, std::uint32_t start, std::optional<std::uint16_t> fixed, std::uint16_t error,
                            bool zero_means_none) {
    std::uint32_t value = (~packet_detail::sum(out, start) & 0xffffu) + error;
    if (value > 0xffff) value = (value & 0xffff) + 1;
    if (zero_means_none && value == 0) value = 0xffff;  // RFC 768: a computed zero is sent as all ones
    value = fixed.value_or(static_cast<std::uint16_t>(value));
    out[at] = static_cast<std::uint8_t>(value >> 8);
    out[at + 1] = static_cast<std::uint8_t>(value);
  }

  std::vector<Layer> layers_;
  std::size_t minimum_ = 0;
  std::size_t limit_ = SIZE_MAX;
  std::uint8_t fill_ = 0;
};

}  // namespace millrace::test
