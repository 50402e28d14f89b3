// Following a service's changes: on a worker, when a service it schedules is new or has changed. Building tables: control thread.
#include "schedulers/registry.h"

#include <algorithm>

namespace millrace {

namespace {

/// A fresh scheduler of that kind.
AnyScheduler make_scheduler(SchedulerKind kind) {
  AnyScheduler made;
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((kSchedulers[I].kind == kind ? static_cast<void>(made.emplace<I>()) : void()), ...);
  }
  (std::make_index_sequence<kSchedulers.size()>());
  return made;
}

template <class S>
void build_if(SchedulerKind kind, const SchedulerOptions& options, std::span<const BuildServer> servers,
              std::shared_ptr<const SchedulerTable>& built) {
  if constexpr (TableScheduler<S>) {
    if (scheduler_named(S::kName) != kind) return;
    auto table = std::make_shared<SchedulerTable>();
    S::build(servers, options, *table);
    built = std::move(table);
  }
}

}  // namespace

std::shared_ptr<const SchedulerTable> build_scheduler_table(SchedulerKind kind, const SchedulerOptions& options,
                                                            std::span<const BuildServer> servers) {
  std::shared_ptr<const SchedulerTable> built;
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (build_if<std::variant_alternative_t<I, AnyScheduler>>(kind, options, servers, built), ...);
  }
  (std::make_index_sequence<kSchedulers.size()>());
  return built;
}

void ServiceScheduler::start(const ServiceTable& table, WorkerPlace place) {
  const bool whole_history = !table.changes.empty() && table.changes.front().serial == 1;
  scheduler_ = make_scheduler(table.scheduler);
  kind_ = table.scheduler;
  servers_.clear();
  serial_ = 0;
  if (whole_history) {
    for (const ServiceChange& change : table.changes) apply(change);
  }
  if (!same_list(table)) {
    // The beginning is lost: as if the servers of today had been added one by one, the last of the list first.
    scheduler_ = make_scheduler(table.scheduler);
    servers_.clear();
    for (std::size_t i = table.servers.size(); i-- > 0;) {
      apply({0, ServiceChange::Kind::kAdd, table.servers[i].slot, table.servers[i].weight});
    }
  }
  table_ = &table;
  serial_ = table.serial;
  spread(place);
}

void ServiceScheduler::follow(const ServiceTable& table, WorkerPlace place) {
  const bool new_kind = kind_ != table.scheduler;
  const bool missed = !table.changes.empty() && table.changes.front().serial > serial_ + 1;
  if (table_ == nullptr || serial_ > table.serial || missed) return start(table, place);
  const std::uint64_t before = serial_;
  for (const ServiceChange& change : table.changes) {
    if (change.serial > serial_) apply(change);
  }
  if (serial_ != table.serial || !same_list(table)) return start(table, place);
  table_ = &table;
  if (new_kind) {
    scheduler_ = make_scheduler(table.scheduler);
    kind_ = table.scheduler;
    std::visit([this](auto& scheduler) { scheduler.start(std::span<const ServerView>(servers_)); }, scheduler_);
  }
  if (new_kind || serial_ != before) spread(place);
}

void ServiceScheduler::apply(const ServiceChange& change) {
  const auto known = std::find_if(servers_.begin(), servers_.end(), [&](const ServerView& s) { return s.slot == change.server; });
  auto index = static_cast<std::int32_t>(known - servers_.begin());
  serial_ = change.serial;
  switch (change.kind) {
    case ServiceChange::Kind::kAdd:
      if (known != servers_.end()) return;
      servers_.insert(servers_.begin(), ServerView{change.server, change.weight});
      index = 0;
      break;
    case ServiceChange::Kind::kEdit:
      if (known == servers_.end()) return;
      known->weight = change.weight;
      break;
    case ServiceChange::Kind::kRemove:
      if (known == servers_.end()) return;
      servers_.erase(known);
      break;
  }
  std::visit([&](auto& scheduler) { scheduler.changed(change.kind, index, std::span<const ServerView>(servers_)); }, scheduler_);
}

void ServiceScheduler::spread(WorkerPlace place) {
  if (!std::visit([](const auto& scheduler) { return scheduler.at_head(); }, scheduler_)) return;
  const std::uint64_t steps = first_place(place);
  for (std::uint64_t step = 0; step < steps; step++) (void)pick_any(PickContext{});
}

bool ServiceScheduler::same_list(const ServiceTable& table) const {
  return std::equal(servers_.begin(), servers_.end(), table.servers.begin(), table.servers.end(),
                    [](const ServerView& a, const ServerView& b) { return a.slot == b.slot && a.weight == b.weight; });
}

void SchedulerStates::add(ServiceSlot slot) {
  if (slot >= services_.size()) services_.resize(std::size_t{slot} + 1);
  services_[slot] = std::make_unique<ServiceScheduler>();
}

}  // namespace millrace
