// Connection limits that hold over all workers: one shared word per server or service that has a limit. Nothing else of a session is
// shared between workers; a service without limits touches no such word, and one with limits only when a session begins or ends.
// Guarantees: enter() never lets the count above the limit, whoever else enters or leaves at the same time. The count and whether
// the gate is closed are one word, so that no order of events leaves a gate closed that should be open.
// Semantics are those of a live IPVS: a server closes when it has as many sessions as `upper`, active and inactive; it opens again when
// it has fewer than `lower`, or, where that is 0, fewer than three quarters of `upper`.
// Threads: any; single atomic operations on one word each.
#pragma once

#include <cstdint>

namespace millrace {

/// `upper` 0: no limit.
struct ConnectionLimits {
  std::uint32_t upper = 0;
  std::uint32_t lower = 0;
  bool operator==(const ConnectionLimits&) const = default;
};

/// A limit without the distance between closing and opening: what a service has.
constexpr ConnectionLimits plain_limit(std::uint32_t most) { return {most, most}; }

/// Views one word as a gate.
class ConnectionGate {
 public:
  static constexpr std::uint32_t kClosed = 1u << 31;

  explicit ConnectionGate(std::uint32_t& word) : word_(&word) {}

  static bool is_closed(const std::uint32_t& word) { return (__atomic_load_n(&word, __ATOMIC_RELAXED) & kClosed) != 0; }
  bool closed() const { return is_closed(*word_); }
  std::uint32_t count() const { return __atomic_load_n(word_, __ATOMIC_RELAXED) & ~kClosed; }

  /// Counts one more session if there is room.
  bool enter(const ConnectionLimits& limits) {
    bool entered = false;
    change([&](std::uint32_t word) {
      entered = (word & kClosed) == 0 && word < limits.upper;
      return entered ? closing(word + 1, limits) : word | kClosed;
    });
    return entered;
  }
  /// Counts one more session whether there is room or not.
  void enter_anyway(const ConnectionLimits& limits) {
    change([&](std::uint32_t word) { return closing((word & ~kClosed) + 1, limits) | (word & kClosed); });
  }
  /// One session less.
  void leave(const ConnectionLimits& limits) {
    change([&](std::uint32_t word) {
      const std::uint32_t left = (word & ~kClosed) - 1;
      return opens(left, limits) ? left : left | (word & kClosed);
    });
  }
  /// A worker's sessions that began before there was a limit.
  void add(std::uint32_t sessions, const ConnectionLimits& limits) {
    change([&](std::uint32_t word) { return closing((word & ~kClosed) + sessions, limits) | (word & kClosed); });
  }
  /// The limit is gone: so are the worker's sessions from the count.
  void forget(std::uint32_t sessions) {
    change([&](std::uint32_t word) { return (word & ~kClosed) - sessions; });
  }
  /// The limit has been raised: open, if there is room.
  void reopen(const ConnectionLimits& limits) {
    change([&](std::uint32_t word) { return closing(word & ~kClosed, limits); });
  }
  /// For whoever sets the gate by other means than counting.
  void set_closed(bool closed) {
    change([&](std::uint32_t word) { return closed ? word | kClosed : word & ~kClosed; });
  }

 private:
  static std::uint32_t closing(std::uint32_t count, const ConnectionLimits& limits) {
    return count >= limits.upper ? count | kClosed : count;
  }
  static bool opens(std::uint32_t count, const ConnectionLimits& limits) {
    if (limits.lower != 0) return count < limits.lower;
    return std::uint64_t{count} * 4 < std::uint64_t{limits.upper} * 3;
  }
  template <class Next>
  void change(Next next) {
    std::uint32_t word = __atomic_load_n(word_, __ATOMIC_RELAXED);
    for (std::uint32_t wanted = next(word); wanted != word; wanted = next(word)) {
      if (__atomic_compare_exchange_n(word_, &word, wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return;
    }
  }

  std::uint32_t* word_;
};

}  // namespace millrace
