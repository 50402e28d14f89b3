// Never queue: the first server without an active session, whatever its weight; if all have some, as sed.
// Equal to ip_vs_nq of Linux 6.1.
// Thread: the worker that schedules. No state.
#pragma once

#include "schedulers/support/least.h"

namespace millrace {

class NeverQueue : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "nq";
  static constexpr std::string_view kSummary = "never queue: an idle server if there is one, else as sed";
  static constexpr bool kCounts = true;

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    std::size_t index = context.first;
    for (std::size_t step = 0; step < servers.size(); step++, index++) {
      if (index >= servers.size()) index = 0;
      if (is_available(servers[index], context) && context.loads.of(servers[index].slot).active == 0) {
        return static_cast<std::int32_t>(index);
      }
    }
    return least_for_weight(servers, context, [&](ServerSlot slot) { return context.loads.of(slot).active + 1; });
  }
};

}  // namespace millrace
