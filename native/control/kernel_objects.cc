// Prefixes in text and in comparison. Cold path only.
#include "control/kernel_objects.h"

#include "tables/route_table.h"

namespace millrace {

Prefix Prefix::parse(std::string_view text, bool& ok) {
  Prefix prefix;
  const std::size_t slash = text.find('/');
  prefix.address = IpAddress::parse(text.substr(0, slash), ok);
  if (!ok) return {};
  const std::uint32_t bits = prefix.address.is_v4() ? 32 : 128;
  std::uint32_t length = bits;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    ok = !digits.empty() && digits.size() <= 3;
    length = 0;
    for (const char c : digits) {
      if (c < '0' || c > '9') ok = false;
      length = length * 10 + static_cast<std::uint32_t>(c - '0');
    }
    ok = ok && length <= bits;
    if (!ok) return {};
  }
  prefix.length = static_cast<std::uint8_t>(length + (128 - bits));
  return prefix;
}

bool Prefix::contains(const IpAddress& other) const {
  return other.is_v4() == address.is_v4() && masked(other, length) == masked(address, length);
}

std::string Prefix::to_string() const { return address.to_string() + "/" + std::to_string(family_length()); }

}  // namespace millrace
