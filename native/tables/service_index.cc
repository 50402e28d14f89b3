// Building and searching. See service_index.h for the order.
#include "tables/service_index.h"

#include <algorithm>

namespace millrace {

namespace {
/// Length of 0.0.0.0/0 in the 16-byte form.
constexpr std::uint8_t kMappedLength = 96;
}  // namespace

bool matches(const ServiceMatch& match, const ServiceQuery& query) {
  return (match.protocol == 0 || match.protocol == query.protocol) && match.ports.contains(query.port) &&
         (match.interface == kAnyInterface || match.interface == query.interface) && match.destination.contains(query.destination) &&
         match.source.contains(query.source);
}

void ServiceIndex::add(const Prefix& vips, PortRange ports, std::uint8_t protocol, const ServiceTable* service) {
  auto level = std::find_if(levels_.begin(), levels_.end(), [&](const Level& l) { return l.length <= vips.length; });
  if (level == levels_.end() || level->length != vips.length) level = levels_.insert(level, Level{vips.length, {}});
  Ports& there = level->networks[Key{masked(vips.address, vips.length), protocol}];
  if (ports.is_any()) {
    if (there.any == nullptr) there.any = service;
  } else if (ports.low == ports.high) {
    there.single.try_emplace(ports.low, service);
  } else {
    const auto place = std::upper_bound(there.ranges.begin(), there.ranges.end(), ports.low,
                                        [](std::uint16_t low, const Range& range) { return low < range.ports.low; });
    there.ranges.insert(place, Range{ports, service});
  }
}

void ServiceIndex::add(const ServiceMatch& match, const ServiceTable* service) { matches_.push_back({match, service}); }

const ServiceTable* ServiceIndex::Ports::find(std::uint16_t port) const {
  const auto exact = single.find(port);
  if (exact != single.end()) return exact->second;
  auto range = std::upper_bound(ranges.begin(), ranges.end(), port,
                                [](std::uint16_t wanted, const Range& candidate) { return wanted < candidate.ports.low; });
  if (range != ranges.begin() && (--range)->ports.contains(port)) return range->service;
  return any;
}

const ServiceTable* ServiceIndex::find(const ServiceQuery& query) const {
  for (const Level& level : levels_) {
    if (level.length < kMappedLength && query.destination.is_v4()) break;
    const auto found = level.networks.find(Key{masked(query.destination, level.length), query.protocol});
    if (found == level.networks.end()) continue;
    if (const ServiceTable* service = found->second.find(query.port); service != nullptr) return service;
  }
  for (const Match& candidate : matches_) {
    if (matches(candidate.match, query)) return candidate.service;
  }
  return nullptr;
}

}  // namespace millrace
