// The cold half of SessionTable: memory, insertion, removal. Insertion and removal run once per session, on its worker's thread.
#include "sessions/session_table.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace millrace {

namespace {
constexpr std::size_t kHugePage = 2u << 20;
constexpr std::size_t round_up(std::size_t value, std::size_t step) { return (value + step - 1) / step * step; }
}  // namespace

Result<std::unique_ptr<SessionTable>> SessionTable::create(std::uint32_t capacity) {
  if (capacity == 0 || capacity > kMaxCapacity) {
    return Error{"session_table_invalid",
                 "a session table holds 1 to " + std::to_string(kMaxCapacity) + " sessions, not " + std::to_string(capacity), 0};
  }
  std::unique_ptr<SessionTable> table(new SessionTable());
  const std::size_t entries = std::size_t{2} * capacity;
  const std::size_t first_buckets = (entries + 2) / 3;
  const std::size_t overflow_buckets = entries / kEntries + 1;
  const std::size_t bucket_bytes = round_up((first_buckets + overflow_buckets) * sizeof(Bucket), 4096);
  const std::size_t session_bytes = round_up(std::size_t{capacity} * sizeof(Session), 4096);
  const std::size_t live_bytes = round_up((std::size_t{capacity} + 63) / 64 * 8, 4096);
  const std::size_t detail_bytes = round_up(std::size_t{capacity} * sizeof(SessionDetail), 4096);
  table->mapped_bytes_ = bucket_bytes + session_bytes + live_bytes + detail_bytes;
  // One huge page more, so that the start can be aligned to one.
  table->mapping_length_ = table->mapped_bytes_ + kHugePage;
  void* memory =
      mmap(nullptr, table->mapping_length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return Error{"session_table_memory",
                 "cannot map " + std::to_string(table->mapping_length_ >> 20) + " MiB for " + std::to_string(capacity) +
                     " sessions; lower the session capacity",
                 errno};
  }
  table->mapping_ = memory;
  auto* start = reinterpret_cast<std::uint8_t*>(round_up(reinterpret_cast<std::uintptr_t>(memory), kHugePage));
  (void)madvise(start, table->mapped_bytes_, MADV_HUGEPAGE);  // without huge pages it works all the same, a little slower
  table->buckets_ = reinterpret_cast<Bucket*>(start);
  table->sessions_ = reinterpret_cast<Session*>(start + bucket_bytes);
  table->live_ = reinterpret_cast<std::uint64_t*>(start + bucket_bytes + session_bytes);
  table->details_ = reinterpret_cast<SessionDetail*>(start + bucket_bytes + session_bytes + live_bytes);
  table->bucket_count_ = first_buckets;
  table->capacity_ = capacity;
  table->overflow_high_water_ = static_cast<std::uint32_t>(first_buckets);
  return table;
}

SessionTable::~SessionTable() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_length_);
}

SessionId SessionTable::insert(std::uint64_t hash_in, std::uint64_t hash_out) {
  const SessionId id = allocate();
  if (id == kNoSession) return kNoSession;
  add_entry(hash_in, make_ref(id, Direction::kInbound));
  add_entry(hash_out, make_ref(id, Direction::kOutbound));
  return id;
}

SessionId SessionTable::insert_one_way(std::uint64_t hash, Direction direction) {
  const SessionId id = allocate();
  if (id != kNoSession) add_entry(hash, make_ref(id, direction));
  return id;
}

void SessionTable::erase(SessionId id, std::uint64_t hash_in, std::uint64_t hash_out) {
  remove_entry(hash_in, make_ref(id, Direction::kInbound));
  remove_entry(hash_out, make_ref(id, Direction::kOutbound));
  free_session(id);
}

void SessionTable::erase_one_way(SessionId id, std::uint64_t hash, Direction direction) {
  remove_entry(hash, make_ref(id, direction));
  free_session(id);
}

SessionId SessionTable::allocate() {
  SessionId id = free_head_;
  if (id != kNoSession) {
    // The one freed last: its line is the likeliest to be cached.
    free_head_ = sessions_[id].timer_next;
    std::memset(static_cast<void*>(&sessions_[id]), 0, sizeof(Session));
  } else {
    if (high_water_ == capacity_) return kNoSession;
    id = high_water_++;  // never used: the kernel's zeroes
  }
  live_[id / 64] |= std::uint64_t{1} << (id % 64);
  size_++;
  return id;
}

void SessionTable::free_session(SessionId id) {
  live_[id / 64] &= ~(std::uint64_t{1} << (id % 64));
  sessions_[id].protocol = 0;  // what a batch has probed before must not take the remains for a session
  sessions_[id].timer_next = free_head_;
  free_head_ = id;
  size_--;
}

void SessionTable::add_entry(std::uint64_t hash, SessionRef ref) {
  Bucket* bucket = bucket_of(hash);
  while (bucket->next != 0) bucket = &buckets_[bucket->next];  // chains are compact: only the last bucket has room
  std::uint32_t free = match_mask(*bucket, 0);
  if (free == 0) {
    const std::uint32_t overflow = allocate_overflow();
    bucket->next = overflow;
    bucket = &buckets_[overflow];
    free = 1;
  }
  const auto entry = static_cast<std::uint32_t>(__builtin_ctz(free));
  bucket->signatures[entry] = signature_of(hash);
  bucket->refs[entry] = ref;
}

void SessionTable::remove_entry(std::uint64_t hash, SessionRef ref) {
  const std::uint32_t signature = signature_of(hash);
  Bucket* holder = nullptr;
  std::uint32_t entry = 0;
  Bucket* before_last = nullptr;
  Bucket* last = bucket_of(hash);
  for (;;) {
    for (std::uint32_t m = holder == nullptr ? match_mask(*last, signature) : 0; m != 0; m &= m - 1) {
      const auto i = static_cast<std::uint32_t>(__builtin_ctz(m));
      if (last->refs[i] != ref) continue;
      holder = last;
      entry = i;
      break;
    }
    if (last->next == 0) break;
    before_last = last;
    last = &buckets_[last->next];
  }
  if (holder == nullptr) return;

  // The hole is filled from the end of the chain, which keeps every bucket but the last one full.
  const std::uint32_t used = ~match_mask(*last, 0) & 0x7fu;
  const std::uint32_t donor = holder == last ? entry : static_cast<std::uint32_t>(__builtin_ctz(used));
  holder->signatures[entry] = last->signatures[donor];
  holder->refs[entry] = last->refs[donor];
  last->signatures[donor] = 0;
  if (before_last != nullptr && (used & (used - 1)) == 0) {
    const std::uint32_t freed = before_last->next;
    before_last->next = 0;
    last->next = overflow_free_;
    overflow_free_ = freed;
    overflow_used_--;
  }
}

std::uint32_t SessionTable::allocate_overflow() {
  std::uint32_t index = overflow_free_;
  if (index != 0) {
    overflow_free_ = buckets_[index].next;
    buckets_[index].next = 0;
  } else {
    index = overflow_high_water_++;  // cannot pass the end of the pool, see the header
  }
  overflow_used_++;
  return index;
}

}  // namespace millrace
