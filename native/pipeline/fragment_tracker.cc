// The tracker's lists and the account of bytes.
#include "pipeline/fragment_tracker.h"

#include <algorithm>

namespace millrace {

Result<std::unique_ptr<FragmentTracker>> FragmentTracker::create(HashKey key, std::uint32_t held_limit) {
  std::unique_ptr<FragmentTracker> tracker(new FragmentTracker());
  if (auto r = tracker->datagrams_.reserve(kDatagrams); !r) return r.error();
  tracker->buckets_.fill(kNone);
  for (std::uint32_t i = 0; i < kHeld; i++) tracker->slots_[i].next = static_cast<std::uint16_t>(i + 1 < kHeld ? i + 1 : kNone);
  tracker->free_datagrams_ = kNone;
  tracker->held_limit_ = std::min(held_limit, kHeld);
  tracker->hash_key_ = key;
  return tracker;
}

std::uint32_t FragmentTracker::bucket_of(const Key& key) const {
  const std::uint64_t hash = flow_hash(hash_key_, key.source, key.destination, be16::from_raw(static_cast<std::uint16_t>(key.id)),
                                       be16::from_raw(static_cast<std::uint16_t>(key.id >> 16)), key.protocol);
  return static_cast<std::uint32_t>(hash >> 32) % kBuckets;
}

FragmentTracker::Datagram* FragmentTracker::find(const Key& key) {
  for (std::uint16_t n = buckets_[bucket_of(key)]; n != kNone; n = datagrams_[n].chain) {
    if (datagrams_[n].key == key) return &datagrams_[n];
  }
  return nullptr;
}

std::uint16_t FragmentTracker::older() const {
  const std::uint16_t waiting = lists_[kWaitingList].first, known = lists_[kKnownList].first;
  // Complete ones go at the end of this turn anyway, and until then fragments that waited for their first one may still come by.
  if (waiting == kNone && known == kNone) return lists_[kCompleteList].first;
  if (waiting == kNone) return known;
  if (known == kNone) return waiting;
  return static_cast<std::int32_t>(datagrams_[waiting].deadline_ms - datagrams_[known].deadline_ms) <= 0 ? waiting : known;
}

void FragmentTracker::link(std::uint32_t list, std::uint16_t number) {
  List& l = lists_[list];
  datagrams_[number].previous = l.last;
  datagrams_[number].next = kNone;
  (l.last == kNone ? l.first : datagrams_[l.last].next) = number;
  l.last = number;
}

void FragmentTracker::unlink(std::uint32_t list, std::uint16_t number) {
  List& l = lists_[list];
  const Datagram& d = datagrams_[number];
  (d.previous == kNone ? l.first : datagrams_[d.previous].next) = d.next;
  (d.next == kNone ? l.last : datagrams_[d.next].previous) = d.previous;
}

FragmentTracker::Datagram& FragmentTracker::take(const Key& key, std::uint32_t now_ms) {
  // Places that were never used follow those that were: their pages do not exist yet.
  std::uint16_t number = free_datagrams_;
  if (number != kNone) {
    free_datagrams_ = datagrams_[number].chain;
  } else {
    number = static_cast<std::uint16_t>(kDatagrams - free_count_);
  }
  free_count_--;
  Datagram& d = datagrams_[number];
  d = Datagram{};
  d.key = key;
  d.pass_to = kNobody;
  d.held_first = d.held_last = kNone;
  d.deadline_ms = now_ms + kLifetimeMs;
  std::uint16_t& bucket = buckets_[bucket_of(key)];
  d.chain = bucket;
  bucket = number;
  link(kWaitingList, number);
  return d;
}

void FragmentTracker::free_datagram(std::uint16_t number) {
  Datagram& d = datagrams_[number];
  unlink(list_of(d), number);
  if (d.complete) complete_count_--;
  std::uint16_t* at = &buckets_[bucket_of(d.key)];
  while (*at != number) at = &datagrams_[*at].chain;
  *at = d.chain;
  d.chain = free_datagrams_;
  free_datagrams_ = number;
  free_count_++;
}

FragmentTracker::Arrival FragmentTracker::record(Datagram& datagram, std::uint32_t offset, std::uint32_t length, bool more) {
  const std::uint32_t end = offset + (length + 7) / 8;
  // A second last fragment that ends elsewhere, or something behind the end.
  if (!more && ((datagram.total != 0 && datagram.total != end) || datagram.end > end)) return Arrival::kOverlap;
  if (datagram.total != 0 && (end > datagram.total || (more && end == datagram.total))) return Arrival::kOverlap;
  std::uint32_t seen = 0;
  for (std::uint32_t unit = offset; unit < end;) {
    const std::uint32_t bit = unit % 64;
    const std::uint32_t count = std::min(64 - bit, end - unit);
    const std::uint64_t mask = (count == 64 ? ~0ull : (1ull << count) - 1) << bit;
    seen += static_cast<std::uint32_t>(__builtin_popcountll(datagram.seen[unit / 64] & mask));
    datagram.seen[unit / 64] |= mask;
    unit += count;
  }
  if (seen == end - offset) return Arrival::kDuplicate;
  if (seen != 0) return Arrival::kOverlap;
  datagram.units = static_cast<std::uint16_t>(datagram.units + (end - offset));
  datagram.end = std::max(datagram.end, static_cast<std::uint16_t>(end));
  if (!more) datagram.total = static_cast<std::uint16_t>(end);
  return Arrival::kNew;
}

void FragmentTracker::move_to_known(Datagram& datagram) {
  const std::uint16_t number = number_of(datagram);
  unlink(kWaitingList, number);
  link(kKnownList, number);
}

void FragmentTracker::become_known(Datagram& datagram) {
  if (datagram.state != State::kWaiting) return;
  move_to_known(datagram);
  datagram.state = State::kKnown;
  if (datagram.held_first == kNone) return;
  (released_last_ == kNone ? released_first_ : slots_[released_last_].next) = datagram.held_first;
  released_last_ = datagram.held_last;
  datagram.held_first = datagram.held_last = kNone;
  datagram.held_count = 0;
}

void FragmentTracker::settle(Datagram& datagram) {
  const bool all = datagram.total != 0 && datagram.units == datagram.total;
  if (!all || datagram.state != State::kKnown || datagram.parked || datagram.complete) return;
  // Not freed at once: those that waited for the first fragment are still to come by in this turn.
  const std::uint16_t number = number_of(datagram);
  unlink(kKnownList, number);
  datagram.complete = true;
  link(kCompleteList, number);
  complete_count_++;
}

void FragmentTracker::keep(Datagram& datagram, const Packet& packet) {
  const std::uint16_t slot = free_slots_;
  free_slots_ = slots_[slot].next;
  slots_[slot] = {packet, kNone};
  (datagram.held_first == kNone ? datagram.held_first : slots_[datagram.held_last].next) = slot;
  datagram.held_last = slot;
  datagram.held_count++;
  held_++;
}

Packet FragmentTracker::pop_held(std::uint16_t& first) {
  const std::uint16_t slot = first;
  first = slots_[slot].next;
  slots_[slot].next = free_slots_;
  free_slots_ = slot;
  held_--;
  return slots_[slot].packet;
}

std::uint32_t FragmentTracker::release_into(Batch& batch) {
  std::uint32_t released = 0;
  for (; released_first_ != kNone && !batch.full(); released++) batch.push(pop_held(released_first_));
  if (released_first_ == kNone) released_last_ = kNone;
  return released;
}

}  // namespace millrace
