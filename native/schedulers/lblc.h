// Locality-based least connection: a destination address keeps its server as long as that one is not overloaded; made for caches.
// Equal to ip_vs_lblc of Linux 6.1 on one worker: overloaded means more active sessions than the weight while another server has
// not half of its own; a new server is chosen as wlc does. The threshold of the remembered server does not count, only its
// weight. Threads: the worker that owns the state. Each worker remembers for itself: a destination may have another server on
// another worker.
#pragma once

#include "schedulers/support/locality.h"

namespace millrace {

class LocalityLeastConnection : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "lblc";
  static constexpr std::string_view kSummary =
      "locality-based least connection: a destination keeps its server until that is overloaded";
  static constexpr bool kCounts = true;
  static constexpr bool kIgnoresThresholds = true;

  void start(std::span<const ServerView>) { cache_.clear(); }

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    RememberedServer* known = cache_.find(context.destination, context.now_ms);
    if (known != nullptr) {
      const std::int32_t index = recall(servers, context, *known);
      if (index >= 0) {
        const ServerView& server = servers[static_cast<std::size_t>(index)];
        if (server.weight != 0 && !is_overloaded(servers, context, server)) return index;
      }
    }
    const std::int32_t index = least_connections_for_weight(servers, context);
    if (index < 0) return -1;
    if (known == nullptr) known = cache_.add(context.destination, context.now_ms);
    if (known != nullptr) *known = remember(servers, context, index);
    return index;
  }

 private:
  DestinationCache<RememberedServer> cache_;
};

}  // namespace millrace
