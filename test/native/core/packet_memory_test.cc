// PacketMemory and FramePool: frames belong to workers, never overlap, and always find their way home.
#include "core/packet_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace millrace {
namespace {

std::unique_ptr<PacketMemory> make_memory(std::uint32_t workers, std::uint32_t frames, std::uint32_t frame_size = 2048) {
  PacketMemory::Options options;
  options.workers = workers;
  options.frames_per_worker = frames;
  options.frame_size = frame_size;
  options.huge_pages = false;
  auto memory = PacketMemory::create(options);
  EXPECT_TRUE(memory.ok());
  return std::move(memory).value();
}

TEST(PacketMemory, RefusesWhatCannotBe) {
  for (const auto& [workers, frames, size] : {std::tuple{0u, 16u, 2048u}, {1u, 0u, 2048u}, {1u, 16u, 1024u}, {1u, 16u, 3000u}}) {
    PacketMemory::Options options;
    options.workers = workers;
    options.frames_per_worker = frames;
    options.frame_size = size;
    auto memory = PacketMemory::create(options);
    ASSERT_FALSE(memory.ok());
    EXPECT_EQ(memory.error().code, "packet_memory_invalid");
  }
}

TEST(PacketMemory, CutsTheRegionIntoOnePartPerWorker) {
  for (const std::uint32_t frame_size : {2048u, 4096u}) {
    auto memory = make_memory(3, 100, frame_size);
    EXPECT_EQ(memory->frame_size(), frame_size);
    EXPECT_EQ(memory->frames_per_worker(), 100u);
    EXPECT_EQ(memory->workers(), 3u);
    EXPECT_GE(memory->size(), std::size_t{300} * frame_size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory->base()) % frame_size, 0u);
    for (std::uint32_t frame = 0; frame < 300; frame++) {
      std::uint8_t* start = memory->frame_start(frame);
      EXPECT_EQ(memory->frame_of(start), frame);
      EXPECT_EQ(memory->frame_of(start + frame_size - 1), frame);
      EXPECT_EQ(memory->owner_of(frame), frame / 100);
      EXPECT_EQ(memory->headroom(start + kFrameHeadroom), kFrameHeadroom);
      start[0] = 1;
      start[frame_size - 1] = 1;
    }
  }
}

TEST(FramePool, HandsOutEachOfItsFramesOnceAndThenNone) {
  auto memory = make_memory(2, 50);
  FrameReturnRings rings(*memory);
  FramePool pool(*memory, rings, 1);
  std::set<std::uint32_t> frames;
  for (int i = 0; i < 50; i++) {
    std::uint8_t* packet = pool.acquire();
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(memory->headroom(packet), kFrameHeadroom);
    const std::uint32_t frame = memory->frame_of(packet);
    EXPECT_EQ(memory->owner_of(frame), 1u);
    EXPECT_TRUE(frames.insert(frame).second);
  }
  EXPECT_EQ(pool.acquire(), nullptr);
  EXPECT_EQ(pool.available(), 0u);
}

TEST(FramePool, TakesAFrameBackByAnyAddressInIt) {
  auto memory = make_memory(1, 4);
  FrameReturnRings rings(*memory);
  FramePool pool(*memory, rings, 0);
  for (const std::ptrdiff_t offset : {-256, 0, 14, 1791}) {
    std::uint8_t* packet = pool.acquire();
    EXPECT_EQ(pool.available(), 3u);
    pool.release(packet + offset);
    EXPECT_EQ(pool.available(), 4u);
    EXPECT_EQ(pool.acquire(), packet) << "the warmest frame first";
    pool.release(packet);
  }
}

TEST(FramePool, AFrameReleasedElsewhereGoesHomeByRing) {
  auto memory = make_memory(3, 8);
  FrameReturnRings rings(*memory);
  FramePool home(*memory, rings, 0);
  FramePool other(*memory, rings, 1);
  FramePool third(*memory, rings, 2);
  std::vector<std::uint8_t*> packets;
  for (int i = 0; i < 8; i++) packets.push_back(home.acquire());
  for (int i = 0; i < 8; i++) (i % 2 == 0 ? other : third).release(packets[static_cast<std::size_t>(i)]);
  EXPECT_EQ(home.available(), 0u);
  EXPECT_EQ(other.available(), 8u);
  home.collect_returns();
  EXPECT_EQ(home.available(), 8u);
  std::set<std::uint8_t*> back;
  for (int i = 0; i < 8; i++) back.insert(home.acquire());
  EXPECT_EQ(back, std::set<std::uint8_t*>(packets.begin(), packets.end()));
}

TEST(FramePool, NoFrameIsLostOrDoubledBetweenThreads) {
  // Worker 0 sends all its frames to worker 1 by a ring, worker 1 releases them, many times round.
  constexpr std::uint32_t kFrames = 64;
  constexpr std::uint32_t kRounds = 200;
  auto memory = make_memory(2, kFrames);
  FrameReturnRings rings(*memory);
  FramePool home(*memory, rings, 0);
  SpscRing<std::uint8_t*> handed_over(kFrames);
  std::thread other([&] {
    FramePool pool(*memory, rings, 1);
    for (std::uint32_t n = 0; n < kFrames * kRounds;) {
      std::uint8_t* packet = nullptr;
      if (!handed_over.pop(packet)) {
        std::this_thread::yield();
        continue;
      }
      pool.release(packet);
      n++;
    }
  });
  for (std::uint32_t n = 0; n < kFrames * kRounds;) {
    std::uint8_t* packet = home.acquire();
    if (packet == nullptr) {
      home.collect_returns();
      std::this_thread::yield();
      continue;
    }
    packet[0] = static_cast<std::uint8_t>(n);
    ASSERT_TRUE(handed_over.push(packet));
    n++;
  }
  other.join();
  home.collect_returns();
  EXPECT_EQ(home.available(), kFrames);
  std::set<std::uint8_t*> frames;
  for (std::uint32_t i = 0; i < kFrames; i++) frames.insert(home.acquire());
  EXPECT_EQ(frames.size(), kFrames);
}

}  // namespace
}  // namespace millrace
