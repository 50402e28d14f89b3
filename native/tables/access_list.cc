// Building and asking access lists.
#include "tables/access_list.h"

#include <algorithm>
#include <bit>

#include "core/hash.h"

namespace millrace {

namespace {

/// The first `length` bits of the 16-byte form; the others 0.
IpAddress masked(const IpAddress& address, std::uint8_t length) {
  const auto keep = [](std::uint64_t word, int bits) {
    if (bits <= 0) return std::uint64_t{0};
    if (bits >= 64) return word;
    // The words are raw network order: the mask is made in the machine's order and turned like them.
    const std::uint64_t mask = ~std::uint64_t{0} << (64 - bits);
    return word & (std::endian::native == std::endian::little ? __builtin_bswap64(mask) : mask);
  };
  IpAddress result;
  result.high = keep(address.high, length);
  result.low = keep(address.low, length - 64);
  return result;
}

}  // namespace

AccessList::AccessList(std::span<const AccessRule> rules, bool allow_others)
    : entries_(std::bit_ceil(std::max<std::size_t>(4, rules.size() * 2))), allow_others_(allow_others) {
  bool in_use[2][129] = {};
  for (const AccessRule& rule : rules) {
    Entry& entry = entries_[place_of(rule.prefix, rule.length)];
    entry = {rule.prefix, rule.length, true, rule.allow};
    in_use[rule.prefix.is_v4() ? 0 : 1][rule.length] = true;
  }
  for (int family = 0; family < 2; family++) {
    for (int length = 128; length >= 0; length--) {
      if (in_use[family][length]) lengths_[family].push_back(static_cast<std::uint8_t>(length));
    }
  }
}

std::size_t AccessList::place_of(const IpAddress& prefix, std::uint8_t length) const {
  const std::size_t mask = entries_.size() - 1;
  std::size_t place = static_cast<std::size_t>(mix64(prefix.high ^ mix64(prefix.low ^ length))) & mask;
  while (entries_[place].used && (entries_[place].length != length || entries_[place].prefix != prefix)) place = (place + 1) & mask;
  return place;
}

bool AccessList::allows(const IpAddress& client) const {
  for (const std::uint8_t length : lengths_[client.is_v4() ? 0 : 1]) {
    const Entry& entry = entries_[place_of(masked(client, length), length)];
    if (entry.used) return entry.allow;
  }
  return allow_others_;
}

}  // namespace millrace
