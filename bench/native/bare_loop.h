// BareLoop: what full NAT costs when nothing else is done, as the yardstick beside the production pipeline. It has the design the
// pipeline is built on and none of its features:
//
//   stage 1  headers -> flow tuple -> hash; ask for the bucket
//   stage 2  64-byte bucket of 7 signatures -> session number; ask for the session
//   stage 3  64-byte session: compare the tuple; write MAC, addresses, ports, checksums, TTL; count
//
// A new flow takes the oldest session of a ring: pick a server from a table, next local port, link into a timer slot, two entries
// inserted, two of its predecessor removed; all lines involved are asked for in stage 2.
// Missing on purpose: header checksum, options, fragments, malformed packets, IPv6, TCP states, timeouts, per-server statistics,
// next hops that change, configuration that changes, drops with reasons. So no complete balancer reaches it.
// IPv4 only. Shares the frame generator with the pipeline, and no code beyond header layouts.
// Thread: the benchmark's only thread.
#pragma once

#include <immintrin.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "core/batch.h"
#include "flow_port.h"
#include "net/headers.h"

namespace millrace::bench {

class BareLoop {
 public:
  /// `sessions`: how many flows exist at once.
  explicit BareLoop(std::uint32_t sessions)
      : capacity_(sessions),
        bucket_count_((2ull * sessions + 2) / 3 + 1),
        buckets_(huge_array<Bucket>(bucket_count_ + kSpareBuckets)),
        sessions_(huge_array<Session>(sessions)),
        timer_heads_(huge_array<std::uint32_t>(kTimerSlots)) {
    for (std::uint32_t i = 0; i < kTimerSlots; i++) timer_heads_[i] = kNone;
    for (std::uint32_t i = 0; i < kPicks; i++) picks_[i] = static_cast<std::uint8_t>(i * 7 % 16);
  }

  /// One turn: receive, three stages, transmit. Returns how many packets.
  std::uint32_t turn(FlowPort& port) {
    batch_.clear();
    const std::uint32_t n = port.receive(batch_);
    parse_and_hash(n);
    missing_ = 0;
    taken_ = 0;
    for (std::uint32_t i = 0; i < n + kProbeDistance; i++) {
      if (i < n) probe(i);
      if (i >= kProbeDistance) forward(i - kProbeDistance);
    }
    turns_++;
    port.transmit({batch_.packets.data(), n});
    return n;
  }

  void run(FlowPort& port, std::uint64_t packets) {
    for (std::uint64_t done = 0; done < packets;) done += turn(port);
  }

  std::uint64_t packets() const { return packets_; }
  std::uint64_t created() const { return created_; }

 private:
  static constexpr std::uint32_t kEntries = 7;
  /// Behind the last bucket, for its overflow: runs of full buckets are never that long.
  static constexpr std::uint32_t kSpareBuckets = 64;
  static constexpr std::uint32_t kNone = 0xffffffffu;
  static constexpr std::uint32_t kTimerSlots = 1024;
  static constexpr std::uint32_t kPicks = 256;
  static constexpr std::uint32_t kPrefetchDistance = 8;
  /// Sessions fetched ahead, as in the pipeline.
  static constexpr std::uint32_t kProbeDistance = 16;

  /// Addresses and ports as they stand in the packet, 12 bytes behind the first 26 of the frame, and the protocol.
  struct Tuple {
    std::uint32_t source;
    std::uint32_t destination;
    std::uint32_t ports;
    std::uint32_t protocol;
  };
  struct alignas(64) Session {
    Tuple client;         // as packets to the VIP have it
    std::uint32_t local;  // what they get instead
    std::uint32_t server;
    std::uint32_t ports;
    std::uint16_t ip_delta;
    std::uint16_t l4_delta;
    std::uint8_t macs[12];
    std::uint32_t timer_next;
    std::uint32_t timer_previous;  // or slot | kTimerHead
    std::uint32_t packets;
    std::uint32_t last_seen;
    std::uint32_t live;
  };
  static_assert(sizeof(Session) == 64);
  struct alignas(64) Bucket {
    std::uint32_t signatures[kEntries];
    std::uint32_t overflowed;  // entries of this bucket may be in the next one
    std::uint32_t sessions[kEntries];
    std::uint32_t spare;
  };
  static_assert(sizeof(Bucket) == 64);
  /// A flow that is about to begin: computed in stage 2, used in stage 3.
  struct Pending {
    std::uint32_t server;
    std::uint32_t local;
    std::uint32_t ports;
    std::uint64_t hash_out;
    std::uint64_t old_hash_in;
    std::uint64_t old_hash_out;
  };
  static constexpr std::uint32_t kTimerHead = 0x80000000u;

  static std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }
  static std::uint64_t hash_of(const Tuple& t) {
    const std::uint64_t addresses = static_cast<std::uint64_t>(t.source) << 32 | t.destination;
    return mix(addresses ^ 0x9e3779b97f4a7c15ull,
               (static_cast<std::uint64_t>(t.ports) << 8 | t.protocol) ^ 0xd1342543de82ef95ull);
  }
  static std::uint32_t signature_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32) | 1u; }
  std::uint64_t bucket_of(std::uint64_t hash) const { return (hash & 0xffffffffu) * bucket_count_ >> 32; }
  static std::uint32_t matches(const Bucket& bucket, std::uint32_t signature) {
    const __m256i line = _mm256_load_si256(reinterpret_cast<const __m256i*>(bucket.signatures));
    const __m256i equal = _mm256_cmpeq_epi32(line, _mm256_set1_epi32(static_cast<int>(signature)));
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(equal))) & 0x7fu;
  }
  static std::uint16_t fold(std::uint32_t sum) {
    sum = (sum & 0xffffu) + (sum >> 16);
    return static_cast<std::uint16_t>((sum & 0xffffu) + (sum >> 16));
  }
  static std::uint32_t halves(std::uint32_t word) { return (word & 0xffffu) + (word >> 16); }
  static void adjust(std::uint8_t* checksum, std::uint32_t delta) {
    std::uint16_t value;
    std::memcpy(&value, checksum, 2);
    value = static_cast<std::uint16_t>(~fold((static_cast<std::uint32_t>(~value) & 0xffffu) + delta));
    std::memcpy(checksum, &value, 2);
  }

  void parse_and_hash(std::uint32_t n) {
    for (std::uint32_t i = 0; i < n && i < kPrefetchDistance; i++) __builtin_prefetch(batch_.packets[i].data, 1, 3);
    for (std::uint32_t i = 0; i < n; i++) {
      if (i + kPrefetchDistance < n) __builtin_prefetch(batch_.packets[i + kPrefetchDistance].data, 1, 3);
      const std::uint8_t* p = batch_.packets[i].data;
      const auto* ip = reinterpret_cast<const net::Ipv4*>(p + 14);
      const bool good = reinterpret_cast<const net::Ethernet*>(p)->type == net::kEtherTypeIpv4 && ip->version_ihl == 0x45 &&
                        ip->ttl > 1 && ip->total_length.host() + 14u <= batch_.packets[i].length &&
                        (ip->protocol == net::kProtocolUdp || ip->protocol == net::kProtocolTcp);
      Tuple& t = tuples_[i];
      std::memcpy(&t, p + 26, 12);
      t.protocol = good ? ip->protocol : 0u;
      hashes_[i] = hash_of(t);
      __builtin_prefetch(&buckets_[bucket_of(hashes_[i])], 0, 3);
    }
  }

  void probe(std::uint32_t i) {
    found_[i] = find_signature(hashes_[i]);
    if (found_[i] != kNone) {
      __builtin_prefetch(&sessions_[found_[i]], 1, 3);
    } else {
      prefetch_new(missing_++);
    }
  }

  std::uint32_t find_signature(std::uint64_t hash) const {
    const Bucket* bucket = &buckets_[bucket_of(hash)];
    std::uint32_t m = matches(*bucket, signature_of(hash));
    while (m == 0 && bucket->overflowed != 0) m = matches(*++bucket, signature_of(hash));
    return m == 0 ? kNone : bucket->sessions[__builtin_ctz(m)];
  }

  /// The sessions that new flows will take over are next in the ring, so everything they touch can be fetched now.
  void prefetch_new(std::uint32_t missing) {
    Pending& p = pending_[missing];
    // Some of those before it in the batch have taken their session already.
    const std::uint32_t ahead = missing - taken_;
    const std::uint32_t id = (cursor_ + ahead) % capacity_;
    const std::uint32_t number = next_local_ + ahead;
    p.server = be32((192u << 24) | (168u << 16) | (1u << 8) | (picks_[number % kPicks] + 1u)).raw;
    p.local = be32((192u << 24) | (168u << 16) | (2u << 8) | (number % 16 + 1)).raw;
    const std::uint16_t local_port = be16(static_cast<std::uint16_t>(1024u + number / 16 % 60000u)).raw;
    p.ports = local_port | static_cast<std::uint32_t>(be16(8053).raw) << 16;
    p.hash_out = hash_of({p.server, p.local, p.ports >> 16 | p.ports << 16, net::kProtocolUdp});
    __builtin_prefetch(&buckets_[bucket_of(p.hash_out)], 1, 3);
    const Session& old = sessions_[id];
    if (old.live == 0) return;
    p.old_hash_in = hash_of(old.client);
    p.old_hash_out = hash_of({old.server, old.local, old.ports >> 16 | old.ports << 16, net::kProtocolUdp});
    __builtin_prefetch(&buckets_[bucket_of(p.old_hash_in)], 1, 3);
    __builtin_prefetch(&buckets_[bucket_of(p.old_hash_out)], 1, 3);
    if (old.timer_next != kNone) __builtin_prefetch(&sessions_[old.timer_next], 1, 3);
  }

  void forward(std::uint32_t i) {
    std::uint32_t id = found_[i];
    if (id == kNone) [[unlikely]] {
      id = create(tuples_[i], hashes_[i], pending_[taken_++]);
    }
    Session& session = sessions_[id];
    if (std::memcmp(&session.client, &tuples_[i], sizeof(Tuple)) != 0) [[unlikely]]
      return;
    std::uint8_t* p = batch_.packets[i].data;
    std::memcpy(p, session.macs, 12);
    p[22] = static_cast<std::uint8_t>(p[22] - 1);
    adjust(p + 24, session.ip_delta);
    std::memcpy(p + 26, &session.local, 12);  // local, server, ports
    adjust(p + (session.client.protocol == net::kProtocolTcp ? 50 : 40), session.l4_delta);
    session.packets++;
    session.last_seen = static_cast<std::uint32_t>(turns_);
    packets_++;
    bytes_ += batch_.packets[i].length;
  }

  std::uint32_t create(const Tuple& tuple, std::uint64_t hash_in, const Pending& p) {
    const std::uint32_t id = cursor_;
    cursor_ = cursor_ + 1 == capacity_ ? 0 : cursor_ + 1;
    next_local_++;
    created_++;
    Session& session = sessions_[id];
    if (session.live != 0) {
      remove(p.old_hash_in, id);
      remove(p.old_hash_out, id);
      unlink(session);
    }
    session.client = tuple;
    session.local = p.local;
    session.server = p.server;
    session.ports = p.ports;
    const std::uint32_t removed = halves(tuple.source) + halves(tuple.destination);
    const std::uint32_t added = halves(p.local) + halves(p.server);
    const std::uint32_t address_delta = added + (~static_cast<std::uint32_t>(fold(removed)) & 0xffffu);
    // TTL falls by one: 0x0001 less in the little-endian word of TTL and protocol.
    session.ip_delta = fold(address_delta + 0xfffeu);
    session.l4_delta = fold(address_delta + halves(p.ports) + (~static_cast<std::uint32_t>(fold(halves(tuple.ports))) & 0xffffu));
    static constexpr std::uint8_t kMacs[12] = {2, 0, 0, 0, 3, 1, 2, 0, 0, 0, 2, 1};
    std::memcpy(session.macs, kMacs, 12);
    session.packets = 0;
    session.live = 1;
    link(session, id);
    insert(hash_in, id);
    insert(p.hash_out, id);
    return id;
  }

  void insert(std::uint64_t hash, std::uint32_t id) {
    Bucket* bucket = &buckets_[bucket_of(hash)];
    std::uint32_t free = matches(*bucket, 0);
    while (free == 0) {
      bucket->overflowed = 1;
      free = matches(*++bucket, 0);
    }
    const auto entry = static_cast<std::uint32_t>(__builtin_ctz(free));
    bucket->signatures[entry] = signature_of(hash);
    bucket->sessions[entry] = id;
  }

  void remove(std::uint64_t hash, std::uint32_t id) {
    Bucket* bucket = &buckets_[bucket_of(hash)];
    for (;; bucket++) {
      for (std::uint32_t m = matches(*bucket, signature_of(hash)); m != 0; m &= m - 1) {
        const auto entry = static_cast<std::uint32_t>(__builtin_ctz(m));
        if (bucket->sessions[entry] != id) continue;
        bucket->signatures[entry] = 0;
        return;
      }
      if (bucket->overflowed == 0) return;
    }
  }

  void link(Session& session, std::uint32_t id) {
    const auto slot = static_cast<std::uint32_t>(turns_ >> 6) % kTimerSlots;
    session.timer_next = timer_heads_[slot];
    session.timer_previous = kTimerHead | slot;
    if (session.timer_next != kNone) sessions_[session.timer_next].timer_previous = id;
    timer_heads_[slot] = id;
  }
  void unlink(const Session& session) {
    if (session.timer_next != kNone) sessions_[session.timer_next].timer_previous = session.timer_previous;
    if ((session.timer_previous & kTimerHead) != 0) {
      timer_heads_[session.timer_previous & ~kTimerHead] = session.timer_next;
    } else {
      sessions_[session.timer_previous].timer_next = session.timer_next;
    }
  }

  const std::uint32_t capacity_;
  const std::uint64_t bucket_count_;
  Bucket* const buckets_;
  Session* const sessions_;
  std::uint32_t* const timer_heads_;
  std::array<std::uint8_t, kPicks> picks_{};
  std::uint32_t cursor_ = 0;
  std::uint32_t next_local_ = 0;
  std::uint32_t missing_ = 0;  // of this batch: flows that begin, and how many of them have begun
  std::uint32_t taken_ = 0;
  std::uint64_t turns_ = 0;
  std::uint64_t packets_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t created_ = 0;
  Batch batch_;
  std::array<Tuple, kBatchSize> tuples_;
  std::array<std::uint64_t, kBatchSize> hashes_;
  std::array<std::uint32_t, kBatchSize> found_;
  std::array<Pending, kBatchSize> pending_;
};

}  // namespace millrace::bench
