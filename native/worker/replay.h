// Replay: the production pipeline over a capture, without privileges and without a kernel network: `millrace replay` and the golden
// cases. Deterministic: time is the capture's, neighbours and routes are the configuration's, choices come from the seed.
// Threads: one; all workers take their turns on it, one after the other, until none has anything left to do.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/counters.h"
#include "core/result.h"
#include "tables/configuration.h"
#include "tables/table_builder.h"
#include "worker/options.h"

namespace millrace {

enum class ReplaySteering : std::uint8_t {
  /// As the lab's network card: flow rules for local addresses, a hash for the rest.
  kFlow,
  /// Always one worker too far: every packet of an existing session must be handed over.
  kWrong
};

struct ReplayOptions {
  std::string input;
  std::string output;
  ReplaySteering steering = ReplaySteering::kFlow;
};

struct ReplayResult {
  /// Packets in the capture.
  std::uint64_t packets = 0;
  /// Those that XDP would have left to the kernel: not for an address of ours, ARP, neighbour discovery.
  std::uint64_t passed_to_kernel = 0;
  /// Packets in the output.
  std::uint64_t sent = 0;
  std::vector<std::array<std::uint64_t, kCounterSlots>> counters;
  struct Server {
    std::string service;
    std::string server;
    ServerStats stats;
  };
  std::vector<Server> servers;
};

/// Errors: pcap_invalid, config_invalid, those of table and packet memory.
Result<ReplayResult> replay(const DataplaneOptions& options, const TablesConfig& tables, const ReplayOptions& replay_options);

}  // namespace millrace
