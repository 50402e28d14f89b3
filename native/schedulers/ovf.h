// Weighted overflow: the available server with the highest weight until it has more active sessions than its weight, then the
// next. Equal to ip_vs_ovf of Linux 6.1, where a server is passed over only when it has more active sessions than its weight: it
// reaches weight + 1. When all are full, nobody is picked. Thread: the worker that schedules. No state.
#pragma once

#include "schedulers/scheduler.h"

namespace millrace {

class Overflow : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "ovf";
  static constexpr std::string_view kSummary =
      "weighted overflow: the highest weight until it has more active sessions than that, then the next";
  static constexpr bool kCounts = true;

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    std::int32_t best = -1;
    std::uint32_t best_weight = 0;
    for (std::size_t index = 0; index < servers.size(); index++) {
      const ServerView& server = servers[index];
      if (server.weight <= best_weight || context.loads.overloaded(server.slot)) continue;
      if (context.loads.of(server.slot).active > server.weight) continue;
      best = static_cast<std::int32_t>(index);
      best_weight = server.weight;
    }
    return best;
  }
};

}  // namespace millrace
