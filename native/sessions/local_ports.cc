// LocalPorts: the hash of chunks, the lines they point to, and the order of the search. One worker's thread.
#include "sessions/local_ports.h"

#include <bit>
#include <string>
#include <utility>

#include "core/hash.h"

namespace millrace {

namespace {
constexpr std::size_t kFirstEntries = 1024;
}

LocalPorts::LocalPorts(const Options& options)
    : options_(options),
      first_chunk_(options.first_port >> kChunkShift),
      last_chunk_(options.last_port >> kChunkShift),
      entries_(kFirstEntries) {}

Result<std::unique_ptr<LocalPorts>> LocalPorts::create(const Options& options) {
  if (options.first_port == 0 || options.first_port > options.last_port || options.max_used == 0 || options.max_used > 1u << 30) {
    return Error{"local_ports_invalid",
                 "local ports need a range within 1-65535, first not above last, not " + std::to_string(options.first_port) +
                     "-" + std::to_string(options.last_port),
                 0};
  }
  std::unique_ptr<LocalPorts> ports(new LocalPorts(options));
  if (auto r = ports->endpoints_.reserve(kMaxPortSpaces); !r) return r.error();
  if (auto r = ports->used_on_.reserve(kMaxLocals); !r) return r.error();
  // Every line has at least one port in use, or at least one full chunk.
  if (auto r = ports->lines_.reserve(std::size_t{2} * options.max_used + 1); !r) return r.error();
  return ports;
}

std::uint32_t LocalPorts::next_clear(const Line& line, std::uint32_t from, std::uint32_t end) {
  while (from < end) {
    const std::uint64_t clear = ~line.bits[from / 64] >> (from % 64);
    if (clear != 0) {
      from += static_cast<std::uint32_t>(std::countr_zero(clear));
      return from < end ? from : end;
    }
    from = (from / 64 + 1) * 64;
  }
  return end;
}

std::size_t LocalPorts::home_of(std::uint64_t key) const { return mix64(key) & (entries_.size() - 1); }

LocalPorts::Entry* LocalPorts::lookup(std::uint64_t key) {
  for (std::size_t i = home_of(key);; i = (i + 1) & (entries_.size() - 1)) {
    if (entries_[i].key == key) return &entries_[i];
    if (entries_[i].key == 0) return nullptr;
  }
}

LocalPorts::Entry& LocalPorts::add(std::uint64_t key) {
  if ((entry_count_ + 1) * 4 > entries_.size() * 3) grow();
  std::size_t i = home_of(key);
  while (entries_[i].key != 0) i = (i + 1) & (entries_.size() - 1);
  std::uint32_t line = free_line_;
  if (line != 0) {
    free_line_ = static_cast<std::uint32_t>(lines_[line].bits[0]);
    lines_[line] = Line{};
  } else {
    line = lines_high_water_++;
  }
  entry_count_++;
  lines_used_++;
  entries_[i] = {key, line, 0};
  return entries_[i];
}

void LocalPorts::remove(Entry* entry) {
  lines_[entry->line].bits[0] = free_line_;
  free_line_ = entry->line;
  entry_count_--;
  lines_used_--;
  // Linear probing without tombstones: what follows in the run moves up, unless it would pass its home.
  const std::size_t mask = entries_.size() - 1;
  auto hole = static_cast<std::size_t>(entry - entries_.data());
  for (std::size_t i = (hole + 1) & mask; entries_[i].key != 0; i = (i + 1) & mask) {
    if (((i - home_of(entries_[i].key)) & mask) < ((i - hole) & mask)) continue;
    entries_[hole] = entries_[i];
    hole = i;
  }
  entries_[hole].key = 0;
}

void LocalPorts::grow() {
  std::vector<Entry> old(entries_.size() * 2);
  old.swap(entries_);
  for (const Entry& entry : old) {
    if (entry.key == 0) continue;
    std::size_t i = home_of(entry.key);
    while (entries_[i].key != 0) i = (i + 1) & (entries_.size() - 1);
    entries_[i] = entry;
  }
}

std::uint32_t LocalPorts::next_free(const Entry* chunk_entry, std::uint32_t chunk, std::uint32_t from) const {
  if (from < first_bit(chunk)) from = first_bit(chunk);
  const std::uint32_t end = end_bit(chunk);
  if (chunk_entry != nullptr) from = next_clear(lines_[chunk_entry->line], from, end);
  return from < end ? from : kChunkPorts;
}

void LocalPorts::begin(Endpoint& state, std::uint32_t endpoint, std::size_t locals) const {
  const std::uint64_t random = mix64(options_.seed ^ mix64(endpoint));
  const std::uint32_t range = options_.last_port - options_.first_port + 1u;
  const auto port = options_.first_port + static_cast<std::uint32_t>(random % range);
  state.local_index = static_cast<std::uint16_t>((random >> 32) % locals);
  state.chunk = static_cast<std::uint8_t>(port >> kChunkShift);
  state.bit = static_cast<std::uint16_t>(port % kChunkPorts);
  state.started = 1;
}

bool LocalPorts::next_place(std::uint32_t endpoint, std::span<const LocalSlot> locals, Place& place) {
  const std::uint32_t chunks = last_chunk_ - first_chunk_ + 1;
  const auto count = static_cast<std::uint32_t>(locals.size());
  const std::uint32_t here = place.chunk - first_chunk_;
  Place best{0, 0};
  std::uint32_t best_distance = chunks + 1;  // in chunks, from `place`
  for (std::uint32_t step = 1; step <= count; step++) {
    const bool later = place.local_index + step < count;
    const std::uint32_t index = later ? place.local_index + step : place.local_index + step - count;
    // Addresses after this one come with the same chunk, the others (this one last) with the next.
    const std::uint32_t nearest = later ? 0 : 1;
    const std::uint32_t from = (here + nearest) % chunks;
    std::uint32_t found = from;
    if (const Entry* summary = lookup(key_of(endpoint, locals[index], kSummary)); summary != nullptr) {
      if (summary->count == chunks) continue;
      const Line& full = lines_[summary->line];
      found = next_clear(full, from, chunks);
      if (found == chunks) found = next_clear(full, 0, from);
    }
    const std::uint32_t distance = nearest + (found >= from ? found - from : found + chunks - from);
    if (distance > best_distance || (distance == best_distance && index > best.local_index)) continue;
    best = {index, first_chunk_ + found};
    best_distance = distance;
    if (distance == nearest) break;  // nothing that is still to be looked at comes before it
  }
  if (best_distance > chunks) return false;
  place = best;
  return true;
}

void LocalPorts::take(std::uint32_t endpoint, LocalSlot local, std::uint32_t chunk, std::uint32_t bit) {
  const std::uint64_t key = key_of(endpoint, local, chunk);
  Entry* entry = lookup(key);
  if (entry == nullptr) {
    entry = &add(key);
    entry->count = ports_in(chunk);
  }
  lines_[entry->line].bits[bit / 64] |= std::uint64_t{1} << (bit % 64);
  used_++;
  used_on_[local]++;
  endpoints_[endpoint].used++;
  if (--entry->count != 0) return;
  const std::uint64_t summary_key = key_of(endpoint, local, kSummary);
  Entry* summary = lookup(summary_key);
  if (summary == nullptr) summary = &add(summary_key);
  const std::uint32_t full = chunk - first_chunk_;
  lines_[summary->line].bits[full / 64] |= std::uint64_t{1} << (full % 64);
  summary->count++;
}

bool LocalPorts::release(std::uint32_t endpoint, LocalSlot local, be16 port) {
  const std::uint32_t chunk = port.host() >> kChunkShift;
  const std::uint32_t bit = port.host() % kChunkPorts;
  Entry* entry = lookup(key_of(endpoint, local, chunk));
  if (entry == nullptr) return false;
  std::uint64_t& word = lines_[entry->line].bits[bit / 64];
  const std::uint64_t mask = std::uint64_t{1} << (bit % 64);
  if ((word & mask) == 0) return false;
  word &= ~mask;
  used_--;
  used_on_[local]--;
  endpoints_[endpoint].used--;
  const bool was_full = entry->count == 0;
  if (++entry->count == ports_in(chunk)) remove(entry);
  if (was_full) {
    Entry* summary = lookup(key_of(endpoint, local, kSummary));
    const std::uint32_t full = chunk - first_chunk_;
    lines_[summary->line].bits[full / 64] &= ~(std::uint64_t{1} << (full % 64));
    if (--summary->count == 0) remove(summary);
  }
  return true;
}

}  // namespace millrace
