// Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4): a table of a
// prime number of slots in which every server has its share and which changes little when a server comes or goes. Equal to
// ip_vs_mh of Linux 6.1 at 4093 slots: SipHash-1-3 of address + port gives each server its permutation of the slots, and the
// servers take slots in turn, as many per turn as their weight says.
//
//   turns = weight / gcd, shifted right until the greatest has as many bits as half the table's, at least 1
//
// The weight here is the last one above 0: a server that is set to weight 0 keeps its slots, so nobody else's clients move, and
// its own are refused, or with `fallback` go to the slot that the hash of their key plus an offset gives. Threads: build() on the
// control thread, pick() on workers. No state.
#pragma once

#include <array>

#include "core/siphash.h"
#include "schedulers/scheduler.h"

namespace millrace {

/// Sizes that a table may have: those of the kernel, and the two of the paper.
inline constexpr std::array<std::uint32_t, 12> kMaglevSizes = {251,   509,   1021,  2039,  4093,   8191,
                                                               16381, 32749, 65521, 65537, 131071, 655373};

/// Fills `slots` with indices into `servers`; leaves it empty if no server ever had a weight.
void build_maglev(std::span<const BuildServer> servers, std::uint32_t size, bool server_ports, std::vector<std::uint32_t>& slots);

/// What the options take from a packet, as a number: what the kernel hashes for the key `source`, a hash of all fields for the
/// others.
std::uint32_t maglev_key(const PickContext& context);

/// Slot of a key in a table of `size` slots.
std::uint32_t maglev_slot(std::uint32_t key, std::size_t size);

/// Looks the client up: an index into `servers`, or -1.
std::int32_t pick_maglev(std::span<const ServerView> servers, const PickContext& context);

class MaglevHash : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "mh";
  static constexpr std::string_view kSummary = "Maglev hashing: the client decides, and few clients move when the servers change";
  static constexpr std::string_view kOptions = "fallback port key tableSize serverPorts";

  static void build(std::span<const BuildServer> servers, const SchedulerOptions& options, SchedulerTable& table) {
    build_maglev(servers, options.table_size, options.server_ports, table.slots);
  }
  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) { return pick_maglev(servers, context); }
};

}  // namespace millrace
