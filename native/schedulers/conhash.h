// Consistent hashing on a ring (Karger et al., 1997; "ketama"): each server has 160 points per unit of weight on a ring of MD5
// sums, and a client belongs to the first point at or behind its own. The points and keys follow DPVS: a server's points are the
// sums of "<address><port>-<number>" with the number of three digits or more, the client's is the sum of its folded address in
// decimal, where port and address are read as a little-endian machine has them in memory; weights are divided by their greatest
// common divisor. A sum is that of the digest's four words, so it has 34 bits. A client of a server that is above its threshold
// is refused. Of two equal points the older server's stays. Threads: build() on the control thread, pick() on workers. No state.
#pragma once

#include "schedulers/scheduler.h"

namespace millrace {

class ConsistentHash : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "conhash";
  static constexpr std::string_view kSummary =
      "consistent hashing: the client's address decides, on a ring of 160 points per weight";

  static constexpr std::uint32_t kReplicas = 160;
  /// Most points on a ring. Where the weights ask for more, all get proportionally fewer, at least one each.
  static constexpr std::uint64_t kMaxPoints = 1u << 20;

  static void build(std::span<const BuildServer> servers, const SchedulerOptions& options, SchedulerTable& table);
  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context);
};

}  // namespace millrace
