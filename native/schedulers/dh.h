// Destination hashing: the destination address decides, whatever the weights; made for services of many addresses, such as
// caches. Equal to ip_vs_dh of Linux 6.1: 256 slots filled with the servers in list order, again and again; a server that is not
// available keeps its slots and its clients are refused. Threads: build() on the control thread, pick() on workers. No state.
#pragma once

#include "schedulers/scheduler.h"
#include "schedulers/support/address_hash.h"

namespace millrace {

class DestinationHash : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "dh";
  static constexpr std::string_view kSummary = "destination hashing: the destination address decides, weights do not count";

  static void build(std::span<const BuildServer> servers, const SchedulerOptions&, SchedulerTable& table) {
    if (servers.empty()) return;
    table.slots.resize(kAddressSlots);
    for (std::uint32_t slot = 0; slot < kAddressSlots; slot++)
      table.slots[slot] = static_cast<std::uint32_t>(slot % servers.size());
  }

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    if (context.table == nullptr || context.table->slots.empty()) return -1;
    const std::uint32_t index = context.table->slots[hash_32(fold_address(context.destination), kAddressSlotBits)];
    return is_available(servers[index], context) ? static_cast<std::int32_t>(index) : -1;
  }
};

}  // namespace millrace
