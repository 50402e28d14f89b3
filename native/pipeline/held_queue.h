// HeldQueue: packets that wait until their next hop is resolved. Small and bounded, per worker: a neighbour that does not answer
// must not eat the packet memory of those that do. Packets are held as they arrived and go through the pipeline again, so that
// nothing about them is decided twice. Thread: one worker.
#pragma once

#include <array>
#include <cstdint>

#include "core/batch.h"
#include "net/address.h"

namespace millrace {

class HeldQueue {
 public:
  static constexpr std::uint32_t kCapacity = 64;
  static constexpr std::uint32_t kPerDestination = 8;
  /// How long a packet waits: three ARP requests, one second apart, would be longer than a client's first retransmission.
  static constexpr std::uint32_t kWaitMs = 1000;

  std::uint32_t size() const { return size_; }

  /// Takes the packet. False when the queue, or this destination's share of it, is full: the caller drops it.
  bool hold(const Packet& packet, const IpAddress& destination, std::uint32_t now_ms) {
    std::uint32_t same = 0;
    for (std::uint32_t i = 0; i < size_; i++) same += entries_[i].destination == destination ? 1u : 0u;
    if (size_ == kCapacity || same == kPerDestination) return false;
    entries_[size_++] = {packet, destination, now_ms + kWaitMs};
    return true;
  }

  /// Moves the oldest packets into the batch, as many as fit, to go through the pipeline again. Their deadlines are forgotten:
  /// call only when the next hops have changed.
  void release_into(Batch& batch) {
    const std::uint32_t n = size_ < batch.room() ? size_ : batch.room();
    for (std::uint32_t i = 0; i < n; i++) batch.push(entries_[i].packet);
    for (std::uint32_t i = n; i < size_; i++) entries_[i - n] = entries_[i];
    size_ -= n;
  }

  /// Calls drop(packet) for those that have waited long enough.
  template <class Drop>
  void expire(std::uint32_t now_ms, Drop drop) {
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < size_; i++) {
      if (static_cast<std::int32_t>(now_ms - entries_[i].deadline_ms) >= 0) {
        drop(entries_[i].packet);
      } else {
        entries_[kept++] = entries_[i];
      }
    }
    size_ = kept;
  }

 private:
  struct Entry {
    Packet packet;
    IpAddress destination;
    std::uint32_t deadline_ms;
  };
  std::array<Entry, kCapacity> entries_;
  std::uint32_t size_ = 0;
};

}  // namespace millrace
