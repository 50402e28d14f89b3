// Workers over memory ports on one thread: every packet is accounted for and every frame comes home, whatever comes and however small
// the rings are. And what workers share: nothing but the rings and the bell.
#include "worker/worker.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/flow.h"

namespace millrace::test {
namespace {

/// Anything that may arrive: beginnings of sessions, packets of sessions on any worker, echo, garbage, cut and mangled packets.
class Weather {
 public:
  explicit Weather(std::uint32_t seed) : random_(seed) {}

  Bytes next() {
    Bytes frame = flow().build();
    const std::uint32_t kind = roll(12);
    if (kind == 0) frame = PacketBuilder().eth().ipv4({.destination = roll(2) == 0 ? kVip : "10.0.3.1"}).icmp().payload_of(roll(50)).build();
    if (kind == 1) frame.resize(roll(static_cast<std::uint32_t>(frame.size())));
    if (kind == 2) frame[roll(static_cast<std::uint32_t>(frame.size()))] = static_cast<std::uint8_t>(random_());
    if (kind == 3) std::generate(frame.begin(), frame.end(), [&] { return static_cast<std::uint8_t>(random_()); });
    return frame;
  }
  /// Packets that servers sent: replies to what they were given.
  void remember(const Sent& sent) {
    if (sent.interface != kServerSide || sent.bytes.size() < 38) return;
    Bytes reply = sent.bytes;
    // Source and destination change places; checksums do not notice.
    const bool six = reply[12] == 0x86;
    const std::ptrdiff_t address = six ? 22 : 26;
    const std::ptrdiff_t size = six ? 16 : 4;
    std::swap_ranges(reply.begin(), reply.begin() + 6, reply.begin() + 6);
    std::swap_ranges(reply.begin() + address, reply.begin() + address + size, reply.begin() + address + size);
    const std::ptrdiff_t l4 = six ? 54 : 34;
    std::swap_ranges(reply.begin() + l4, reply.begin() + l4 + 2, reply.begin() + l4 + 2);
    replies_[roll(static_cast<std::uint32_t>(replies_.size()))] = std::move(reply);
  }
  const Bytes& reply() { return replies_[roll(static_cast<std::uint32_t>(replies_.size()))]; }
  std::uint32_t roll(std::uint32_t sides) { return sides == 0 ? 0 : static_cast<std::uint32_t>(random_() % sides); }

 private:
  Flow flow() {
    Flow f = roll(3) == 0 ? flow6() : Flow{};
    f.tcp = roll(3) != 0;
    f.destination_port = f.tcp ? 80 : 53;
    if (roll(30) == 0) f.destination_port = 81;
    if (roll(30) == 0) f.destination = f.six ? "fd00:3::1" : "10.0.3.1";
    f.source_port = static_cast<std::uint16_t>(1000 + roll(200));
    constexpr std::array<std::uint8_t, 6> flags = {kSyn, kSyn, kAck, kAck, kFin | kAck, kRst};
    f.flags = flags[roll(6)];
    f.payload = Bytes(roll(200), 7);
    return f;
  }
  std::mt19937 random_;
  std::array<Bytes, 64> replies_;
};

struct Size {
  std::uint32_t workers;
  std::uint32_t frames;
  std::uint32_t ring;
  std::uint32_t sessions;
};

TEST(Worker, AccountsForEveryPacketAndLosesNoFrameInAnyWeather) {
  std::set<std::string> reasons;
  for (const Size& size : {Size{1, 256, 256, 4096}, Size{1, 16, 2, 20}, Size{2, 256, 256, 4096}, Size{2, 24, 4, 30}, Size{4, 64, 64, 4096},
                           Size{4, 8, 2, 10}}) {
    Stage stage({.workers = size.workers, .frames_per_worker = size.frames, .ring_size = size.ring, .max_sessions = size.sessions,
                 .local_port_low = 2000, .local_port_high = 2015});
    Weather weather(size.workers * 100 + size.frames);
    NetworkTables silent = default_network();
    for (NextHop& hop : silent.next_hops) hop.resolved = false;
    NetworkTables broken = default_network();
    broken.interfaces[kServerSide].usable = false;
    for (int step = 0; step < 6000; step++) {
      const std::uint32_t worker = weather.roll(size.workers);
      if (weather.roll(3) != 0) {
        (void)stage.inject(weather.next(), kClientSide, worker);
      } else {
        (void)stage.inject(weather.reply(), kServerSide, worker);
      }
      if (weather.roll(3) == 0) stage.turn(weather.roll(size.workers));
      if (weather.roll(8) == 0) {
        for (const Sent& sent : stage.take(worker)) weather.remember(sent);
      }
      if (weather.roll(4) == 0) stage.pass(weather.roll(30));
      if (weather.roll(2000) == 0) stage.pass(70'000);
      if (weather.roll(300) == 0) stage.network(weather.roll(2) == 0 ? default_network() : weather.roll(2) == 0 ? silent : broken);
    }
    stage.settle();
    for (const Sent& sent : stage.take()) weather.remember(sent);
    stage.settle();
    stage.expect_accounted();
    EXPECT_GT(stage.count(Counter::forwarded), 100u);
    for (std::size_t r = 0; r < kDropReasons; r++) {
      if (stage.count(static_cast<DropReason>(r)) != 0) reasons.insert(std::string(kCounterInfo[kPlainCounters + r].name));
    }
  }
  for (const char* reason : {"tx_ring_full", "held_queue_full", "neighbour_unresolved", "session_table_full", "local_ports_exhausted", "tcp_no_session",
                             "local_no_session", "no_service", "address_not_owned", "frame_truncated", "ipv4_checksum_wrong", "interface_gone"}) {
    EXPECT_TRUE(reasons.contains(reason)) << "the weather never brought " << reason;
  }
}

TEST(Worker, SendsNothingTwiceWhenTheTransmitRingIsFull) {
  Stage stage({.ring_size = 4});
  for (std::uint16_t n = 0; n < 12; n++) {
    ASSERT_TRUE(stage.inject(from_port(static_cast<std::uint16_t>(1000 + n)).build()));
    if (n % 4 == 3) stage.turn();
  }
  EXPECT_EQ(stage.count(Counter::forwarded), 4u);
  EXPECT_EQ(stage.count(DropReason::tx_ring_full), 8u);
  EXPECT_EQ(stage.take().size(), 4u);
  stage.expect_accounted();
}

TEST(Worker, CountsPacketsWhoseInterfaceIsGone) {
  Stage stage({});
  WorkerState& state = stage.state();
  Worker<MemoryPort> loop(state, stage.pool(), stage.links(), {&stage.port(0, kClientSide)}, {&stage.port(0, kClientSide), nullptr});
  ASSERT_TRUE(stage.inject(from_port(5000).build()));
  loop.turn(&stage.snapshot(), stage.now_ms());
  EXPECT_EQ(stage.count(DropReason::interface_gone), 1u);
  stage.expect_accounted();
}

TEST(Worker, AFullHandoffRingDropsWithItsReasonAndFreesTheFrame) {
  // Frames of workers 0 and 1 meet in the ring from 1 to 2, which holds no more than one worker's frames.
  Stage stage({.workers = 3, .frames_per_worker = 4});
  Flow f;
  f.flags = kAck;
  for (std::uint16_t n = 0; n < 4; n++) {
    f.source_port = static_cast<std::uint16_t>(1000 + n);
    ASSERT_TRUE(stage.inject(f.build(), kClientSide, 0));
    ASSERT_TRUE(stage.inject(f.build(), kClientSide, 1));
  }
  stage.turn(0);
  stage.turn(1);
  EXPECT_EQ(stage.count(DropReason::handoff_ring_full), 4u);
  stage.settle();
  EXPECT_EQ(stage.count(DropReason::tcp_no_session), 4u);
  stage.expect_accounted();
}

TEST(Worker, SendsAFrameOfAnotherWorkerAndItComesHome) {
  Stage stage({.workers = 2, .frames_per_worker = 8});
  Flow f = from_port(5000);
  expect_forwarded(stage, f, 1);
  f.flags = kAck;
  ASSERT_TRUE(stage.inject(f.build(), kClientSide, 0));
  EXPECT_EQ(stage.pool(0).available(), 7u);
  stage.turn(0);
  EXPECT_FALSE(stage.loop(0).has_work());
  EXPECT_TRUE(stage.loop(1).has_work());
  stage.turn(1);
  EXPECT_EQ(stage.take(1).size(), 1u);
  EXPECT_EQ(stage.pool(0).available(), 7u) << "on its way";
  stage.turn(0);
  EXPECT_EQ(stage.pool(0).available(), 8u);
}

TEST(Worker, KnowsThatItIsStarvedWhenAllItsFramesAreOut) {
  Stage stage({.workers = 2, .frames_per_worker = 2});
  EXPECT_FALSE(stage.loop(0).starved());
  Flow f;
  f.flags = kAck;
  ASSERT_TRUE(stage.inject(f.build()));
  ASSERT_TRUE(stage.inject(f.build()));
  stage.turn(0);
  EXPECT_TRUE(stage.loop(0).starved());
  stage.turn(1);
  stage.turn(0);
  EXPECT_FALSE(stage.loop(0).starved());
}

TEST(Worker, RingsTheBellOfASleepingNeighbourOnly) {
  Stage stage({.workers = 2});
  const auto rung = [&] {
    pollfd bell{stage.links().bell(1).fd(), POLLIN, 0};
    return poll(&bell, 1, 0) == 1;
  };
  Flow f;
  f.flags = kAck;
  ASSERT_TRUE(stage.inject(f.build()));
  stage.turn(0);
  EXPECT_FALSE(rung()) << "it is awake";
  stage.links().bell(1).announce_sleep();
  ASSERT_TRUE(stage.inject(f.build()));
  stage.turn(0);
  EXPECT_TRUE(rung());
  stage.links().bell(1).awake();
  EXPECT_FALSE(rung());
  stage.settle();
}

TEST(Worker, CountsItsTurns) {
  Stage stage({});
  stage.turn();
  ASSERT_TRUE(stage.inject(from_port(5000).build()));
  stage.turn();
  stage.turn();
  EXPECT_EQ(stage.count(Counter::loop_turns), 3u);
  EXPECT_EQ(stage.count(Counter::loop_turns_busy), 1u);
}

TEST(Layout, WhatTwoWorkersWritePerPacketNeverSharesACacheLine) {
  static_assert(alignof(WorkerState) >= kCacheLine);
  static_assert(alignof(FramePool) >= kCacheLine);
  static_assert(alignof(Worker<MemoryPort>) >= kCacheLine);
  static_assert(alignof(ServerStats) == kCacheLine && sizeof(ServerStats) == kCacheLine);
  static_assert(alignof(Session) == kCacheLine && sizeof(Session) == kCacheLine);
  Stage stage({.workers = 4});
  std::set<std::uintptr_t> lines;
  const auto own = [&](const void* start, std::size_t bytes) {
    const auto first = reinterpret_cast<std::uintptr_t>(start) / kCacheLine;
    const auto last = (reinterpret_cast<std::uintptr_t>(start) + bytes - 1) / kCacheLine;
    for (std::uintptr_t line = first; line <= last; line++) EXPECT_TRUE(lines.insert(line).second);
  };
  for (std::uint32_t worker = 0; worker < 4; worker++) {
    const SharedStatistics& statistics = *stage.memory(worker).statistics();
    own(statistics.counters.data(), kCounterSlots * sizeof(std::uint64_t));
    own(statistics.servers.data(), 64 * sizeof(ServerStats));
    own(statistics.locals.data(), 64 * sizeof(std::uint64_t));
    own(&stage.state(worker), sizeof(WorkerState));
    own(&stage.pool(worker), sizeof(FramePool));
    own(&stage.loop(worker), sizeof(Worker<MemoryPort>));
    own(&stage.links().bell(worker), sizeof(Bell));
  }
}

TEST(Bell, WakesOnlyWhoSleeps) {
  Bell bell;
  pollfd waiting{bell.fd(), POLLIN, 0};
  bell.ring();
  EXPECT_EQ(poll(&waiting, 1, 0), 0);
  bell.announce_sleep();
  EXPECT_EQ(poll(&waiting, 1, 0), 0);
  bell.ring();
  bell.ring();
  EXPECT_EQ(poll(&waiting, 1, 0), 1);
  bell.awake();
  EXPECT_EQ(poll(&waiting, 1, 0), 0);
}

TEST(Bell, LosesNoWakeUp) {
  constexpr std::uint32_t kItems = 20000;
  SpscRing<std::uint32_t> ring(8);
  Bell bell;
  std::thread producer([&] {
    std::mt19937 random(1);
    for (std::uint32_t n = 0; n < kItems;) {
      if (!ring.push(n)) {
        std::this_thread::yield();
        continue;
      }
      bell.ring();
      n++;
      if (random() % 4 == 0) std::this_thread::yield();
    }
  });
  std::uint32_t expected = 0;
  std::uint32_t slept = 0;
  while (expected < kItems) {
    std::uint32_t item = 0;
    while (ring.pop(item)) ASSERT_EQ(item, expected++);
    bell.announce_sleep();
    if (ring.empty() && expected < kItems) {
      pollfd waiting{bell.fd(), POLLIN, 0};
      if (poll(&waiting, 1, 20'000) != 1) {
        ADD_FAILURE() << "slept through item " << expected;
        break;
      }
      slept++;
    }
    bell.awake();
  }
  while (expected < kItems && !HasFailure()) std::this_thread::yield();
  producer.join();
  EXPECT_GT(slept, 0u);
}

TEST(Bell, IsQuietAfterAnEventThatCameLate) {
  // A ringer that is overtaken between finding the sleeper and writing the event leaves it for later: that must not become a bell
  // that rings for ever.
  for (int round = 0; round < 100; round++) {
    Bell bell;
    std::atomic<bool> started{false};
    std::atomic<bool> done{false};
    std::thread ringer([&] {
      while (!done.load(std::memory_order_relaxed)) {
        bell.ring();
        started.store(true, std::memory_order_relaxed);
      }
    });
    while (!started.load(std::memory_order_relaxed)) std::this_thread::yield();
    for (int n = 0; n < 2000; n++) {
      bell.announce_sleep();
      bell.awake();
    }
    done = true;
    ringer.join();
    bell.announce_sleep();
    bell.awake();
    pollfd waiting{bell.fd(), POLLIN, 0};
    ASSERT_EQ(poll(&waiting, 1, 0), 0) << "round " << round;
  }
}

}  // namespace
}  // namespace millrace::test
