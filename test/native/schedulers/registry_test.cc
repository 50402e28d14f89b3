// Schedulers against sequences recorded from a live IPVS (Linux 6.1), against a direct model of its list under random changes, and the
// registry against the files of its folder.
#include "schedulers/registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace millrace {
namespace {

using Kind = ServiceChange::Kind;

/// A service as the control thread keeps it: the list with the newest server first, and its changes.
class Service {
 public:
  explicit Service(SchedulerKind kind, ServiceSlot slot = 0) {
    table_.slot = slot;
    table_.scheduler = kind;
  }
  void add(ServerSlot slot, std::uint32_t weight) {
    table_.servers.insert(table_.servers.begin(), {slot, weight});
    record(Kind::kAdd, slot, weight);
  }
  void edit(ServerSlot slot, std::uint32_t weight) {
    for (ServerView& server : table_.servers) {
      if (server.slot == slot) server.weight = weight;
    }
    record(Kind::kEdit, slot, weight);
  }
  void remove(ServerSlot slot) {
    std::erase_if(table_.servers, [&](const ServerView& server) { return server.slot == slot; });
    record(Kind::kRemove, slot, 0);
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
  void record(Kind kind, ServerSlot slot, std::uint32_t weight) { table_.changes.push_back({++table_.serial, kind, slot, weight}); }
  ServiceTable table_;
  std::vector<std::unique_ptr<ServiceTable>> tables_;
};

/// Server slots picked by `count` new sessions, space separated; "-" for none.
std::string sequence(SchedulerStates& states, const ServiceTable& table, int count) {
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

struct Recording {
  const char* scheduler;
  /// Weights of servers 1, 2, 3 in the order in which they were added.
  std::vector<std::uint32_t> weights;
  const char* servers;
};

const Recording kRecordings[] = {
    {"rr", {4, 3, 2},
     "3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1"},
    {"rr", {10, 5},
     "2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1"},
    {"rr", {7, 0, 3},
     "3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1 3 1"},
    {"wrr", {4, 3, 2},
     "3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1 3 2 1 1 2 1"},
    {"wrr", {10, 5},
     "2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1 2 1 1"},
    {"wrr", {7, 0, 3},
     "3 1 1 1 1 1 3 1 3 1 3 1 1 1 1 1 3 1 3 1 3 1 1 1 1 1 3 1 3 1 3 1 1 1 1 1 3 1 3 1 3 1 1 1 1 1 3 1 3 1 3 1 1 1 1 1 3 1 3 1"},
    {"rr", {4, 3, 2},
     "3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1 3 2 1"},
    {"wrr", {4, 3, 2},
     "3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1 3 2 1"},
};

TEST(Schedulers, PickAsIpvsDidInEveryRecording) {
  for (const Recording& recording : kRecordings) {
    const auto kind = scheduler_kind(recording.scheduler);
    ASSERT_TRUE(kind.has_value());
    Service service(*kind);
    for (std::uint32_t i = 0; i < recording.weights.size(); i++) service.add(i + 1, recording.weights[i]);
    std::istringstream words(recording.servers);
    const auto count = std::distance(std::istream_iterator<std::string>(words), {});
    SchedulerStates states(0, 1);
    EXPECT_EQ(sequence(states, service.published(), static_cast<int>(count)), recording.servers) << recording.scheduler;
  }
}

TEST(Schedulers, PickTheSameWhetherServersCameInOneSnapshotOrOneByOne) {
  for (const Recording& recording : kRecordings) {
    Service service(*scheduler_kind(recording.scheduler));
    ServiceScheduler scheduler;
    scheduler.follow(service.published(), 0, 1);
    for (std::uint32_t i = 0; i < recording.weights.size(); i++) {
      service.add(i + 1, recording.weights[i]);
      scheduler.follow(service.published(), 0, 1);
    }
    const ServiceTable& table = service.published();
    std::istringstream expected(recording.servers);
    for (ServerSlot slot = 0; expected >> slot;) {
      ASSERT_EQ(table.servers.at(static_cast<std::size_t>(scheduler.pick(table, 0, 0, 1))).slot, slot) << recording.scheduler;
    }
  }
}

/// IPVS's own way of keeping a position: a circular list with a head node (net/netfilter/ipvs/ip_vs_rr.c, ip_vs_wrr.c), restated over
/// node names so that it shares nothing with the code under test.
class KernelModel {
 public:
  explicit KernelModel(bool weighted) : weighted_(weighted) {}

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

TEST(Schedulers, FollowIpvsThroughAdditionsEditsAndRemovalsInAnyOrder) {
  std::mt19937 random(21);
  for (int run = 0; run < 400; run++) {
    const bool weighted = run % 2 == 1;
    Service service(weighted ? SchedulerKind::kWeightedRoundRobin : SchedulerKind::kRoundRobin);
    KernelModel model(weighted);
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
        const std::int64_t slot = picked < 0 ? -1 : static_cast<std::int64_t>(table.servers.at(static_cast<std::size_t>(picked)).slot);
        ASSERT_EQ(slot, model.pick()) << (weighted ? "wrr" : "rr") << " run " << run << " step " << step;
      }
    }
  }
}

TEST(Schedulers, NeverPickAServerOfWeightZero) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    Service service(scheduler.kind);
    service.add(1, 0);
    service.add(2, 0);
    SchedulerStates states(0, 1);
    EXPECT_EQ(sequence(states, service.published(), 3), "- - -") << scheduler.name;
    service.edit(1, 5);
    EXPECT_EQ(sequence(states, service.published(), 3), "1 1 1") << scheduler.name;
    service.edit(1, 0);
    EXPECT_EQ(sequence(states, service.published(), 2), "- -") << scheduler.name;
  }
}

TEST(Schedulers, TakeAsManySessionsAsTheWeightsSay) {
  Service service(SchedulerKind::kWeightedRoundRobin);
  const std::uint32_t weights[] = {0, 100, 50, 25, 7};
  for (ServerSlot slot = 0; slot < 5; slot++) service.add(slot, weights[slot]);
  SchedulerStates states(0, 1);
  const ServiceTable& table = service.published();
  (void)sequence(states, table, 4);  // the first round at level 1
  std::map<ServerSlot, std::uint32_t> taken;
  for (int i = 0; i < 182 * 3; i++) taken[table.servers.at(static_cast<std::size_t>(states.pick(table))).slot]++;
  for (ServerSlot slot = 1; slot < 5; slot++) EXPECT_EQ(taken[slot], 3 * weights[slot]) << slot;
  EXPECT_FALSE(taken.contains(0));
}

TEST(Schedulers, HandleTheLargestWeight) {
  Service service(SchedulerKind::kWeightedRoundRobin);
  service.add(1, 2147483647);
  service.add(2, 1);
  SchedulerStates states(0, 1);
  EXPECT_EQ(sequence(states, service.published(), 5), "2 1 1 1 1");
}

TEST(Schedulers, WorkersBeginAtDifferentServersOfTheSameList) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    Service service(scheduler.kind);
    for (ServerSlot slot = 1; slot <= 4; slot++) service.add(slot, 1);
    const ServiceTable& table = service.published();
    std::string firsts;
    for (std::uint32_t worker = 0; worker < 4; worker++) {
      SchedulerStates states(worker, 4);
      firsts += sequence(states, table, 1);
    }
    EXPECT_EQ(firsts, "4321") << scheduler.name;
  }
}

TEST(Schedulers, StartAnewWhenTheChangesThatTheyMissedAreGone) {
  Service service(SchedulerKind::kRoundRobin);
  service.add(1, 1);
  SchedulerStates states(0, 1);
  EXPECT_EQ(sequence(states, service.published(), 2), "1 1");
  for (ServerSlot slot = 2; slot <= 4; slot++) service.add(slot, 1);
  service.forget_changes(1);
  EXPECT_EQ(sequence(states, service.published(), 5), "4 3 2 1 4");
  // And where they begin with a list whose first changes are gone, as if its servers had been added one by one.
  Service weighted(SchedulerKind::kWeightedRoundRobin);
  for (const std::uint32_t slot : {1u, 2u, 3u}) weighted.add(slot, 5 - slot);
  weighted.forget_changes(0);
  SchedulerStates late(0, 1);
  EXPECT_EQ(sequence(late, weighted.published(), 9), "3 2 1 1 2 1 3 2 1");
}

TEST(Schedulers, StartAnewWhenTheSlotGotAnotherService) {
  Service first(SchedulerKind::kRoundRobin, 9);
  for (ServerSlot slot = 1; slot <= 3; slot++) first.add(slot, 1);
  SchedulerStates states(0, 1);
  EXPECT_EQ(sequence(states, first.published(), 2), "3 2");
  Service second(SchedulerKind::kRoundRobin, 9);
  for (ServerSlot slot = 11; slot <= 13; slot++) second.add(slot, 1);
  EXPECT_EQ(sequence(states, second.published(), 2), "13 12");
  // Even at the same address.
  ServiceTable table = first.table();
  EXPECT_EQ(sequence(states, table, 1), "3");
  table = second.table();
  table.servers[0].weight = 0;
  table.changes[2].weight = 0;
  states.tables_changed();
  EXPECT_EQ(sequence(states, table, 2), "12 11");
}

TEST(Schedulers, AnotherSchedulerBeginsAtTheHeadOfTheList) {
  Service service(SchedulerKind::kRoundRobin);
  service.add(1, 4);
  service.add(2, 3);
  service.add(3, 2);
  SchedulerStates states(0, 1);
  EXPECT_EQ(sequence(states, service.published(), 2), "3 2");
  service.use(SchedulerKind::kWeightedRoundRobin);
  EXPECT_EQ(sequence(states, service.published(), 9), "1 2 1 3 2 1 3 2 1");
  service.use(SchedulerKind::kRoundRobin);
  EXPECT_EQ(sequence(states, service.published(), 4), "3 2 1 3");
}

TEST(SchedulerRegistry, HasExactlyTheSchedulersOfItsFolder) {
  std::set<std::string> files;
  const auto here = std::filesystem::absolute(__FILE__).parent_path();
  for (const auto& file : std::filesystem::directory_iterator(here / "../../../native/schedulers")) {
    const std::string name = file.path().stem().string();
    if (file.path().extension() == ".h" && name != "registry") files.insert(name);
  }
  std::set<std::string> names;
  std::set<SchedulerKind> kinds;
  for (const SchedulerInfo& scheduler : kSchedulers) {
    names.insert(std::string(scheduler.name));
    kinds.insert(scheduler.kind);
    EXPECT_EQ(scheduler_kind(scheduler.name), scheduler.kind);
    EXPECT_FALSE(scheduler.summary.empty());
  }
  EXPECT_EQ(names, files);
  EXPECT_EQ(kinds.size(), kSchedulers.size());
  EXPECT_EQ(scheduler_kind("nosuch"), std::nullopt);
}

}  // namespace
}  // namespace millrace
