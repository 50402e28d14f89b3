// Counters of one worker: a plain array, written by its thread alone, read by others at any time without stopping it.
// Generated from counters.def. Threads: one writer; readers see each value torn-free (aligned 64-bit) and at most one batch old.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace millrace {

enum class DropReason : std::uint8_t {
#define MILLRACE_COUNTER(name, unit, help)
#define MILLRACE_DROP(name, stage, help) name,
#include "core/counters.def"
#undef MILLRACE_COUNTER
#undef MILLRACE_DROP
  kCount
};

enum class Counter : std::uint16_t {
#define MILLRACE_COUNTER(name, unit, help) name,
#define MILLRACE_DROP(name, stage, help)
#include "core/counters.def"
#undef MILLRACE_COUNTER
#undef MILLRACE_DROP
  kCount
};

inline constexpr std::size_t kDropReasons = static_cast<std::size_t>(DropReason::kCount);
inline constexpr std::size_t kPlainCounters = static_cast<std::size_t>(Counter::kCount);
/// Slots of a worker's array: first the plain counters, then the drops, both in the order of counters.def.
inline constexpr std::size_t kCounterSlots = kPlainCounters + kDropReasons;

struct CounterInfo {
  std::string_view name;
  /// "counter" or "drop".
  std::string_view kind;
  /// Unit of a counter ("packets"), stage of a drop ("parse").
  std::string_view unit;
  std::string_view help;
};

inline constexpr std::array<CounterInfo, kCounterSlots> kCounterInfo = {{
#define MILLRACE_COUNTER(name, unit, help) {#name, "counter", #unit, help},
#define MILLRACE_DROP(name, stage, help)
#include "core/counters.def"
#undef MILLRACE_COUNTER
#undef MILLRACE_DROP
#define MILLRACE_COUNTER(name, unit, help)
#define MILLRACE_DROP(name, stage, help) {#name, "drop", #stage, help},
#include "core/counters.def"
#undef MILLRACE_COUNTER
#undef MILLRACE_DROP
}};

/// View over a worker's slots; the memory belongs to the dataplane so that it outlives the thread.
class Counters {
 public:
  explicit Counters(std::uint64_t* slots) : slots_(slots) {}

  void add(Counter c, std::uint64_t n = 1) { store(static_cast<std::size_t>(c), slots_[static_cast<std::size_t>(c)] + n); }
  void sub(Counter c, std::uint64_t n = 1) { store(static_cast<std::size_t>(c), slots_[static_cast<std::size_t>(c)] - n); }
  void set(Counter c, std::uint64_t n) { store(static_cast<std::size_t>(c), n); }
  void drop(DropReason r, std::uint64_t n = 1) {
    const std::size_t slot = kPlainCounters + static_cast<std::size_t>(r);
    store(slot, slots_[slot] + n);
  }
  std::uint64_t get(Counter c) const { return __atomic_load_n(&slots_[static_cast<std::size_t>(c)], __ATOMIC_RELAXED); }
  std::uint64_t get(DropReason r) const {
    return __atomic_load_n(&slots_[kPlainCounters + static_cast<std::size_t>(r)], __ATOMIC_RELAXED);
  }

 private:
  // A relaxed store compiles to a plain mov: readers on other threads get a defined value and the writer pays nothing.
  void store(std::size_t slot, std::uint64_t value) { __atomic_store_n(&slots_[slot], value, __ATOMIC_RELAXED); }
  std::uint64_t* slots_;
};

}  // namespace millrace
