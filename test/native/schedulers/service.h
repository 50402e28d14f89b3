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

/// A service as the control thread keeps it: the list with the newest server first, and its changes.
class Service {
 public:
  explicit Service(SchedulerKind kind, ServiceSlot slot = 0) {
    table_.slot = slot;
    table_.scheduler = kind;
  }
  void add(ServerSlot slot, std::uint32_t weight) {
    table_.servers.insert(table_.servers.begin(), {slot, weight});
    record(ServiceChange::Kind::kAdd, slot, weight);
  }
  void edit(ServerSlot slot, std::uint32_t weight) {
    for (ServerView& server : table_.servers) {
      if (server.slot == slot) server.weight = weight;
    }
    record(ServiceChange::Kind::kEdit, slot, weight);
  }
  void remove(ServerSlot slot) {
    std::erase_if(table_.servers, [&](const ServerView& server) { return server.slot == slot; });
    record(ServiceChange::Kind::kRemove, slot, 0);
  }
  void use(SchedulerKind kind) { table_.scheduler = kind; }
  void forget_changes(std::size_t keep) {
    while (table_.changes.size() > keep) table_.changes.erase(table_.changes.begin());
  }
  /// The current table, as a snapshot would have it: an object of its own.
  const ServiceTable& published() {
    tables_.push_back(std::make_unique<ServiceTable>(table_));
    return *tables_.back();
  }
  const ServiceTable& table() const { return table_; }

 private:
  void record(ServiceChange::Kind kind, ServerSlot slot, std::uint32_t weight) {
    table_.changes.push_back({++table_.serial, kind, slot, weight});
  }
  ServiceTable table_;
  std::vector<std::unique_ptr<ServiceTable>> tables_;
};

/// Server slots picked by `count` new sessions, space separated; "-" for none.
inline std::string sequence(SchedulerStates& states, const ServiceTable& table, int count) {
  std::ostringstream text;
  for (int i = 0; i < count; i++) {
    const std::int32_t picked = states.pick(table);
    text << (i == 0 ? "" : " ");
    if (picked < 0) {
      text << "-";
    } else {
      text << table.servers.at(static_cast<std::size_t>(picked)).slot;
    }
  }
  return text.str();
}

/// One row of the recordings: 60 or 30 connections, one after another, to servers 1, 2, 3 added in that order.
struct Recording {
  std::vector<std::uint32_t> weights;
  const char* servers;
};

/// Plays a recording twice: the servers come in one snapshot, or in one snapshot each.
inline void expect_recorded(SchedulerKind kind, std::span<const Recording> recordings) {
  ASSERT_FALSE(recordings.empty());
  for (const Recording& recording : recordings) {
    for (const bool one_by_one : {false, true}) {
      Service service(kind);
      ServiceScheduler scheduler;
      for (std::uint32_t i = 0; i < recording.weights.size(); i++) {
        service.add(i + 1, recording.weights[i]);
        if (one_by_one) scheduler.follow(service.published(), 0, 1);
      }
      const ServiceTable& table = service.published();
      std::istringstream expected(recording.servers);
      int connections = 0;
      for (ServerSlot slot = 0; expected >> slot; connections++) {
        const std::int32_t picked = scheduler.pick(table, 0, 0, 1);
        ASSERT_EQ(table.servers.at(static_cast<std::size_t>(picked)).slot, slot) << recording.servers << " at " << connections;
      }
      EXPECT_GE(connections, 30);
    }
  }
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
  std::int64_t pick() { return weighted_ ? pick_weighted() : pick_plain(); }

 private:
  static constexpr std::int64_t kHead = -1;

  std::int64_t after(std::int64_t node) const {
    if (node == kHead) return list_.empty() ? kHead : static_cast<std::int64_t>(list_.front());
    const auto at = std::find(list_.begin(), list_.end(), static_cast<ServerSlot>(node));
    return at + 1 == list_.end() ? kHead : static_cast<std::int64_t>(*(at + 1));
  }
  std::int64_t pick_plain() {
    std::int64_t node = mark_;
    for (std::size_t i = 0; i <= list_.size() + 1; i++) {
      node = after(node);
      if (node != kHead && weight_.at(static_cast<ServerSlot>(node)) > 0) return mark_ = node;
    }
    return kHead;
  }
  std::int64_t pick_weighted() {
    if (mw_ == 0) return kHead;
    for (std::int64_t node = mark_;;) {
      node = after(node);
      if (node == kHead) {
        cw_ -= di_;
        if (cw_ <= 0) cw_ = mw_;
      } else if (weight_.at(static_cast<ServerSlot>(node)) >= cw_) {
        return mark_ = node;
      }
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
  std::int64_t mark_ = kHead;
  std::int64_t cw_ = 0;
  std::int64_t mw_ = 0;
  std::int64_t di_ = 1;
};

/// Changes a service at random and compares every pick with the model.
inline void expect_like_kernel(SchedulerKind kind, std::uint32_t seed) {
  std::mt19937 random(seed);
  for (int run = 0; run < 200; run++) {
    Service service(kind);
    KernelList model(kind == SchedulerKind::kWeightedRoundRobin);
    SchedulerStates states(0, 1);
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
        const std::int32_t picked = states.pick(table);
        const std::int64_t slot =
            picked < 0 ? -1 : static_cast<std::int64_t>(table.servers.at(static_cast<std::size_t>(picked)).slot);
        ASSERT_EQ(slot, model.pick()) << "run " << run << " step " << step;
      }
    }
  }
}

}  // namespace millrace::test
