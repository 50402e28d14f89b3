// Shortest expected delay: the server with the least (active sessions + 1) / weight, the new session counted in.
// Equal to ip_vs_sed of Linux 6.1: inactive sessions do not count, so short sessions one after another all go to the best weight.
// Thread: the worker that schedules. No state.
#pragma once

#include "schedulers/support/least.h"

namespace millrace {

class ShortestExpectedDelay : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "sed";
  static constexpr std::string_view kSummary =
      "shortest expected delay: the least active sessions, the new one included, for the weight";
  static constexpr bool kCounts = true;

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    return least_for_weight(servers, context, [&](ServerSlot slot) { return context.loads.of(slot).active + 1; });
  }
};

}  // namespace millrace
