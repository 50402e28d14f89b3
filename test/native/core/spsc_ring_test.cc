// SpscRing: order, capacity, batches, and two threads at once (meant for ThreadSanitizer too).
#include "core/spsc_ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <random>
#include <span>
#include <thread>
#include <utility>
#include <vector>

namespace millrace {
namespace {

TEST(SpscRing, RoundsItsCapacityUpToAPowerOfTwoAndUsesAllOfIt) {
  for (const auto& [asked, got] : {std::pair<std::size_t, std::size_t>{0, 2}, {1, 2}, {2, 2}, {3, 4}, {1000, 1024}}) {
    SpscRing<int> ring(asked);
    ASSERT_EQ(ring.capacity(), got);
    for (std::size_t i = 0; i < got; i++) EXPECT_TRUE(ring.push(static_cast<int>(i)));
    EXPECT_FALSE(ring.push(0));
  }
}

TEST(SpscRing, GivesItemsInTheOrderTheyCame) {
  SpscRing<int> ring(4);
  int out = 0;
  EXPECT_FALSE(ring.pop(out));
  EXPECT_TRUE(ring.empty());
  for (int round = 0; round < 100; round++) {
    EXPECT_TRUE(ring.push(round * 2));
    EXPECT_TRUE(ring.push(round * 2 + 1));
    EXPECT_FALSE(ring.empty());
    ASSERT_TRUE(ring.pop(out));
    EXPECT_EQ(out, round * 2);
    ASSERT_TRUE(ring.pop(out));
    EXPECT_EQ(out, round * 2 + 1);
  }
  EXPECT_TRUE(ring.empty());
}

TEST(SpscRing, ABatchThatDoesNotFitIsTakenInPart) {
  SpscRing<int> ring(4);
  const std::array<int, 6> items = {1, 2, 3, 4, 5, 6};
  EXPECT_EQ(ring.push(std::span<const int>(items)), 4u);
  EXPECT_EQ(ring.push(std::span<const int>(items)), 0u);
  std::array<int, 3> out{};
  EXPECT_EQ(ring.pop(std::span<int>(out)), 3u);
  EXPECT_EQ(out, (std::array<int, 3>{1, 2, 3}));
  EXPECT_EQ(ring.push(std::span<const int>(items).subspan(4)), 2u);
  // What was visible at the last look comes first, then the rest.
  std::vector<int> rest;
  for (int item = 0; ring.pop(item);) rest.push_back(item);
  EXPECT_EQ(rest, (std::vector<int>{4, 5, 6}));
}

TEST(SpscRing, BehavesLikeAQueueUnderRandomBatches) {
  std::mt19937 random(2);
  SpscRing<std::uint32_t> ring(32);
  std::deque<std::uint32_t> model;
  std::uint32_t next = 0;
  for (int step = 0; step < 20000; step++) {
    std::array<std::uint32_t, 48> items{};
    const std::size_t size = random() % items.size();
    if (random() % 2 == 0) {
      for (std::size_t i = 0; i < size; i++) items[i] = next + static_cast<std::uint32_t>(i);
      const std::size_t pushed = ring.push(std::span<const std::uint32_t>(items).first(size));
      ASSERT_EQ(pushed, std::min(size, 32 - model.size()));
      for (std::size_t i = 0; i < pushed; i++) model.push_back(next++);
    } else {
      const std::size_t popped = ring.pop(std::span<std::uint32_t>(items).first(size));
      ASSERT_TRUE(popped != 0 || size == 0 || model.empty());
      for (std::size_t i = 0; i < popped; i++) {
        ASSERT_EQ(items[i], model.front());
        model.pop_front();
      }
    }
    ASSERT_EQ(ring.empty(), model.empty());
  }
}

TEST(SpscRing, LosesAndRepeatsNothingBetweenTwoThreads) {
  constexpr std::uint64_t kItems = 300000;
  // An item whose halves must agree: a torn or early read would show.
  struct Item {
    std::uint64_t number;
    std::uint64_t check;
  };
  SpscRing<Item> ring(64);
  std::thread producer([&] {
    std::array<Item, 16> batch;
    for (std::uint64_t next = 0; next < kItems;) {
      std::size_t size = 0;
      for (; size < 1 + next % batch.size() && next + size < kItems; size++) batch[size] = {next + size, ~(next + size)};
      const std::size_t pushed = ring.push(std::span<const Item>(batch).first(size));
      next += pushed;
      if (pushed == 0) std::this_thread::yield();
    }
  });
  std::array<Item, 24> batch;
  std::uint64_t expected = 0;
  std::uint64_t wrong = 0;
  while (expected < kItems) {
    const std::size_t popped = ring.pop(std::span<Item>(batch));
    for (std::size_t i = 0; i < popped; i++, expected++) {
      wrong += batch[i].number != expected || batch[i].check != ~expected ? 1 : 0;
    }
    if (popped == 0) std::this_thread::yield();
  }
  producer.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_TRUE(ring.empty());
}

}  // namespace
}  // namespace millrace
