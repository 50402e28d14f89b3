// What connects workers: rings that carry packets to the owner of their session, rings that bring frames home, and the bell that
// wakes a sleeping neighbour. Nothing here is touched for a packet that arrived on the right worker. Threads: ring (from, to) has
// one producer and one consumer. A bell is rung by anyone and waited for by its owner.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/batch.h"
#include "core/packet_memory.h"
#include "core/spsc_ring.h"
#include "pipeline/fragment_homes.h"

namespace millrace {

/// Wakes a worker that waits in poll(). Ringing costs a system call only when the worker really sleeps.
class Bell {
 public:
  Bell();
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  int fd() const { return fd_; }

  /// Owner, before it checks for the last time that there is no work and then sleeps. Read-modify-write on both sides, so that
  /// either the owner sees the work or the ringer sees the sleeper.
  void announce_sleep() { sleeping_.exchange(true, std::memory_order_acq_rel); }
  /// Owner, after waking or when it found work after all.
  void awake();
  /// Anyone, after making work visible.
  void ring() {
    if (sleeping_.exchange(false, std::memory_order_acq_rel)) write_event();
  }

 private:
  void write_event();
  int fd_;
  /// Owner: rings that found it asleep and whose event it has not taken from fd_ yet.
  std::uint64_t owed_ = 0;
  alignas(kCacheLine) std::atomic<bool> sleeping_{false};
};

class Links {
 public:
  explicit Links(const PacketMemory& memory);

  std::uint32_t workers() const { return workers_; }
  SpscRing<Packet>& handoff(std::uint32_t from, std::uint32_t to) { return *handoff_[from * workers_ + to]; }
  FrameReturnRings& returns() { return returns_; }
  Bell& bell(std::uint32_t worker) { return *bells_[worker]; }
  FragmentHomes& fragment_homes() { return fragment_homes_; }

 private:
  std::uint32_t workers_;
  std::vector<std::unique_ptr<SpscRing<Packet>>> handoff_;
  FrameReturnRings returns_;
  std::vector<std::unique_ptr<Bell>> bells_;
  FragmentHomes fragment_homes_;
};

}  // namespace millrace
