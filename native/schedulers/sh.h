// Source hashing: the client's address decides, and with `port` its port too.
// Equal to ip_vs_sh of Linux 6.1: 256 slots; going down the list, each server takes as many slots as its weight, again and again.
// A server of weight 0 has one slot, and its clients are refused; with `fallback` they go to the next slot, round the table,
// whose server is available. Threads: build() on the control thread, pick() on workers. No state.
#pragma once

#include "schedulers/scheduler.h"
#include "schedulers/support/address_hash.h"

namespace millrace {

class SourceHash : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "sh";
  static constexpr std::string_view kSummary = "source hashing: the client's address decides";
  static constexpr std::string_view kOptions = "fallback port";

  static void build(std::span<const BuildServer> servers, const SchedulerOptions&, SchedulerTable& table) {
    if (servers.empty()) return;
    table.slots.reserve(kAddressSlots);
    std::uint32_t index = 0;
    std::uint32_t taken = 0;
    while (table.slots.size() < kAddressSlots) {
      table.slots.push_back(index);
      if (++taken < servers[index].weight) continue;
      index = static_cast<std::uint32_t>((index + 1) % servers.size());
      taken = 0;
    }
  }

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    if (context.table == nullptr || context.table->slots.empty()) return -1;
    const std::uint32_t port = context.options->port ? context.client_port.host() : 0u;
    const std::uint32_t start = hash_32(fold_address(context.client) + port, kAddressSlotBits);
    if (const std::int32_t index = at(servers, context, start); index >= 0) return index;
    if (!context.options->fallback) return -1;
    // The kernel adds the slot of the first try to the hash once more before it goes round.
    for (std::uint32_t step = 0; step < kAddressSlots; step++) {
      const std::uint32_t offset = (step + start) % kAddressSlots;
      if (const std::int32_t index = at(servers, context, (offset + start) % kAddressSlots); index >= 0) return index;
    }
    return -1;
  }

 private:
  static std::int32_t at(std::span<const ServerView> servers, const PickContext& context, std::uint32_t slot) {
    const std::uint32_t index = context.table->slots[slot];
    return is_available(servers[index], context) ? static_cast<std::int32_t>(index) : -1;
  }
};

}  // namespace millrace
