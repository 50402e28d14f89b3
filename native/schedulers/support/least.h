// The server with the least load for its weight: the comparison that wlc, sed, nq, lblc and lblcr share. Loads are compared
// crosswise (a/wa > b/wb as a*wb > b*wa), which needs no division and is exact; of equal ones the first in the list wins, as in
// IPVS. Thread: the worker that schedules. No state.
#pragma once

#include <cstdint>
#include <span>

#include "schedulers/scheduler.h"

namespace millrace {

/// What a server's sessions cost it. An active one counts 257: measured on Linux 6.1, where an active connection is also one of
/// all.
inline std::uint64_t connection_cost(const PickContext& context, ServerSlot slot) {
  const ServerLoad load = context.loads.of(slot);
  return load.active * 257 + load.inactive;
}

/// Whether `cost` at `weight` is more than `other_cost` at `other_weight`.
inline bool costs_more(std::uint64_t cost, std::uint32_t weight, std::uint64_t other_cost, std::uint32_t other_weight) {
  return cost * other_weight > other_cost * weight;
}

/// Index of the available server with the least cost(slot) for its weight, -1 if none is available.
template <typename Cost>
std::int32_t least_for_weight(std::span<const ServerView> servers, const PickContext& context, Cost cost) {
  std::int32_t least = -1;
  std::uint64_t least_cost = 0;
  std::size_t index = context.first;
  for (std::size_t step = 0; step < servers.size(); step++, index++) {
    if (index >= servers.size()) index = 0;
    const ServerView& server = servers[index];
    if (!is_available(server, context)) continue;
    const std::uint64_t this_cost = cost(server.slot);
    if (least < 0 || costs_more(least_cost, servers[static_cast<std::size_t>(least)].weight, this_cost, server.weight)) {
      least = static_cast<std::int32_t>(index);
      least_cost = this_cost;
    }
  }
  return least;
}

/// The choice of wlc.
inline std::int32_t least_connections_for_weight(std::span<const ServerView> servers, const PickContext& context) {
  return least_for_weight(servers, context, [&](ServerSlot slot) { return connection_cost(context, slot); });
}

}  // namespace millrace
