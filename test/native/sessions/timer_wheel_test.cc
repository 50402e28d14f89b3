// TimerWheel: never early, at most a tick late, over all levels, across the wrap of the clock, and under random use against a
// model.
#include "sessions/timer_wheel.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace millrace {
namespace {

constexpr std::uint32_t kAll = 0xffffffffu;

struct Wheel {
  explicit Wheel(std::uint32_t capacity, std::uint32_t start_ms = 0)
      : table(std::move(SessionTable::create(capacity)).value()), wheel(*table, start_ms), now(start_ms) {}

  SessionId add(std::uint32_t timeout_ms) {
    const SessionId id = table->insert(next_hash, next_hash + 1);
    next_hash += 2;
    table->at(id).deadline_ms = now + timeout_ms;
    wheel.schedule(id, now);
    return id;
  }
  /// Turns the wheel in steps and notes when each session expired.
  void run(std::uint32_t duration_ms, std::uint32_t step_ms) {
    for (std::uint32_t passed = 0; passed < duration_ms; passed += step_ms) {
      now += step_ms;
      wheel.advance(now, kAll, [&](SessionId id) { expired[id] = now; });
    }
  }

  std::unique_ptr<SessionTable> table;
  TimerWheel wheel;
  std::uint32_t now;
  std::uint64_t next_hash = 1;
  std::map<SessionId, std::uint32_t> expired;
};

TEST(TimerWheel, ExpiresASessionAfterItsDeadlineAndWithinOneTick) {
  // Timeouts on every level, and on the edges between them. The clock starts shortly before it wraps.
  for (const std::uint32_t start : {0u, 12345u, 0xfffffff0u, 0x7fffff00u}) {
    for (const std::uint32_t timeout : {0u, 1u, 63u, 64u, 65u, 2000u, 16383u, 16384u, 16385u, 120000u, 900000u, 4194303u,
                                        4194304u, 4194400u, 86400000u, 0x7fffff00u}) {
      Wheel w(4, start);
      const SessionId id = w.add(timeout);
      // One millisecond before: still there. The clock jumps, as after a long sleep.
      if (timeout > 0) {
        w.wheel.advance(start + timeout - 1, kAll, [&](SessionId) { FAIL() << "early: " << timeout; });
      }
      bool fired = false;
      w.wheel.advance(start + timeout + TimerWheel::kTickMs - 1, kAll, [&](SessionId expired) { fired = expired == id; });
      EXPECT_TRUE(fired) << start << " " << timeout;
      EXPECT_EQ(w.wheel.size(), 0u);
    }
  }
}

TEST(TimerWheel, ExpiresOnTimeWhenTurnedInSmallSteps) {
  Wheel w(100, 0xffff0000u);
  std::map<SessionId, std::uint32_t> deadlines;
  for (const std::uint32_t timeout : {10u, 3000u, 16400u, 60000u, 120000u, 900000u, 5000000u}) {
    const SessionId id = w.add(timeout);
    deadlines[id] = w.now + timeout;
  }
  w.run(5100000, 37);
  ASSERT_EQ(w.expired.size(), deadlines.size());
  for (const auto& [id, deadline] : deadlines) {
    const std::uint32_t late = w.expired[id] - deadline;
    EXPECT_LT(late, TimerWheel::kTickMs + 37) << id;
  }
}

TEST(TimerWheel, APacketThatMovesTheDeadlineKeepsTheSessionWithoutTouchingTheWheel) {
  Wheel w(4);
  const SessionId id = w.add(60000);
  for (int packet = 0; packet < 100; packet++) {
    w.run(30000, 30000);
    ASSERT_TRUE(w.expired.empty());
    w.table->at(id).deadline_ms = w.now + 60000;
  }
  w.run(59999, 59999);
  EXPECT_TRUE(w.expired.empty());
  w.run(65, 65);
  EXPECT_EQ(w.expired.count(id), 1u);
}

TEST(TimerWheel, ShortenBringsTheEndForward) {
  Wheel w(4);
  const SessionId closing = w.add(900000);
  const SessionId other = w.add(900000);
  w.run(1000, 100);
  w.table->at(closing).deadline_ms = w.now + 10000;
  w.wheel.shorten(closing, w.now);
  w.run(10064, 100);
  EXPECT_EQ(w.expired.count(closing), 1u);
  EXPECT_EQ(w.expired.count(other), 0u);
}

TEST(TimerWheel, ACancelledSessionNeverExpiresWhereverItStoodInItsSlot) {
  for (int victim = 0; victim < 3; victim++) {
    Wheel w(4);
    const SessionId ids[3] = {w.add(1000), w.add(1000), w.add(1000)};
    w.wheel.cancel(ids[victim]);
    EXPECT_EQ(w.wheel.size(), 2u);
    w.run(2000, 50);
    EXPECT_EQ(w.expired.size(), 2u);
    EXPECT_EQ(w.expired.count(ids[victim]), 0u);
  }
}

TEST(TimerWheel, TheBudgetBoundsOneCallAndTheNextCallGoesOn) {
  Wheel w(1000);
  for (int i = 0; i < 1000; i++) w.add(20000);
  std::uint32_t expired = 0;
  std::uint32_t calls = 0;
  for (; expired < 1000; calls++) {
    ASSERT_LT(calls, 1000u);
    const std::uint32_t looked_at = w.wheel.advance(20100, 64, [&](SessionId) { expired++; });
    ASSERT_LE(looked_at, 64u);
    ASSERT_GT(looked_at, 0u);
  }
  // Each was looked at twice: once when its level 1 slot began, once to expire.
  EXPECT_GE(calls, 2000u / 64);
  EXPECT_LE(calls, 2000u / 64 + 2);
}

TEST(TimerWheel, ExpireMayScheduleAgainAndMayEraseOthers) {
  Wheel w(4);
  const SessionId again = w.add(1000);
  const SessionId victim = w.add(5000);
  int fired = 0;
  const auto expire = [&](SessionId id) {
    ASSERT_EQ(id, again);
    if (++fired == 1) {
      w.wheel.cancel(victim);
      w.table->at(id).deadline_ms = w.now + 1000;
      w.wheel.schedule(id, w.now);
    }
  };
  for (int step = 0; step < 100; step++) {
    w.now += 100;
    w.wheel.advance(w.now, kAll, expire);
  }
  EXPECT_EQ(fired, 2);
  EXPECT_EQ(w.wheel.size(), 0u);
}

TEST(TimerWheel, SaysHowLongAnIdleWorkerMaySleep) {
  Wheel w(4, 100);
  EXPECT_EQ(w.wheel.next_due_ms(w.now), TimerWheel::kNever);
  w.add(1000);
  // Due at 1100; its tick begins at 1152.
  EXPECT_EQ(w.wheel.next_due_ms(100), 1052u);
  EXPECT_EQ(w.wheel.next_due_ms(1152), 0u);
  EXPECT_EQ(w.wheel.next_due_ms(9999), 0u);
}

TEST(TimerWheel, SleepingAsLongAsItSaysExpiresEverySessionOnTime) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; round++) {
    Wheel w(64, static_cast<std::uint32_t>(random()));
    std::map<SessionId, std::uint32_t> deadlines;
    for (int i = 0; i < 50; i++) {
      const std::uint32_t timeout = static_cast<std::uint32_t>(random()) >> (4 + random() % 20);
      const SessionId id = w.add(timeout);
      deadlines[id] = w.now + timeout;
    }
    int wakes = 0;
    for (std::uint32_t wait = w.wheel.next_due_ms(w.now); wait != TimerWheel::kNever; wait = w.wheel.next_due_ms(w.now)) {
      ASSERT_LT(++wakes, 200);
      w.now += wait;
      ASSERT_GT(w.wheel.advance(w.now, kAll, [&](SessionId id) { w.expired[id] = w.now; }), 0u) << "woke for nothing";
    }
    ASSERT_EQ(w.expired.size(), deadlines.size());
    for (const auto& [id, deadline] : deadlines) ASSERT_LT(w.expired[id] - deadline, TimerWheel::kTickMs);
  }
}

TEST(TimerWheel, KeepsItsPromisesUnderRandomUse) {
  std::mt19937 random(9);
  Wheel w(500, 0xfff00000u);
  std::map<SessionId, std::uint64_t> hashes;
  std::set<SessionId> live;
  for (int step = 0; step < 200000; step++) {
    const auto timeout = static_cast<std::uint32_t>(random()) >> (8 + random() % 22);
    const auto action = static_cast<std::uint32_t>(random() % 100);
    if (action < 30 && live.size() < 500) {
      const std::uint64_t hash = w.next_hash;
      const SessionId id = w.add(timeout);
      hashes[id] = hash;
      live.insert(id);
    } else if (!live.empty() && action < 60) {
      auto it = live.lower_bound(static_cast<SessionId>(random() % 500));
      if (it == live.end()) it = live.begin();
      const SessionId id = *it;
      Session& session = w.table->at(id);
      if (action < 40) {
        w.wheel.cancel(id);
        w.table->erase(id, hashes[id], hashes[id] + 1);
        live.erase(id);
      } else {
        const bool earlier = static_cast<std::int32_t>(w.now + timeout - session.deadline_ms) < 0;
        session.deadline_ms = w.now + timeout;
        if (earlier) w.wheel.shorten(id, w.now);
      }
    } else {
      const std::uint32_t before = w.now;
      w.now += static_cast<std::uint32_t>(random()) >> (12 + random() % 20);
      w.wheel.advance(w.now, kAll, [&](SessionId id) {
        const std::uint32_t deadline = w.table->at(id).deadline_ms;
        ASSERT_LE(static_cast<std::int32_t>(deadline - w.now), 0) << "early";
        // Not overdue already at the previous call, but for what a tick allows.
        ASSERT_GT(static_cast<std::int32_t>(deadline + TimerWheel::kTickMs - before), 0) << "late";
        w.table->erase(id, hashes[id], hashes[id] + 1);
        live.erase(id);
      });
    }
    ASSERT_EQ(w.wheel.size(), live.size());
  }
  for (const SessionId id : live) {
    ASSERT_GT(static_cast<std::int32_t>(w.table->at(id).deadline_ms + TimerWheel::kTickMs - w.now), 0);
  }
}

}  // namespace
}  // namespace millrace
