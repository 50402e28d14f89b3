// Following a service's changes. Runs on a worker when a service it schedules is new or has changed.
#include "schedulers/registry.h"

#include <algorithm>

namespace millrace {

namespace {

/// A fresh scheduler of that kind.
AnyScheduler make_scheduler(SchedulerKind kind) {
  AnyScheduler made;
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((kSchedulers[I].kind == kind ? static_cast<void>(made.emplace<I>()) : void()), ...);
  }(std::make_index_sequence<kSchedulers.size()>());
  return made;
}

SchedulerKind kind_of(const AnyScheduler& scheduler) {
  return std::visit([](const auto& s) { return s.kKind; }, scheduler);
}

}  // namespace

void ServiceScheduler::start(const ServiceTable& table, std::uint32_t worker, std::uint32_t workers) {
  const bool whole_history = !table.changes.empty() && table.changes.front().serial == 1;
  scheduler_ = make_scheduler(table.scheduler);
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
  spread(worker, workers);
}

void ServiceScheduler::follow(const ServiceTable& table, std::uint32_t worker, std::uint32_t workers) {
  const bool new_kind = kind_of(scheduler_) != table.scheduler;
  const bool missed = !table.changes.empty() && table.changes.front().serial > serial_ + 1;
  if (table_ == nullptr || serial_ > table.serial || missed) return start(table, worker, workers);
  const std::uint64_t before = serial_;
  for (const ServiceChange& change : table.changes) {
    if (change.serial > serial_) apply(change);
  }
  if (serial_ != table.serial || !same_list(table)) return start(table, worker, workers);
  table_ = &table;
  if (new_kind) {
    scheduler_ = make_scheduler(table.scheduler);
    std::visit([this](auto& scheduler) { scheduler.start(std::span<const ServerView>(servers_)); }, scheduler_);
  }
  if (new_kind || serial_ != before) spread(worker, workers);
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

void ServiceScheduler::spread(std::uint32_t worker, std::uint32_t workers) {
  if (!std::visit([](const auto& scheduler) { return scheduler.at_head(); }, scheduler_)) return;
  const std::uint64_t steps = std::uint64_t{worker} * servers_.size() / std::max(workers, 1u);
  for (std::uint64_t step = 0; step < steps; step++) (void)pick_any();
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
