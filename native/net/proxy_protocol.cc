// Reading and writing PROXY headers.
#include "net/proxy_protocol.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string_view>

#include "net/crc32c.h"

namespace millrace::net {

namespace {

constexpr std::array<std::uint8_t, 12> kSignature = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr std::string_view kV1Start = "PROXY ";
constexpr std::uint32_t kTlvHead = 3;

using Kind = ProxyHeader::Kind;
using Bytes = std::span<const std::uint8_t>;

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// Whether `bytes` is the beginning of `whole`, or the other way round.
bool may_be(Bytes bytes, Bytes whole) {
  const std::size_t common = std::min(bytes.size(), whole.size());
  return std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(common), whole.begin());
}

/// The next word of a line whose words stand one space apart; `line` goes on behind that space.
std::string_view take_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

bool read_port(std::string_view text, be16& port) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > 65535 || (text.size() > 1 && text[0] == '0')) return false;
  port = be16(static_cast<std::uint16_t>(value));
  return true;
}

/// "TCP4 source destination port port", the part between "PROXY " and CR LF.
Kind read_v1_line(std::string_view line, ProxyEndpoints& endpoints) {
  const std::string_view protocol = take_word(line);
  if (protocol == "UNKNOWN") return Kind::kLocal;  // what follows is to be ignored
  const bool ipv4 = protocol == "TCP4";
  if (!ipv4 && protocol != "TCP6") return Kind::kMalformed;
  // One space too many anywhere leaves an empty word, and something left over is a word too many.
  const std::string_view source = take_word(line), destination = take_word(line), source_port = take_word(line);
  bool ok = true;
  endpoints.source = IpAddress::parse(source, ok);
  if (!ok || (source.find(':') == std::string_view::npos) != ipv4) return Kind::kMalformed;
  endpoints.destination = IpAddress::parse(destination, ok);
  if (!ok || (destination.find(':') == std::string_view::npos) != ipv4) return Kind::kMalformed;
  if (!read_port(source_port, endpoints.source_port) || !read_port(line, endpoints.destination_port)) return Kind::kMalformed;
  return Kind::kProxied;
}

ProxyHeader read_v1(Bytes bytes) {
  ProxyHeader header{.version = 1};
  const std::string_view text = text_of(bytes.first(std::min<std::size_t>(bytes.size(), kProxyV1Longest)));
  const std::size_t end = text.find("\r\n");
  if (end == std::string_view::npos) {
    header.kind = bytes.size() < kProxyV1Longest ? Kind::kIncomplete : Kind::kMalformed;
    return header;
  }
  header.length = static_cast<std::uint32_t>(end) + 2;
  header.kind = end < kV1Start.size() ? Kind::kMalformed : read_v1_line(text.substr(kV1Start.size(), end - kV1Start.size()), header.endpoints);
  return header;
}

std::uint32_t u16_at(Bytes bytes, std::size_t at) { return static_cast<std::uint32_t>(bytes[at] << 8 | bytes[at + 1]); }

/// Whether the TLVs fill their place exactly; where the checksum's four bytes stand in `whole`, or 0.
bool walk_tlvs(Bytes whole, std::uint32_t begin, std::uint32_t& checksum_at) {
  checksum_at = 0;
  for (std::uint32_t at = begin; at < whole.size();) {
    if (whole.size() - at < kTlvHead) return false;
    const std::uint32_t length = u16_at(whole, at + 1);
    if (whole.size() - at - kTlvHead < length) return false;
    if (whole[at] == proxy_tlv::kCrc32c) {
      if (length != 4 || checksum_at != 0) return false;
      checksum_at = at + kTlvHead;
    }
    at += kTlvHead + length;
  }
  return true;
}

/// Of the whole header, with zero in the checksum's place.
std::uint32_t crc_of(Bytes whole, std::uint32_t checksum_at) {
  constexpr std::uint8_t zero[4] = {};
  std::uint32_t crc = crc32c_update(~0u, whole.data(), checksum_at);
  crc = crc32c_update(crc, zero, sizeof(zero));
  return ~crc32c_update(crc, whole.data() + checksum_at + 4, whole.size() - checksum_at - 4);
}

std::uint32_t u32_at(Bytes bytes, std::size_t at) { return u16_at(bytes, at) << 16 | u16_at(bytes, at + 2); }

void put_u16(std::uint8_t* at, std::uint32_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}

void put_u32(std::uint8_t* at, std::uint32_t value) {
  put_u16(at, value >> 16);
  put_u16(at + 2, value);
}

ProxyHeader read_v2(Bytes bytes, bool datagram) {
  ProxyHeader header{.version = 2};
  const auto malformed = [&] { return header.kind = Kind::kMalformed, header; };
  if (bytes.size() < kProxyV2Fixed) return datagram ? malformed() : header;
  const std::uint32_t command = bytes[12] & 0x0fu, family = bytes[13] >> 4, transport = bytes[13] & 0x0fu;
  if (bytes[12] >> 4 != 2 || command > 1 || family > 3 || transport > 2) return malformed();
  header.length = kProxyV2Fixed + u16_at(bytes, 14);
  if (header.length > kProxyLongest) return malformed();
  constexpr std::array<std::uint32_t, 4> addresses = {0, 12, 36, 216};
  if (command == 1 && header.length < kProxyV2Fixed + addresses[family]) return malformed();
  if (bytes.size() < header.length) return datagram ? malformed() : header;
  // A health check of whoever is in front: its header ends here, whatever is in it.
  if (command == 0) return header.kind = Kind::kLocal, header;

  const Bytes whole = bytes.first(header.length);
  const std::uint32_t tlvs = kProxyV2Fixed + addresses[family];
  std::uint32_t checksum_at = 0;
  // Of an unspecified family nothing says where addresses end.
  if (family != 0) {
    if (!walk_tlvs(whole, tlvs, checksum_at)) return malformed();
    if (checksum_at != 0 && crc_of(whole, checksum_at) != u32_at(whole, checksum_at)) return malformed();
  }
  const bool known = (family == 1 || family == 2) && transport == (datagram ? 2u : 1u);
  if (!known) return header.kind = Kind::kLocal, header;
  header.kind = Kind::kProxied;
  header.tlvs = whole.subspan(tlvs);
  const std::uint8_t* at = bytes.data() + kProxyV2Fixed;
  const std::uint32_t size = family == 1 ? 4 : 16;
  const auto address = [&](const std::uint8_t* from) {
    if (family == 2) return IpAddress::v6(from);
    be32 v4;
    std::memcpy(&v4, from, 4);
    return IpAddress::v4(v4);
  };
  header.endpoints.source = address(at);
  header.endpoints.destination = address(at + size);
  std::memcpy(&header.endpoints.source_port, at + 2 * size, 2);
  std::memcpy(&header.endpoints.destination_port, at + 2 * size + 2, 2);
  return header;
}

bool all_v4(const ProxyEndpoints& endpoints) { return endpoints.source.is_v4() && endpoints.destination.is_v4(); }

/// Appends to a header in the making; `full` once something did not fit.
class Writer {
 public:
  explicit Writer(std::span<std::uint8_t> out) : out_(out) {}

  void bytes(const void* data, std::size_t length) {
    if (full_ || out_.size() - at_ < length) {
      full_ = true;
      return;
    }
    if (length != 0) std::memcpy(out_.data() + at_, data, length);
    at_ += static_cast<std::uint32_t>(length);
  }
  void byte(std::uint8_t value) { bytes(&value, 1); }
  void tlv(std::uint8_t type, Bytes value) {
    std::uint8_t head[kTlvHead] = {type};
    put_u16(head + 1, static_cast<std::uint32_t>(value.size()));
    bytes(head, sizeof(head));
    bytes(value.data(), value.size());
  }
  std::uint32_t at() const { return at_; }
  bool full() const { return full_; }

 private:
  std::span<std::uint8_t> out_;
  std::uint32_t at_ = 0;
  bool full_ = false;
};

/// Those of the header in front that stay true: its checksum and padding were its own. Returns whether it named the connection.
bool keep_accepted(Writer& writer, Bytes tlvs) {
  bool named = false;
  for (std::size_t at = 0; at + kTlvHead <= tlvs.size();) {
    const std::size_t length = u16_at(tlvs, at + 1);
    if (tlvs.size() - at - kTlvHead < length) break;
    const std::uint8_t type = tlvs[at];
    if (type != proxy_tlv::kCrc32c && type != proxy_tlv::kNoop) writer.bytes(tlvs.data() + at, kTlvHead + length);
    named = named || type == proxy_tlv::kUniqueId;
    at += kTlvHead + length;
  }
  return named;
}

}  // namespace

ProxyHeader read_proxy_header(Bytes bytes, bool datagram) {
  if (may_be(bytes, kSignature)) return read_v2(bytes, datagram);
  const Bytes start(reinterpret_cast<const std::uint8_t*>(kV1Start.data()), kV1Start.size());
  if (!datagram && may_be(bytes, start)) return read_v1(bytes);
  return {.kind = Kind::kMalformed};
}

std::uint32_t write_proxy_v1(const ProxyEndpoints& endpoints, std::span<std::uint8_t> out) {
  const bool ipv4 = all_v4(endpoints);
  Writer writer(out);
  const auto text = [&](std::string_view part) { writer.bytes(part.data(), part.size()); };
  const auto address = [&](const IpAddress& value) {
    char buffer[INET6_ADDRSTRLEN];
    text(inet_ntop(ipv4 ? AF_INET : AF_INET6, value.bytes() + (ipv4 ? 12 : 0), buffer, sizeof(buffer)));
  };
  const auto port = [&](be16 value) {
    char buffer[5];
    text({buffer, std::to_chars(buffer, buffer + sizeof(buffer), value.host()).ptr});
  };
  text(kV1Start);
  text(ipv4 ? "TCP4 " : "TCP6 ");
  address(endpoints.source);
  text(" ");
  address(endpoints.destination);
  text(" ");
  port(endpoints.source_port);
  text(" ");
  port(endpoints.destination_port);
  text("\r\n");
  return writer.full() ? 0 : writer.at();
}

std::uint32_t write_proxy_v2(const ProxyEndpoints& endpoints, bool datagram, const ProxyExtras& extras, std::span<std::uint8_t> out) {
  const bool ipv4 = all_v4(endpoints);
  Writer writer(out);
  writer.bytes(kSignature.data(), kSignature.size());
  writer.byte(0x21);
  writer.byte(static_cast<std::uint8_t>((ipv4 ? 0x10 : 0x20) | (datagram ? 2 : 1)));
  writer.bytes("\0", 2);
  const std::size_t skipped = ipv4 ? 12 : 0;
  writer.bytes(endpoints.source.bytes() + skipped, 16 - skipped);
  writer.bytes(endpoints.destination.bytes() + skipped, 16 - skipped);
  writer.bytes(&endpoints.source_port, 2);
  writer.bytes(&endpoints.destination_port, 2);
  const bool named = keep_accepted(writer, extras.accepted_tlvs);
  if (!named && !extras.unique_id.empty()) writer.tlv(proxy_tlv::kUniqueId, extras.unique_id);
  writer.bytes(extras.tlvs.data(), extras.tlvs.size());
  constexpr std::uint8_t nothing[4] = {};
  const std::uint32_t checksum_at = writer.at() + kTlvHead;
  if (extras.crc32c) writer.tlv(proxy_tlv::kCrc32c, Bytes(nothing, 4));
  if (writer.full()) return 0;
  const Bytes whole = Bytes(out).first(writer.at());
  put_u16(out.data() + 14, writer.at() - kProxyV2Fixed);
  if (extras.crc32c) put_u32(out.data() + checksum_at, crc_of(whole, checksum_at));
  return writer.at();
}

}  // namespace millrace::net
