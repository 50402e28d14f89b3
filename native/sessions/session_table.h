// SessionTable: the sessions of one worker and the two hash entries by which packets find each of them.
//
//   hash of one direction = | signature : 32 high bits | bucket : 32 low bits, scaled to the bucket count |
//
//   bucket, one cache line:  | 7 signatures | next bucket | 7 references | spare |       reference = session id << 1 | direction
//                               28            4             28             4
//   session, one cache line: sessions[id]
//
// A packet of a known flow therefore costs two cache lines, and a batch hides both: prefetch(hash) for all, then probe(hash) for
// all (which prefetches the session), then look at the sessions. With three entries per bucket on average when the table is
// full, 1.2 % of the buckets have an eighth entry and need a second line, and 0.6 % of the entries live there. Signatures are
// only a hint: the caller compares addresses and ports, and calls find() when the probe's guess was wrong or when it found
// nothing.
//
// Guarantees: an id stays what it is until erase(); insert() fails only when `capacity` sessions exist (the overflow pool cannot
// run out: chains are kept compact, so they never need more than entries / 7 buckets). Memory per session when full: 64 (session)
// + 43 (buckets) + 1 (overflow, 18 reserved) + 0.125 (which ids are in use) = 108 bytes, and 64 more for one that needs its detail line;
// pages are touched only when used.
// Thread: only the worker that owns the table. No locks, no system calls after create().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "core/result.h"
#include "sessions/session.h"

namespace millrace {

/// A session as seen from one direction: `id << 1 | direction`.
using SessionRef = std::uint32_t;
inline constexpr SessionRef kNoRef = 0xffffffffu;

constexpr SessionRef make_ref(SessionId id, Direction direction) { return id << 1 | static_cast<std::uint32_t>(direction); }
constexpr SessionId ref_id(SessionRef ref) { return ref >> 1; }
constexpr Direction ref_direction(SessionRef ref) { return static_cast<Direction>(ref & 1u); }

class SessionTable {
 public:
  /// At most this many sessions, so that a reference and its "none" value fit 32 bits.
  static constexpr std::uint32_t kMaxCapacity = 1u << 30;

  /// Reserves address space for `capacity` sessions (1 to kMaxCapacity). Errors: "session_table_invalid", "session_table_memory".
  static Result<std::unique_ptr<SessionTable>> create(std::uint32_t capacity);
  ~SessionTable();
  SessionTable(const SessionTable&) = delete;
  SessionTable& operator=(const SessionTable&) = delete;

  /// First stage of a batch: starts loading the bucket line of `hash`.
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(bucket_of(hash), 0, 3); }

  /// Second stage: the first reference in the bucket whose signature fits, its session line on the way for writing; kNoRef if
  /// there is none in the first line of the bucket. A guess: the caller compares the addresses.
  SessionRef probe(std::uint64_t hash) const {
    const Bucket& bucket = *bucket_of(hash);
    const std::uint32_t matches = match_mask(bucket, signature_of(hash));
    if (matches == 0) return kNoRef;
    const SessionRef ref = bucket.refs[__builtin_ctz(matches)];
    __builtin_prefetch(&sessions_[ref_id(ref)], 1, 3);
    return ref;
  }

  /// The exact search: every entry with the signature, overflow included, until match(const Session&, Direction) is true.
  template <class Match>
  SessionRef find(std::uint64_t hash, Match match) const {
    const std::uint32_t signature = signature_of(hash);
    for (const Bucket* bucket = bucket_of(hash);;) {
      for (std::uint32_t matches = match_mask(*bucket, signature); matches != 0; matches &= matches - 1) {
        const SessionRef ref = bucket->refs[__builtin_ctz(matches)];
        if (match(static_cast<const Session&>(sessions_[ref_id(ref)]), ref_direction(ref))) return ref;
      }
      if (bucket->next == 0) return kNoRef;
      bucket = &buckets_[bucket->next];
    }
  }

  /// A zeroed session that is found by both hashes; kNoSession when the table is full. Does not look for duplicates.
  SessionId insert(std::uint64_t hash_in, std::uint64_t hash_out);
  /// The same in two steps, for a caller with other work to do while the memory of the second entry comes: after begin_insert()
  /// the session is found by hash_in, after finish_insert() by both. In between it must not be erased.
  SessionId begin_insert(std::uint64_t hash_in, std::uint64_t hash_out) {
    prefetch_entry(hash_out);
    return insert_one_way(hash_in, Direction::kInbound);
  }
  void finish_insert(SessionId id, std::uint64_t hash_out) { add_entry(hash_out, make_ref(id, Direction::kOutbound)); }
  /// The same for a session of which only one direction passes here (direct routing, tunnels, the half kept on another worker).
  SessionId insert_one_way(std::uint64_t hash, Direction direction);

  /// Starts loading the bucket line of `hash` because an entry will be added or removed.
  void prefetch_entry(std::uint64_t hash) const { __builtin_prefetch(bucket_of(hash), 1, 3); }

  /// Frees the session and its entries. The hashes are those given to insert().
  void erase(SessionId id, std::uint64_t hash_in, std::uint64_t hash_out);
  void erase_one_way(SessionId id, std::uint64_t hash, Direction direction);

  Session& at(SessionId id) { return sessions_[id]; }
  const Session& at(SessionId id) const { return sessions_[id]; }
  SessionId id_of(const Session& session) const { return static_cast<SessionId>(&session - sessions_); }
  /// The session's second line. What a former session left is still in it: whoever begins to use it sets it whole.
  SessionDetail& detail(SessionId id) { return details_[id]; }
  const SessionDetail& detail(SessionId id) const { return details_[id]; }
  void prefetch_detail(SessionId id) const { __builtin_prefetch(&details_[id], 1, 3); }
  /// Whether `id` is a session now. Not for the packet path.
  bool is_live(SessionId id) const { return id < high_water_ && (live_[id / 64] >> (id % 64) & 1u) != 0; }

  std::uint32_t size() const { return size_; }
  std::uint32_t capacity() const { return capacity_; }
  /// Overflow buckets in use: how far reality is from the numbers above.
  std::uint32_t overflow_buckets() const { return overflow_used_; }
  /// Address space of the table in bytes, all included; an upper bound of the memory it can ever use.
  std::size_t reserved_bytes() const { return mapped_bytes_; }

  /// Calls visit(SessionId, Session&) for live sessions with id >= cursor, looking at no more than `budget` ids. Returns the
  /// cursor to go on from, or kNoSession when the end was reached. Sessions may come and go between calls: each one that lives
  /// all the time is visited exactly once. `visit` may erase the session it is given.
  template <class Visit>
  SessionId for_each(SessionId cursor, std::uint32_t budget, Visit visit) {
    const SessionId end = high_water_ - cursor > budget && cursor < high_water_ ? cursor + budget : high_water_;
    for (SessionId id = cursor; id < end;) {
      const std::uint64_t word = live_[id / 64] >> (id % 64);
      if (word == 0) {
        id = (id / 64 + 1) * 64;
        continue;
      }
      id += static_cast<SessionId>(__builtin_ctzll(word));
      if (id >= end) break;
      visit(id, sessions_[id]);
      id++;
    }
    return end < high_water_ ? end : kNoSession;
  }
  /// All live sessions at once.
  template <class Visit>
  void for_each(Visit visit) {
    for_each(0, kNoSession, visit);
  }

 private:
  static constexpr std::uint32_t kEntries = 7;

  struct alignas(64) Bucket {
    /// 0 marks a free entry: fresh pages are an empty table.
    std::uint32_t signatures[kEntries];
    /// Index of the next bucket of the chain, 0 if this is the last. Bucket 0 is a first bucket, so 0 is never a link.
    std::uint32_t next;
    SessionRef refs[kEntries];
    std::uint32_t spare;
  };
  static_assert(sizeof(Bucket) == 64);

  SessionTable() = default;

  static std::uint32_t signature_of(std::uint64_t hash) {
    const auto high = static_cast<std::uint32_t>(hash >> 32);
    return high == 0 ? 1 : high;
  }
  std::uint32_t bucket_index(std::uint64_t hash) const {
    return static_cast<std::uint32_t>((hash & 0xffffffffu) * bucket_count_ >> 32);
  }
  Bucket* bucket_of(std::uint64_t hash) const { return &buckets_[bucket_index(hash)]; }

  /// Bit i is set when entry i has this signature.
  static std::uint32_t match_mask(const Bucket& bucket, std::uint32_t signature) {
#if defined(__SSE2__)
    const auto* words = reinterpret_cast<const __m128i*>(bucket.signatures);
    const __m128i wanted = _mm_set1_epi32(static_cast<int>(signature));
    const __m128i low = _mm_cmpeq_epi32(_mm_load_si128(words), wanted);
    const __m128i high = _mm_cmpeq_epi32(_mm_load_si128(words + 1), wanted);
    const int mask = _mm_movemask_ps(_mm_castsi128_ps(low)) | _mm_movemask_ps(_mm_castsi128_ps(high)) << 4;
    return static_cast<std::uint32_t>(mask) & 0x7fu;
#else
    std::uint32_t mask = 0;
    for (std::uint32_t i = 0; i < kEntries; i++) mask |= static_cast<std::uint32_t>(bucket.signatures[i] == signature) << i;
    return mask;
#endif
  }

  SessionId allocate();
  void free_session(SessionId id);
  void add_entry(std::uint64_t hash, SessionRef ref);
  void remove_entry(std::uint64_t hash, SessionRef ref);
  std::uint32_t allocate_overflow();

  Bucket* buckets_ = nullptr;    // first buckets, then the overflow pool
  Session* sessions_ = nullptr;  // free ones are chained through timer_next
  std::uint64_t* live_ = nullptr;
  SessionDetail* details_ = nullptr;  // pages exist only where sessions use them
  std::uint64_t bucket_count_ = 0;
  std::uint32_t capacity_ = 0;
  std::uint32_t size_ = 0;
  SessionId free_head_ = kNoSession;
  SessionId high_water_ = 0;  // ids from here on were never used
  std::uint32_t overflow_used_ = 0;
  std::uint32_t overflow_free_ = 0;  // chained through next; 0 means none
  std::uint32_t overflow_high_water_ = 0;
  void* mapping_ = nullptr;
  std::size_t mapping_length_ = 0;
  std::size_t mapped_bytes_ = 0;
};

}  // namespace millrace
