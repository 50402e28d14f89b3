// LocalPorts: which (local address, port) pairs of one worker are in use, separately for every endpoint (a real server's address,
// port and protocol: port_space() in pipeline/session_key.h). The same pair may serve any number of endpoints at once, because the connection to the server is told apart
// by all four values; so the supply is addresses x ports *per server*.
//
//   order in which an endpoint takes pairs, with local addresses A B C and ports in chunks of 512:
//     A 1025..1535 | B 1025..1535 | C 1025..1535 | A 1536..2047 | B 1536..2047 | ...
//   beginning at a random place, round and round
//
// A freed pair is thus the last to be used again, after all other free ones; servers keep closed connections in TIME_WAIT for a
// while. Staying on one chunk until it is used up keeps the memory small: 64 bytes (one bit per port) and one 16-byte hash entry
// for up to 512 sessions. Chunks without a used port do not exist. An address whose chunks are partly full has a summary line
// besides (one bit per full chunk), so that a nearly full pool is searched by a few bit operations per address, and exhaustion is
// seen as fast.
//
// Local addresses may come and go at any time: each allocate() is given the addresses to choose from, and release() needs only
// what was allocated.
// Thread: one worker. No locks; memory grows with use only (a new flow may double the hash, which is rare and moves 16 bytes per
// chunk).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/result.h"
#include "net/byte_order.h"
#include "sessions/session.h"
#include "tables/slots.h"

namespace millrace {

struct LocalPort {
  LocalSlot local;
  be16 port;
};

class LocalPorts {
 public:
  struct Options {
    /// First and last port to hand out, host byte order, both included.
    std::uint16_t first_port = 1025;
    std::uint16_t last_port = 65535;
    /// At most this many pairs in use over all endpoints: the capacity of the worker's session table.
    std::uint32_t max_used = 1u << 20;
    /// Where each endpoint starts is drawn from this.
    std::uint64_t seed = 0;
  };
  /// How many free pairs allocate() offers to `accept` before it gives up.
  static constexpr std::uint32_t kMaxCandidates = 1024;

  /// Errors: "local_ports_invalid" (empty range, port 0, no capacity), "limit_exceeded" (no address space).
  static Result<std::unique_ptr<LocalPorts>> create(const Options& options);
  LocalPorts(const LocalPorts&) = delete;
  LocalPorts& operator=(const LocalPorts&) = delete;

  /// The next free pair of `endpoint` (port_space()) on one of `locals`; nothing when all are in use.
  std::optional<LocalPort> allocate(std::uint32_t endpoint, std::span<const LocalSlot> locals) {
    return allocate(endpoint, locals, [](LocalSlot, be16) { return true; });
  }

  /// The next free pair for which accept(LocalSlot, be16) is true: for choosing ports by the queue that replies will arrive on.
  /// Looks at kMaxCandidates free pairs at most; after a failure the next call goes on from there.
  template <class Accept>
  std::optional<LocalPort> allocate(std::uint32_t endpoint, std::span<const LocalSlot> locals, Accept accept);

  /// Gives a pair back. False if it was not in use.
  bool release(std::uint32_t endpoint, LocalSlot local, be16 port);

  /// Pairs in use for one endpoint, on one local address over all endpoints, and in total.
  std::uint32_t used(std::uint32_t endpoint) const { return endpoint < endpoints_.capacity() ? endpoints_[endpoint].used : 0; }
  std::uint32_t used_on(LocalSlot local) const { return used_on_[local]; }
  std::uint32_t used() const { return used_; }
  /// Bytes that the pairs in use need now, hash included.
  std::size_t memory_bytes() const { return std::size_t{lines_used_} * sizeof(Line) + entries_.size() * sizeof(Entry); }

 private:
  static constexpr std::uint32_t kChunkShift = 9;
  static constexpr std::uint32_t kChunkPorts = 1u << kChunkShift;
  /// Chunk number of the summary: no chunk of ports has it.
  static constexpr std::uint32_t kSummary = 255;

  /// 512 bits: ports in use, or in a summary the chunks that are full. In the free list: bits[0] is the next.
  struct alignas(64) Line {
    std::uint64_t bits[kChunkPorts / 64];
  };
  struct Entry {
    std::uint64_t key;  // 0 marks an empty place
    std::uint32_t line;
    std::uint32_t count;  // free ports left in the chunk; of a summary: full chunks
  };
  /// Where the endpoint's next search begins.
  struct Endpoint {
    std::uint32_t used;
    std::uint16_t local_index;
    std::uint16_t bit;  // within the chunk; kChunkPorts when the chunk is done
    std::uint8_t chunk;
    std::uint8_t started;
    std::uint8_t reserved[6];
  };
  static_assert(sizeof(Endpoint) == 16 && sizeof(Entry) == 16);

  struct Place {
    std::uint32_t local_index;
    std::uint32_t chunk;
  };

  explicit LocalPorts(const Options& options);

  static std::uint64_t key_of(std::uint32_t endpoint, LocalSlot local, std::uint32_t chunk) {
    return (static_cast<std::uint64_t>(endpoint) << 24 | static_cast<std::uint64_t>(local) << 8 | chunk) + 1;
  }
  /// The first clear bit from `from` on, or `end`.
  static std::uint32_t next_clear(const Line& line, std::uint32_t from, std::uint32_t end);
  std::size_t home_of(std::uint64_t key) const;
  Entry* lookup(std::uint64_t key);
  Entry& add(std::uint64_t key);
  void remove(Entry* entry);
  void grow();

  std::uint32_t ports_in(std::uint32_t chunk) const { return end_bit(chunk) - first_bit(chunk); }
  std::uint32_t first_bit(std::uint32_t chunk) const { return chunk == first_chunk_ ? options_.first_port % kChunkPorts : 0; }
  std::uint32_t end_bit(std::uint32_t chunk) const {
    return chunk == last_chunk_ ? options_.last_port % kChunkPorts + 1u : kChunkPorts;
  }
  /// The free port with the lowest bit >= from in a chunk that may not exist yet, or kChunkPorts.
  std::uint32_t next_free(const Entry* chunk_entry, std::uint32_t chunk, std::uint32_t from) const;
  void begin(Endpoint& state, std::uint32_t endpoint, std::size_t locals) const;
  /// The next chunk after `place` that has a free port; false when there is none at all.
  bool next_place(std::uint32_t endpoint, std::span<const LocalSlot> locals, Place& place);
  void take(std::uint32_t endpoint, LocalSlot local, std::uint32_t chunk, std::uint32_t bit);

  const Options options_;
  const std::uint32_t first_chunk_;
  const std::uint32_t last_chunk_;
  StableArray<Endpoint> endpoints_;
  StableArray<std::uint32_t> used_on_;
  StableArray<Line> lines_;
  std::uint32_t lines_high_water_ = 1;  // line 0 is not used: 0 ends the free list
  std::uint32_t free_line_ = 0;
  std::uint32_t lines_used_ = 0;
  std::uint32_t used_ = 0;
  std::vector<Entry> entries_;
  std::size_t entry_count_ = 0;
};

template <class Accept>
std::optional<LocalPort> LocalPorts::allocate(std::uint32_t endpoint, std::span<const LocalSlot> locals, Accept accept) {
  if (locals.empty() || endpoint >= endpoints_.capacity() || used_ == options_.max_used) return std::nullopt;
  Endpoint& state = endpoints_[endpoint];
  if (state.started == 0) begin(state, endpoint, locals.size());
  Place place{static_cast<std::uint32_t>(state.local_index % locals.size()), state.chunk};
  std::uint32_t bit = state.bit;
  for (std::uint32_t candidates = kMaxCandidates;;) {
    const LocalSlot local = locals[place.local_index];
    const Entry* entry = lookup(key_of(endpoint, local, place.chunk));
    for (bit = next_free(entry, place.chunk, bit); bit < kChunkPorts; bit = next_free(entry, place.chunk, bit + 1)) {
      const be16 port(static_cast<std::uint16_t>(place.chunk << kChunkShift | bit));
      const bool accepted = accept(local, port);
      if (!accepted && --candidates != 0) continue;
      state.local_index = static_cast<std::uint16_t>(place.local_index);
      state.chunk = static_cast<std::uint8_t>(place.chunk);
      state.bit = static_cast<std::uint16_t>(bit + 1);
      if (!accepted) return std::nullopt;
      take(endpoint, local, place.chunk, bit);
      return LocalPort{local, port};
    }
    if (!next_place(endpoint, locals, place)) return std::nullopt;
    bit = 0;
  }
}

}  // namespace millrace
