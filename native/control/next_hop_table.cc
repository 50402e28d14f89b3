// Giving and taking back next-hop numbers. Control thread.
#include "control/next_hop_table.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace millrace {
namespace {

bool same(const NextHop& a, const NextHop& b) {
  return a.destination == b.destination && a.source == b.source && a.interface == b.interface && a.mtu == b.mtu &&
         a.resolved == b.resolved && a.failed == b.failed;
}

}  // namespace

NextHop NextHopTable::view_of(const Entry& entry) const {
  NextHop view;
  view.interface = static_cast<std::uint16_t>(entry.key.interface);
  const InterfaceView interface = entry.key.interface < interfaces_.size() ? interfaces_[entry.key.interface] : InterfaceView{};
  view.source = interface.mac;
  view.mtu =
      entry.route_mtu == 0 ? interface.mtu : static_cast<std::uint16_t>(std::min<std::uint32_t>(entry.route_mtu, interface.mtu));
  const Resolution resolution = neighbours_.resolution(entry.key);
  view.destination = resolution.mac;
  view.resolved = entry.live && resolution.resolved;
  view.failed = !entry.live || resolution.failed;
  return view;
}

bool NextHopTable::refresh_view(NextHopId id) {
  const NextHop view = view_of(entries_[id]);
  if (same(views_[id], view)) return false;
  views_[id] = view;
  return true;
}

NextHopId NextHopTable::allocate() {
  if (entries_.size() <= kLimit) {
    entries_.emplace_back();
    views_.emplace_back();
    return static_cast<NextHopId>(entries_.size() - 1);
  }
  if (freed_.empty()) {
    NextHopId oldest = 0;
    for (std::size_t i = 1; i < entries_.size(); i++) {
      const Entry& entry = entries_[i];
      if (!entry.live || entry.is_gateway || entry.pinned) continue;
      if (oldest == 0 || entry.last_request_ms < entries_[oldest].last_request_ms) oldest = static_cast<NextHopId>(i);
    }
    if (oldest == 0) return 0;
    free(oldest);
    reclaimed_++;
  }
  const NextHopId id = freed_.front();
  freed_.pop_front();
  reused_ = true;
  return id;
}

NextHopId NextHopTable::take_back(const NeighbourKey& key, std::uint32_t route_mtu, bool is_gateway) {
  const auto freed = std::find_if(freed_.begin(), freed_.end(), [&](NextHopId id) {
    const Entry& entry = entries_[id];
    return entry.key == key && entry.is_gateway == is_gateway && (!is_gateway || entry.route_mtu == route_mtu);
  });
  if (freed == freed_.end()) return 0;
  const NextHopId id = *freed;
  freed_.erase(freed);
  return id;
}

NextHopId NextHopTable::create(const NeighbourKey& key, std::uint32_t route_mtu, bool is_gateway, std::uint64_t now_ms) {
  // What comes back gets its old number: sessions that still hold it work again.
  NextHopId id = take_back(key, route_mtu, is_gateway);
  if (id == 0) id = allocate();
  if (id == 0) return 0;
  neighbours_.retain(key);
  entries_[id] = Entry{key, route_mtu, true, is_gateway, false, false, now_ms};
  by_neighbour_[key].push_back(id);
  if (!is_gateway) on_link_.emplace(key, id);
  refresh_view(id);
  return id;
}

NextHopId NextHopTable::gateway(const NeighbourKey& key, std::uint32_t route_mtu, std::uint64_t now_ms) {
  NextHopId id = 0;
  if (const auto found = by_neighbour_.find(key); found != by_neighbour_.end()) {
    for (const NextHopId candidate : found->second) {
      if (entries_[candidate].is_gateway && entries_[candidate].route_mtu == route_mtu) id = candidate;
    }
  }
  if (id == 0) id = create(key, route_mtu, true, now_ms);
  if (id != 0) pin(id);
  return id;
}

NextHopId NextHopTable::on_link(const NeighbourKey& key, std::uint32_t route_mtu, std::uint64_t now_ms) {
  const NextHopId id = find_on_link(key);
  if (id == 0) return create(key, route_mtu, false, now_ms);
  entries_[id].route_mtu = route_mtu;
  return id;
}

NextHopId NextHopTable::find_on_link(const NeighbourKey& key) const {
  const auto found = on_link_.find(key);
  return found == on_link_.end() ? NextHopId{0} : found->second;
}

const NeighbourKey* NextHopTable::on_link_key(NextHopId id) const {
  return id != 0 && id < entries_.size() && !entries_[id].is_gateway ? &entries_[id].key : nullptr;
}

const NeighbourKey* NextHopTable::gateway_key(NextHopId id) const {
  return id < entries_.size() && entries_[id].live && entries_[id].is_gateway ? &entries_[id].key : nullptr;
}

void NextHopTable::touch(NextHopId id, std::uint64_t now_ms) { entries_[id].last_request_ms = now_ms; }

void NextHopTable::begin_pinning() {
  for (Entry& entry : entries_) entry.marked = false;
}

void NextHopTable::pin(NextHopId id) { entries_[id].marked = true; }

void NextHopTable::end_pinning(std::uint64_t now_ms) {
  // A neighbour may be both gateway and server: it is pinned if any of its next hops is.
  NeighbourKeys pinned;
  for (std::size_t i = 1; i < entries_.size(); i++) {
    Entry& entry = entries_[i];
    if (!entry.live) continue;
    if (entry.pinned && !entry.marked) entry.last_request_ms = now_ms;
    entry.pinned = entry.marked;
    if (entry.pinned) pinned.insert(entry.key);
  }
  for (std::size_t i = 1; i < entries_.size(); i++) {
    const Entry& entry = entries_[i];
    if (!entry.live) continue;
    neighbours_.set_pinned(entry.key, pinned.contains(entry.key), now_ms);
    if (entry.is_gateway && !entry.pinned) free(static_cast<NextHopId>(i));
  }
}

void NextHopTable::free(NextHopId id) {
  Entry& entry = entries_[id];
  if (!entry.live) return;
  entry.live = false;
  if (!entry.is_gateway) on_link_.erase(entry.key);
  const auto siblings = by_neighbour_.find(entry.key);
  std::erase(siblings->second, id);
  if (siblings->second.empty()) by_neighbour_.erase(siblings);
  refresh_view(id);
  neighbours_.release(entry.key);
  freed_.push_back(id);
}

void NextHopTable::free_forgotten(std::uint64_t now_ms, std::uint64_t silent_ms) {
  for (std::size_t i = 1; i < entries_.size(); i++) {
    const Entry& entry = entries_[i];
    if (!entry.live || entry.is_gateway || entry.pinned) continue;
    if (neighbours_.is_forgotten(entry.key, now_ms, silent_ms)) free(static_cast<NextHopId>(i));
  }
}

bool NextHopTable::update(const NeighbourKey& key) {
  const auto found = by_neighbour_.find(key);
  if (found == by_neighbour_.end()) return false;
  bool changed = false;
  for (const NextHopId id : found->second) changed = refresh_view(id) || changed;
  return changed;
}

bool NextHopTable::take_reused() { return std::exchange(reused_, false); }

}  // namespace millrace
