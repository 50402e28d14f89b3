// TemplateTable: which server a client of a persistent service has, for a time after its last new connection. One table for all workers.
//
//   client & mask, service or group -> stripe -> chain -> template: | who | server | timeout | deadline, re-armed, sessions : 64 |
//
// An entry behaves as a connection template of Linux IPVS 6.1 does. Its timer starts anew with each new connection it decides about; a
// timer that ends while connections of the template exist is set to 60 s again and again, and such a template keeps 60 s from then
// on. A template whose server may not be used any more is never found again, but lives until its timer ends. Instead of running a
// timer, whoever looks works out what it would have done.
//
// Guarantees: never more than `capacity` templates; two workers that meet a new client at once agree on one server; a template of
// which sessions exist keeps its number. Nobody waits for long: who cannot have a stripe within some microseconds gets kBusy.
// Threads: any. find(), add() and sweep() take the stripe's lock for the time of a look through one short chain (sweep: as many
// entries as asked for) and call nothing but `usable`. release() takes no lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "core/hash.h"
#include "core/result.h"
#include "core/spsc_ring.h"
#include "net/address.h"
#include "tables/slots.h"

namespace millrace {

/// A real server as a template remembers it. By value, because slots are given to others when a server leaves.
struct TemplateServer {
  IpAddress address;
  /// 0 where a template stands for all ports of a host.
  be16 port;
  bool operator==(const TemplateServer&) const = default;
};
struct TemplateServerHash {
  std::size_t operator()(const TemplateServer& s) const {
    return static_cast<std::size_t>(fold_multiply(s.address.high ^ 0x9e3779b97f4a7c15ull, s.address.low ^ s.port.raw));
  }
};

/// Whose template: the client, masked, and what it is a client of.
struct TemplateKey {
  IpAddress client;
  std::uint64_t scope = 0;
  bool operator==(const TemplateKey&) const = default;
};

using TemplateId = std::uint32_t;
inline constexpr TemplateId kNoTemplate = 0xffffffffu;

class TemplateTable {
 public:
  static constexpr std::uint32_t kCapacity = 1u << 20;
  /// What a template gets when its timer ends while connections of it exist.
  static constexpr std::uint32_t kRearmMs = 60'000;
  static constexpr std::uint32_t kStripes = 256;

  enum class Outcome : std::uint8_t {
    kTaken,    ///< a template decides; it counts one session more
    kAbsent,   ///< find(): there is none. add(): the table is full
    kDead,     ///< find(): there was one, but its server may not be used
    kBusy      ///< somebody has held the stripe for too long
  };
  struct Answer {
    Outcome outcome;
    TemplateId id = kNoTemplate;
    TemplateServer server{};
  };

  /// Takes address space for `capacity` templates (rounded up to a multiple of kStripes); memory is used as they come.
  static Result<std::unique_ptr<TemplateTable>> create(HashKey key, std::uint32_t capacity = kCapacity);

  /// The client's template, taken for one more session if usable(const TemplateServer&) says so.
  template <class Usable>
  Answer find(const TemplateKey& key, std::uint32_t now_ms, Usable usable) {
    const std::uint64_t hash = hash_of(key);
    const Lock lock(stripe_of(hash));
    if (!lock) return {Outcome::kBusy};
    const TemplateId id = search(key, hash, now_ms);
    if (id == kNoTemplate) return {Outcome::kAbsent};
    if (!usable(server_of(id))) return invalidate(id), Answer{Outcome::kDead};
    return take(id, now_ms);
  }

  /// A template for a client that has none, taken for one session. If another worker was faster, its template is the answer.
  template <class Usable>
  Answer add(const TemplateKey& key, const TemplateServer& server, std::uint32_t timeout_ms, std::uint32_t now_ms, Usable usable) {
    const std::uint64_t hash = hash_of(key);
    Stripe& stripe = stripe_of(hash);
    const Lock lock(stripe);
    if (!lock) return {Outcome::kBusy};
    const TemplateId found = search(key, hash, now_ms);
    if (found != kNoTemplate) {
      if (usable(server_of(found))) return take(found, now_ms);
      invalidate(found);
    }
    const TemplateId id = insert(stripe, key, hash, server, timeout_ms, now_ms);
    return id == kNoTemplate ? Answer{Outcome::kAbsent} : take(id, now_ms);
  }

  /// One session of the template is over.
  void release(TemplateId id, std::uint32_t now_ms);

  /// Frees templates whose time is over, looking at no more than `budget` of the stripe's, and goes on from there the next time.
  /// Returns how many were freed.
  std::uint32_t sweep(std::uint32_t stripe, std::uint32_t budget, std::uint32_t now_ms);

  /// False as long as no service has ever been persistent: then the table is one line that nobody writes.
  bool used() const { return used_.load(std::memory_order_relaxed); }

  /// What one template is, for listings and tests. Not for the packet path: takes the stripe's lock however long it takes.
  struct View {
    TemplateKey key;
    TemplateServer server;
    std::uint32_t sessions;
    /// Until its timer ends; 0 for one that is over but not swept yet.
    std::uint32_t left_ms;
    /// Its server may not be used any more; nobody finds it.
    bool dead;
  };
  template <class Visit>
  void for_each(std::uint32_t now_ms, Visit visit) {
    for (std::uint32_t s = 0; s < kStripes; s++) {
      const Lock lock(stripes_[s], Lock::kForever);
      for (TemplateId id = first_of(s); id < first_of(s) + stripes_[s].high_water; id++) {
        const Template& entry = entries_[id];
        if (entry.state == State::kFree) continue;
        const std::uint64_t timer = rearmed(load(entry.timer), now_ms);
        const auto left = static_cast<std::int32_t>(deadline_of(timer) - now_ms);
        visit(View{{entry.client, entry.scope}, {entry.server, entry.server_port}, sessions_of(timer),
                   left > 0 ? static_cast<std::uint32_t>(left) : 0, entry.state == State::kDead});
      }
    }
  }

  /// Holds a client's stripe, as a worker does that the kernel has stopped in the middle. Tests only.
  class Hold;

 private:
  enum class State : std::uint8_t { kFree, kLive, kDead };

  struct alignas(kCacheLine) Template {
    IpAddress client;
    IpAddress server;
    std::uint64_t scope;
    /// | deadline (ms) : 32 | re-armed : 1 | sessions : 31 |; the rest is written under the stripe's lock only.
    std::uint64_t timer;
    std::uint32_t timeout_ms;
    TemplateId next;
    be16 server_port;
    State state;
  };
  static_assert(sizeof(Template) == kCacheLine);

  struct alignas(kCacheLine) Stripe {
    std::atomic<std::uint32_t> locked{0};
    /// Entries ever used; those before it that are free hang in a chain.
    std::uint32_t high_water = 0;
    TemplateId free_head = kNoTemplate;
    std::uint32_t sweep_at = 0;
    /// Freed to make room, and not yet reported by sweep().
    std::uint32_t freed_early = 0;
  };

  class Lock {
   public:
    static constexpr std::uint32_t kForever = 0;
    /// About 50 microseconds.
    static constexpr std::uint32_t kTries = 2000;
    explicit Lock(Stripe& stripe, std::uint32_t tries = kTries) : stripe_(stripe), mine_(acquire(stripe, tries)) {}
    ~Lock() {
      if (mine_) stripe_.locked.store(0, std::memory_order_release);
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    explicit operator bool() const { return mine_; }

   private:
    static bool acquire(Stripe& stripe, std::uint32_t tries);
    Stripe& stripe_;
    const bool mine_;
  };

  explicit TemplateTable(HashKey key) : key_(key) {}

  static std::uint64_t load(const std::uint64_t& timer) { return __atomic_load_n(&timer, __ATOMIC_ACQUIRE); }
  static std::uint32_t deadline_of(std::uint64_t timer) { return static_cast<std::uint32_t>(timer >> 32); }
  static std::uint32_t sessions_of(std::uint64_t timer) { return static_cast<std::uint32_t>(timer) & 0x7fffffffu; }
  static bool was_rearmed(std::uint64_t timer) { return (timer & 0x80000000u) != 0; }
  static std::uint64_t make_timer(std::uint32_t deadline, bool was_rearmed, std::uint32_t sessions) {
    return std::uint64_t{deadline} << 32 | (was_rearmed ? 0x80000000u : 0u) | sessions;
  }
  static bool is_past(std::uint64_t timer, std::uint32_t now_ms) { return static_cast<std::int32_t>(now_ms - deadline_of(timer)) >= 0; }
  /// What a running timer would have made of this one by now, when sessions exist.
  static std::uint64_t rearmed(std::uint64_t timer, std::uint32_t now_ms) {
    if (sessions_of(timer) == 0 || !is_past(timer, now_ms)) return timer;
    const std::uint32_t turns = (now_ms - deadline_of(timer)) / kRearmMs + 1;
    return make_timer(deadline_of(timer) + turns * kRearmMs, true, sessions_of(timer));
  }

  std::uint64_t hash_of(const TemplateKey& key) const {
    return fold_multiply(fold_multiply(key.client.high ^ key_.a, key.client.low ^ key_.b) ^ key.scope, key_.b);
  }
  Stripe& stripe_of(std::uint64_t hash) { return stripes_[hash % kStripes]; }
  TemplateId first_of(std::uint32_t stripe) const { return stripe * per_stripe_; }
  /// Heads of chains hold a template's number plus one.
  TemplateId& head_of(std::uint64_t hash) {
    return heads_[first_of(static_cast<std::uint32_t>(hash % kStripes)) + (hash >> 32) % per_stripe_];
  }
  TemplateServer server_of(TemplateId id) const { return {entries_[id].server, entries_[id].server_port}; }

  TemplateId search(const TemplateKey& key, std::uint64_t hash, std::uint32_t now_ms);
  TemplateId insert(Stripe& stripe, const TemplateKey& key, std::uint64_t hash, const TemplateServer& server,
                    std::uint32_t timeout_ms, std::uint32_t now_ms);
  TemplateId take_free(Stripe& stripe, std::uint32_t now_ms);
  Answer take(TemplateId id, std::uint32_t now_ms);
  void invalidate(TemplateId id) { entries_[id].state = State::kDead; }
  std::uint32_t sweep_locked(std::uint32_t stripe, std::uint32_t budget, std::uint32_t now_ms);
  void free_entry(std::uint32_t stripe, TemplateId id);

  const HashKey key_;
  std::uint32_t per_stripe_ = 0;
  StableArray<Template> entries_;
  StableArray<TemplateId> heads_;
  alignas(kCacheLine) std::atomic<bool> used_{false};
  Stripe stripes_[kStripes];
};

class TemplateTable::Hold {
 public:
  Hold(TemplateTable& table, const TemplateKey& key) : lock_(table.stripe_of(table.hash_of(key)), Lock::kForever) {}

 private:
  Lock lock_;
};

}  // namespace millrace
