// NextHopTable: the numbers that sessions keep. A number means "this neighbour, by this route MTU" until it is given to another
// neighbour, and that is reported so that route_generation can rise. Numbers of vanished next hops stay in the table as failed
// ones.
// Guarantees: at most kLimit numbers; when all are taken, the on-link client that was not asked for longest makes room.
// Thread: the control thread alone. Pure state, no system calls.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "control/neighbour_table.h"
#include "tables/snapshot.h"

namespace millrace {

class NextHopTable {
 public:
  /// NextHopId has 16 bits; 0 and 65535 are not used.
  static constexpr std::size_t kLimit = 65534;

  explicit NextHopTable(NeighbourTable& neighbours) : neighbours_(neighbours) { views_.resize(1); }

  /// The next hop of a route's gateway. 0 when all numbers are taken.
  NextHopId gateway(const NeighbourKey& key, std::uint32_t route_mtu, std::uint64_t now_ms);
  /// The next hop of an on-link destination. 0 when all numbers are taken.
  NextHopId on_link(const NeighbourKey& key, std::uint32_t route_mtu, std::uint64_t now_ms);
  /// The existing one, or 0.
  NextHopId find_on_link(const NeighbourKey& key) const;
  /// The on-link destination that a number stands for, or stood for when it was freed; nullptr for gateways and unknown numbers.
  const NeighbourKey* on_link_key(NextHopId id) const;
  /// The gateway that a number stands for; nullptr for anything else.
  const NeighbourKey* gateway_key(NextHopId id) const;
  /// An on-link client was asked for.
  void touch(NextHopId id, std::uint64_t now_ms);

  /// Between these two calls gateway() and pin() name everything that must stay; other gateways are freed, others lose their pin.
  void begin_pinning();
  void pin(NextHopId id);
  void end_pinning(std::uint64_t now_ms);

  void free(NextHopId id);
  /// Frees on-link clients that nobody asked for lately and that are not resolved.
  void free_forgotten(std::uint64_t now_ms, std::uint64_t silent_ms);
  /// Interfaces' MACs and MTUs, and route MTUs of on-link destinations, as `on_link_route` tells them now: the MTU of the route,
  /// or nothing if the destination is no longer on-link there, which frees it.
  template <typename OnLinkRoute>
  void refresh(std::span<const InterfaceView> interfaces, OnLinkRoute on_link_route);
  /// Takes over what is now known of a neighbour; true if a next hop changed.
  bool update(const NeighbourKey& key);

  const std::vector<NextHop>& views() const { return views_; }
  const std::unordered_map<NeighbourKey, NextHopId, NeighbourKeyHash>& on_link_ids() const { return on_link_; }
  std::uint64_t reclaimed() const { return reclaimed_; }
  /// True once after a number was given to another neighbour.
  bool take_reused();

 private:
  struct Entry {
    NeighbourKey key;
    std::uint32_t route_mtu = 0;
    bool live = false;
    bool is_gateway = false;
    bool pinned = false;
    bool marked = false;
    std::uint64_t last_request_ms = 0;
  };

  NextHopId allocate();
  NextHopId take_back(const NeighbourKey& key, std::uint32_t route_mtu, bool is_gateway);
  NextHopId create(const NeighbourKey& key, std::uint32_t route_mtu, bool is_gateway, std::uint64_t now_ms);
  NextHop view_of(const Entry& entry) const;
  bool refresh_view(NextHopId id);

  NeighbourTable& neighbours_;
  std::vector<InterfaceView> interfaces_;
  std::vector<NextHop> views_;
  std::vector<Entry> entries_ = std::vector<Entry>(1);
  std::unordered_map<NeighbourKey, NextHopId, NeighbourKeyHash> on_link_;
  std::unordered_map<NeighbourKey, std::vector<NextHopId>, NeighbourKeyHash> by_neighbour_;
  /// Longest free first, so that a number rests before it means something else.
  std::deque<NextHopId> freed_;
  std::uint64_t reclaimed_ = 0;
  bool reused_ = false;
};

template <typename OnLinkRoute>
void NextHopTable::refresh(std::span<const InterfaceView> interfaces, OnLinkRoute on_link_route) {
  interfaces_.assign(interfaces.begin(), interfaces.end());
  for (std::size_t i = 1; i < entries_.size(); i++) {
    Entry& entry = entries_[i];
    const auto id = static_cast<NextHopId>(i);
    if (!entry.live) continue;
    if (!entry.is_gateway) {
      const auto mtu = on_link_route(entry.key);
      if (!mtu) {
        free(id);
        continue;
      }
      entry.route_mtu = *mtu;
    }
    refresh_view(id);
  }
}

}  // namespace millrace
