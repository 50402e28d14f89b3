// Every scheduler with several workers: how far the shares are from those of one worker, as the table in docs/schedulers.md has it.
// Connections come to workers at random, as a card's hash of ports deals them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "schedulers/service.h"

namespace millrace {
namespace {

using test::Keep;
using test::Scheduling;
using test::Service;

constexpr std::uint32_t kServers = 5;

/// Workers with a service of kServers servers, slots 1 to kServers, and what each of them has got.
class Workers {
 public:
  Workers(const std::string& scheduler, std::uint32_t workers, const std::vector<std::uint32_t>& weights)
      : service_(scheduler_named(scheduler)), workers_(workers) {
    for (std::uint32_t i = 0; i < weights.size(); i++) {
      service_.add(i + 1, weights[i]);
      slots_.push_back(i + 1);
    }
    table_ = &service_.published();
    for (std::uint32_t w = 0; w < workers; w++) scheduling_.push_back(std::make_unique<Scheduling>(w, workers));
  }

  Scheduling& worker(std::uint32_t w) { return *scheduling_[w]; }
  std::int64_t connect(std::uint32_t w, Keep keep = Keep::kHeld) {
    const std::int64_t slot = worker(w).connect(*table_, keep);
    if (slot >= 0) got_[slot]++;
    return slot;
  }
  std::uint32_t any() { return static_cast<std::uint32_t>(random_() % workers_); }
  /// What the control thread does every 10 ms.
  void refresh() {
    std::vector<const ServerStats*> statistics;
    for (auto& scheduling : scheduling_) statistics.push_back(&scheduling->stats(0));
    for (auto& scheduling : scheduling_) scheduling->loads().refresh(statistics, slots_);
  }
  std::int64_t got(std::int64_t slot) const {
    const auto found = got_.find(slot);
    return found == got_.end() ? 0 : found->second;
  }
  std::int64_t apart() const {
    std::int64_t most = 0, least = INT64_MAX;
    for (const ServerSlot slot : slots_) {
      most = std::max(most, got(slot));
      least = std::min(least, got(slot));
    }
    return most - least;
  }

 private:
  Service service_;
  const std::uint32_t workers_;
  const ServiceTable* table_;
  std::vector<std::unique_ptr<Scheduling>> scheduling_;
  std::vector<ServerSlot> slots_;
  std::map<std::int64_t, std::int64_t> got_;
  std::mt19937 random_{17};
};

const std::vector<std::uint32_t> kEqual(kServers, 1);

/// What the scheduler compares, of a server with so many held connections.
double cost_of(const std::string& scheduler, std::int64_t active, std::uint32_t weight) {
  const double expected_delay = static_cast<double>(active + 1) / weight;
  if (scheduler == "lc") return static_cast<double>(active);
  if (scheduler == "wlc") return static_cast<double>(active) / weight;
  if (scheduler == "nq" && active == 0) return 0;
  return expected_delay;
}

class SeveralWorkers : public testing::TestWithParam<std::uint32_t> {};

TEST_P(SeveralWorkers, RoundRobinIsOneConnectionPerWorkerApart) {
  Workers workers("rr", GetParam(), kEqual);
  std::set<std::int64_t> first;
  for (int i = 0; i < 5'000; i++) {
    workers.connect(workers.any());
    ASSERT_LE(workers.apart(), GetParam()) << "after " << i + 1;
  }
  // They begin spread: the first connections of all workers meet different servers.
  Workers fresh("rr", GetParam(), kEqual);
  for (std::uint32_t w = 0; w < GetParam(); w++) first.insert(fresh.connect(w));
  EXPECT_EQ(first.size(), std::min(GetParam(), kServers));
}

TEST_P(SeveralWorkers, WeightedRoundRobinIsAWeightPerWorkerAwayFromItsShare) {
  const std::vector<std::uint32_t> weights = {2, 4, 6, 8, 10};
  Workers workers("wrr", GetParam(), weights);
  const double sum = 30;
  for (int i = 1; i <= 6'000; i++) {
    workers.connect(workers.any());
    for (std::uint32_t s = 0; s < kServers; s++) {
      const double share = i * weights[s] / sum;
      ASSERT_LE(std::abs(static_cast<double>(workers.got(s + 1)) - share), GetParam() * (weights[s] / 2.0)) << "server " << s << " after " << i;
    }
  }
}

TEST_P(SeveralWorkers, CountingSchedulersAreAsExactAsTheirCountsAreFresh) {
  for (const char* name : {"lc", "wlc", "sed", "nq"}) {
    // Fresh before each connection: the least loaded of all, as with one worker; of equal ones, workers begin with different ones.
    const std::vector<std::uint32_t> weights = {1, 2, 3, 4, 5};
    Workers workers(name, GetParam(), weights);
    for (int i = 0; i < 600; i++) {
      std::map<std::int64_t, double> cost;
      for (std::uint32_t s = 0; s < kServers; s++) cost[s + 1] = cost_of(name, workers.got(s + 1), weights[s]);
      const double least = std::min_element(cost.begin(), cost.end(), [](auto& a, auto& b) { return a.second < b.second; })->second;
      workers.refresh();
      ASSERT_DOUBLE_EQ(cost[workers.connect(workers.any())], least) << name << " " << i;
    }
    // Fresh every 20 connections: each worker may have given the same server its own of them.
    Workers stale(name, GetParam(), kEqual);
    for (int i = 0; i < 3'000; i++) {
      if (i % 20 == 0) stale.refresh();
      stale.connect(stale.any());
      ASSERT_LE(stale.apart(), 20) << name << " " << i;
    }
  }
}

TEST_P(SeveralWorkers, FailoverTakesTheSameServerOnAllOfThem) {
  Workers workers("fo", GetParam(), {3, 9, 4, 9, 1});
  const std::int64_t chosen = workers.connect(0);
  for (int i = 0; i < 200; i++) ASSERT_EQ(workers.connect(workers.any()), chosen);
}

TEST_P(SeveralWorkers, OverflowOvershootsByWhatBeganOnOthersMeanwhile) {
  Workers workers("ovf", GetParam(), {50, 100, 40, 30, 20});
  constexpr int kEvery = 10;
  for (int i = 0; i < 101 + kEvery; i++) {
    if (i % kEvery == 0) workers.refresh();
    workers.connect(workers.any());
  }
  EXPECT_GE(workers.got(2), 101) << "the heaviest is filled first, up to one more than its weight";
  EXPECT_LE(workers.got(2), 101 + kEvery);
}

TEST_P(SeveralWorkers, LocalityHasAsManyServersPerDestinationAsWorkersAtMost) {
  for (const char* name : {"lblc", "lblcr"}) {
    Workers workers(name, GetParam(), kEqual);
    std::map<std::uint32_t, std::set<std::int64_t>> servers;
    for (std::uint32_t i = 0; i < 4'000; i++) {
      if (i % 20 == 0) workers.refresh();
      const std::uint32_t destination = (i * 7919u) % 25u;
      const std::uint32_t w = workers.any();
      workers.worker(w).asked().destination = test::address("10.0.9." + std::to_string(10 + destination));
      servers[destination].insert(workers.connect(w, Keep::kShort));
    }
    for (const auto& [destination, met] : servers) EXPECT_LE(met.size(), GetParam()) << name << " " << destination;
  }
}

TEST_P(SeveralWorkers, TwoChoicesKeepTheSharesThatWeightsAskFor) {
  const std::vector<std::uint32_t> weights = {1, 2, 4, 1, 2};
  Workers workers("twos", GetParam(), weights);
  for (int i = 0; i < 10'000; i++) {
    if (i % 20 == 0) workers.refresh();
    workers.connect(workers.any());
  }
  for (std::uint32_t s = 0; s < kServers; s++) {
    EXPECT_NEAR(static_cast<double>(workers.got(s + 1)), 1'000.0 * weights[s], 100.0) << "server " << s;
  }
}

TEST_P(SeveralWorkers, HashingChoosesTheSameServerOnAllOfThem) {
  for (const char* name : {"sh", "dh", "mh", "conhash"}) {
    Workers workers(name, GetParam(), {1, 2, 3, 4, 5});
    std::set<std::int64_t> met;
    for (std::uint32_t client = 0; client < 400; client++) {
      std::set<std::int64_t> chosen;
      for (std::uint32_t w = 0; w < GetParam(); w++) {
        workers.worker(w).asked().client = test::address("10.0." + std::to_string(client / 200) + "." + std::to_string(1 + client % 200));
        workers.worker(w).asked().destination = test::address("10.1." + std::to_string(client / 200) + "." + std::to_string(1 + client % 200));
        chosen.insert(workers.connect(w, Keep::kShort));
      }
      ASSERT_EQ(chosen.size(), 1u) << name << " client " << client;
      met.insert(*chosen.begin());
    }
    EXPECT_EQ(met.size(), kServers) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Workers, SeveralWorkers, testing::Values(2u, 4u, 8u));

}  // namespace
}  // namespace millrace
