// Snapshot: the immutable tables that all workers read, published whole by the control thread.
// Guarantees: nothing in a published snapshot changes; parts that a change does not touch are shared with the previous one.
// Threads: built and freed by the control thread; workers read the one they loaded at the start of a loop turn, and never across turns.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "net/address.h"
#include "sessions/session.h"
#include "tables/access_list.h"
#include "tables/connection_gate.h"
#include "tables/connection_rules.h"
#include "tables/persistence.h"
#include "tables/prefix_set.h"
#include "tables/rate_limits.h"
#include "tables/route_table.h"
#include "tables/scheduling.h"
#include "tables/service_index.h"
#include "tables/slots.h"

namespace millrace {

/// A server as its service's scheduler sees it.
struct ServerView {
  ServerSlot slot;
  std::uint32_t weight;
};

/// One step in a service's life that a scheduler must hear of: IPVS schedulers keep a position that depends on the order of changes.
struct ServiceChange {
  enum class Kind : std::uint8_t { kAdd, kEdit, kRemove };
  /// Serial number within the service, rising by one.
  std::uint64_t serial;
  Kind kind;
  ServerSlot server;
  std::uint32_t weight;
};

/// One service: servers in the order of an IPVS list (the newest first) and the changes that led there.
struct ServiceTable {
  ServiceSlot slot;
  SchedulerKind scheduler;
  SchedulerOptions options{};
  ConnectionRules rules{};
  std::vector<ServerView> servers;
  /// The last changes, oldest first, at least those since the previous snapshot.
  std::vector<ServiceChange> changes;
  /// Serial of the newest change ever.
  std::uint64_t serial = 0;
  /// What the scheduler looks clients up in; nullptr where it needs nothing. Indices are those of `servers`.
  std::shared_ptr<const SchedulerTable> lookup{};
  /// nullptr: each connection is scheduled by itself.
  std::shared_ptr<const Persistence> persistence{};
  /// The service or one of its servers has a connection limit.
  bool limited = false;
  /// Who may use it; nullptr: everybody.
  std::shared_ptr<const AccessList> access{};
  /// Number of the ClientAddressRule (tables/client_address.h).
  std::uint16_t client_address = 0;
  /// Whose PROXY headers are taken off and believed; nullptr: nobody's.
  std::shared_ptr<const PrefixSet> proxy_from{};
};

/// Key of an exact service: address, port (0 where the protocol has none) and protocol.
struct ServiceKey {
  IpAddress address;
  be16 port;
  std::uint8_t protocol;
  bool operator==(const ServiceKey&) const = default;
};
struct ServiceKeyHash {
  std::size_t operator()(const ServiceKey& k) const {
    return static_cast<std::size_t>((k.address.high * 0x9e3779b97f4a7c15ull ^ k.address.low) * 0xbf58476d1ce4e5b9ull ^
                                    (static_cast<std::uint64_t>(k.port.raw) << 8 | k.protocol) * 0x94d049bb133111ebull);
  }
};
struct AddressHash {
  std::size_t operator()(const IpAddress& a) const {
    return static_cast<std::size_t>((a.high ^ (a.high >> 29)) * 0x9e3779b97f4a7c15ull + (a.low ^ (a.low >> 31)) * 0xbf58476d1ce4e5b9ull);
  }
};

/// What an address of ours is.
struct OwnedAddress {
  enum class Kind : std::uint8_t { kVip, kLocal };
  Kind kind;
  /// Of a local address: its slot.
  LocalSlot local;
};

/// Outer sources of tunnels: a prefix whose other bits are filled by the flow, so that servers, which spread what they receive over
/// their queues by addresses, see as many sources as there are flows.
struct SourceRange {
  IpAddress base;
  /// The bits that the flow fills; none: there is no such range.
  IpAddress free_bits;
  bool empty() const { return (free_bits.high | free_bits.low) == 0; }
  bool contains(const IpAddress& address) const {
    return !empty() && (address.high & ~free_bits.high) == base.high && (address.low & ~free_bits.low) == base.low;
  }
  /// `hash` is that of the flow.
  IpAddress of_flow(std::uint64_t hash) const {
    return {base.high | (hash & free_bits.high), base.low | ((hash >> 32 | hash << 32) & free_bits.low)};
  }
};

/// Timeouts in milliseconds per session state.
using TimeoutTable = std::array<std::uint32_t, kSessionStates>;

/// What becomes of sessions when their server or service is removed.
enum class OnRemoval : std::uint8_t {
  kKeep,   ///< they go on to the server until they end
  kDrop,   ///< their packets are dropped; if the server comes back in time, they go on
  kReset,  ///< both ends are told
};
/// Per worker: its local addresses by family (0 IPv4, 1 IPv6).
using LocalsOfWorkers = std::vector<std::array<std::vector<LocalSlot>, 2>>;

/// Servers in mode nat, which answer to the client itself; those that drain included.
struct NatServers {
  /// Address, port and protocol; port 0: any.
  std::unordered_set<ServiceKey, ServiceKeyHash> endpoints;
  /// Their addresses.
  std::unordered_set<IpAddress, AddressHash> hosts;
};

/// Services and local addresses: changes with the configuration.
struct ServiceTables {
  std::unordered_map<ServiceKey, const ServiceTable*, ServiceKeyHash> services;
  /// The services that are more than one address and port (pipeline/find_service.h).
  ServiceIndex wide;
  std::unordered_map<IpAddress, OwnedAddress, AddressHash> owned;
  /// Prefixes whose addresses are VIPs, beside those in `owned`.
  PrefixSet owned_prefixes;
  /// Never nullptr. Shared with the tables before, as long as no such server comes or goes: there may be a hundred thousand.
  std::shared_ptr<const NatServers> nat = std::make_shared<const NatServers>();
  /// The addresses that servers see.
  LocalsOfWorkers locals_of_worker;
  /// Rules of the outbound gateway, for packets to addresses that are not ours, and the addresses of each of them.
  ServiceIndex outbound;
  std::unordered_map<ServiceSlot, LocalsOfWorkers> pools;
  /// Keeps the tables that `services` points to.
  std::vector<std::shared_ptr<const ServiceTable>> owners;
  /// Servers whose sessions some scheduler counts (tables/load_table.h).
  std::vector<ServerSlot> counted;
  /// Servers and services with a connection limit (pipeline/connection_limits.h).
  std::vector<std::pair<ServerSlot, ConnectionLimits>> limited_servers;
  std::vector<std::pair<ServiceSlot, ConnectionLimits>> limited_services;
  /// Those with a limit on packets or bits per second (pipeline/rate_limits.h).
  std::vector<std::pair<ServerSlot, RateLimits>> rated_servers;
  std::vector<std::pair<ServiceSlot, RateLimits>> rated_services;
  /// By family of the outer header: 0 IPv4, 1 IPv6.
  std::array<SourceRange, 2> tunnel_sources{};
  /// Whether some session may be `told`: some service tells its servers of their clients or accepts PROXY headers, or has done so.
  bool tells_clients = false;
  /// Whether echo requests to VIPs and local addresses are answered.
  bool echo_replies = true;
  /// Two servers with different endpoints may be one address and port after all, because one of them stands for any port: each new
  /// local port is then checked against the sessions (pipeline/create.cc).
  bool endpoints_overlap = false;
  /// Removed servers that may still have sessions which are not to go on (pipeline/removal.h).
  std::unordered_map<ServerSlot, OnRemoval> removed;
  /// Of services with timeouts of their own, by ServiceIdentity::timeouts; the first is never used.
  std::vector<TimeoutTable> timeout_tables;
  std::uint64_t generation = 0;

  /// What an address of ours is; nullptr for those of others.
  const OwnedAddress* owner_of(const IpAddress& address) const {
    static constexpr OwnedAddress vip{OwnedAddress::Kind::kVip, 0};
    const auto found = owned.find(address);
    if (found != owned.end()) return &found->second;
    return !owned_prefixes.empty() && owned_prefixes.contains(address) ? &vip : nullptr;
  }
};

/// An interface as the packet path needs it.
struct InterfaceView {
  MacAddress mac;
  std::uint16_t mtu = 0;
  bool usable = false;
  std::uint32_t kernel_index = 0;
};

/// Where a packet is sent next: a neighbour on a link. Never longer than half a cache line.
struct NextHop {
  MacAddress destination;
  MacAddress source;
  std::uint16_t interface = 0;
  std::uint16_t mtu = 0;
  /// False until the neighbour has answered; packets wait (pipeline/resolve.h).
  bool resolved = false;
  /// True when the neighbour was asked and did not answer: packets are dropped at once.
  bool failed = false;
  std::uint8_t reserved[14] = {};
};
static_assert(sizeof(NextHop) == 32);
static_assert(offsetof(NextHop, destination) == 0 && offsetof(NextHop, source) == 6, "copied to the wire as one");

/// Routes, next hops, neighbours, links: changes with the network.
struct NetworkTables {
  RouteTable routes;
  /// Entry 0 is never used.
  std::vector<NextHop> next_hops;
  /// On-link neighbours that have a next hop already.
  std::unordered_map<NeighbourKey, NextHopId, NeighbourKeyHash> neighbours;
  std::vector<InterfaceView> interfaces;
  /// Rises when a next hop may mean something else than before; sessions then look theirs up again. Not when a MAC changes.
  std::uint16_t route_generation = 1;
};

struct Snapshot {
  std::shared_ptr<const ServiceTables> services;
  std::shared_ptr<const NetworkTables> network;
  TimeoutTable timeouts_ms{};
  /// Rises with every published snapshot, from 1.
  std::uint64_t serial = 0;
  /// Serial of the first snapshot that had these network tables. Workers compare this and not pointers, which may be used again.
  std::uint64_t network_serial = 0;
};

}  // namespace millrace
