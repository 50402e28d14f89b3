// Publishing immutable data to all workers and knowing when nobody looks at the old version any more (quiescent-state-based
// reclamation: McKenney's QSBR). A worker loads the current version at the start of a loop turn and reports, between turns, that it
// holds none. The publisher frees a version when every worker has reported since it was replaced.
// Cost per loop turn: one load and one store to the worker's own line. No read-modify-write, no fence beyond release/acquire.
// Threads: one publisher (control thread), one reader per slot.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/spsc_ring.h"

namespace millrace {

template <typename T>
class Published {
 public:
  explicit Published(std::uint32_t readers) : readers_(readers), slots_(new Slot[readers]) {}

  /// Publisher. Makes `next` current; the former version is kept until reclaim() finds it unused.
  void publish(std::unique_ptr<const T> next) {
    const T* raw = next.get();
    if (current_owner_) retired_.emplace_back(epoch_.load(std::memory_order_relaxed), std::move(current_owner_));
    current_owner_ = std::move(next);
    current_.store(raw, std::memory_order_seq_cst);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
  }

  /// Publisher. Frees every retired version that no reader can still hold; returns how many are left.
  std::size_t reclaim() {
    std::uint64_t oldest = epoch_.load(std::memory_order_relaxed);
    for (std::uint32_t r = 0; r < readers_; r++) {
      const std::uint64_t seen = slots_[r].seen.load(std::memory_order_seq_cst);
      if (seen < oldest) oldest = seen;
    }
    std::size_t kept = 0;
    for (auto& entry : retired_) {
      // Retired in epoch e means: replaced before epoch e + 1 began. Readers that reported e + 1 or later loaded the new version.
      if (entry.first >= oldest) retired_[kept++] = std::move(entry);
    }
    retired_.resize(kept);
    return kept;
  }

  /// Publisher: the epoch that every reader must have reached for the version published last to be the only one in use.
  std::uint64_t epoch() const { return epoch_.load(std::memory_order_relaxed); }
  /// Whether all readers have reached `epoch`.
  bool all_reached(std::uint64_t epoch) const {
    for (std::uint32_t r = 0; r < readers_; r++) {
      if (slots_[r].seen.load(std::memory_order_seq_cst) < epoch) return false;
    }
    return true;
  }
  const T* current_for_publisher() const { return current_owner_.get(); }

  /// Reader, at the start of a loop turn: reports that it holds nothing older than now, and loads the current version.
  const T* enter(std::uint32_t reader) {
    slots_[reader].seen.store(epoch_.load(std::memory_order_acquire), std::memory_order_release);
    return current_.load(std::memory_order_acquire);
  }
  /// Reader, before it sleeps or ends: it holds nothing until the next wake().
  void leave(std::uint32_t reader) { slots_[reader].seen.store(kAsleep, std::memory_order_release); }
  /// Reader, after sleep: from here on it may hold versions. The sequentially consistent load after the store makes sure that a
  /// publisher who still saw this reader asleep had already made its new version visible to enter().
  void wake(std::uint32_t reader) {
    slots_[reader].seen.store(epoch_.load(std::memory_order_seq_cst), std::memory_order_seq_cst);
    (void)current_.load(std::memory_order_seq_cst);
  }

 private:
  static constexpr std::uint64_t kAsleep = ~0ull;
  struct alignas(kCacheLine) Slot {
    std::atomic<std::uint64_t> seen{kAsleep};
  };

  const std::uint32_t readers_;
  const std::unique_ptr<Slot[]> slots_;
  alignas(kCacheLine) std::atomic<const T*> current_{nullptr};
  std::atomic<std::uint64_t> epoch_{1};
  std::unique_ptr<const T> current_owner_;
  std::vector<std::pair<std::uint64_t, std::unique_ptr<const T>>> retired_;
};

}  // namespace millrace
