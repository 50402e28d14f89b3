// SessionOwners: which worker has the session of a packet that comes back through the balancer without naming it. In NAT a server
// answers to the client's own address, so nothing in the answer says which worker sent the request, and the card spreads the two
// directions independently of each other.
//
//   bucket of the answer's hash -> 8 entries: | hash : 56 | worker + 1 : 8 |
//
// Whoever creates or ends such a session writes here; a worker that gets an answer without a session reads one cache line and
// hands the
// packet over. Full buckets are no error: what is not here is searched for (search.h). Guarantees: entries are whole; an entry
// that
// is there before the request leaves is seen when its answer comes. Threads: any worker; nobody waits for anybody.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "core/result.h"
#include "tables/slots.h"

namespace millrace {

class SessionOwners {
 public:
  static constexpr std::uint32_t kNobody = 0xffffffffu;

  /// Room for `sessions` with buckets a quarter full; memory is used as entries are.
  static Result<std::unique_ptr<SessionOwners>> create(std::uint64_t sessions) {
    std::unique_ptr<SessionOwners> owners(new SessionOwners());
    owners->buckets_ = std::clamp<std::uint64_t>(sessions * 4 / kEntries, 1, 1ull << 31);
    if (auto r = owners->entries_.reserve(owners->buckets_ * kEntries); !r) return r.error();
    return owners;
  }

  void add(std::uint64_t hash, std::uint32_t worker) {
    std::uint64_t* bucket = bucket_of(hash);
    for (std::uint32_t i = 0; i < kEntries; i++) {
      std::uint64_t free = 0;
      if (__atomic_compare_exchange_n(bucket + i, &free, entry(hash, worker), false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) return;
    }
  }

  /// Only by the worker that added it.
  void remove(std::uint64_t hash, std::uint32_t worker) {
    std::uint64_t* bucket = bucket_of(hash);
    for (std::uint32_t i = 0; i < kEntries; i++) {
      if (__atomic_load_n(bucket + i, __ATOMIC_RELAXED) != entry(hash, worker)) continue;
      __atomic_store_n(bucket + i, std::uint64_t{0}, __ATOMIC_RELEASE);
      return;
    }
  }

  std::uint32_t find(std::uint64_t hash) const {
    const std::uint64_t* bucket = bucket_of(hash);
    for (std::uint32_t i = 0; i < kEntries; i++) {
      const std::uint64_t found = __atomic_load_n(bucket + i, __ATOMIC_ACQUIRE);
      if ((found & kHash) == (hash & kHash) && (found & ~kHash) != 0) return static_cast<std::uint32_t>(found & ~kHash) - 1;
    }
    return kNobody;
  }

 private:
  static constexpr std::uint32_t kEntries = 8;
  static constexpr std::uint64_t kHash = ~0xffull;

  SessionOwners() = default;
  static std::uint64_t entry(std::uint64_t hash, std::uint32_t worker) { return (hash & kHash) | (worker + 1); }
  std::uint64_t* bucket_of(std::uint64_t hash) { return entries_.data() + bucket_number(hash) * kEntries; }
  const std::uint64_t* bucket_of(std::uint64_t hash) const { return entries_.data() + bucket_number(hash) * kEntries; }
  std::uint64_t bucket_number(std::uint64_t hash) const { return (hash >> 32) * buckets_ >> 32; }

  StableArray<std::uint64_t> entries_;
  std::uint64_t buckets_ = 0;
};

}  // namespace millrace
