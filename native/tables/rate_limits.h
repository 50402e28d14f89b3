// Limits on packets and bits per second that hold over all workers: one shared word per limit and direction, as a virtual scheduling
// algorithm has it (GCRA, ITU-T I.371 annex A): the time up to which the limit's traffic is paid for. Workers take small leases from that
// word and spend them alone, so that the shared line is touched once per lease and not per packet.
// Guarantees: over any time T all workers together let pass at most rate x T + burst, in each direction, and one lease more for each further
// worker: what a worker has leased and not spent within its millisecond goes back when its next packet comes, and the limit may have
// recovered from the lease by then. Limits below 4,000 packets a second have leases of one packet and are exact.
// Threads: shared words by all workers, one atomic operation at a time; leases belong to one worker, their counts are read by any thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "sessions/session.h"

namespace millrace {

/// Per second and direction; 0: no limit. Bits are those of IP packets, header included.
struct RateLimits {
  std::uint64_t packets = 0;
  std::uint64_t bits = 0;
  bool operator==(const RateLimits&) const = default;
  bool none() const { return packets == 0 && bits == 0; }
};

enum class RateKind : std::uint8_t { kPackets, kBits };
inline constexpr std::size_t kRateKinds = 2;

/// The shared words of one service or server. A line of their own: other services' workers are not disturbed.
struct alignas(64) SharedRates {
  /// [direction][kind]: 2^-32 milliseconds of the workers' clock, modulo 2^64.
  std::uint64_t paid_until[2][kRateKinds];
};

/// One limit in one direction, over a shared word. Units are packets or bytes.
class RateMeter {
 public:
  /// What may pass at once after a pause: the rate's share of this time, but at least a few packets of any size.
  static constexpr std::uint64_t kBurstMs = 100;
  static constexpr std::uint64_t kLeastBurst[kRateKinds] = {10, 16'384};
  /// Leases are this part of a second's traffic.
  static constexpr std::uint64_t kLeasesPerSecond = 4'000;

  RateMeter(std::uint64_t& word, RateKind kind, std::uint64_t per_second) : word_(&word), kind_(kind) {
    per_second_ = kind == RateKind::kBits ? std::max<std::uint64_t>(per_second / 8, 1) : per_second;
  }

  /// Takes `least` units, and more for a lease if they are there. Returns how many; 0: there is no room for `least`.
  std::uint32_t take(std::uint32_t least, std::uint32_t now_ms) {
    const std::uint64_t now = ticks_of(now_ms);
    const std::uint64_t burst = burst_ticks();
    std::uint64_t paid = __atomic_load_n(word_, __ATOMIC_RELAXED);
    for (;;) {
      const std::uint64_t ahead = ahead_of(paid, now, burst);
      const std::uint64_t room = room_of(burst, ahead);
      if (room < least) return 0;
      const auto lease = static_cast<std::uint32_t>(std::min(std::max<std::uint64_t>(least, quantum()), room));
      if (__atomic_compare_exchange_n(word_, &paid, now + ahead + cost(lease), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return lease;
    }
  }
  /// Whether take() would find room now.
  bool has_room(std::uint32_t least, std::uint32_t now_ms) const {
    const std::uint64_t burst = burst_ticks();
    const std::uint64_t ahead = ahead_of(__atomic_load_n(word_, __ATOMIC_RELAXED), ticks_of(now_ms), burst);
    return room_of(burst, ahead) >= least;
  }
  /// What was taken and not used.
  void give_back(std::uint32_t units) { __atomic_fetch_sub(word_, cost(units), __ATOMIC_RELAXED); }

 private:
  static constexpr std::uint64_t kTicksPerMs = 1ull << 32;
  static constexpr std::uint64_t kTicksPerSecond = 1000 * kTicksPerMs;
  /// Workers read their clocks at different moments. Further ahead is only what another owner of the word left, or another rate.
  static constexpr std::uint64_t kSlack = 1000 * kTicksPerMs;
  /// A quarter of a microsecond, so that costs, which are rounded up, do not make a packet late for its millisecond.
  static constexpr std::uint64_t kRounding = kTicksPerMs >> 12;

  /// The clock's 32 bits are the upper half, so that both run over together.
  static std::uint64_t ticks_of(std::uint32_t now_ms) { return std::uint64_t{now_ms} << 32; }
  static std::uint64_t ahead_of(std::uint64_t paid, std::uint64_t now, std::uint64_t burst) {
    const std::uint64_t ahead = paid - now;
    return ahead > burst + kSlack ? 0 : ahead;  // what lies behind is a very long way ahead
  }
  /// Rounded up: many small leases are not cheaper than one.
  std::uint64_t cost(std::uint64_t units) const {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(units) * kTicksPerSecond + per_second_ - 1) / per_second_);
  }
  std::uint64_t units_of(std::uint64_t ticks) const {
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(ticks) * per_second_ / kTicksPerSecond);
  }
  std::uint64_t room_of(std::uint64_t burst, std::uint64_t ahead) const {
    return burst + kRounding > ahead ? units_of(burst + kRounding - ahead) : 0;
  }
  std::uint64_t burst_ticks() const { return std::max(kBurstMs * kTicksPerMs, cost(kLeastBurst[static_cast<std::size_t>(kind_)])); }
  std::uint64_t quantum() const { return per_second_ / kLeasesPerSecond; }

  std::uint64_t* word_;
  RateKind kind_;
  std::uint64_t per_second_;
};

/// One worker's part in the limits of one service or server: a cache line.
struct alignas(64) RateLeases {
  struct Lease {
    std::uint32_t left;
    std::uint32_t taken_ms;
  };
  Lease leases[2][kRateKinds];
  RateLimits limits;
  /// Packets that this worker dropped, by direction.
  std::uint64_t dropped[2];

  /// Spends `units` of a limit. False: it is used up.
  bool spend(SharedRates& shared, Direction direction, RateKind kind, std::uint32_t units, std::uint32_t now_ms) {
    const std::uint64_t per_second = limit(kind);
    if (per_second == 0) return true;
    Lease& lease = of(direction, kind);
    RateMeter meter = meter_of(shared, direction, kind);
    if (lease.taken_ms != now_ms && lease.left != 0) {
      // After a long time it is worth nothing: the limit has made good for it.
      if (now_ms - lease.taken_ms <= RateMeter::kBurstMs) meter.give_back(lease.left);
      lease.left = 0;
    }
    if (lease.left < units) {
      const std::uint32_t taken = meter.take(units - lease.left, now_ms);
      if (taken == 0) return false;
      lease = {lease.left + taken, now_ms};
    }
    lease.left -= units;
    return true;
  }
  /// Undoes a spend() of this millisecond.
  void unspend(Direction direction, RateKind kind, std::uint32_t units) {
    if (limit(kind) != 0) of(direction, kind).left += units;
  }
  bool has_room(SharedRates& shared, Direction direction, RateKind kind, std::uint32_t units, std::uint32_t now_ms) {
    if (limit(kind) == 0) return true;
    const Lease& lease = of(direction, kind);
    if (lease.taken_ms == now_ms && lease.left >= units) return true;
    return meter_of(shared, direction, kind).has_room(units, now_ms);
  }

 private:
  std::uint64_t limit(RateKind kind) const { return kind == RateKind::kPackets ? limits.packets : limits.bits; }
  Lease& of(Direction direction, RateKind kind) { return leases[static_cast<std::size_t>(direction)][static_cast<std::size_t>(kind)]; }
  RateMeter meter_of(SharedRates& shared, Direction direction, RateKind kind) const {
    return {shared.paid_until[static_cast<std::size_t>(direction)][static_cast<std::size_t>(kind)], kind, limit(kind)};
  }
};
static_assert(sizeof(RateLeases) == 64 && sizeof(SharedRates) == 64);

/// Bits of ServiceIdentity::rated.
inline constexpr std::uint32_t kServiceRated = 1;
inline constexpr std::uint32_t kServersRated = 2;

}  // namespace millrace
