// Prefixes in text and in comparison. Cold path only.
#include "net/prefix.h"

namespace millrace {

IpAddress masked(const IpAddress& address, std::uint8_t length) {
  const be64 high = be64::from_raw(address.high);
  const be64 low = be64::from_raw(address.low);
  const std::uint64_t high_mask = length >= 64 ? ~0ull : (length == 0 ? 0 : ~0ull << (64 - length));
  const std::uint64_t low_mask = length <= 64 ? 0 : (length >= 128 ? ~0ull : ~0ull << (128 - length));
  IpAddress result;
  result.high = be64(high.host() & high_mask).raw;
  result.low = be64(low.host() & low_mask).raw;
  return result;
}

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
