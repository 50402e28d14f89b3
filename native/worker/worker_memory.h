// The memory of one worker: its sessions, timers, ports, counters and statistics, and the WorkerState over them. Made before the
// worker runs; counters, statistics and the log may outlive it, because JavaScript reads them.
// Threads: made and destroyed on a set-up thread; used by the worker.
#pragma once

#include <memory>

#include "core/counters.h"
#include "core/result.h"
#include "pipeline/worker_state.h"
#include "worker/options.h"

namespace millrace {

/// Counters and statistics of one worker: written by the worker, read by anyone.
struct SharedStatistics {
  StableArray<std::uint64_t> counters;
  StableArray<ServerStats> servers;
  /// Sessions per local address.
  StableArray<std::uint64_t> locals;
  /// Limits on packets and bits per second, with the packets dropped for them.
  StableArray<RateLeases> server_rates;
  StableArray<RateLeases> service_rates;
  /// By service: connections with a packet that had no room for the client's address.
  StableArray<std::uint64_t> crowded;

  static Result<std::shared_ptr<SharedStatistics>> create();
};

class WorkerMemory {
 public:
  /// `templates` is the table of all workers. `loads` is where workers read of each other's sessions and count towards limits; without it
  /// a worker knows only its own, and no limits.
  static Result<std::unique_ptr<WorkerMemory>> create(const DataplaneOptions& options, std::uint32_t worker, HashKey key,
                                                      std::uint32_t now_ms, TemplateTable& templates, LoadTable* loads = nullptr);

  WorkerState& state() { return *state_; }
  SpscRing<ResolveRequest>& requests() { return requests_; }
  const std::shared_ptr<SharedStatistics>& statistics() const { return statistics_; }
  const std::shared_ptr<WorkerLog>& log() const { return log_; }

 private:
  WorkerMemory() : log_(std::make_shared<WorkerLog>()), requests_(1024) {}

  std::shared_ptr<SharedStatistics> statistics_;
  const std::shared_ptr<WorkerLog> log_;
  std::unique_ptr<SessionTable> sessions_;
  std::unique_ptr<TimerWheel> timers_;
  std::unique_ptr<LocalPorts> local_ports_;
  std::unique_ptr<SchedulerStates> schedulers_;
  std::unique_ptr<FragmentTracker> fragments_;
  StableArray<std::uint32_t> service_sessions_;
  HeaderTimers header_timers_;
  AcceptedHeaders accepted_headers_;
  SpscRing<ResolveRequest> requests_;
  std::unique_ptr<WorkerState> state_;
};

}  // namespace millrace
