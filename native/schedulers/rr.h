// Round robin: every server with a weight above 0 in turn, whatever the weight.
// Equal to ip_vs_rr of Linux 6.1: the search begins behind the server that was picked last; a server that joins comes to the head
// of the list and is met on the next round; when the last picked server leaves, its predecessor takes over the mark. Servers
// above their threshold are passed over. Thread: the worker that owns the state.
#pragma once

#include "schedulers/scheduler.h"

namespace millrace {

class RoundRobin : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "rr";
  static constexpr std::string_view kSummary = "round robin: each server in turn";

  /// Begins at the head of a list that exists already.
  void start(std::span<const ServerView>) { last_ = -1; }

  /// After one change: `index` is where the server is now, or where it was if it left.
  void changed(ServiceChange::Kind kind, std::int32_t index, std::span<const ServerView>) {
    if (kind == ServiceChange::Kind::kAdd && index <= last_) last_++;
    if (kind == ServiceChange::Kind::kRemove && index <= last_) last_--;
  }

  /// Index of the server for the next session, -1 if none is available.
  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    const auto count = static_cast<std::int32_t>(servers.size());
    std::int32_t index = last_;
    for (std::int32_t step = 0; step < count; step++) {
      if (++index >= count) index = 0;
      if (is_available(servers[static_cast<std::size_t>(index)], context)) return last_ = index;
    }
    return -1;
  }

  bool at_head() const { return last_ == -1; }

 private:
  std::int32_t last_ = -1;  // picked last; -1 is the list's head
};

}  // namespace millrace
