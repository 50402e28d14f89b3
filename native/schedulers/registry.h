// The schedulers that exist, and one worker's state of them for every service.
//
// A scheduler keeps a position in a service's list of servers that survives changes of the list, and where it goes depends on
// each change in turn (rr.h, wrr.h). So a worker follows a service by replaying ServiceTable::changes that it has not seen on a
// copy of the list as it knew it. A service that it sees for the first time is replayed from its first change, which gives the
// first rounds that IPVS gives. If the changes do not lead to the list that the table has (they are kept for a while only, and a
// slot may get another service), the scheduler starts anew on that list.
//
// Several workers each schedule their own sessions. With everything at the head of the list, the first sessions of all workers
// would go to the same server; so worker w of W goes w * n / W picks ahead (n servers) whenever it is at the head. One worker is
// exactly IPVS.
//
// To add a scheduler: its header, one line in `AnyScheduler`, its SchedulerKind, its test.
// Thread: everything here belongs to one worker. Memory is allocated when a service is new or changes, not per session.
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

#include "schedulers/rr.h"
#include "schedulers/wrr.h"
#include "tables/snapshot.h"

namespace millrace {

template <class S>
concept Scheduler = requires(S s, std::span<const ServerView> servers) {
  { S::kKind } -> std::convertible_to<SchedulerKind>;
  { S::kName } -> std::convertible_to<std::string_view>;
  { S::kSummary } -> std::convertible_to<std::string_view>;
  s.start(servers);
  s.changed(ServiceChange::Kind::kAdd, std::int32_t{0}, servers);
  { s.pick(servers) } -> std::same_as<std::int32_t>;
  { s.at_head() } -> std::same_as<bool>;
};

/// The list. A test compares it with the files of this folder.
using AnyScheduler = std::variant<RoundRobin,           // rr.h
                                  WeightedRoundRobin>;  // wrr.h

struct SchedulerInfo {
  SchedulerKind kind;
  /// As in the configuration and in ipvsadm.
  std::string_view name;
  /// One line for documentation.
  std::string_view summary;
};

inline constexpr auto kSchedulers = []<std::size_t... I>(std::index_sequence<I...>) {
  static_assert((Scheduler<std::variant_alternative_t<I, AnyScheduler>> && ...));
  return std::array{SchedulerInfo{std::variant_alternative_t<I, AnyScheduler>::kKind,
                                  std::variant_alternative_t<I, AnyScheduler>::kName,
                                  std::variant_alternative_t<I, AnyScheduler>::kSummary}...};
}(std::make_index_sequence<std::variant_size_v<AnyScheduler>>());

/// The scheduler of that name, if there is one.
constexpr std::optional<SchedulerKind> scheduler_kind(std::string_view name) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    if (scheduler.name == name) return scheduler.kind;
  }
  return std::nullopt;
}

/// One worker's scheduler of one service.
class ServiceScheduler {
 public:
  /// Follows the table if it is a new one, then chooses: an index into table.servers, or -1 when no server has a weight.
  /// `generation` rises when tables may have been replaced: a freed one's address, serial and length may be another's now.
  std::int32_t pick(const ServiceTable& table, std::uint64_t generation, std::uint32_t worker, std::uint32_t workers) {
    if (table_ != &table || generation_ != generation || serial_ != table.serial || servers_.size() != table.servers.size())
        [[unlikely]] {
      follow(table, worker, workers);
      generation_ = generation;
    }
    return pick_any();
  }

  /// Forgets everything and begins with this table.
  void start(const ServiceTable& table, std::uint32_t worker, std::uint32_t workers);
  /// Replays what is new in the table.
  void follow(const ServiceTable& table, std::uint32_t worker, std::uint32_t workers);

 private:
  std::int32_t pick_any() {
    return std::visit([this](auto& scheduler) { return scheduler.pick(std::span<const ServerView>(servers_)); }, scheduler_);
  }
  void apply(const ServiceChange& change);
  void spread(std::uint32_t worker, std::uint32_t workers);
  bool same_list(const ServiceTable& table) const;

  AnyScheduler scheduler_;
  const ServiceTable* table_ = nullptr;  // only compared: it may be freed; nullptr means not started
  std::uint64_t generation_ = 0;
  std::uint64_t serial_ = 0;         // of the newest change applied
  std::vector<ServerView> servers_;  // the list after it
};

/// One worker's schedulers, by service slot.
class SchedulerStates {
 public:
  SchedulerStates(std::uint32_t worker, std::uint32_t workers) : worker_(worker), workers_(workers) {}

  /// Call this when the worker begins to see other ServiceTables than before: each service's list is then compared with its table
  /// at the next pick. Without it a new table is told by its address, serial and length only.
  void tables_changed() { generation_++; }

  /// The server for a new session of the service: an index into table.servers, or -1.
  std::int32_t pick(const ServiceTable& table) {
    if (table.slot >= services_.size() || services_[table.slot] == nullptr) [[unlikely]] {
      add(table.slot);
    }
    return services_[table.slot]->pick(table, generation_, worker_, workers_);
  }

 private:
  void add(ServiceSlot slot);

  const std::uint32_t worker_;
  const std::uint32_t workers_;
  std::uint64_t generation_ = 0;
  std::vector<std::unique_ptr<ServiceScheduler>> services_;
};

}  // namespace millrace
