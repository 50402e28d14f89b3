// The life of a neighbour. Control thread.
#include "control/neighbour_table.h"

#include <linux/neighbour.h>

#include <algorithm>
#include <utility>

namespace millrace {
namespace {

constexpr std::uint16_t kValidStates = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
constexpr std::uint64_t kSolicitSpacingMs = 300;

/// The kernel gives broadcast addresses the broadcast MAC; nothing may be forwarded there.
bool usable_mac(const MacAddress& mac) { return !mac.is_zero() && !mac.is_multicast(); }

/// Spreads keep-alive over time, so that a thousand servers are not asked at once.
std::uint64_t jitter_ms(const NeighbourKey& key) { return NeighbourKeyHash{}(key) % 5000; }

}  // namespace

bool NeighbourTable::active(const Record& record, std::uint64_t now_ms) const {
  if (record.users == 0 || record.configured) return false;
  return record.pinned || (record.requested && now_ms < record.last_request_ms + kClientActiveMs);
}

void NeighbourTable::solicit(const NeighbourKey& key, Record& record, std::uint64_t now_ms) {
  // A permanent entry is an operator's word: there is nothing to ask, and asking would end its permanence.
  if ((record.kernel_state & (NUD_PERMANENT | NUD_NOARP)) != 0) return;
  if (record.configured || !usable(key.interface)) return;
  if (record.last_solicit_ms != 0 && now_ms < record.last_solicit_ms + kSolicitSpacingMs) return;
  record.last_solicit_ms = std::max<std::uint64_t>(now_ms, 1);
  record.asked = true;
  solicitations_.push_back({key, record.kernel_state != 0});
}

void NeighbourTable::kernel_update(const NeighbourKey& key, const MacAddress& mac, std::uint16_t state, std::uint64_t now_ms) {
  if (state == NUD_NONE) return kernel_gone(key, now_ms);
  Record& record = records_[key];
  const std::uint16_t before = std::exchange(record.kernel_state, state);
  record.seen_in_listing = listing_;
  if (record.configured) return;
  if ((state & kValidStates) != 0 && usable_mac(mac)) {
    if (!record.resolved || record.failed || record.mac != mac) changed_.push_back(key);
    record.mac = mac;
    record.resolved = true;
    record.failed = false;
    record.asked = false;
    record.backoff_ms = kFirstRetryMs;
    // An entry that goes stale while it is used would be collected; asking makes the kernel confirm it.
    if (state == NUD_STALE && active(record, now_ms)) solicit(key, record, now_ms);
    return;
  }
  // A neighbour fails after it was asked. From any other state this is how the kernel announces that an entry is deleted.
  if (state == NUD_FAILED && (before & kValidStates & ~NUD_PROBE) != 0) return lose(key, record, now_ms);
  if (state == NUD_FAILED || (state & kValidStates) != 0) {
    if (!record.failed || record.resolved) changed_.push_back(key);
    record.resolved = false;
    record.failed = true;
    record.asked = false;
    record.retry_at_ms = now_ms + record.backoff_ms;
    record.backoff_ms = std::min(record.backoff_ms * 2, kLastRetryMs);
  }
  // NUD_INCOMPLETE: the kernel is asking; what was known stays valid until it gives up.
}

void NeighbourTable::lose(const NeighbourKey& key, Record& record, std::uint64_t now_ms) {
  record.kernel_state = 0;
  if (record.configured || record.failed) return;
  if (active(record, now_ms) && usable(key.interface)) {
    solicit(key, record, now_ms);
  } else if (record.resolved) {
    record.resolved = false;
    changed_.push_back(key);
  }
}

void NeighbourTable::kernel_gone(const NeighbourKey& key, std::uint64_t now_ms) {
  const auto found = records_.find(key);
  if (found == records_.end()) return;
  lose(key, found->second, now_ms);
  drop_if_unused(found);
}

void NeighbourTable::end_listing(std::uint64_t now_ms) {
  for (auto it = records_.begin(); it != records_.end();) {
    const auto next = std::next(it);
    if (it->second.kernel_state != 0 && it->second.seen_in_listing != listing_) {
      lose(it->first, it->second, now_ms);
      drop_if_unused(it);
    }
    it = next;
  }
}

void NeighbourTable::set_usable(std::uint32_t interface, bool now_usable, std::uint64_t now_ms) {
  if (usable_.size() <= interface) usable_.resize(interface + 1, false);
  if (usable_[interface] == now_usable) return;
  usable_[interface] = now_usable;
  for (auto& [key, record] : records_) {
    if (key.interface != interface || record.configured) continue;
    // Who is behind the link when it comes back is anybody's guess: what was known is forgotten, except what the kernel still has
    // (permanent entries survive the loss of carrier, and are never reported again).
    const bool kept = now_usable && (record.kernel_state & kValidStates) != 0 && usable_mac(record.mac);
    if (record.resolved != kept || record.failed) changed_.push_back(key);
    record.resolved = kept;
    record.failed = false;
    record.asked = false;
    record.last_solicit_ms = 0;
    record.backoff_ms = kFirstRetryMs;
    if (now_usable && !kept && active(record, now_ms)) solicit(key, record, now_ms);
  }
}

void NeighbourTable::set_configured(const std::unordered_map<NeighbourKey, MacAddress, NeighbourKeyHash>& configured) {
  for (auto it = records_.begin(); it != records_.end();) {
    const auto next = std::next(it);
    Record& record = it->second;
    if (record.configured && !configured.contains(it->first)) {
      record.configured = record.resolved = false;
      record.last_solicit_ms = 0;
      changed_.push_back(it->first);
      drop_if_unused(it);
    }
    it = next;
  }
  for (const auto& [key, mac] : configured) {
    Record& record = records_[key];
    if (record.configured && record.mac == mac) continue;
    record.configured = record.resolved = true;
    record.failed = record.asked = false;
    record.mac = mac;
    changed_.push_back(key);
  }
}

void NeighbourTable::retain(const NeighbourKey& key) { records_[key].users++; }

void NeighbourTable::release(const NeighbourKey& key) {
  const auto found = records_.find(key);
  if (found == records_.end()) return;
  found->second.users--;
  drop_if_unused(found);
}

void NeighbourTable::drop_if_unused(Records::iterator it) {
  const Record& record = it->second;
  if (record.users == 0 && record.kernel_state == 0 && !record.configured) records_.erase(it);
}

void NeighbourTable::set_pinned(const NeighbourKey& key, bool pinned, std::uint64_t now_ms) {
  const auto found = records_.find(key);
  if (found == records_.end() || found->second.pinned == pinned) return;
  Record& record = found->second;
  record.pinned = pinned;
  if (pinned) {
    care_for(key, record, now_ms);
  } else {
    // Sessions to a server that was removed may go on for a while.
    record.requested = true;
    record.last_request_ms = now_ms;
  }
}

void NeighbourTable::request(const NeighbourKey& key, std::uint64_t now_ms) {
  const auto found = records_.find(key);
  if (found == records_.end()) return;
  found->second.requested = true;
  found->second.last_request_ms = now_ms;
  care_for(key, found->second, now_ms);
}

void NeighbourTable::care_for(const NeighbourKey& key, Record& record, std::uint64_t now_ms) {
  if (!active(record, now_ms)) return;
  if (record.failed) {
    // A client that failed is asked again only when somebody still wants it.
    const bool wanted = record.pinned || record.last_request_ms > record.last_solicit_ms;
    if (!record.asked && wanted && now_ms >= record.retry_at_ms) solicit(key, record, now_ms);
    if (record.asked && now_ms >= record.last_solicit_ms + kSilenceMs) solicit(key, record, now_ms);
  } else if (!record.resolved) {
    if (!record.asked || now_ms >= record.last_solicit_ms + kSilenceMs) solicit(key, record, now_ms);
  } else {
    const bool due = now_ms >= record.last_solicit_ms + kKeepAliveMs + jitter_ms(key);
    const bool stale = record.kernel_state == NUD_STALE && now_ms >= record.last_solicit_ms + 2 * kScanMs;
    if (due || stale || record.kernel_state == 0) solicit(key, record, now_ms);
  }
}

Resolution NeighbourTable::resolution(const NeighbourKey& key) const {
  const auto found = records_.find(key);
  if (found == records_.end()) return {};
  return {found->second.mac, found->second.resolved, found->second.failed};
}

bool NeighbourTable::is_known(const NeighbourKey& key) const {
  const auto found = records_.find(key);
  return found != records_.end() && found->second.resolved;
}

bool NeighbourTable::is_forgotten(const NeighbourKey& key, std::uint64_t now_ms, std::uint64_t silent_ms) const {
  const auto found = records_.find(key);
  if (found == records_.end()) return true;
  const Record& record = found->second;
  return !record.pinned && !record.configured && !record.resolved && now_ms >= record.last_request_ms + silent_ms;
}

void NeighbourTable::tick(std::uint64_t now_ms) {
  if (now_ms < next_scan_ms_) return;
  next_scan_ms_ = now_ms + kScanMs;
  for (auto& [key, record] : records_) care_for(key, record, now_ms);
}

std::vector<NeighbourKey> NeighbourTable::take_changed() { return std::exchange(changed_, {}); }
std::vector<NeighbourTable::Wish> NeighbourTable::take_solicitations() { return std::exchange(solicitations_, {}); }

}  // namespace millrace
