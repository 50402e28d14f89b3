// HeaderTimers: when a PROXY header that no server has acknowledged yet is sent again. The client knows nothing of it and cannot do so.
//
//   stage    0       1       2       3        4        5
//   after    200 ms  400 ms  800 ms  1600 ms  3200 ms  6400 ms, and again
//
// All entries of a stage wait equally long, so each stage is a queue in order of time. An entry is not taken out when its header has been
// acknowledged: when its time comes the session is looked at, and mostly there is nothing left to do.
// Guarantees: no allocation after create(); pages exist only where used. Thread: one worker.
#pragma once

#include <array>
#include <cstdint>

#include "core/result.h"
#include "sessions/session.h"
#include "tables/slots.h"

namespace millrace {

class HeaderTimers {
 public:
  static constexpr std::uint32_t kStages = 6;
  /// Headers in flight per stage: at 200 ms each, of 300,000 new connections in a second.
  static constexpr std::uint32_t kPerStage = 1u << 16;
  static constexpr std::uint32_t kFirstDelayMs = 200;

  struct Entry {
    SessionId session;
    /// SessionDetail::first_byte: another session in the same place has another.
    std::uint32_t first_byte;
    std::uint32_t due_ms;
  };

  Result<void> reserve() { return entries_.reserve(std::size_t{kStages} * kPerStage); }

  /// False when the queue is full.
  bool add(std::uint32_t stage, SessionId session, std::uint32_t first_byte, std::uint32_t now_ms) {
    Queue& queue = queues_[stage];
    if (queue.size == kPerStage) return false;
    entries_[at(stage, queue.begin + queue.size++)] = {session, first_byte, now_ms + (kFirstDelayMs << stage)};
    size_++;
    return true;
  }

  /// The next whose time has come, of the stage that it gives; false when there is none.
  bool take(std::uint32_t now_ms, Entry& entry, std::uint32_t& stage) {
    if (size_ == 0) return false;
    for (stage = 0; stage < kStages; stage++) {
      Queue& queue = queues_[stage];
      if (queue.size == 0) continue;
      entry = entries_[at(stage, queue.begin)];
      if (static_cast<std::int32_t>(now_ms - entry.due_ms) < 0) continue;
      queue.begin = (queue.begin + 1) % kPerStage;
      queue.size--;
      size_--;
      return true;
    }
    return false;
  }

  std::uint32_t size() const { return size_; }

 private:
  struct Queue {
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
  };
  static std::size_t at(std::uint32_t stage, std::uint32_t place) { return std::size_t{stage} * kPerStage + place % kPerStage; }

  StableArray<Entry> entries_;
  std::array<Queue, kStages> queues_{};
  std::uint32_t size_ = 0;
};

}  // namespace millrace
