// PrefixSet: whether an address lies in one of many prefixes. One hash set per length that occurs, searched from the longest.
// Threads: built by the control thread, read by workers on the slow path.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_set>
#include <vector>

#include "net/prefix.h"

namespace millrace {

class PrefixSet {
 public:
  void add(const Prefix& prefix) {
    auto level = std::find_if(levels_.begin(), levels_.end(), [&](const Level& l) { return l.length <= prefix.length; });
    if (level == levels_.end() || level->length != prefix.length) level = levels_.insert(level, Level{prefix.length, {}});
    level->networks.insert(masked(prefix.address, prefix.length));
  }

  bool contains(const IpAddress& address) const {
    for (const Level& level : levels_) {
      // An IPv6 prefix of 96 bits or less could hold all of IPv4's form.
      if (level.length < kMappedLength && address.is_v4()) return false;
      if (level.networks.contains(masked(address, level.length))) return true;
    }
    return false;
  }

  bool empty() const { return levels_.empty(); }

 private:
  static constexpr std::uint8_t kMappedLength = 96;
  struct Hash {
    std::size_t operator()(const IpAddress& a) const {
      return static_cast<std::size_t>(a.high * 0x9e3779b97f4a7c15ull ^ (a.low ^ a.low >> 31) * 0xbf58476d1ce4e5b9ull);
    }
  };
  struct Level {
    std::uint8_t length;
    std::unordered_set<IpAddress, Hash> networks;
  };
  std::vector<Level> levels_;  // longest first
};

}  // namespace millrace
