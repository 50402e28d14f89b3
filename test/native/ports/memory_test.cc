// The in-process port, alone and between two threads.
#include "ports/memory.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace millrace {
namespace {

class MemoryPorts : public ::testing::Test {
 protected:
  void SetUp() override {
    PacketMemory::Options options;
    options.workers = 2;
    options.frames_per_worker = 64;
    options.huge_pages = false;
    Result<std::unique_ptr<PacketMemory>> memory = PacketMemory::create(options);
    ASSERT_TRUE(memory.ok());
    memory_ = std::move(memory).value();
    rings_ = std::make_unique<FrameReturnRings>(*memory_);
  }
  std::unique_ptr<PacketMemory> memory_;
  std::unique_ptr<FrameReturnRings> rings_;
};

TEST_F(MemoryPorts, InjectedBytesArriveInOrderWithTheirInterface) {
  FramePool pool(*memory_, *rings_, 0);
  MemoryPort port(pool, {.interface_index = 5, .ring_size = 16});
  for (std::uint8_t i = 0; i < 10; i++) {
    const std::array<std::uint8_t, 3> bytes{i, 1, 2};
    ASSERT_TRUE(port.inject(bytes));
  }
  Batch batch;
  EXPECT_EQ(10u, port.receive(batch));
  ASSERT_EQ(10u, batch.count);
  for (std::uint8_t i = 0; i < 10; i++) {
    EXPECT_EQ(i, batch.packets[i].data[0]);
    EXPECT_EQ(3u, batch.packets[i].length);
    EXPECT_EQ(5, batch.packets[i].interface);
    EXPECT_EQ(kFrameHeadroom, memory_->headroom(batch.packets[i].data));
  }
  EXPECT_EQ(0u, port.receive(batch));
}

TEST_F(MemoryPorts, ReceiveFillsOnlyTheRoomOfTheBatch) {
  FramePool pool(*memory_, *rings_, 0);
  MemoryPort port(pool, {.ring_size = 64});
  for (int i = 0; i < 64; i++) ASSERT_TRUE(port.inject(std::array<std::uint8_t, 1>{9}));
  Batch batch;
  batch.push(Packet{});
  EXPECT_EQ(63u, port.receive(batch));
  EXPECT_TRUE(batch.full());
  batch.clear();
  EXPECT_EQ(1u, port.receive(batch));
}

TEST_F(MemoryPorts, AFullRingAnEmptyPoolAndAnOversizePacketAreRefusedWithoutLosingAFrame) {
  FramePool pool(*memory_, *rings_, 0);
  {
    MemoryPort port(pool, {.ring_size = 4});
    for (int i = 0; i < 4; i++) ASSERT_TRUE(port.inject(std::array<std::uint8_t, 1>{1}));
    EXPECT_FALSE(port.inject(std::array<std::uint8_t, 1>{1})) << "ring full";
    EXPECT_EQ(60u, pool.available());
    MemoryPort wide(pool, {.ring_size = 128});
    EXPECT_FALSE(wide.inject(std::vector<std::uint8_t>(2048 - 256 + 1))) << "does not fit into one frame";
    EXPECT_TRUE(wide.inject(std::vector<std::uint8_t>(2048 - 256)));
    while (pool.available() != 0) ASSERT_TRUE(wide.inject(std::array<std::uint8_t, 1>{1}));
    EXPECT_FALSE(wide.inject(std::array<std::uint8_t, 1>{1})) << "no frame";
  }
  EXPECT_EQ(64u, pool.available()) << "what was inside is released with the ports";
}

TEST_F(MemoryPorts, TransmittedPacketsAreTakenWithoutACopyAndWhatDoesNotFitStaysWithTheCaller) {
  FramePool pool(*memory_, *rings_, 0);
  MemoryPort port(pool, {.ring_size = 4});
  std::array<Packet, 6> packets;
  for (std::uint32_t i = 0; i < packets.size(); i++) packets[i] = Packet{.data = pool.acquire(), .length = 60 + i};
  EXPECT_EQ(4u, port.transmit(packets));
  EXPECT_EQ(4u, port.sent_packets());
  EXPECT_EQ(60u + 61 + 62 + 63, port.sent_bytes());
  EXPECT_EQ(0u, port.flush());
  std::array<Packet, 6> taken;
  EXPECT_EQ(4u, port.take(taken));
  for (std::size_t i = 0; i < 4; i++) {
    EXPECT_EQ(packets[i].data, taken[i].data);
    EXPECT_EQ(packets[i].length, taken[i].length);
  }
  EXPECT_EQ(2u, port.transmit(std::span(packets).subspan(4)));
}

TEST_F(MemoryPorts, DiscardedPacketsSendForeignFramesHome) {
  FramePool own(*memory_, *rings_, 0);
  FramePool foreign(*memory_, *rings_, 1);
  MemoryPort port(own, {.ring_size = 16, .discard_sent = true});
  std::array<Packet, 2> packets{Packet{.data = own.acquire(), .length = 60}, Packet{.data = foreign.acquire(), .length = 60}};
  ASSERT_EQ(2u, port.transmit(packets));
  EXPECT_EQ(63u, own.available());
  EXPECT_EQ(0u, port.flush());
  EXPECT_EQ(64u, own.available());
  EXPECT_EQ(63u, foreign.available());
  foreign.collect_returns();
  EXPECT_EQ(64u, foreign.available());
}

TEST_F(MemoryPorts, TheFarEndMayBeAnotherThreadWithFramesOfItsOwn) {
  FramePool worker_pool(*memory_, *rings_, 0);
  FramePool far_pool(*memory_, *rings_, 1);
  MemoryPort port(worker_pool, {.ring_size = 32});
  constexpr std::uint32_t kPackets = 20'000;
  std::thread worker([&] {
    Batch batch;
    for (std::uint32_t echoed = 0; echoed < kPackets;) {
      port.receive(batch);
      std::uint32_t done = 0;
      while (done < batch.count) {
        done += port.transmit(std::span(batch.packets.data() + done, batch.count - done));
        if (done < batch.count) std::this_thread::yield();
      }
      if (batch.count == 0) std::this_thread::yield();
      echoed += batch.count;
      batch.clear();
    }
  });
  std::uint32_t sent = 0;
  std::uint32_t back = 0;
  bool in_order = true;
  while (back < kPackets) {
    if (sent < kPackets) {
      if (std::uint8_t* data = far_pool.acquire(); data != nullptr) {
        Packet packet{.data = data, .length = sent};
        if (port.inject(std::span<const Packet>(&packet, 1)) == 1) {
          sent++;
        } else {
          far_pool.release(data);
        }
      }
    }
    std::array<Packet, 16> taken;
    const std::uint32_t count = port.take(taken);
    for (std::uint32_t i = 0; i < count; i++) {
      in_order &= taken[i].length == back++;
      far_pool.release(taken[i].data);
    }
    if (count == 0) std::this_thread::yield();
  }
  worker.join();
  EXPECT_TRUE(in_order);
  EXPECT_EQ(64u, far_pool.available());
  EXPECT_EQ(64u, worker_pool.available());
}

}  // namespace
}  // namespace millrace
