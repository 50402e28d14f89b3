// Weighted failover: everything to the available server with the highest weight.
// Equal to ip_vs_fo of Linux 6.1. All workers look from the head of the list, so that all agree on the one server.
// Thread: the worker that schedules. No state.
#pragma once

#include "schedulers/scheduler.h"

namespace millrace {

class Failover : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "fo";
  static constexpr std::string_view kSummary = "weighted failover: the available server with the highest weight takes everything";

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    std::int32_t best = -1;
    std::uint32_t best_weight = 0;
    for (std::size_t index = 0; index < servers.size(); index++) {
      if (servers[index].weight <= best_weight || context.loads.overloaded(servers[index].slot)) continue;
      best = static_cast<std::int32_t>(index);
      best_weight = servers[index].weight;
    }
    return best;
  }
};

}  // namespace millrace
