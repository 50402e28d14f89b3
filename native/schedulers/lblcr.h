// Locality-based least connection with replication: a destination address has a set of servers, and the one with the least load
// of them gets the session; when that one is overloaded, the least loaded of all joins the set. Equal to ip_vs_lblcr of Linux 6.1
// on one worker; a set of several servers that has not changed for a day loses its most loaded one. Threads: the worker that owns
// the state. Each worker remembers for itself: a destination may have other servers on another worker.
#pragma once

#include <vector>

#include "schedulers/support/locality.h"

namespace millrace {

class LocalityReplication : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "lblcr";
  static constexpr std::string_view kSummary = "as lblc, but a destination gets more servers while its own are overloaded";
  static constexpr bool kCounts = true;

  void start(std::span<const ServerView>) { cache_.clear(); }

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    Set* set = cache_.find(context.destination, context.now_ms);
    if (set != nullptr) {
      const std::int32_t least = least_of(servers, context, *set);
      if (set->servers.size() > 1 && context.now_ms - set->changed_ms > DestinationCache<Set>::kExpirationMs) {
        drop_most_loaded(servers, context, *set);
      }
      if (least >= 0 && !is_overloaded(servers, context, servers[static_cast<std::size_t>(least)])) return least;
    }
    const std::int32_t index = least_connections_for_weight(servers, context);
    if (index < 0) return -1;
    if (set == nullptr) set = cache_.add(context.destination, context.now_ms);
    if (set != nullptr) insert(servers, context, *set, index);
    return index;
  }

 private:
  struct Set {
    /// The newest first.
    std::vector<RememberedServer> servers;
    std::uint32_t changed_ms = 0;
  };

  static std::int32_t least_of(std::span<const ServerView> servers, const PickContext& context, Set& set) {
    std::int32_t least = -1;
    std::uint64_t least_cost = 0;
    for (RememberedServer& member : set.servers) {
      const std::int32_t index = recall(servers, context, member);
      if (index < 0) continue;
      const ServerView& server = servers[static_cast<std::size_t>(index)];
      if (!is_available(server, context)) continue;
      const std::uint64_t cost = connection_cost(context, server.slot);
      if (least >= 0 && !costs_more(least_cost, servers[static_cast<std::size_t>(least)].weight, cost, server.weight)) continue;
      least = index;
      least_cost = cost;
    }
    return least;
  }

  static void drop_most_loaded(std::span<const ServerView> servers, const PickContext& context, Set& set) {
    std::size_t most = set.servers.size();
    const ServerView* most_server = nullptr;
    std::uint64_t most_cost = 0;
    for (std::size_t i = 0; i < set.servers.size(); i++) {
      const std::int32_t index = recall(servers, context, set.servers[i]);
      if (index < 0) continue;
      const ServerView& server = servers[static_cast<std::size_t>(index)];
      if (server.weight == 0) continue;
      const std::uint64_t cost = connection_cost(context, server.slot);
      if (most_server != nullptr && !costs_more(cost, server.weight, most_cost, most_server->weight)) continue;
      most = i;
      most_server = &server;
      most_cost = cost;
    }
    if (most_server == nullptr) return;
    set.servers.erase(set.servers.begin() + static_cast<std::ptrdiff_t>(most));
    set.changed_ms = context.now_ms;
  }

  static void insert(std::span<const ServerView> servers, const PickContext& context, Set& set, std::int32_t index) {
    for (const RememberedServer& member : set.servers) {
      if (is_that(servers[static_cast<std::size_t>(index)], context, member)) return;
    }
    set.servers.insert(set.servers.begin(), remember(servers, context, index));
    set.changed_ms = context.now_ms;
  }

  DestinationCache<Set> cache_;
};

}  // namespace millrace
