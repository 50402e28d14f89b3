// Weighted round robin: servers in proportion to their weights, interleaved.
// Equal to ip_vs_wrr of Linux 6.1: a level falls from the highest weight to 1 in steps of the weights' greatest common divisor,
// and a round at each level takes every server whose weight reaches it.
//
//   weights 4 3 2, level 4: A   level 3: A B   level 2: A B C   level 1: A B C   -> 4 + 3 + 2 sessions
//
// Every change of the list goes back to its head but keeps the level as far as it is possible. Hence the first round of a service
// whose servers were added one by one: the first server alone has a divisor equal to its weight, so the level is 1, and 1 it
// stays while the others are added; each server is taken once before the high level begins.
// Thread: the worker that owns the state.
#pragma once

#include <algorithm>
#include <numeric>

#include "schedulers/scheduler.h"

namespace millrace {

class WeightedRoundRobin : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "wrr";
  static constexpr std::string_view kSummary = "weighted round robin: each server in proportion to its weight";

  /// Begins at the head and the highest level of a list that exists already.
  void start(std::span<const ServerView> servers) {
    measure(servers);
    level_ = highest_;
  }

  /// After one change of any kind.
  void changed(ServiceChange::Kind, std::int32_t, std::span<const ServerView> servers) {
    measure(servers);
    if (level_ > highest_ || level_ == 0) {
      level_ = highest_;
    } else if (step_ > 1) {
      level_ = level_ / step_ * step_ + 1;
    }
  }

  /// Index of the server for the next session, -1 if none is available.
  /// A round that no server reaches only lowers the level, so the level goes at once to one that the best available server
  /// reaches.
  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    if (highest_ == 0) return -1;
    const auto count = static_cast<std::int32_t>(servers.size());
    if (const std::int32_t found = search(servers, context, count); found >= 0) return found;
    const std::uint32_t reach = best_weight(servers, context);
    if (reach == 0) return nobody();
    next_level();
    if (level_ > reach) level_ -= (level_ - reach + step_ - 1) / step_ * step_;
    last_ = -1;
    return search(servers, context, count);
  }

  bool at_head() const { return last_ == -1; }

 private:
  /// The next server down the list that reaches the level.
  std::int32_t search(std::span<const ServerView> servers, const PickContext& context, std::int32_t count) {
    for (std::int32_t index = last_ + 1; index < count; index++) {
      const ServerView& server = servers[static_cast<std::size_t>(index)];
      if (server.weight >= level_ && is_available(server, context)) return last_ = index;
    }
    return -1;
  }

  static std::uint32_t best_weight(std::span<const ServerView> servers, const PickContext& context) {
    std::uint32_t best = 0;
    for (const ServerView& server : servers) {
      if (is_available(server, context)) best = std::max(best, server.weight);
    }
    return best;
  }

  void next_level() { level_ = level_ > step_ ? level_ - step_ : highest_; }

  /// Every server is above its threshold. The kernel gives up behind its last round: at the head and the highest level, or, if it
  /// began inside the round of the lowest level, where it began.
  std::int32_t nobody() {
    if (level_ <= step_ && last_ != -1) return -1;
    last_ = -1;
    level_ = highest_;
    return -1;
  }

  void measure(std::span<const ServerView> servers) {
    std::uint32_t divisor = 0;
    std::uint32_t maximum = 0;
    for (const ServerView& server : servers) {
      divisor = std::gcd(divisor, server.weight);  // gcd(x, 0) is x: servers without weight do not count
      maximum = std::max(maximum, server.weight);
    }
    last_ = -1;
    step_ = divisor == 0 ? 1 : divisor;
    highest_ = maximum == 0 ? 0 : maximum - (step_ - 1);
  }

  std::int32_t last_ = -1;  // picked last; -1 is the list's head
  std::uint32_t level_ = 0;
  std::uint32_t highest_ = 0;
  std::uint32_t step_ = 1;
};

}  // namespace millrace
