// Limits on packets and bits per second over all workers: never more than the limit and its burst, hardly less, whoever asks and when.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "tables/rate_limits.h"

namespace millrace::test {
namespace {

constexpr Direction kIn = Direction::kInbound;
constexpr Direction kOut = Direction::kOutbound;

RateLeases leases_for(RateLimits limits) {
  RateLeases leases{};
  leases.limits = limits;
  return leases;
}

std::uint32_t spend_packets(RateLeases& leases, SharedRates& shared, std::uint32_t now_ms, std::uint32_t attempts, Direction direction = kIn) {
  std::uint32_t passed = 0;
  for (std::uint32_t i = 0; i < attempts; i++) passed += leases.spend(shared, direction, RateKind::kPackets, 1, now_ms) ? 1 : 0;
  return passed;
}

TEST(RateLimits, ALowLimitIsExactToThePacketOverAllWorkers) {
  SharedRates shared{};
  std::array<RateLeases, 4> workers;
  workers.fill(leases_for({.packets = 10}));
  std::uint32_t now = 5;
  std::uint32_t passed = 0;
  for (RateLeases& worker : workers) passed += spend_packets(worker, shared, now, 20);
  EXPECT_EQ(passed, 10u) << "the burst";
  for (int tenth = 1; tenth <= 50; tenth++) {
    now += 99;
    for (RateLeases& worker : workers) EXPECT_EQ(spend_packets(worker, shared, now, 5), 0u);
    now += 1;
    passed = 0;
    for (RateLeases& worker : workers) passed += spend_packets(worker, shared, now, 5);
    EXPECT_EQ(passed, 1u) << tenth;
  }
}

TEST(RateLimits, DirectionsAndKindsDoNotShare) {
  SharedRates shared{};
  RateLeases leases = leases_for({.packets = 10, .bits = 8'000});
  EXPECT_EQ(spend_packets(leases, shared, 0, 100), 10u);
  EXPECT_EQ(spend_packets(leases, shared, 0, 100, kOut), 10u);
  std::uint32_t bytes = 0;
  while (leases.spend(shared, kIn, RateKind::kBits, 1000, 0)) bytes += 1000;
  EXPECT_EQ(bytes, 16'000u) << "of a burst of 16 KiB";
  EXPECT_TRUE(leases.has_room(shared, kIn, RateKind::kBits, 384, 0));
  EXPECT_FALSE(leases.has_room(shared, kIn, RateKind::kBits, 385, 0));
  EXPECT_TRUE(leases.has_room(shared, kOut, RateKind::kBits, 16'384, 0));
}

TEST(RateLimits, WithoutALimitEverythingPassesAndNothingIsTouched) {
  SharedRates shared{};
  RateLeases leases{};
  EXPECT_EQ(spend_packets(leases, shared, 7, 1000), 1000u);
  EXPECT_EQ(shared.paid_until[0][0], 0u);
}

TEST(RateLimits, TheClockMayRunOverAndStandStillForWeeks) {
  for (const std::uint32_t pause : {1'000u, 86'400'000u, 0x7fffffffu, 0xc0000000u}) {
    SharedRates shared{};
    RateLeases leases = leases_for({.packets = 100});
    std::uint32_t now = 0xffff0000u;  // 65 seconds before it runs over
    EXPECT_EQ(spend_packets(leases, shared, now, 50), 10u) << pause;
    now += pause;
    EXPECT_EQ(spend_packets(leases, shared, now, 50), 10u) << pause;
    for (int second = 0; second < 100; second++) {
      now += 1000;
      ASSERT_EQ(spend_packets(leases, shared, now, 50), 10u) << pause << " and " << second << " s";
    }
  }
}

TEST(RateLimits, WhatAWorkerLeasedAndDidNotSpendIsThereForOthers) {
  SharedRates shared{};
  RateLeases quiet = leases_for({.packets = 1'000'000});
  RateLeases busy = quiet;
  constexpr std::uint32_t burst = 100'000;
  EXPECT_EQ(spend_packets(busy, shared, 1000, 2 * burst), burst);
  std::uint32_t passed = 0;
  for (std::uint32_t ms = 1; ms <= 200; ms++) {
    passed += spend_packets(quiet, shared, 1000 + ms, 1);
    passed += spend_packets(busy, shared, 1000 + ms, 2'000);
  }
  EXPECT_GE(passed, 199'700u) << "but for the last lease";
  EXPECT_LE(passed, 200'000u);
}

TEST(RateLimits, LeasesThatComeBackLateAddOneLeasePerWorkerAtMost) {
  constexpr std::uint64_t kPerSecond = 1'000'000, kBurst = 100'000, kLease = 250;
  for (const std::uint32_t workers : {2u, 8u, 16u}) {
    SharedRates shared{};
    std::vector<RateLeases> all(workers, leases_for({.packets = kPerSecond}));
    std::uint64_t passed = 0;
    for (std::uint32_t w = 1; w < workers; w++) spend_packets(all[w], shared, 0, 1);
    // A tenth of a second later the limit has recovered; one worker takes the burst, then the others pay back.
    passed += spend_packets(all[0], shared, 100, 2 * kBurst);
    for (std::uint32_t w = 1; w < workers; w++) passed += spend_packets(all[w], shared, 100, 2 * kBurst);
    EXPECT_GE(passed, kBurst);
    EXPECT_LE(passed, kBurst + (workers - 1) * kLease);
  }
}

TEST(RateLimits, AnotherOwnersDebtIsForgotten) {
  SharedRates shared{};
  RateLeases slow = leases_for({.packets = 1});
  EXPECT_EQ(spend_packets(slow, shared, 0, 100), 10u);  // paid ten seconds ahead
  RateLeases fast = leases_for({.packets = 1'000'000});
  EXPECT_EQ(spend_packets(fast, shared, 1, 200'000), 100'000u);
}

/// A token bucket in 128-bit integers: units x ticks.
class Bucket {
 public:
  Bucket(std::uint64_t per_second, std::uint64_t least_burst)
      : rate_(per_second), most_(std::max<unsigned __int128>(static_cast<unsigned __int128>(per_second) * 100, least_burst * kScale)), level_(most_) {}
  bool spend(std::uint32_t units, std::uint64_t now_ms) {
    level_ = std::min(most_, level_ + static_cast<unsigned __int128>(rate_) * (now_ms - last_));
    last_ = now_ms;
    if (level_ < units * kScale) return false;
    level_ -= units * kScale;
    return true;
  }

 private:
  static constexpr unsigned __int128 kScale = 1000;
  std::uint64_t rate_;
  unsigned __int128 most_;
  unsigned __int128 level_;
  std::uint64_t last_ = 0;
};

TEST(RateLimits, OneWorkerPassesWhatATokenBucketWould) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; round++) {
    const bool packets = round % 2 == 0;
    const std::uint64_t per_second = 1 + random() % (std::uint64_t{1} << (4 + random() % 34));
    const RateKind kind = packets ? RateKind::kPackets : RateKind::kBits;
    SharedRates shared{};
    RateLeases leases = leases_for(packets ? RateLimits{.packets = per_second} : RateLimits{.bits = per_second * 8});
    Bucket bucket(per_second, packets ? 10 : 16'384);
    std::uint64_t ours = 0, theirs = 0;
    std::uint32_t now = 0;
    const std::uint64_t largest = (packets ? 1 : 1500) + per_second / 1'000'000;
    for (int i = 0; i < 3'000; i++) {
      if (random() % 3 == 0) now += static_cast<std::uint32_t>(random() % (1 + 2'000'000 / per_second + 2));
      const std::uint32_t units = packets ? 1 : static_cast<std::uint32_t>(20 + random() % 1480);
      ours += leases.spend(shared, kIn, kind, units, now) ? units : 0;
      theirs += bucket.spend(units, now) ? units : 0;
      ASSERT_LE(ours, theirs + largest) << per_second;
      ASSERT_GE(ours + largest, theirs) << per_second;
    }
  }
}

TEST(RateLimits, WorkersTogetherKeepTheLimitAndNoneStarves) {
  constexpr std::uint32_t kWorkers = 4, kMilliseconds = 500, kAttempts = 300;
  for (const std::uint64_t per_second : {std::uint64_t{3'000}, std::uint64_t{100'000}, std::uint64_t{600'000}}) {
    SharedRates shared{};
    std::barrier clock(kWorkers);
    std::array<std::uint64_t, kWorkers> passed{};
    std::vector<std::thread> threads;
    for (std::uint32_t w = 0; w < kWorkers; w++) {
      threads.emplace_back([&, w] {
        RateLeases leases = leases_for({.packets = per_second});
        for (std::uint32_t ms = 0; ms < kMilliseconds; ms++) {
          clock.arrive_and_wait();
          passed[w] += spend_packets(leases, shared, ms, kAttempts);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    const std::uint64_t sum = passed[0] + passed[1] + passed[2] + passed[3];
    const std::uint64_t burst = std::max<std::uint64_t>(per_second / 10, 10);
    EXPECT_LE(sum, per_second * kMilliseconds / 1000 + burst);
    // The last millisecond's leases may be left over.
    EXPECT_GE(sum + kWorkers * (1 + per_second / 4'000) + per_second / 1000, per_second * (kMilliseconds - 1) / 1000 + burst);
    for (const std::uint64_t of_worker : passed) EXPECT_GT(of_worker, 0u);
  }
}

}  // namespace
}  // namespace millrace::test
