// The ring: built on the control thread, looked up on workers.
#include "schedulers/conhash.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <string>

#include "core/md5.h"
#include "schedulers/support/address_hash.h"

namespace millrace {

namespace {

std::uint64_t ring_hash(std::string_view text) {
  std::uint64_t sum = 0;
  for (const std::uint32_t word : md5(text)) sum += word;
  return sum;
}

}  // namespace

void ConsistentHash::build(std::span<const BuildServer> servers, const SchedulerOptions&, SchedulerTable& table) {
  std::uint32_t divisor = 0;
  std::uint64_t weights = 0;
  for (const BuildServer& server : servers) {
    divisor = std::gcd(divisor, server.weight);
    weights += server.weight;
  }
  if (divisor == 0) return;
  const std::uint64_t wanted = weights / divisor * kReplicas;
  // The oldest server first: it is the last of the list.
  for (std::uint32_t index = static_cast<std::uint32_t>(servers.size()); index-- > 0;) {
    const BuildServer& server = servers[index];
    if (server.weight == 0) continue;
    std::uint64_t points = std::uint64_t{server.weight / divisor} * kReplicas;
    if (wanted > kMaxPoints) points = std::max<std::uint64_t>(1, points * kMaxPoints / wanted);
    const std::string prefix = server.address.to_string() + std::to_string(__builtin_bswap16(server.port.host())) + "-";
    for (std::uint64_t number = 0; number < points; number++) {
      char digits[24];
      std::snprintf(digits, sizeof(digits), "%03llu", static_cast<unsigned long long>(number));
      table.ring.push_back({ring_hash(prefix + digits), index});
    }
  }
  const auto by_hash = [](const SchedulerTable::RingPoint& a, const SchedulerTable::RingPoint& b) { return a.hash < b.hash; };
  std::stable_sort(table.ring.begin(), table.ring.end(), by_hash);
  const auto same = [](const SchedulerTable::RingPoint& a, const SchedulerTable::RingPoint& b) { return a.hash == b.hash; };
  table.ring.erase(std::unique(table.ring.begin(), table.ring.end(), same), table.ring.end());
}

std::int32_t ConsistentHash::pick(std::span<const ServerView> servers, const PickContext& context) {
  if (context.table == nullptr || context.table->ring.empty()) return -1;
  const auto& ring = context.table->ring;
  // Without memory allocation: this runs on a worker.
  char key[12];
  const int length = std::snprintf(key, sizeof(key), "%u", __builtin_bswap32(fold_address(context.client)));
  const std::uint64_t hash = ring_hash(std::string_view(key, static_cast<std::size_t>(length)));
  auto point = std::lower_bound(ring.begin(), ring.end(), hash,
                                [](const SchedulerTable::RingPoint& p, std::uint64_t wanted) { return p.hash < wanted; });
  if (point == ring.end()) point = ring.begin();
  return is_available(servers[point->server], context) ? static_cast<std::int32_t>(point->server) : -1;
}

}  // namespace millrace
