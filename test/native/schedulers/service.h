// What the scheduler tests share: a service whose list changes, recordings of a live IPVS, and IPVS's way of keeping a position.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "schedulers/registry.h"

namespace millrace::test {

/// Address of the server in that slot, as in the recordings: 10.0.2.(10 + slot) or fd00:2::(10 + slot in decimal digits).
inline IpAddress server_address(ServerSlot slot, bool ipv6 = false) {
  bool ok = false;
  return IpAddress::parse((ipv6 ? "fd00:2::" : "10.0.2.") + std::to_string(10 + slot), ok);
}

inline IpAddress address(const std::string& text) {
  bool ok = false;
  const IpAddress parsed = IpAddress::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return parsed;
}

/// A service as the control thread keeps it: the list with the newest server first, its changes, and the table to look clients up
/// in.
class Service {
 public:
  explicit Service(SchedulerKind kind, ServiceSlot slot = 0) {
    table_.slot = slot;
    table_.scheduler = kind;
  }
  Service(std::string_view scheduler, const SchedulerOptions& options) : Service(scheduler_named(scheduler)) {
    table_.options = options;
  }

  void add(ServerSlot slot, std::uint32_t weight) {
    table_.servers.insert(table_.servers.begin(), {slot, weight});
    last_weights_[slot] = weight;
    record(ServiceChange::Kind::kAdd, slot, weight);
  }
  void edit(ServerSlot slot, std::uint32_t weight) {
    for (ServerView& server : table_.servers) {
      if (server.slot == slot) server.weight = weight;
    }
    if (weight != 0) last_weights_[slot] = weight;
    record(ServiceChange::Kind::kEdit, slot, weight);
  }
  void remove(ServerSlot slot) {
    std::erase_if(table_.servers, [&](const ServerView& server) { return server.slot == slot; });
    record(ServiceChange::Kind::kRemove, slot, 0);
  }
  void use(SchedulerKind kind) { table_.scheduler = kind; }
  void use(const SchedulerOptions& options) { table_.options = options; }
  void on_port(std::uint16_t port) { port_ = port; }
  void ipv6() { ipv6_ = true; }
  void number(ServerSlot slot, std::uint32_t id) { ids_[slot] = id; }
  void forget_changes(std::size_t keep) {
    while (table_.changes.size() > keep) table_.changes.erase(table_.changes.begin());
  }
  /// The current table, as a snapshot would have it: an object of its own.
  const ServiceTable& published() {
    table_.lookup = build_scheduler_table(table_.scheduler, table_.options, build_servers());
    tables_.push_back(std::make_unique<ServiceTable>(table_));
    return *tables_.back();
  }
  const ServiceTable& table() const { return table_; }
  std::vector<BuildServer> build_servers() const {
    std::vector<BuildServer> servers;
    for (const ServerView& view : table_.servers) {
      const auto id = ids_.find(view.slot);
      servers.push_back({server_address(view.slot, ipv6_), be16(port_), view.weight, last_weights_.at(view.slot),
                         id == ids_.end() ? 0 : id->second});
    }
    return servers;
  }

 private:
  void record(ServiceChange::Kind kind, ServerSlot slot, std::uint32_t weight) {
    table_.changes.push_back({++table_.serial, kind, slot, weight});
  }
  ServiceTable table_;
  std::map<ServerSlot, std::uint32_t> last_weights_;
  std::map<ServerSlot, std::uint32_t> ids_;
  std::uint16_t port_ = 80;
  bool ipv6_ = false;
  std::vector<std::unique_ptr<ServiceTable>> tables_;
};

/// How long a connection lives.
enum class Keep { kShort, kHeld };

/// One worker that schedules connections and counts them. Server slots are below kSlots.
class Scheduling {
 public:
  static constexpr std::size_t kSlots = 2048;

  explicit Scheduling(std::uint32_t worker = 0, std::uint32_t workers = 1)
      : states_(worker, workers, 7), stats_(kSlots), loads_(std::move(LoadTable::create(workers)).value()), worker_(worker) {
    asked_.client = address("10.0.1.2");
    asked_.client_port = be16(40000);
    asked_.destination = address("10.0.9.10");
    asked_.protocol = 6;
    for (ServerSlot slot = 0; slot < kSlots; slot++)
      identities_.push_back(ServerIdentity{server_address(slot), be16(80), 6, {}, 0, 0, {}, 0});
    asked_.identities = identities_.data();
  }

  PickContext& asked() { return asked_; }
  LoadTable& loads() { return *loads_; }
  ServerStats& stats(ServerSlot slot) { return stats_[slot]; }
  /// Connections above which a server is overloaded; 0 for no limit.
  void limit(std::uint64_t threshold) { threshold_ = threshold; }

  /// Slot of the server, -1 for none; not counted.
  std::int64_t pick(const ServiceTable& table) {
    asked_.loads = ServerLoads(stats_.data(), loads_.get(), worker_);
    const std::int32_t index = states_.pick(table, PickContext(asked_));
    return index < 0 ? -1 : static_cast<std::int64_t>(table.servers.at(static_cast<std::size_t>(index)).slot);
  }
  /// A connection comes, and goes or stays.
  std::int64_t connect(const ServiceTable& table, Keep keep) {
    const std::int64_t slot = pick(table);
    if (slot >= 0) {
      ServerStats& stats = stats_[static_cast<std::size_t>(slot)];
      (keep == Keep::kHeld ? stats.active : stats.inactive)++;
      if (threshold_ != 0) {
        loads_->set_overloaded(static_cast<ServerSlot>(slot), stats.active + stats.inactive >= threshold_);
      }
    }
    return slot;
  }
  /// `count` connections: slots, space separated; "-" for none.
  std::string connect(const ServiceTable& table, Keep keep, int count) {
    std::ostringstream text;
    for (int i = 0; i < count; i++) {
      const std::int64_t slot = connect(table, keep);
      text << (i == 0 ? "" : " ") << (slot < 0 ? "-" : std::to_string(slot));
    }
    return text.str();
  }

 private:
  SchedulerStates states_;
  std::vector<ServerStats> stats_;
  std::unique_ptr<LoadTable> loads_;
  std::vector<ServerIdentity> identities_;
  PickContext asked_;
  const std::uint32_t worker_;
  std::uint64_t threshold_ = 0;
};

/// Server slots picked by `count` new sessions that nobody counts, space separated; "-" for none.
inline std::string sequence(SchedulerStates& states, const ServiceTable& table, int count) {
  std::ostringstream text;
  for (int i = 0; i < count; i++) {
    const std::int32_t picked = states.pick(table, PickContext{});
    text << (i == 0 ? "" : " ");
    if (picked < 0) {
      text << "-";
    } else {
      text << table.servers.at(static_cast<std::size_t>(picked)).slot;
    }
  }
  return text.str();
}

/// IPVS's own way of keeping a position: a circular list with a head node (net/netfilter/ipvs/ip_vs_rr.c, ip_vs_wrr.c), restated
/// over node names so that it shares nothing with the code under test.
class KernelList {
 public:
  explicit KernelList(bool weighted) : weighted_(weighted) {}

  void add(ServerSlot slot, std::int64_t weight) {
    list_.insert(list_.begin(), slot);
    weight_[slot] = weight;
    changed();
  }
  void edit(ServerSlot slot, std::int64_t weight) {
    weight_[slot] = weight;
    changed();
  }
  void remove(ServerSlot slot) {
    const auto at = std::find(list_.begin(), list_.end(), slot);
    if (!weighted_ && mark_ == static_cast<std::int64_t>(slot)) {
      mark_ = at == list_.begin() ? kHead : static_cast<std::int64_t>(*(at - 1));
    }
    list_.erase(at);
    weight_.erase(slot);
    changed();
  }
  void overload(ServerSlot slot, bool value) {
    if (value) {
      overloaded_.insert(slot);
    } else {
      overloaded_.erase(slot);
    }
  }
  std::int64_t pick() { return weighted_ ? pick_weighted() : pick_plain(); }

 private:
  static constexpr std::int64_t kHead = -1;

  std::int64_t after(std::int64_t node) const {
    if (node == kHead) return list_.empty() ? kHead : static_cast<std::int64_t>(list_.front());
    const auto at = std::find(list_.begin(), list_.end(), static_cast<ServerSlot>(node));
    return at + 1 == list_.end() ? kHead : static_cast<std::int64_t>(*(at + 1));
  }
  bool may_have(std::int64_t node, std::int64_t least_weight) const {
    const auto slot = static_cast<ServerSlot>(node);
    return node != kHead && !overloaded_.contains(slot) && weight_.at(slot) >= least_weight;
  }
  std::int64_t pick_plain() {
    std::int64_t node = mark_;
    for (std::size_t i = 0; i <= list_.size() + 1; i++) {
      node = after(node);
      if (may_have(node, 1)) return mark_ = node;
    }
    return kHead;
  }
  /// Level by level, as the kernel goes; it ends behind the round of the lowest level that it has gone through as a whole.
  std::int64_t pick_weighted() {
    if (mw_ == 0) return kHead;
    const std::int64_t began = mark_;
    bool whole_last_round = began == kHead && cw_ <= di_;
    bool again = false;
    bool stop = false;
    for (std::int64_t node = began;;) {
      node = after(node);
      if (node != kHead) {
        if (may_have(node, cw_)) return mark_ = node;
        if (stop && node == began) return mark_ = node, kHead;
        continue;
      }
      cw_ -= di_;
      if (cw_ <= 0) {
        cw_ = mw_;
        if (whole_last_round || began == kHead) return mark_ = kHead;
        again = true;
      }
      whole_last_round = cw_ <= di_;
      stop = whole_last_round && again;
    }
  }
  void changed() {
    if (!weighted_) return;
    std::int64_t g = 0;
    std::int64_t max = 0;
    for (const auto& [slot, weight] : weight_) {
      if (weight > 0) g = g == 0 ? weight : std::gcd(g, weight);
      max = std::max(max, weight);
    }
    mark_ = kHead;
    di_ = g == 0 ? 1 : g;
    mw_ = max - (di_ - 1);
    if (cw_ > mw_ || cw_ == 0) {
      cw_ = mw_;
    } else if (di_ > 1) {
      cw_ = cw_ / di_ * di_ + 1;
    }
  }

  const bool weighted_;
  std::vector<ServerSlot> list_;
  std::map<ServerSlot, std::int64_t> weight_;
  std::set<ServerSlot> overloaded_;
  std::int64_t mark_ = kHead;
  std::int64_t cw_ = 0;
  std::int64_t mw_ = 0;
  std::int64_t di_ = 1;
};

/// Changes a service at random, and which servers are above their thresholds, and compares every pick with the model.
inline void expect_like_kernel(SchedulerKind kind, std::uint32_t seed) {
  std::mt19937 random(seed);
  for (int run = 0; run < 200; run++) {
    Service service(kind);
    KernelList model(kind == SchedulerKind::kWeightedRoundRobin);
    Scheduling scheduling;
    std::set<ServerSlot> present;
    for (int step = 0; step < 60; step++) {
      // Several changes may lie between two snapshots.
      for (auto changes = random() % 4; changes > 0; changes--) {
        const auto slot = static_cast<ServerSlot>(random() % 6);
        const auto weight = static_cast<std::uint32_t>(random() % 3 == 0 ? 0 : random() % 12);
        if (!present.contains(slot)) {
          present.insert(slot);
          service.add(slot, weight);
          model.add(slot, weight);
        } else if (random() % 2 == 0) {
          service.edit(slot, weight);
          model.edit(slot, weight);
        } else {
          present.erase(slot);
          service.remove(slot);
          model.remove(slot);
        }
      }
      const ServiceTable& table = service.published();
      for (auto picks = random() % 8; picks > 0; picks--) {
        // In half of the runs servers become and cease to be overloaded.
        const auto slot = static_cast<ServerSlot>(random() % 6);
        const bool above = run % 2 == 0 && random() % 3 != 0;
        scheduling.loads().set_overloaded(slot, above);
        model.overload(slot, above);
        ASSERT_EQ(scheduling.pick(table), model.pick()) << "run " << run << " step " << step;
      }
    }
  }
}

}  // namespace millrace::test
