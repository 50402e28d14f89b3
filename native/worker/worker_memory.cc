// Set-up of one worker's memory.
#include "worker/worker_memory.h"

#include <sys/random.h>

#include <cerrno>

namespace millrace {

Result<std::shared_ptr<SharedStatistics>> SharedStatistics::create() {
  auto statistics = std::make_shared<SharedStatistics>();
  if (auto r = statistics->counters.reserve(kCounterSlots); !r) return r.error();
  if (auto r = statistics->servers.reserve(kMaxServers); !r) return r.error();
  if (auto r = statistics->locals.reserve(kMaxLocals); !r) return r.error();
  if (auto r = statistics->server_rates.reserve(kMaxServers); !r) return r.error();
  if (auto r = statistics->service_rates.reserve(kMaxServices); !r) return r.error();
  if (auto r = statistics->crowded.reserve(kMaxServices); !r) return r.error();
  return statistics;
}

Result<std::unique_ptr<WorkerMemory>> WorkerMemory::create(const DataplaneOptions& options, std::uint32_t worker, HashKey key,
                                                           std::uint32_t now_ms, TemplateTable& templates, LoadTable* loads) {
  std::unique_ptr<WorkerMemory> memory(new WorkerMemory());
  auto statistics = SharedStatistics::create();
  if (!statistics) return statistics.error();
  memory->statistics_ = std::move(statistics).value();
  auto sessions = SessionTable::create(options.max_sessions_per_worker);
  if (!sessions) return sessions.error();
  memory->sessions_ = std::move(sessions).value();
  memory->timers_ = std::make_unique<TimerWheel>(*memory->sessions_, now_ms);
  auto local_ports = LocalPorts::create(
      {options.local_port_low, options.local_port_high, options.max_sessions_per_worker, mix64(key.a ^ (worker + 1))});
  if (!local_ports) return local_ports.error();
  memory->local_ports_ = std::move(local_ports).value();
  memory->schedulers_ = std::make_unique<SchedulerStates>(worker, options.workers, key.b);
  // Fragments that wait are frames that cannot be received into.
  auto fragments = FragmentTracker::create(key, options.frames_per_worker / 8);
  if (!fragments) return fragments.error();
  memory->fragments_ = std::move(fragments).value();
  if (auto r = memory->service_sessions_.reserve(kMaxServices); !r) return r.error();
  if (auto r = memory->header_timers_.reserve(); !r) return r.error();
  if (auto r = memory->accepted_headers_.reserve(); !r) return r.error();

  memory->state_ = std::make_unique<WorkerState>(worker, options.workers, key, memory->statistics_->counters.data());
  WorkerState& state = *memory->state_;
  state.log.attach(memory->log_.get());
  state.log.start_clock(now_ms);
  state.server_stats = memory->statistics_->servers.data();
  state.local_sessions = memory->statistics_->locals.data();
  state.sessions = memory->sessions_.get();
  state.timers = memory->timers_.get();
  state.local_ports = memory->local_ports_.get();
  state.schedulers = memory->schedulers_.get();
  state.loads = ServerLoads(state.server_stats, loads, worker);
  state.limits.service_sessions = memory->service_sessions_.data();
  if (loads != nullptr) {
    state.limits.server_gates = loads->server_gates();
    state.limits.service_gates = loads->service_gates();
    state.rates.servers = memory->statistics_->server_rates.data();
    state.rates.services = memory->statistics_->service_rates.data();
    state.rates.shared_servers = loads->server_rates();
    state.rates.shared_services = loads->service_rates();
  }
  state.fragments = memory->fragments_.get();
  state.header_timers = &memory->header_timers_;
  state.accepted_headers = &memory->accepted_headers_;
  state.crowded = memory->statistics_->crowded.data();
  // With a seed everything is as it was the last time; else nobody is to foretell anything.
  state.secret = {mix64(key.a ^ mix64(worker)), mix64(key.b ^ mix64(worker + 0x5ec2e7ull))};
  if (options.seed == 0 && getrandom(&state.secret, sizeof(state.secret), 0) != sizeof(state.secret)) {
    return Error{"unsupported_host", "The kernel gives no random numbers: a key for initial sequence numbers could not be drawn.", errno};
  }
  state.templates = &templates;
  state.requests = &memory->requests_;
  state.now_ms = now_ms;
  return memory;
}

}  // namespace millrace
