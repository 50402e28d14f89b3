// How busy the servers are, as a worker sees it when it schedules: its own sessions this instant, and those of the other workers
// as the control thread last added them up. A shared counter would be exact, but every session of every worker would write to it;
// so workers write only their own ServerStats, and one thread reads them all every kLoadRefreshMs while some service's scheduler
// counts. With one worker there are no others and the counts are exact. Connection limits cannot wait that long: they have a gate
// of their own (connection_gate.h). Threads: others() is written by the control thread and read by workers, relaxed; each value is
// torn-free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "tables/connection_gate.h"
#include "tables/rate_limits.h"
#include "tables/slots.h"

namespace millrace {

/// How old the sums over the other workers may be, in milliseconds.
inline constexpr std::uint64_t kLoadRefreshMs = 10;

/// Sessions of one server: active ones (SYN received, established), and all others.
struct ServerLoad {
  std::uint64_t active = 0;
  std::uint64_t inactive = 0;
};

class LoadTable {
 public:
  static Result<std::unique_ptr<LoadTable>> create(std::uint32_t workers) {
    std::unique_ptr<LoadTable> table(new LoadTable());
    if (auto r = table->server_gates_.reserve(kMaxServers); !r) return r.error();
    if (auto r = table->service_gates_.reserve(kMaxServices); !r) return r.error();
    if (auto r = table->server_rates_.reserve(kMaxServers); !r) return r.error();
    if (auto r = table->service_rates_.reserve(kMaxServices); !r) return r.error();
    // One worker has no others.
    for (std::uint32_t worker = 0; workers > 1 && worker < workers; worker++) {
      table->others_.push_back(std::make_unique<StableArray<ServerLoad>>());
      if (auto r = table->others_.back()->reserve(kMaxServers); !r) return r.error();
    }
    return table;
  }

  /// Control thread: adds up what all workers but one count on these servers, for each worker. `statistics` has one entry per
  /// worker.
  void refresh(std::span<const ServerStats* const> statistics, std::span<const ServerSlot> servers) {
    if (others_.empty()) return;
    std::vector<ServerLoad> of_worker(statistics.size());
    for (const ServerSlot slot : servers) {
      ServerLoad sum;
      for (std::size_t worker = 0; worker < statistics.size(); worker++) {
        const ServerStats& stats = statistics[worker][slot];
        of_worker[worker] = {load_relaxed(stats.active), load_relaxed(stats.inactive)};
        sum.active += of_worker[worker].active;
        sum.inactive += of_worker[worker].inactive;
      }
      for (std::size_t worker = 0; worker < statistics.size(); worker++) {
        store(worker, slot, {sum.active - of_worker[worker].active, sum.inactive - of_worker[worker].inactive});
      }
    }
  }

  /// Control thread: a slot that is given to a new server.
  void clear(ServerSlot slot) {
    for (std::size_t worker = 0; worker < others_.size(); worker++) store(worker, slot, {});
    __atomic_store_n(&server_gates_[slot], 0u, __ATOMIC_RELAXED);
  }

  /// Whether the server is above its connection threshold: it gets no new sessions.
  void set_overloaded(ServerSlot slot, bool value) { ConnectionGate(server_gates_[slot]).set_closed(value); }

  bool has_others() const { return !others_.empty(); }
  const ServerLoad* others(std::uint32_t worker) const { return worker < others_.size() ? others_[worker]->data() : nullptr; }
  const std::uint32_t* server_gates() const { return server_gates_.data(); }
  std::uint32_t* server_gates() { return server_gates_.data(); }
  std::uint32_t* service_gates() { return service_gates_.data(); }
  /// Limits on packets and bits per second, by slot.
  SharedRates* server_rates() { return server_rates_.data(); }
  SharedRates* service_rates() { return service_rates_.data(); }

 private:
  LoadTable() = default;
  void store(std::size_t worker, ServerSlot slot, const ServerLoad& load) {
    ServerLoad& field = (*others_[worker])[slot];
    store_relaxed(field.active, load.active);
    store_relaxed(field.inactive, load.inactive);
  }

  std::vector<std::unique_ptr<StableArray<ServerLoad>>> others_;
  StableArray<std::uint32_t> server_gates_;
  StableArray<std::uint32_t> service_gates_;
  StableArray<SharedRates> server_rates_;
  StableArray<SharedRates> service_rates_;
};

/// One worker's view. Without a LoadTable (nullptr) it knows only its own sessions and no overload.
class ServerLoads {
 public:
  ServerLoads() = default;
  ServerLoads(const ServerStats* own, const LoadTable* table, std::uint32_t worker)
      : own_(own),
        others_(table == nullptr ? nullptr : table->others(worker)),
        gates_(table == nullptr ? nullptr : table->server_gates()) {}

  ServerLoad of(ServerSlot slot) const {
    ServerLoad load;
    if (own_ != nullptr) load = {own_[slot].active, own_[slot].inactive};
    if (others_ != nullptr) {
      load.active += load_relaxed(others_[slot].active);
      load.inactive += load_relaxed(others_[slot].inactive);
    }
    return load;
  }
  bool overloaded(ServerSlot slot) const {
    return gates_ != nullptr && ConnectionGate::is_closed(gates_[slot]);
  }

 private:
  const ServerStats* own_ = nullptr;
  const ServerLoad* others_ = nullptr;
  const std::uint32_t* gates_ = nullptr;
};

}  // namespace millrace
