// Counters, batches and results: what they say of themselves, and that one writer's numbers can be read at any time.
#include "core/counters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "core/batch.h"
#include "core/result.h"

namespace millrace {
namespace {

TEST(CounterList, NamesAreUniqueAndFitForMetrics) {
  std::set<std::string_view> names;
  for (const CounterInfo& info : kCounterInfo) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_TRUE(std::all_of(info.name.begin(), info.name.end(),
                            [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; }))
        << info.name;
    EXPECT_TRUE(std::islower(static_cast<unsigned char>(info.name.front()))) << info.name;
  }
  EXPECT_EQ(names.size(), kCounterSlots);
}

TEST(CounterList, EveryEntryHasAKindAUnitAndAHelpText) {
  const std::set<std::string_view> stages = {"parse",    "fragments", "classify", "session",
                                             "schedule", "address",   "resolve",  "handoff",  "transmit"};
  for (std::size_t slot = 0; slot < kCounterSlots; slot++) {
    const CounterInfo& info = kCounterInfo[slot];
    EXPECT_EQ(info.kind, slot < kPlainCounters ? "counter" : "drop") << info.name;
    EXPECT_GT(info.help.size(), 10u) << info.name;
    EXPECT_NE(info.help.back(), '.') << info.name;
    EXPECT_FALSE(info.unit.empty()) << info.name;
    EXPECT_TRUE(info.kind != "drop" || stages.contains(info.unit)) << info.name << " " << info.unit;
  }
}

TEST(Counters, EachOneWritesItsOwnSlotInTheOrderOfTheList) {
  std::array<std::uint64_t, kCounterSlots> slots{};
  Counters counters(slots.data());
  for (std::size_t c = 0; c < kPlainCounters; c++) {
    counters.add(static_cast<Counter>(c), c + 1);
    EXPECT_EQ(counters.get(static_cast<Counter>(c)), c + 1);
  }
  for (std::size_t r = 0; r < kDropReasons; r++) {
    counters.drop(static_cast<DropReason>(r), r + 1000);
    EXPECT_EQ(counters.get(static_cast<DropReason>(r)), r + 1000);
  }
  for (std::size_t slot = 0; slot < kCounterSlots; slot++) {
    EXPECT_EQ(slots[slot], slot < kPlainCounters ? slot + 1 : slot - kPlainCounters + 1000);
  }
  EXPECT_EQ(kCounterInfo[static_cast<std::size_t>(Counter::forwarded)].name, "forwarded");
  EXPECT_EQ(kCounterInfo[kPlainCounters + static_cast<std::size_t>(DropReason::no_route)].name, "no_route");
}

TEST(Counters, GaugesGoUpAndDownAndCanBeSet) {
  std::array<std::uint64_t, kCounterSlots> slots{};
  Counters counters(slots.data());
  counters.add(Counter::sessions, 5);
  counters.sub(Counter::sessions, 2);
  counters.sub(Counter::sessions);
  EXPECT_EQ(counters.get(Counter::sessions), 2u);
  counters.set(Counter::sessions, 9);
  EXPECT_EQ(counters.get(Counter::sessions), 9u);
  counters.add(Counter::sessions);
  EXPECT_EQ(counters.get(Counter::sessions), 10u);
}

TEST(Counters, AReaderOnAnotherThreadSeesValuesThatOnlyRise) {
  std::array<std::uint64_t, kCounterSlots> slots{};
  constexpr std::uint64_t kLast = 200000;
  std::thread writer([&] {
    Counters counters(slots.data());
    for (std::uint64_t n = 0; n < kLast; n++) counters.add(Counter::rx_packets);
  });
  const Counters counters(slots.data());
  std::uint64_t seen = 0;
  while (seen < kLast) {
    const std::uint64_t now = counters.get(Counter::rx_packets);
    ASSERT_GE(now, seen);
    ASSERT_LE(now, kLast);
    seen = now;
  }
  writer.join();
}

TEST(Batch, FillsUpToItsSizeAndStartsAnew) {
  auto batch = std::make_unique<Batch>();
  EXPECT_EQ(batch->room(), kBatchSize);
  for (std::uint32_t i = 0; i < kBatchSize; i++) {
    EXPECT_FALSE(batch->full());
    batch->push({nullptr, i, 0, 0, 0});
  }
  EXPECT_TRUE(batch->full());
  EXPECT_EQ(batch->room(), 0u);
  EXPECT_EQ(batch->packets[63].length, 63u);
  batch->clear();
  EXPECT_EQ(batch->room(), kBatchSize);
}

TEST(Verdict, SaysWhatBecomesOfAPacketAndWhere) {
  EXPECT_EQ(Verdict{}.action, Action::kNone);
  EXPECT_EQ(Verdict::forward(3).action, Action::kForward);
  EXPECT_EQ(Verdict::forward(3).target, 3);
  EXPECT_EQ(Verdict::reply(1).action, Action::kReply);
  EXPECT_EQ(Verdict::reply(1).target, 1);
  EXPECT_EQ(Verdict::handoff(7).action, Action::kHandoff);
  EXPECT_EQ(Verdict::handoff(7).target, 7);
  EXPECT_EQ(Verdict::held().action, Action::kHeld);
  EXPECT_EQ(Verdict::drop(DropReason::no_service).action, Action::kDrop);
  EXPECT_EQ(Verdict::drop(DropReason::no_service).reason, DropReason::no_service);
}

TEST(Result, HoldsAValueOrAnError) {
  const Result<int> good = 7;
  EXPECT_TRUE(good.ok());
  EXPECT_EQ(good.value(), 7);
  const Result<int> bad = Error{"limit_exceeded", "too many", 12};
  EXPECT_FALSE(static_cast<bool>(bad));
  EXPECT_EQ(bad.error().code, "limit_exceeded");
  EXPECT_EQ(bad.error().system_errno, 12);
  EXPECT_TRUE(Result<void>{}.ok());
  EXPECT_FALSE(Result<void>(Error{"x", "y", 0}).ok());
  Result<std::unique_ptr<int>> owned = std::make_unique<int>(3);
  EXPECT_EQ(*std::move(owned).value(), 3);
}

}  // namespace
}  // namespace millrace
