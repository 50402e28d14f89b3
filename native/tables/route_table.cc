// Longest-prefix match over hash maps by prefix length. Built on the control thread.
#include "tables/route_table.h"

#include <algorithm>

namespace millrace {

namespace {
/// Length of 0.0.0.0/0 as a v4-mapped prefix.
constexpr std::uint8_t kMappedPrefixLength = 96;
}  // namespace

void RouteTable::add(const Route& route) {
  auto level = std::lower_bound(levels_.begin(), levels_.end(), route.length,
                                [](const Level& l, std::uint8_t length) { return l.length > length; });
  if (level == levels_.end() || level->length != route.length) level = levels_.insert(level, Level{route.length, {}});
  Route stored = route;
  stored.prefix = masked(route.prefix, route.length);
  if (level->routes.insert_or_assign(stored.prefix, stored).second) size_++;
}

const Route* RouteTable::lookup(const IpAddress& destination) const {
  // Levels fall in length, and no IPv6 prefix shorter than this can mean IPv4, though ::/0 covers the mapped addresses as well.
  const std::uint8_t shortest = destination.is_v4() ? kMappedPrefixLength : std::uint8_t{0};
  for (const Level& level : levels_) {
    if (level.length < shortest) break;
    const auto found = level.routes.find(masked(destination, level.length));
    if (found != level.routes.end()) return &found->second;
  }
  return nullptr;
}

}  // namespace millrace
