// Network: what the packet path must know of the world outside: links, routes, next hops and the neighbours behind them.
// Inputs are the configuration and the kernel's netlink events; the output is an immutable NetworkTables, made anew only when
// something in it changed.
// Guarantees: a next-hop id keeps its meaning until route_generation rises; gateways and servers are
// always resolved and kept alive, on-link clients while they are asked for; a scan can flood neither the link with ARP nor the
// tables.
// Thread: the control thread alone. Nothing blocks except open(), which waits for the first listing, bounded.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/kernel_objects.h"
#include "core/result.h"
#include "tables/resolve_request.h"
#include "tables/snapshot.h"

namespace millrace {

struct InterfaceConfig {
  std::string name;
  /// mac, mtu and addresses count only where no kernel is asked (replay).
  MacAddress mac;
  std::uint32_t mtu = 1500;
  /// Addresses with their prefixes; they make connected routes.
  std::vector<Prefix> addresses;
};

/// A route of the configuration; it wins over the kernel's route to the same prefix.
struct StaticRoute {
  Prefix prefix;
  /// Absent: the prefix is on-link.
  std::optional<IpAddress> via;
  /// Index in NetworkConfig::interfaces.
  std::uint16_t interface = 0;
};

/// A neighbour of the configuration; the kernel is not asked about it.
struct StaticNeighbour {
  IpAddress address;
  MacAddress mac;
  std::uint16_t interface = 0;
};

struct NetworkConfig {
  /// The order gives the interface numbers that packets, routes and next hops carry.
  std::vector<InterfaceConfig> interfaces;
  std::vector<StaticRoute> routes;
  std::vector<StaticNeighbour> neighbours;
  /// New on-link destinations per second that may be asked for, beyond those that the kernel knows already.
  std::uint32_t new_neighbours_per_second = 200;
};

/// One of our interfaces now, for the announcer and for messages.
struct InterfaceState {
  std::string name;
  /// 0 while the kernel has no such interface.
  std::uint32_t kernel_index = 0;
  MacAddress mac;
  std::uint32_t mtu = 0;
  bool usable = false;
  /// What is on-link here: prefixes of addresses and on-link routes, kernel's and configured.
  std::vector<Prefix> on_link;
  bool operator==(const InterfaceState&) const = default;
};

/// An address in the kernel's hands, on any interface of this network namespace.
struct HostAddress {
  Prefix prefix;
  std::string interface;
};

struct NetworkStats {
  std::uint64_t solicitations = 0;     ///< times the kernel was asked to resolve or confirm a neighbour
  std::uint64_t requests = 0;          ///< requests of workers
  std::uint64_t requests_ignored = 0;  ///< for a destination that is not on-link, or an unknown next hop
  std::uint64_t requests_limited = 0;  ///< new destinations beyond the limit per second
  std::uint64_t reclaimed = 0;         ///< next hops taken from old on-link clients for new ones
  std::uint64_t rebuilds = 0;          ///< tables made
  std::uint64_t listings = 0;          ///< full listings asked of the kernel (start, lost events, route changes)
  std::uint64_t lost_events = 0;       ///< times the kernel said that events were lost (ENOBUFS)
  std::uint64_t refusals = 0;          ///< solicitations that the kernel refused
};

class Network {
 public:
  /// Opens netlink and reads the present state. Errors: netlink_unavailable, interface_missing.
  /// `now_ms` is any monotonic clock in milliseconds; all later calls use the same one.
  static Result<std::unique_ptr<Network>> open(NetworkConfig config, std::uint64_t now_ms = 0);
  /// Without a kernel: fed by apply(); what it would have asked of the kernel is in take_solicitations(). For tests.
  static std::unique_ptr<Network> offline(NetworkConfig config);
  /// Tables of the configuration alone (replay): connected routes from interface addresses, every static neighbour resolved.
  static std::shared_ptr<const NetworkTables> from_configuration(const NetworkConfig& config);

  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// Readable when process() has work. -1 when offline.
  int fd() const;
  /// Reads what the kernel has to tell, bounded; call again when fd() is still readable.
  void process(std::uint64_t now_ms);
  /// A worker's request. Answered by a change of the tables, or ignored.
  void request(const ResolveRequest& request, std::uint64_t now_ms);
  /// Timers: retries, keep-alive, delayed tables. Call at next_tick_ms(), or at any time.
  void tick(std::uint64_t now_ms);
  std::uint64_t next_tick_ms() const;

  /// Destinations that must always have a resolved next hop (real servers). Replaces the previous list.
  void set_servers(const std::vector<IpAddress>& servers, std::uint64_t now_ms);
  /// Replaces routes and neighbours of the configuration.
  void configure(std::vector<StaticRoute> routes, std::vector<StaticNeighbour> neighbours, std::uint64_t now_ms);
  /// Servers whose next hop has neither answered nor failed yet: wait a moment for 0 before the first packet.
  std::size_t pending_servers() const;

  /// True once after each change that tables() should be fetched for. Changes close together are reported together.
  bool take_changed();
  std::shared_ptr<const NetworkTables> tables();

  /// True once after each change of interfaces() or kernel_addresses().
  bool take_interfaces_changed();
  std::vector<InterfaceState> interfaces() const;
  std::vector<HostAddress> kernel_addresses() const;
  /// Error address_on_kernel when the kernel holds `address`: it would answer for it and reset clients when Millrace stops.
  Result<void> check_not_on_kernel(const IpAddress& address) const;
  const NetworkStats& stats() const;

  /// One event of the kernel, as process() applies it.
  void apply(const KernelEvent& event, std::uint64_t now_ms);
  std::vector<Solicitation> take_solicitations();

 private:
  struct Parts;
  explicit Network(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace millrace
