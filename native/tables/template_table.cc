// Chains, timers and the sweep of the template table. Thread: any; each function that is not public runs under its stripe's lock.
#include "tables/template_table.h"

namespace millrace {

namespace {
/// How many entries a full stripe looks through for one that is over.
constexpr std::uint32_t kSearchedWhenFull = 64;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
}  // namespace

Result<std::unique_ptr<TemplateTable>> TemplateTable::create(HashKey key, std::uint32_t capacity) {
  std::unique_ptr<TemplateTable> table(new TemplateTable(key));
  table->per_stripe_ = (capacity + kStripes - 1) / kStripes;
  const std::size_t whole = std::size_t{table->per_stripe_} * kStripes;
  if (auto r = table->entries_.reserve(whole); !r) return r.error();
  if (auto r = table->heads_.reserve(whole); !r) return r.error();
  return table;
}

bool TemplateTable::Lock::acquire(Stripe& stripe, std::uint32_t tries) {
  for (std::uint32_t n = 0; tries == kForever || n < tries; n++) {
    if (stripe.locked.load(std::memory_order_relaxed) == 0 && stripe.locked.exchange(1, std::memory_order_acquire) == 0) return true;
    pause_briefly();
  }
  return false;
}

TemplateId TemplateTable::search(const TemplateKey& key, std::uint64_t hash, std::uint32_t now_ms) {
  for (TemplateId id = head_of(hash) - 1; id != kNoTemplate; id = entries_[id].next) {
    const Template& entry = entries_[id];
    if (entry.state != State::kLive || entry.scope != key.scope || entry.client != key.client) continue;
    const std::uint64_t timer = load(entry.timer);
    if (sessions_of(timer) != 0 || !is_past(timer, now_ms)) return id;
  }
  return kNoTemplate;
}

TemplateId TemplateTable::insert(Stripe& stripe, const TemplateKey& key, std::uint64_t hash, const TemplateServer& server,
                                 std::uint32_t timeout_ms, std::uint32_t now_ms) {
  const TemplateId id = take_free(stripe, now_ms);
  if (id == kNoTemplate) return id;
  if (!used_.load(std::memory_order_relaxed)) used_.store(true, std::memory_order_relaxed);
  Template& entry = entries_[id];
  entry.client = key.client;
  entry.scope = key.scope;
  entry.server = server.address;
  entry.server_port = server.port;
  entry.timeout_ms = timeout_ms;
  entry.state = State::kLive;
  __atomic_store_n(&entry.timer, make_timer(now_ms + timeout_ms, false, 0), __ATOMIC_RELEASE);
  TemplateId& head = head_of(hash);
  entry.next = head - 1;
  head = id + 1;
  return id;
}

TemplateId TemplateTable::take_free(Stripe& stripe, std::uint32_t now_ms) {
  const auto number = static_cast<std::uint32_t>(&stripe - stripes_);
  if (stripe.free_head == kNoTemplate && stripe.high_water < per_stripe_) return first_of(number) + stripe.high_water++;
  if (stripe.free_head == kNoTemplate) stripe.freed_early += sweep_locked(number, kSearchedWhenFull, now_ms);
  const TemplateId id = stripe.free_head;
  if (id != kNoTemplate) stripe.free_head = entries_[id].next;
  return id;
}

TemplateTable::Answer TemplateTable::take(TemplateId id, std::uint32_t now_ms) {
  Template& entry = entries_[id];
  std::uint64_t before = load(entry.timer);
  for (;;) {
    const std::uint64_t timer = rearmed(before, now_ms);
    const std::uint32_t timeout = was_rearmed(timer) ? kRearmMs : entry.timeout_ms;
    const std::uint64_t after = make_timer(now_ms + timeout, was_rearmed(timer), sessions_of(timer) + 1);
    if (__atomic_compare_exchange_n(&entry.timer, &before, after, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) break;
  }
  return {Outcome::kTaken, id, server_of(id)};
}

void TemplateTable::release(TemplateId id, std::uint32_t now_ms) {
  std::uint64_t& timer = entries_[id].timer;
  std::uint64_t before = load(timer);
  std::uint64_t after;
  // With its last session goes the reason to be re-armed: what has happened until now must be written down.
  do {
    after = rearmed(before, now_ms) - 1;
  } while (!__atomic_compare_exchange_n(&timer, &before, after, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
}

std::uint32_t TemplateTable::sweep(std::uint32_t stripe, std::uint32_t budget, std::uint32_t now_ms) {
  Stripe& s = stripes_[stripe];
  const Lock lock(s, 1);
  if (!lock) return 0;
  const std::uint32_t freed = sweep_locked(stripe, budget, now_ms) + s.freed_early;
  s.freed_early = 0;
  return freed;
}

std::uint32_t TemplateTable::sweep_locked(std::uint32_t stripe, std::uint32_t budget, std::uint32_t now_ms) {
  Stripe& s = stripes_[stripe];
  std::uint32_t freed = 0;
  for (std::uint32_t left = budget < s.high_water ? budget : s.high_water; left != 0; left--) {
    if (s.sweep_at >= s.high_water) s.sweep_at = 0;
    const TemplateId id = first_of(stripe) + s.sweep_at++;
    Template& entry = entries_[id];
    if (entry.state == State::kFree) continue;
    std::uint64_t timer = load(entry.timer);
    if (!is_past(timer, now_ms)) continue;
    if (sessions_of(timer) == 0) {
      free_entry(stripe, id);
      freed++;
    } else {
      // Clocks of 32 bits compare rightly only while nothing is left alone for weeks. Should a session end at this moment, the next
      // sweep looks again.
      (void)__atomic_compare_exchange_n(&entry.timer, &timer, rearmed(timer, now_ms), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
  }
  return freed;
}

void TemplateTable::free_entry(std::uint32_t stripe, TemplateId id) {
  Template& entry = entries_[id];
  const std::uint64_t hash = hash_of({entry.client, entry.scope});
  TemplateId& head = head_of(hash);
  if (head == id + 1) {
    head = entry.next + 1;
  } else {
    TemplateId before = head - 1;
    while (entries_[before].next != id) before = entries_[before].next;
    entries_[before].next = entry.next;
  }
  entry.state = State::kFree;
  entry.next = stripes_[stripe].free_head;
  stripes_[stripe].free_head = id;
}

}  // namespace millrace
