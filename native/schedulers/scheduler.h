// What every scheduler has: the question it is asked, the tables it may have built, and what it says about itself. Each scheduler
// is one class in one header; registry.h lists them. Threads: pick(), start() and changed() run on the worker that owns the
// state; build() runs on the control thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/hash.h"
#include "net/address.h"
#include "tables/load_table.h"
#include "tables/scheduling.h"
#include "tables/snapshot.h"

namespace millrace {

/// A worker's random numbers for schedulers: SplitMix64, so that a replay with the same seed picks the same servers.
struct SchedulerRandom {
  std::uint64_t state = 0;

  /// Uniform in [0, limit); `limit` is at most 2^32.
  std::uint64_t below(std::uint64_t limit) {
    state += 0x9e3779b97f4a7c15ull;
    return ((mix64(state) >> 32) * limit) >> 32;
  }
};

/// A new session, and what is known when its server is chosen.
struct PickContext {
  IpAddress client{};
  be16 client_port{};
  /// As the client wrote it: the service's address, or one of its prefix.
  IpAddress destination{};
  be16 destination_port{};
  /// IP protocol number.
  std::uint8_t protocol = 0;
  /// UDP payload of the first packet; empty otherwise.
  std::span<const std::uint8_t> payload{};
  /// The worker's clock, milliseconds modulo 2^32.
  std::uint32_t now_ms = 0;
  ServerLoads loads{};
  /// Addresses of the servers by slot; nullptr where nobody knows them.
  const ServerIdentity* identities = nullptr;

  // Filled in by ServiceScheduler.
  const SchedulerTable* table = nullptr;
  const SchedulerOptions* options = nullptr;
  SchedulerRandom* random = nullptr;
  /// Where this worker begins to look through the list: 0 on the first worker, further down on the others, so that servers that
  /// are equally good do not get the first sessions of all workers.
  std::uint32_t first = 0;
};

/// May get a new session: has a weight and is not above its threshold.
inline bool is_available(const ServerView& server, const PickContext& context) {
  return server.weight != 0 && !context.loads.overloaded(server.slot);
}

/// A server as a table builder sees it, in the order of ServiceTable::servers.
struct BuildServer {
  IpAddress address;
  be16 port;
  std::uint32_t weight = 0;
  /// The last weight above 0 that it had; 0 if it never had one.
  std::uint32_t last_weight = 0;
  /// Its number in QUIC connection ids; 0 for none.
  std::uint32_t id = 0;
};

/// Defaults for a scheduler that keeps no position and needs no table.
struct SchedulerBase {
  /// Keys of schedulerOptions that the scheduler takes, separated by blanks.
  static constexpr std::string_view kOptions = "";
  /// Whether it reads the servers' session counts, which are then kept fresh over all workers.
  static constexpr bool kCounts = false;
  /// Whether it may choose a server that is above its threshold: what the kernel does then, is done here.
  static constexpr bool kIgnoresThresholds = false;

  /// Begins with a list that exists already.
  void start(std::span<const ServerView>) {}
  /// After one change of the list: `index` is where the server is now, or where it was if it left.
  void changed(ServiceChange::Kind, std::int32_t, std::span<const ServerView>) {}
  /// Whether it stands at the head of the list; ServiceScheduler then moves it to this worker's place.
  bool at_head() const { return false; }
};

}  // namespace millrace
