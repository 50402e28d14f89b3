// Bounded single-producer single-consumer ring: packets handed from one worker to another, frames on their way home,
// requests from workers to the control thread.
// Guarantees: push and pop never block, never allocate; a full ring is a `false`, which the caller counts.
// Threads: exactly one producer, exactly one consumer. Producer and consumer state live on different cache lines, and each side
// keeps a private copy of the other's index, so that the shared line is read once per ring turn and not once per item.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

namespace millrace {

inline constexpr std::size_t kCacheLine = 64;

template <typename T>
class SpscRing {
 public:
  /// `capacity` is rounded up to a power of two; all of it is usable.
  explicit SpscRing(std::size_t capacity)
      : capacity_(std::bit_ceil(capacity < 2 ? std::size_t{2} : capacity)), items_(new T[capacity_]) {}

  std::size_t capacity() const { return capacity_; }

  /// Producer. False when full.
  bool push(const T& item) { return push(std::span<const T>(&item, 1)) == 1; }

  /// Producer. Stores as many of `items` as fit, in order, with one release store; returns how many.
  std::size_t push(std::span<const T> items) {
    std::size_t room = capacity_ - (tail_local_ - head_seen_);
    if (room < items.size()) {
      head_seen_ = head_.load(std::memory_order_acquire);
      room = capacity_ - (tail_local_ - head_seen_);
    }
    const std::size_t n = items.size() < room ? items.size() : room;
    for (std::size_t i = 0; i < n; i++) items_[(tail_local_ + i) & (capacity_ - 1)] = items[i];
    if (n != 0) {
      tail_local_ += n;
      tail_.store(tail_local_, std::memory_order_release);
    }
    return n;
  }

  /// Consumer. Moves up to out.size() items out, in order; returns how many.
  std::size_t pop(std::span<T> out) {
    std::size_t available = tail_seen_ - head_local_;
    if (available == 0) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      available = tail_seen_ - head_local_;
    }
    const std::size_t n = out.size() < available ? out.size() : available;
    for (std::size_t i = 0; i < n; i++) out[i] = items_[(head_local_ + i) & (capacity_ - 1)];
    if (n != 0) {
      head_local_ += n;
      head_.store(head_local_, std::memory_order_release);
    }
    return n;
  }

  bool pop(T& out) { return pop(std::span<T>(&out, 1)) == 1; }

  /// Either side, approximate while the other one runs: whether anything waits. For deciding to sleep.
  bool empty() const { return tail_.load(std::memory_order_acquire) == head_.load(std::memory_order_acquire); }

 private:
  const std::size_t capacity_;
  const std::unique_ptr<T[]> items_;
  // Written by the producer.
  alignas(kCacheLine) std::atomic<std::size_t> tail_{0};
  std::size_t tail_local_ = 0;
  std::size_t head_seen_ = 0;
  // Written by the consumer.
  alignas(kCacheLine) std::atomic<std::size_t> head_{0};
  std::size_t head_local_ = 0;
  std::size_t tail_seen_ = 0;
};

}  // namespace millrace
