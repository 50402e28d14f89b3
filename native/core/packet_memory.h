// The memory that packets live in, and each worker's share of it.
//
//   region:  | part of worker 0        | part of worker 1        | ...
//            | frame | frame | frame.. | frame | frame | frame.. |
//   frame:   | XDP headroom 256 | packet ............ | tail room |
//
// One contiguous region for all workers, each part bound to the NUMA node of its worker. Every worker registers the whole region
// with the kernel, so a frame received by one worker can be sent by another without a copy; after transmission it returns to the
// worker that owns its part through a ring (FramePool::release).
// Guarantees: frames never move; a frame is in exactly one place (a free stack, a kernel ring, a batch, a ring between workers).
// Threads: PacketMemory is immutable after create(). A FramePool belongs to one worker's thread; only the return rings are shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "core/spsc_ring.h"

namespace millrace {

/// Offset of the packet's first byte in a freshly filled frame: what AF_XDP leaves in front (XDP_PACKET_HEADROOM).
inline constexpr std::uint32_t kFrameHeadroom = 256;

class PacketMemory {
 public:
  struct Options {
    std::uint32_t workers = 1;
    /// 2048 or 4096 bytes (AF_XDP aligned chunks).
    std::uint32_t frame_size = 2048;
    std::uint32_t frames_per_worker = 8192;
    /// NUMA node per worker; empty or -1 leaves placement to the kernel.
    std::vector<int> numa_nodes;
    /// Try 2 MiB pages first, fall back to transparent huge pages.
    bool huge_pages = true;
  };
  static Result<std::unique_ptr<PacketMemory>> create(const Options& options);
  ~PacketMemory();
  PacketMemory(const PacketMemory&) = delete;
  PacketMemory& operator=(const PacketMemory&) = delete;

  std::uint8_t* base() const { return base_; }
  std::size_t size() const { return size_; }
  std::uint32_t frame_size() const { return 1u << frame_shift_; }
  std::uint32_t frames_per_worker() const { return frames_per_worker_; }
  std::uint32_t workers() const { return workers_; }
  bool on_huge_pages() const { return on_huge_pages_; }

  std::uint32_t frame_of(const std::uint8_t* packet) const {
    return static_cast<std::uint32_t>(static_cast<std::size_t>(packet - base_) >> frame_shift_);
  }
  std::uint8_t* frame_start(std::uint32_t frame) const { return base_ + (static_cast<std::size_t>(frame) << frame_shift_); }
  std::uint32_t owner_of(std::uint32_t frame) const { return frame / frames_per_worker_; }
  /// Bytes that a packet may still grow at its head and at its tail.
  std::size_t headroom(const std::uint8_t* packet) const { return static_cast<std::size_t>(packet - base_) & (frame_size() - 1); }

 private:
  PacketMemory() = default;
  std::uint8_t* base_ = nullptr;
  std::size_t size_ = 0;
  std::uint32_t frame_shift_ = 11;
  std::uint32_t frames_per_worker_ = 0;
  std::uint32_t workers_ = 0;
  bool on_huge_pages_ = false;
};

/// Rings by which frames return to their owner: ring(from, to) has `from` as its only producer and `to` as its only consumer.
/// Each ring holds every frame its consumer owns, so it can never be full.
class FrameReturnRings {
 public:
  explicit FrameReturnRings(const PacketMemory& memory);
  SpscRing<std::uint32_t>& ring(std::uint32_t from, std::uint32_t to) { return *rings_[from * workers_ + to]; }

 private:
  std::uint32_t workers_;
  std::vector<std::unique_ptr<SpscRing<std::uint32_t>>> rings_;
};

/// One worker's free frames. In cache lines of its own, because each packet writes here.
class alignas(kCacheLine) FramePool {
 public:
  FramePool(const PacketMemory& memory, FrameReturnRings& rings, std::uint32_t worker);

  const PacketMemory& memory() const { return memory_; }
  std::uint32_t available() const { return static_cast<std::uint32_t>(free_.size()); }

  /// The packet position (frame start + kFrameHeadroom) of a free frame of this worker, or nullptr when there is none.
  std::uint8_t* acquire() {
    if (free_.empty()) return nullptr;
    const std::uint32_t frame = free_.back();
    free_.pop_back();
    return memory_.frame_start(frame) + kFrameHeadroom;
  }

  /// Gives a frame back by any address inside it: to this worker's stack, or by ring to the worker that owns it.
  void release(const std::uint8_t* packet) {
    const std::uint32_t frame = memory_.frame_of(packet);
    const std::uint32_t owner = memory_.owner_of(frame);
    if (owner == worker_) {
      free_.push_back(frame);
    } else {
      send_home(frame, owner);
    }
  }

  /// Takes back frames that other workers have finished with. Once per loop turn.
  void collect_returns();

 private:
  void send_home(std::uint32_t frame, std::uint32_t owner);

  const PacketMemory& memory_;
  FrameReturnRings& rings_;
  const std::uint32_t worker_;
  std::vector<std::uint32_t> free_;  // capacity = frames_per_worker from the start: never grows
};

}  // namespace millrace
