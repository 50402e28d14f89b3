// RouteTable: longest-prefix match from a destination to a link and a gateway. Built whole, then immutable.
// One hash map per prefix length that occurs, searched from the longest: a balancer's table has few lengths, and it is asked once per
// new session and direction, not per packet.
// Threads: built by the control thread, read by workers.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "net/address.h"
#include "net/prefix.h"
#include "sessions/session.h"

namespace millrace {

/// A neighbour is an address on a link.
struct NeighbourKey {
  IpAddress address;
  std::uint32_t interface = 0;  ///< index in NetworkTables::interfaces
  bool operator==(const NeighbourKey&) const = default;
};
struct NeighbourKeyHash {
  std::size_t operator()(const NeighbourKey& k) const {
    return static_cast<std::size_t>((k.address.high * 0x9e3779b97f4a7c15ull ^ k.address.low ^ k.interface) * 0xbf58476d1ce4e5b9ull);
  }
};

struct Route {
  IpAddress prefix;
  /// 0..128 over the 16-byte form: an IPv4 /24 is 120.
  std::uint8_t length = 0;
  /// Next hop of the gateway; 0 when the prefix is on-link and each destination is its own neighbour.
  NextHopId gateway = 0;
  std::uint16_t interface = 0;
  /// blackhole, unreachable, prohibit: packets have no route.
  bool unreachable = false;
};

class RouteTable {
 public:
  /// Later routes of the same prefix replace earlier ones.
  void add(const Route& route);
  /// The longest matching route of the destination's family, or nullptr.
  const Route* lookup(const IpAddress& destination) const;
  std::size_t size() const { return size_; }

 private:
  struct Hash {
    std::size_t operator()(const IpAddress& a) const {
      return static_cast<std::size_t>(a.high * 0x9e3779b97f4a7c15ull ^ a.low * 0xbf58476d1ce4e5b9ull);
    }
  };
  struct Level {
    std::uint8_t length;
    std::unordered_map<IpAddress, Route, Hash> routes;
  };
  std::vector<Level> levels_;  // longest first
  std::size_t size_ = 0;
};

}  // namespace millrace
