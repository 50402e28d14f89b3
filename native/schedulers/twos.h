// Power of two random choices: two draws in proportion to the weights, and of the two the server with the fewer sessions for its
// weight (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001). The draws are those of ip_vs_twos of
// Linux 6.1: a number from 0 to the sum of all weights, both included, walks down the list. Thread: the worker that schedules.
// Random numbers come from the worker's own generator.
#pragma once

#include <array>

#include "schedulers/support/least.h"

namespace millrace {

class TwoChoices : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "twos";
  static constexpr std::string_view kSummary = "two random choices by weight, the less loaded of them";
  static constexpr bool kCounts = true;

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    std::uint64_t total = 0;
    for (const ServerView& server : servers) {
      if (is_available(server, context)) total += server.weight;
    }
    if (total == 0) return -1;
    const std::array<std::int32_t, 2> drawn = {draw(servers, context, total), draw(servers, context, total)};
    const ServerView& first = servers[static_cast<std::size_t>(drawn[0])];
    const ServerView& second = servers[static_cast<std::size_t>(drawn[1])];
    const bool second_is_better =
        costs_more(connection_cost(context, first.slot), first.weight, connection_cost(context, second.slot), second.weight);
    return drawn[second_is_better ? 1 : 0];
  }

 private:
  static std::int32_t draw(std::span<const ServerView> servers, const PickContext& context, std::uint64_t total) {
    std::uint64_t left = context.random == nullptr ? 0 : context.random->below(total + 1);
    std::int32_t last = -1;
    for (std::size_t index = 0; index < servers.size(); index++) {
      if (!is_available(servers[index], context)) continue;
      last = static_cast<std::int32_t>(index);
      if (left <= servers[index].weight) break;
      left -= servers[index].weight;
    }
    return last;
  }
};

}  // namespace millrace
