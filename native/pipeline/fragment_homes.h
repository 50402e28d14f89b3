// FragmentHomes: which pairs of addresses have flows that a worker other than their own by RSS may own, because they began with a
// fragment. Cards spread fragments by addresses alone and whole packets by addresses and ports, so the two meet different
// workers.
//
//   pair of addresses -> slot -> home = slot % workers        slot: | until (ms) : 32 | sessions : 32 |
//
// The home of a pair gets all fragments between the two addresses and creates the sessions of flows that begin with one. It marks
// the slot before it asks the other workers whether one of them has the session; another worker that is about to create a session
// (UDP only: a TCP packet without a session is searched for anyway) looks at the mark and hands the packet to the home. So two
// workers never create sessions of one flow: whoever created before it was asked is found, whoever creates later sees the mark.
// Guarantees: a mark lasts as long as a session that needs it, and kMarkMs after each search. Pairs that share a slot cost a
// handoff. Threads: a slot is written by its home alone; read by any worker, and only when it is about to create a session.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "core/spsc_ring.h"

namespace millrace {

class FragmentHomes {
 public:
  static constexpr std::uint32_t kSlots = 4096;
  /// Longer than a search round the workers can take.
  static constexpr std::uint32_t kMarkMs = 2000;

  static std::uint32_t slot_of(std::uint64_t pair_hash) { return static_cast<std::uint32_t>(pair_hash >> 32) % kSlots; }

  /// Any worker.
  bool marked(std::uint32_t slot, std::uint32_t now_ms) const {
    // Without fragments of unknown flows, all of this is one line that nobody writes.
    if (!used_.load(std::memory_order_relaxed)) return false;
    const std::uint64_t mark = slots_[slot].load(std::memory_order_relaxed);
    if (sessions_of(mark) != 0) return true;
    return mark != 0 && static_cast<std::int32_t>(static_cast<std::uint32_t>(mark >> 32) - now_ms) > 0;
  }

  /// The slot's home, before it begins a search. Handing the packet over publishes the mark.
  void mark(std::uint32_t slot, std::uint32_t now_ms) {
    if (!used_.load(std::memory_order_relaxed)) used_.store(true, std::memory_order_relaxed);
    store(slot, now_ms + kMarkMs, sessions_of(slots_[slot].load(std::memory_order_relaxed)));
  }
  /// The slot's home, when a session that needs the mark begins and ends.
  void add_session(std::uint32_t slot) {
    if (!used_.load(std::memory_order_relaxed)) used_.store(true, std::memory_order_relaxed);
    change(slot, 1);
  }
  void remove_session(std::uint32_t slot) { change(slot, ~0u); }

 private:
  static std::uint32_t sessions_of(std::uint64_t mark) { return static_cast<std::uint32_t>(mark); }
  void store(std::uint32_t slot, std::uint32_t until_ms, std::uint32_t sessions) {
    slots_[slot].store(std::uint64_t{until_ms} << 32 | sessions, std::memory_order_relaxed);
  }
  void change(std::uint32_t slot, std::uint32_t by) {
    const std::uint64_t mark = slots_[slot].load(std::memory_order_relaxed);
    store(slot, static_cast<std::uint32_t>(mark >> 32), sessions_of(mark) + by);
  }

  alignas(kCacheLine) std::atomic<bool> used_{false};
  alignas(kCacheLine) std::array<std::atomic<std::uint64_t>, kSlots> slots_{};
};

}  // namespace millrace
