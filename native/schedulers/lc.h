// Least connection: the server with the fewest sessions, whatever its weight; an active session counts 257.
// Equal to ip_vs_lc of Linux 6.1: of equal servers the one added last is taken.
// Thread: the worker that schedules. No state.
#pragma once

#include "schedulers/support/least.h"

namespace millrace {

class LeastConnection : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "lc";
  static constexpr std::string_view kSummary = "least connection: the server with the fewest sessions";
  static constexpr bool kCounts = true;

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    std::int32_t least = -1;
    std::uint64_t least_cost = 0;
    std::size_t index = context.first;
    for (std::size_t step = 0; step < servers.size(); step++, index++) {
      if (index >= servers.size()) index = 0;
      if (!is_available(servers[index], context)) continue;
      const std::uint64_t cost = connection_cost(context, servers[index].slot);
      if (least >= 0 && cost >= least_cost) continue;
      least = static_cast<std::int32_t>(index);
      least_cost = cost;
    }
    return least;
  }
};

}  // namespace millrace
