// Published: a version lives as long as some reader may look at it, and not much longer.
// The threaded test is meant for ThreadSanitizer and AddressSanitizer; it also notices by itself when a freed version is read.
#include "core/quiescence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace millrace {
namespace {

/// Counts its living instances, and no longer agrees with itself when it is dead.
struct Version {
  static inline std::atomic<int> living{0};
  std::uint64_t number;
  std::uint64_t check;

  explicit Version(std::uint64_t n) : number(n), check(~n) { living++; }
  ~Version() {
    check = number;
    living--;
  }
  Version(const Version&) = delete;
  Version& operator=(const Version&) = delete;
};

std::unique_ptr<const Version> version(std::uint64_t number) { return std::make_unique<const Version>(number); }

TEST(Published, IsEmptyUntilSomethingIsPublished) {
  Published<Version> published(1);
  published.wake(0);
  EXPECT_EQ(published.enter(0), nullptr);
  EXPECT_EQ(published.current_for_publisher(), nullptr);
  EXPECT_EQ(published.reclaim(), 0u);
}

TEST(Published, KeepsAVersionUntilItsReaderBeginsAnotherTurn) {
  Published<Version> published(1);
  published.publish(version(1));
  published.wake(0);
  const Version* old = published.enter(0);
  published.publish(version(2));
  EXPECT_EQ(published.reclaim(), 1u);
  EXPECT_EQ(old->check, ~std::uint64_t{1});
  EXPECT_EQ(Version::living, 2);
  EXPECT_EQ(published.enter(0)->number, 2u);
  EXPECT_EQ(published.reclaim(), 0u);
  EXPECT_EQ(Version::living, 1);
}

TEST(Published, DoesNotWaitForReadersThatSleep) {
  Published<Version> published(2);
  published.publish(version(1));
  for (const std::uint32_t reader : {0u, 1u}) {
    published.wake(reader);
    EXPECT_EQ(published.enter(reader)->number, 1u);
  }
  published.publish(version(2));
  published.leave(0);
  EXPECT_EQ(published.reclaim(), 1u) << "reader 1 still looks at it";
  published.leave(1);
  EXPECT_EQ(published.reclaim(), 0u);
}

TEST(Published, AReaderThatWokeHoldsBackWhatIsReplacedAfterwards) {
  Published<Version> published(1);
  published.publish(version(1));
  published.wake(0);
  published.publish(version(2));
  EXPECT_EQ(published.reclaim(), 1u) << "between wake and enter it may have loaded anything from then on";
  EXPECT_EQ(published.enter(0)->number, 2u);
  EXPECT_EQ(published.reclaim(), 0u);
}

TEST(Published, FreesSeveralVersionsAtOnceAndKeepsThoseInUse) {
  Published<Version> published(2);
  published.publish(version(1));
  published.wake(0);
  published.wake(1);
  EXPECT_EQ(published.enter(0)->number, 1u);
  for (std::uint64_t n = 2; n <= 5; n++) published.publish(version(n));
  EXPECT_EQ(published.enter(1)->number, 5u);
  published.publish(version(6));
  EXPECT_EQ(published.reclaim(), 5u) << "reader 0 may hold 1, and epochs are freed in order";
  EXPECT_EQ(published.enter(0)->number, 6u);
  EXPECT_EQ(published.reclaim(), 1u) << "reader 1 holds 5";
  EXPECT_EQ(published.enter(1)->number, 6u);
  EXPECT_EQ(published.reclaim(), 0u);
  EXPECT_EQ(Version::living, 1);
}

TEST(Published, TellsWhenAllReadersHaveReachedAVersion) {
  Published<Version> published(2);
  published.publish(version(1));
  published.wake(0);
  (void)published.enter(0);
  published.publish(version(2));
  const std::uint64_t epoch = published.epoch();
  EXPECT_FALSE(published.all_reached(epoch)) << "reader 0 is in a turn that began before";
  (void)published.enter(0);
  EXPECT_TRUE(published.all_reached(epoch)) << "reader 1 sleeps and will see the new version when it wakes";
}

TEST(Published, FreesEverythingAtItsEnd) {
  {
    Published<Version> published(1);
    published.wake(0);
    for (std::uint64_t n = 1; n <= 3; n++) published.publish(version(n));
  }
  EXPECT_EQ(Version::living, 0);
}

TEST(Published, NoReaderEverSeesAFreedVersionOrAnOlderOneAgain) {
  constexpr std::uint32_t kReaders = 3;
  constexpr std::uint64_t kTurns = 1500;
  constexpr std::uint64_t kVersions = 500;
  Published<Version> published(kReaders);
  published.publish(version(1));
  std::atomic<std::uint32_t> finished{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> versions{1};
  std::vector<std::thread> readers;
  for (std::uint32_t reader = 0; reader < kReaders; reader++) {
    readers.emplace_back([&, reader] {
      std::mt19937 random(reader);
      std::uint64_t newest = 0;
      published.wake(reader);
      for (std::uint64_t turn = 0; turn < kTurns || versions < kVersions; turn++) {
        const Version* seen = published.enter(reader);
        for (std::uint32_t look = random() % 8; look-- > 0;) {
          if (seen->check != ~seen->number || seen->number < newest) wrong++;
          newest = seen->number;
          // In the middle of a turn others get on: that is when an early free would hurt.
          if (look == 1) std::this_thread::yield();
        }
        // Reader 0 never sleeps, as a worker under load; the others do all the time.
        if (reader != 0 && random() % 4 == 0) {
          published.leave(reader);
          if (random() % 2 == 0) std::this_thread::yield();
          published.wake(reader);
        }
      }
      published.leave(reader);
      finished++;
    });
  }
  std::size_t most_retired = 0;
  std::size_t retired = 0;
  std::size_t freed = 0;
  while (finished < kReaders) {
    published.publish(version(++versions));
    const std::size_t before = retired + 1;
    retired = published.reclaim();
    freed += before - retired;
    most_retired = std::max(most_retired, retired);
    if (retired > 100) std::this_thread::yield();
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(published.reclaim(), 0u);
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(most_retired, 0u) << "nobody was ever waited for, so the test has shown nothing";
  EXPECT_GT(freed, 0u) << "nothing was freed while readers ran, so the test has shown nothing";
  EXPECT_EQ(Version::living, 1);
}

}  // namespace
}  // namespace millrace
