// ControlThread: the one thread that changes tables. It listens to netlink, answers ARP and ND for our addresses, resolves next hops
// for workers, applies configurations, and frees what no worker looks at any more.
// Threads: apply() and snapshots of state may be asked from any thread; all work is done on the thread it owns, so that a blocked
// JavaScript event loop changes nothing for packets or neighbours.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "control/announcer.h"
#include "control/network.h"
#include "core/quiescence.h"
#include "tables/configuration.h"
#include "tables/table_builder.h"
#include "worker/dataplane.h"
#include "worker/links.h"

namespace millrace {

class ControlThread {
 public:
  struct Parts {
    std::vector<InterfaceOptions> interfaces;
    std::vector<XdpAttachment*> attachments;
    std::vector<WorkerMemory*> workers;
    Published<Snapshot>* published = nullptr;
    LoadTable* loads = nullptr;
  };

  static Result<std::unique_ptr<ControlThread>> create(Parts parts);
  ~ControlThread();
  ControlThread(const ControlThread&) = delete;
  ControlThread& operator=(const ControlThread&) = delete;

  /// Publishes the first, empty snapshot. Before workers start.
  void publish_first();
  const TableBuilder& builder() const { return builder_; }
  /// Rung by workers that have put something into their request rings.
  Bell& bell() { return bell_; }

  void start();
  void stop();
  /// Blocks until the configuration is in force or refused.
  Result<ApplyOutcome> apply(TablesConfig config) { return perform(std::move(config)); }
  /// The same for some services of the configuration in force; the outcome has the slots of these alone.
  Result<ApplyOutcome> update(ServicesUpdate update) { return perform(std::move(update)); }

 private:
  using Change = std::variant<TablesConfig, ServicesUpdate>;
  struct Task {
    Change change;
    Result<ApplyOutcome> outcome = ApplyOutcome{};
    /// Of a configuration that is published: what must still happen before the caller hears of it.
    std::uint64_t epoch = 0;
    std::uint64_t deadline_ms = 0;
    bool servers_changed = false;
    bool done = false;
  };

  ControlThread(Parts parts, std::unique_ptr<Network> network, std::unique_ptr<Announcer> announcer);
  void run();
  void wait_for_events(std::uint64_t now_ms);
  void take_requests(std::uint64_t now_ms);
  void take_tasks(std::uint64_t now_ms);
  Result<ApplyOutcome> perform(Change change);
  Result<void> apply_now(Task& task, const TablesConfig& config, std::uint64_t now_ms);
  Result<void> apply_now(Task& task, const ServicesUpdate& update, std::uint64_t now_ms);
  /// Publishes new tables. The task is done when all workers have them and, where servers came or went, the next hops are known.
  Result<void> publish_tables(Task& task, std::shared_ptr<const ServiceTables> tables, bool servers_changed, std::uint64_t now_ms);
  void finish_tasks(std::uint64_t now_ms);
  void follow_network(std::uint64_t now_ms);
  void free_leavers(std::uint64_t now_ms);
  void refresh_loads(std::uint64_t now_ms);
  /// Whether workers need to hear of each other's sessions.
  bool counts_loads() const;
  Result<void> own_addresses(std::uint64_t now_ms);
  Result<void> own_prefixes();
  /// Tells the XDP programs which packets of inside hosts are ours.
  Result<void> own_outbound();
  /// Tells the XDP programs which addresses are the host's own.
  void leave_to_kernel();
  void publish();

  Parts parts_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Announcer> announcer_;
  TableBuilder builder_;
  Bell bell_;
  Snapshot next_;
  std::uint64_t tables_epoch_ = 0;
  std::uint64_t next_reclaim_ms_ = 0;
  std::uint64_t next_loads_ms_ = 0;
  /// Per worker, for LoadTable::refresh().
  std::vector<const ServerStats*> statistics_;

  std::mutex mutex_;  // guards the two lists; never taken by a worker
  std::condition_variable done_;
  std::deque<Task*> waiting_;
  std::vector<Task*> published_tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace millrace
