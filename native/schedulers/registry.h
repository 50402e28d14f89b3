// The schedulers that exist, and one worker's state of them for every service.
//
// A scheduler keeps a position in a service's list of servers that survives changes of the list, and where it goes depends on
// each change in turn (rr.h, wrr.h). So a worker follows a service by replaying ServiceTable::changes that it has not seen on a
// copy of the list as it knew it. A service that it sees for the first time is replayed from its first change, which gives the
// first rounds that IPVS gives. If the changes do not lead to the list that the table has (they are kept for a while only, and a
// slot may get another service), the scheduler starts anew on that list.
//
// Several workers each schedule their own sessions. With everything at the head of the list, the first sessions of all workers
// would go to the same server; so worker w of W begins w * n / W places down the list (n servers): rr and wrr pick as often when
// they are at the head, those that compare loads look through the list from there. One worker is exactly IPVS.
//
// To add a scheduler: its header, its line in `AnyScheduler`, its test; then `npm run docs`, which takes its name into the
// configuration. Threads: ServiceScheduler and SchedulerStates belong to one worker; build_scheduler_table() runs on the control
// thread. Memory is allocated when a service is new or changes, not per session (lblc and lblcr: when a destination is new).
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "schedulers/conhash.h"
#include "schedulers/dh.h"
#include "schedulers/fo.h"
#include "schedulers/lblc.h"
#include "schedulers/lblcr.h"
#include "schedulers/lc.h"
#include "schedulers/mh.h"
#include "schedulers/nq.h"
#include "schedulers/ovf.h"
#include "schedulers/quic_cid.h"
#include "schedulers/rr.h"
#include "schedulers/sed.h"
#include "schedulers/sh.h"
#include "schedulers/twos.h"
#include "schedulers/wlc.h"
#include "schedulers/wrr.h"
#include "tables/snapshot.h"

namespace millrace {

template <class S>
concept Scheduler = requires(S s, std::span<const ServerView> servers, const PickContext& context) {
  { S::kName } -> std::convertible_to<std::string_view>;
  { S::kSummary } -> std::convertible_to<std::string_view>;
  { S::kOptions } -> std::convertible_to<std::string_view>;
  { S::kCounts } -> std::convertible_to<bool>;
  s.start(servers);
  s.changed(ServiceChange::Kind::kAdd, std::int32_t{0}, servers);
  { s.pick(servers, context) } -> std::same_as<std::int32_t>;
  { s.at_head() } -> std::same_as<bool>;
};

/// One that looks clients up in a table.
template <class S>
concept TableScheduler = Scheduler<S> &&
    requires(std::span<const BuildServer> servers, const SchedulerOptions& options, SchedulerTable& table) {
  S::build(servers, options, table);
};

/// The list, in the order of the documentation. A test compares it with the files of this folder.
using AnyScheduler = std::variant<RoundRobin,               // rr.h
                                  WeightedRoundRobin,       // wrr.h
                                  LeastConnection,          // lc.h
                                  WeightedLeastConnection,  // wlc.h
                                  ShortestExpectedDelay,    // sed.h
                                  NeverQueue,               // nq.h
                                  TwoChoices,               // twos.h
                                  Failover,                 // fo.h
                                  Overflow,                 // ovf.h
                                  LocalityLeastConnection,  // lblc.h
                                  LocalityReplication,      // lblcr.h
                                  DestinationHash,          // dh.h
                                  SourceHash,               // sh.h
                                  MaglevHash,               // mh.h
                                  ConsistentHash,           // conhash.h
                                  QuicConnectionId>;        // quic_cid.h

struct SchedulerInfo {
  SchedulerKind kind;
  /// As in the configuration and in ipvsadm.
  std::string_view name;
  /// One line for documentation.
  std::string_view summary;
  /// Keys of schedulerOptions that it takes, separated by blanks.
  std::string_view options;
  /// Whether it needs to know the sessions of all workers (tables/load_table.h).
  bool counts;
  bool has_table;
  bool ignores_thresholds;
};

inline constexpr auto kSchedulers = []<std::size_t... I>(std::index_sequence<I...>) {
  static_assert((Scheduler<std::variant_alternative_t<I, AnyScheduler>> && ...));
  static_assert(((std::variant_alternative_t<I, AnyScheduler>::kName.size() <= sizeof(SchedulerKind)) && ...));
  return std::array{SchedulerInfo{
      scheduler_named(std::variant_alternative_t<I, AnyScheduler>::kName), std::variant_alternative_t<I, AnyScheduler>::kName,
      std::variant_alternative_t<I, AnyScheduler>::kSummary, std::variant_alternative_t<I, AnyScheduler>::kOptions,
      std::variant_alternative_t<I, AnyScheduler>::kCounts, TableScheduler<std::variant_alternative_t<I, AnyScheduler>>,
      std::variant_alternative_t<I, AnyScheduler>::kIgnoresThresholds}...};
}
(std::make_index_sequence<std::variant_size_v<AnyScheduler>>());

/// The scheduler of that name, if there is one.
constexpr std::optional<SchedulerKind> scheduler_kind(std::string_view name) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    if (scheduler.name == name) return scheduler.kind;
  }
  return std::nullopt;
}

/// Whether that scheduler needs the session counts of all workers.
constexpr bool scheduler_counts(SchedulerKind kind) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    if (scheduler.kind == kind) return scheduler.counts;
  }
  return false;
}

/// Whether that scheduler may choose a server that is above its threshold.
constexpr bool scheduler_ignores_thresholds(SchedulerKind kind) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    if (scheduler.kind == kind) return scheduler.ignores_thresholds;
  }
  return false;
}

/// Whether that scheduler looks clients up in a table.
constexpr bool scheduler_has_table(SchedulerKind kind) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    if (scheduler.kind == kind) return scheduler.has_table;
  }
  return false;
}

/// The table that a scheduler looks clients up in, nullptr if it needs none. `servers` in the order of ServiceTable::servers.
/// Control thread: a table of 65537 slots takes milliseconds.
std::shared_ptr<const SchedulerTable> build_scheduler_table(SchedulerKind kind, const SchedulerOptions& options,
                                                            std::span<const BuildServer> servers);

/// Which of how many workers this is.
struct WorkerPlace {
  std::uint32_t worker = 0;
  std::uint32_t workers = 1;
};

/// One worker's scheduler of one service.
class ServiceScheduler {
 public:
  /// Follows the table if it is a new one, then chooses: an index into table.servers, or -1 when no server may have the session.
  /// `generation` rises when tables may have been replaced: a freed one's address, serial and length may be another's now.
  std::int32_t pick(const ServiceTable& table, PickContext& context, std::uint64_t generation, WorkerPlace place) {
    if (table_ != &table || generation_ != generation || serial_ != table.serial || servers_.size() != table.servers.size())
        [[unlikely]] {
      follow(table, place);
      generation_ = generation;
    }
    context.table = table.lookup.get();
    context.options = &table.options;
    context.first = static_cast<std::uint32_t>(first_place(place));
    return pick_any(context);
  }

  /// Forgets everything and begins with this table.
  void start(const ServiceTable& table, WorkerPlace place);
  /// Replays what is new in the table.
  void follow(const ServiceTable& table, WorkerPlace place);

 private:
  std::int32_t pick_any(const PickContext& context) {
    return std::visit([&](auto& scheduler) { return scheduler.pick(std::span<const ServerView>(servers_), context); },
                      scheduler_);
  }
  std::uint64_t first_place(WorkerPlace place) const { return std::uint64_t{place.worker} * servers_.size() / place.workers; }
  void apply(const ServiceChange& change);
  void spread(WorkerPlace place);
  bool same_list(const ServiceTable& table) const;

  AnyScheduler scheduler_;
  SchedulerKind kind_ = SchedulerKind::kRoundRobin;  // of scheduler_
  const ServiceTable* table_ = nullptr;              // only compared: it may be freed; nullptr means not started
  std::uint64_t generation_ = 0;
  std::uint64_t serial_ = 0;         // of the newest change applied
  std::vector<ServerView> servers_;  // the list after it
};

/// One worker's schedulers, by service slot.
class SchedulerStates {
 public:
  /// `seed` begins the random numbers of schedulers that draw.
  SchedulerStates(std::uint32_t worker, std::uint32_t workers, std::uint64_t seed = 0)
      : place_{worker, workers == 0 ? 1 : workers}, random_{seed + worker} {}

  /// Call this when the worker begins to see other ServiceTables than before: each service's list is then compared with its table
  /// at the next pick. Without it a new table is told by its address, serial and length only.
  void tables_changed() { generation_++; }

  /// The server for a new session of the service: an index into table.servers, or -1.
  std::int32_t pick(const ServiceTable& table, PickContext&& context) {
    if (table.slot >= services_.size() || services_[table.slot] == nullptr) [[unlikely]] {
      add(table.slot);
    }
    context.random = &random_;
    return services_[table.slot]->pick(table, context, generation_, place_);
  }

 private:
  void add(ServiceSlot slot);

  const WorkerPlace place_;
  SchedulerRandom random_;
  std::uint64_t generation_ = 0;
  std::vector<std::unique_ptr<ServiceScheduler>> services_;
};

}  // namespace millrace
