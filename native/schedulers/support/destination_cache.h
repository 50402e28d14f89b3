// What lblc and lblcr remember per destination address, and when they forget it. The rules are those of ip_vs_lblc and
// ip_vs_lblcr of Linux 6.1: every minute, if there are more than 16384 entries, some of those unused for 6 minutes go; every half
// hour all go that were not used for a day. Beyond that an absolute bound: with 65536 entries a destination that is new is
// scheduled without being remembered. The kernel does this on a timer; here the minutes that have passed are made up for when the
// scheduler is asked next, since between two questions nobody can tell. Thread: the worker that owns the scheduler. Memory is
// allocated for new destinations only.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "net/address.h"
#include "schedulers/support/address_hash.h"

namespace millrace {

template <typename Value>
class DestinationCache {
 public:
  static constexpr std::uint32_t kCheckEveryMs = 60'000;
  static constexpr std::uint32_t kEntryTimeoutMs = 6 * 60'000;
  static constexpr std::uint32_t kFullCheckEvery = 30;
  static constexpr std::uint32_t kExpirationMs = 24 * 3600 * 1000;
  static constexpr int kBucketBits = 10;
  static constexpr std::size_t kWantedEntries = 16u << kBucketBits;
  static constexpr std::size_t kMaxEntries = 4 * kWantedEntries;

  std::size_t size() const { return size_; }

  /// The entry of that destination, marked as used now; nullptr if there is none. Valid until the next call.
  Value* find(const IpAddress& destination, std::uint32_t now_ms) {
    expire(now_ms);
    for (Entry& entry : bucket(destination)) {
      if (entry.destination != destination) continue;
      entry.used_ms = now_ms;
      return &entry.value;
    }
    return nullptr;
  }

  /// Remembers a destination that find() did not know; nullptr when there are too many. Valid until the next call.
  Value* add(const IpAddress& destination, std::uint32_t now_ms) {
    if (size_ == kMaxEntries) return nullptr;
    size_++;
    return &bucket(destination).emplace_back(Entry{destination, now_ms, Value{}}).value;
  }

  void clear() {
    buckets_.clear();
    size_ = 0;
  }

 private:
  struct Entry {
    IpAddress destination;
    std::uint32_t used_ms;
    Value value;
  };
  using Bucket = std::vector<Entry>;
  static constexpr std::size_t kBuckets = 1u << kBucketBits;

  Bucket& bucket(const IpAddress& destination) {
    if (buckets_.empty()) buckets_.resize(kBuckets);
    return buckets_[hash_32(fold_address(destination), kBucketBits)];
  }

  /// Removes what was unused for so long from one bucket; returns how many went.
  std::size_t sweep(Bucket& entries, std::uint32_t now_ms, std::uint32_t unused_ms) {
    const std::size_t gone = std::erase_if(entries, [&](const Entry& entry) { return now_ms - entry.used_ms >= unused_ms; });
    size_ -= gone;
    return gone;
  }

  void expire(std::uint32_t now_ms) {
    if (!started_) {
      started_ = true;
      checked_ms_ = now_ms;
    }
    const std::uint32_t minutes = (now_ms - checked_ms_) / kCheckEveryMs;
    if (minutes == 0) return;
    checked_ms_ += minutes * kCheckEveryMs;
    minutes_ += minutes;
    if (minutes_ >= kFullCheckEvery) {
      minutes_ %= kFullCheckEvery;
      for (Bucket& entries : buckets_) sweep(entries, now_ms, kExpirationMs);
    } else if (size_ > kWantedEntries) {
      sweep_some(now_ms);
    }
  }

  void sweep_some(std::uint32_t now_ms) {
    const std::size_t goal = std::min((size_ - kWantedEntries) * 4 / 3, kWantedEntries / 2);
    std::size_t gone = 0;
    for (std::size_t i = 0; i < kBuckets && gone < goal; i++) {
      rover_ = (rover_ + 1) % kBuckets;
      gone += sweep(buckets_[rover_], now_ms, kEntryTimeoutMs);
    }
  }

  std::vector<Bucket> buckets_;
  std::size_t size_ = 0;
  std::size_t rover_ = 0;
  std::uint32_t checked_ms_ = 0;
  std::uint32_t minutes_ = 0;
  bool started_ = false;
};

}  // namespace millrace
