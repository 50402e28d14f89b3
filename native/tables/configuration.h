// Configuration as the native side takes it: already validated by TypeScript (src/config), so every field is in range and consistent.
// Mirrors src/native-binding.ts. Threads: a value; moved from the JavaScript thread to the control thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/address.h"
#include "tables/client_address.h"
#include "tables/connection_rules.h"
#include "tables/persistence.h"
#include "tables/snapshot.h"

namespace millrace {

struct ServerConfig {
  IpAddress address;
  be16 port;
  std::uint32_t weight = 1;
  /// Number in QUIC connection ids (schedulers/quic_cid.h); 0 for none.
  std::uint32_t id = 0;
  ForwardMode mode = ForwardMode::kFullNat;
  /// UDP port of GUE.
  be16 tunnel_port{6080};
  /// Connection thresholds.
  ConnectionLimits limits{};
  RateLimits rates{};
};

struct ServiceConfig {
  std::string name;
  /// Unspecified where `matches` say what the service is.
  IpAddress address;
  /// 0 where `ports` says more, and where the protocol has none.
  be16 port;
  /// 0: TCP and UDP.
  std::uint8_t protocol = 6;
  SchedulerKind scheduler = SchedulerKind::kWeightedRoundRobin;
  std::vector<ServerConfig> servers;
  SchedulerOptions scheduler_options{};
  /// Of L3DSR.
  std::uint8_t dscp = 0;
  /// Whether ARP and neighbour discovery are answered for its VIPs: not on a node that only stands by.
  bool announced = true;
  /// Bits of `address` that count: less than 128 for a prefix of VIPs.
  std::uint8_t vip_length = 128;
  /// Ports where they are not one.
  std::optional<PortRange> ports{};
  /// A service by what its packets look like, in place of address, port and protocol.
  std::vector<ServiceMatch> matches{};
  PersistenceConfig persistence{};
  ConnectionRules rules{};
  /// Most sessions at a time; 0: no limit.
  std::uint32_t max_connections = 0;
  RateLimits rates{};
  /// Instead of TablesConfig::timeouts_ms.
  std::optional<TimeoutTable> timeouts_ms{};
  /// Who may use it; without rules allow_others decides alone.
  std::vector<AccessRule> access{};
  bool allow_others = true;
  OnRemoval on_removal = OnRemoval::kKeep;
  ClientAddressConfig client_address{};
  /// A rule of the outbound gateway: its packets leave with addresses of `pool`. Its one server stands for all destinations.
  bool outbound = false;
  std::vector<IpAddress> pool{};
};

/// The addresses and prefixes that are ours because of a service.
inline std::vector<Prefix> vips_of(const ServiceConfig& service) {
  if (service.outbound) return {};  // destinations are others'
  if (service.matches.empty()) return {Prefix{service.address, service.vip_length}};
  std::vector<Prefix> vips;
  for (const ServiceMatch& match : service.matches) vips.push_back(match.destination);
  return vips;
}

struct StaticRouteConfig {
  IpAddress prefix;
  /// 0..128 over the 16-byte form.
  std::uint8_t length = 0;
  bool has_gateway = false;
  IpAddress gateway;
  std::string interface;
};

struct StaticNeighbourConfig {
  IpAddress address;
  MacAddress mac;
  std::string interface;
};

/// A prefix over the 16-byte form; bits of the address beyond it are 0.
struct AddressRange {
  IpAddress prefix;
  /// 0..128; of IPv4 96..128.
  std::uint8_t length = 0;
};

/// What can change while traffic runs.
struct TablesConfig {
  std::vector<ServiceConfig> services;
  std::vector<IpAddress> local_addresses;
  std::vector<StaticRouteConfig> routes;
  std::vector<StaticNeighbourConfig> neighbours;
  /// Outer sources of tunnels, at most one range per family.
  std::vector<AddressRange> tunnel_sources{};
  /// Whether echo requests to VIPs and local addresses are answered.
  bool echo_replies = true;
  TimeoutTable timeouts_ms{};
};

/// Services of the current configuration as they are from now on; the others, and everything else, stay. What a service is found by,
/// its VIPs, ports, protocol or matches, must be what it was.
struct ServicesUpdate {
  std::vector<ServiceConfig> services;
};

}  // namespace millrace
