// Weighted least connection: the server with the fewest sessions for its weight; an active session counts 257.
// Equal to ip_vs_wlc of Linux 6.1.
// Thread: the worker that schedules. No state.
#pragma once

#include "schedulers/support/least.h"

namespace millrace {

class WeightedLeastConnection : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "wlc";
  static constexpr std::string_view kSummary = "weighted least connection: the server with the fewest sessions for its weight";
  static constexpr bool kCounts = true;

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    return least_connections_for_weight(servers, context);
  }
};

}  // namespace millrace
