// Text forms of addresses, for configuration, logs and tests. Cold path only.
#include "net/address.h"

#include <arpa/inet.h>

#include <cstdio>

namespace millrace {

IpAddress IpAddress::parse(std::string_view text, bool& ok) {
  ok = false;
  char buffer[64];
  // inet_pton would stop at a zero byte and not see what follows.
  if (text.size() >= sizeof(buffer) || text.find('\0') != std::string_view::npos) return {};
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = '\0';
  std::uint8_t bytes[16];
  if (inet_pton(AF_INET, buffer, bytes) == 1) {
    std::uint32_t raw;
    std::memcpy(&raw, bytes, 4);
    ok = true;
    return v4(be32::from_raw(raw));
  }
  if (inet_pton(AF_INET6, buffer, bytes) == 1) {
    ok = true;
    return v6(bytes);
  }
  return {};
}

std::string IpAddress::to_string() const {
  char buffer[INET6_ADDRSTRLEN];
  if (is_v4()) {
    inet_ntop(AF_INET, bytes() + 12, buffer, sizeof(buffer));
  } else {
    inet_ntop(AF_INET6, bytes(), buffer, sizeof(buffer));
  }
  return buffer;
}

MacAddress MacAddress::parse(std::string_view text, bool& ok) {
  ok = false;
  MacAddress mac;
  if (text.size() != 17) return mac;
  for (std::size_t i = 0; i < 6; i++) {
    std::uint8_t value = 0;
    for (std::size_t d = 0; d < 2; d++) {
      const char c = text[i * 3 + d];
      std::uint8_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<std::uint8_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<std::uint8_t>(c - 'a' + 10);
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<std::uint8_t>(c - 'A' + 10);
      } else {
        return mac;
      }
      value = static_cast<std::uint8_t>(value << 4 | digit);
    }
    if (i < 5 && text[i * 3 + 2] != ':') return mac;
    mac.bytes[i] = value;
  }
  ok = true;
  return mac;
}

std::string MacAddress::to_string() const {
  char buffer[18];
  std::snprintf(buffer, sizeof(buffer), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4],
                bytes[5]);
  return buffer;
}

}  // namespace millrace
