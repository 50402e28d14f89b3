// ServiceIndex: the services that are more than one address with one port: any port, ranges of ports, prefixes of VIPs, and lists of
// matches (what IPVS users build from firewall marks). Services of one address and port are found before, in a hash table of their
// own (ServiceTables::services).
//
//   the first of these that has a service for the packet:
//     1. the longest VIP prefix that contains the destination (an address alone is the longest of all); within it
//        the port itself, then the range that contains it, then any port
//     2. the next shorter prefix, in the same order
//     3. the lists of matches, in the order of the configuration
//
// Guarantees: immutable once built; find() takes a look-up or two per prefix length that occurs, and then one comparison per match.
// Threads: built by the control thread, read by workers, for packets without a session only.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "net/prefix.h"

namespace millrace {

struct ServiceTable;

/// Host byte order, both included; the whole of it means any port.
struct PortRange {
  std::uint16_t low = 0;
  std::uint16_t high = 65535;
  bool operator==(const PortRange&) const = default;
  bool is_any() const { return low == 0 && high == 65535; }
  bool contains(std::uint16_t port) const { return low <= port && port <= high; }
};

inline constexpr std::uint16_t kAnyInterface = 0xffff;

/// One line of a list of matches. A prefix of length 0 of its family holds all of it.
struct ServiceMatch {
  Prefix source;
  Prefix destination;
  PortRange ports{};
  /// 0: all that can be matched.
  std::uint8_t protocol = 0;
  /// Where the packet arrived.
  std::uint16_t interface = kAnyInterface;
  bool operator==(const ServiceMatch&) const = default;
};

/// What a packet is asked by.
struct ServiceQuery {
  IpAddress source;
  IpAddress destination;
  std::uint16_t port;
  std::uint8_t protocol;
  std::uint16_t interface;
};

bool matches(const ServiceMatch& match, const ServiceQuery& query);

class ServiceIndex {
 public:
  /// A service by its VIPs. Ranges of one prefix and protocol do not overlap; of two services for the same, the first stays.
  void add(const Prefix& vips, PortRange ports, std::uint8_t protocol, const ServiceTable* service);
  /// A service by a match; those added first win.
  void add(const ServiceMatch& match, const ServiceTable* service);

  const ServiceTable* find(const ServiceQuery& query) const;
  bool empty() const { return levels_.empty() && matches_.empty(); }

 private:
  struct Key {
    IpAddress network;
    std::uint8_t protocol;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return static_cast<std::size_t>((key.network.high * 0x9e3779b97f4a7c15ull ^ key.network.low ^ key.protocol) *
                                      0xbf58476d1ce4e5b9ull);
    }
  };
  struct Range {
    PortRange ports;
    const ServiceTable* service;
  };
  /// Services of one prefix and protocol.
  struct Ports {
    /// By their first port.
    std::vector<Range> ranges;
    std::unordered_map<std::uint16_t, const ServiceTable*> single;
    const ServiceTable* any = nullptr;

    const ServiceTable* find(std::uint16_t port) const;
  };
  struct Level {
    std::uint8_t length;
    std::unordered_map<Key, Ports, Hash> networks;
  };
  struct Match {
    ServiceMatch match;
    const ServiceTable* service;
  };
  std::vector<Level> levels_;  // longest first
  std::vector<Match> matches_;
};

}  // namespace millrace
