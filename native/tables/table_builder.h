// TableBuilder: turns configurations into ServiceTables, and keeps the slots that sessions refer to.
// Guarantees: applying a configuration touches nothing that it does not change: same service, same slot; same server, same slot and
// place in the list. A server that is gone from the configuration keeps its slot while a session uses it, and gets it back when it
// returns before that (as IPVS revives a deleted server).
// Thread: control thread. Slots' contents are written before the tables that use them are published.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/result.h"
#include "tables/client_address_rules.h"
#include "tables/configuration.h"
#include "tables/slots.h"
#include "tables/snapshot.h"

namespace millrace {

/// Where a service and its servers live, for reading statistics.
struct SlotMap {
  struct Server {
    IpAddress address;
    be16 port;
    ServerSlot slot;
    bool removed;
  };
  struct Service {
    std::string name;
    ServiceSlot slot;
    std::vector<Server> servers;
  };
  std::vector<Service> services;
};

class TableBuilder {
 public:
  explicit TableBuilder(std::uint32_t workers) : workers_(workers) {}
  Result<void> reserve();

  /// Makes `config` the current one and returns new tables. On an error (a limit) nothing has changed.
  Result<std::shared_ptr<const ServiceTables>> apply(const TablesConfig& config);
  /// The same for a few services: what the others are is not looked at. Errors: unknown_service, limit_exceeded.
  Result<std::shared_ptr<const ServiceTables>> update(const ServicesUpdate& update);
  /// Rises when a server joins or leaves a service, or its VIPs are announced or no longer, in apply() or in update().
  std::uint64_t membership() const { return membership_; }

  /// Frees slots of what has left the configuration and is used by no session any more. Call only when every worker has left the
  /// tables before those that the last apply() or reclaim() returned. The functions return the number of sessions on a slot, over
  /// all workers. Returns new tables if an address is no longer ours, nullptr if the tables stay as they are.
  std::shared_ptr<const ServiceTables> reclaim(const std::function<std::uint64_t(ServerSlot)>& sessions_on_server,
                                               const std::function<std::uint64_t(LocalSlot)>& sessions_on_local);
  /// Called with each server slot that is given to a new server. No worker looks at it at that moment, so the control thread may clear
  /// the statistics that its former owner left.
  void on_server_slot_taken(std::function<void(ServerSlot)> handler) { slot_taken_ = std::move(handler); }
  /// Whether reclaim() may find something.
  bool has_leavers() const { return leavers_ != 0; }

  SlotMap slot_map() const;
  /// Of these services alone.
  SlotMap slot_map(const std::vector<ServiceConfig>& services) const;
  /// VIPs and local addresses, those that only old sessions use included.
  std::vector<IpAddress> owned_addresses() const;
  /// Those of them that the link is told of: not VIPs whose services are all to be silent.
  std::vector<IpAddress> announced_addresses() const;
  /// The same for prefixes of VIPs, and what errors about tunnels' packets are sent to: the ranges of their outer sources.
  std::vector<Prefix> owned_prefixes() const;
  /// Where answers come from that have the client's own address as destination: servers in mode nat, those that drain included.
  std::vector<ServiceKey> nat_servers() const;
  /// Which packets the outbound gateway takes.
  std::vector<ServiceMatch> outbound_matches() const;
  /// Addresses of all servers in the configuration, each once.
  std::vector<IpAddress> server_addresses() const;

  const ServiceIdentity* service_slots() const { return services_.data(); }
  const ServerIdentity* server_slots() const { return servers_.data(); }
  const LocalIdentity* local_slots() const { return locals_.data(); }
  const ClientAddressRule* client_address_rules() const { return rules_.data(); }
  /// One past the highest slot ever used.
  std::uint32_t server_slot_limit() const { return next_server_; }

 private:
  using EndpointKey = ServiceKey;
  /// What makes two services the same one: their VIPs, ports and protocol; of a list of matches its name.
  struct EntryKey {
    IpAddress address;
    be16 port;
    std::uint8_t protocol;
    std::uint8_t vip_length;
    PortRange ports;
    std::string matches;
    bool operator==(const EntryKey&) const = default;
  };
  struct EntryKeyHash {
    std::size_t operator()(const EntryKey& k) const {
      const std::size_t wide = (std::size_t{k.ports.low} << 24 | std::size_t{k.ports.high} << 8 | k.vip_length) * 0xd6e8feb86659fd93ull;
      return ServiceKeyHash{}({k.address, k.port, k.protocol}) ^ wide ^ std::hash<std::string>{}(k.matches);
    }
  };
  struct ServerEntry {
    ServerSlot slot;
    IpAddress address;
    be16 port;
    ForwardMode mode;
    std::uint32_t weight;
    bool removed;
    /// The last weight above 0: Maglev tables keep a drained server's place by it.
    std::uint32_t last_weight;
    std::uint32_t id;
    ConnectionLimits limits{};
    RateLimits rates{};
    /// Removed because it is reached in another way now: its sessions end as they began.
    bool replaced = false;

    void follow(const ServerConfig& config) {
      weight = config.weight;
      if (weight != 0) last_weight = weight;
      id = config.id;
      limits = config.limits;
      rates = config.rates;
    }
  };
  struct ServiceEntry {
    std::string name;
    ServiceSlot slot;
    EntryKey key;
    /// Ports are not one.
    bool many_ports;
    std::vector<ServiceMatch> matches;
    bool outbound;
    SchedulerKind scheduler;
    SchedulerOptions options;
    PersistenceConfig persistence;
    ConnectionRules rules;
    bool removed;
    bool announced = true;
    /// As they were applied; removed ones stay until reclaimed.
    std::vector<ServerEntry> servers;
    /// The scheduler's list, newest first.
    std::vector<ServerView> list;
    std::vector<ServiceChange> changes;
    std::uint64_t serial;
    std::shared_ptr<const ServiceTable> table;
    std::uint32_t max_connections = 0;
    RateLimits rates{};
    /// Index into timeout_tables_; 0: none of its own.
    std::uint32_t timeouts = 0;
    std::vector<AccessRule> access_rules{};
    bool allow_others = true;
    OnRemoval on_removal = OnRemoval::kKeep;
    std::shared_ptr<const AccessList> access{};
    ClientAddressConfig client_address{};
    std::uint16_t client_address_rule = 0;
    std::shared_ptr<const PrefixSet> proxy_from{};
    /// What its servers give build() and count_leavers() to do: of most there is nothing, and then they are not looked at.
    std::uint32_t leaving_servers = 0;
    bool rated_servers = false;
    bool limited_servers = false;
    bool any_port_servers = false;

    void look_at_servers();
  };
  struct Endpoint {
    std::uint32_t id;
    std::uint32_t users;
  };
  struct LocalEntry {
    LocalSlot slot;
    /// Name of the rule of the outbound gateway that it belongs to; empty for those that servers see.
    std::string pool;
    bool removed;
  };

  using ServersByKey = std::unordered_multimap<ServiceKey, const ServerEntry*, ServiceKeyHash>;
  static ServersByKey servers_by_key(const ServiceEntry& service);
  /// The server of that address and port that is reached in the way that `config` asks for: the one whose slot it gets. nullptr when
  /// it needs a new one.
  const ServerEntry* find_alike(const ServersByKey& servers, std::uint8_t protocol, const ServerConfig& config) const;
  bool reached_alike(const ServerEntry& server, const ServerConfig& config) const;

  Result<void> check_limits(const TablesConfig& config) const;
  std::size_t new_servers(const ServiceEntry& known, const ServiceConfig& config) const;
  static SlotMap::Service slots_of(const ServiceEntry& entry);
  void apply_service(const ServiceConfig& config);
  void apply_locals(const TablesConfig& config);
  LocalsOfWorkers locals_of(const std::string& pool) const;
  void apply_servers(ServiceEntry& service, const std::vector<ServerConfig>& configs);
  ServerSlot new_server(ServiceEntry& service, const ServerConfig& config);
  void record(ServiceEntry& service, ServiceChange::Kind kind, ServerSlot slot, std::uint32_t weight);
  void remove_service(ServiceEntry& service);
  void refresh_table(ServiceEntry& service);
  std::shared_ptr<const SchedulerTable> build_lookup(const ServiceEntry& service) const;
  void apply_access(ServiceEntry& service, const ServiceConfig& config);
  void apply_client_address(ServiceEntry& service, const ServiceConfig& config);
  void apply_timeouts(ServiceEntry& service, const ServiceConfig& config);
  void apply_rates(ServiceEntry& service, const ServiceConfig& config);
  void count_leavers();
  std::uint32_t take_endpoint(const EndpointKey& key);
  void release_endpoint(const EndpointKey& key);
  static EntryKey key_of(const ServiceConfig& config);
  /// The addresses and prefixes that belong to us because of a service.
  static std::vector<Prefix> vips_of(const ServiceEntry& entry);
  static void enter(ServiceTables& tables, const ServiceEntry& entry);
  std::shared_ptr<const ServiceTables> build();

  const std::uint32_t workers_;
  StableArray<ServiceIdentity> services_;
  StableArray<ServerIdentity> servers_;
  StableArray<LocalIdentity> locals_;
  ClientAddressRules rules_;
  bool tells_clients_ = false;
  std::uint32_t next_service_ = 0, next_server_ = 0, next_local_ = 0, next_endpoint_ = 0;
  std::vector<ServiceSlot> free_services_;
  std::vector<ServerSlot> free_servers_;
  std::vector<LocalSlot> free_locals_;
  /// Not ours any more since the last reclaim(); tables before that one still name them.
  std::vector<LocalSlot> leaving_locals_;
  std::vector<std::uint32_t> free_endpoints_;
  std::unordered_map<EntryKey, std::unique_ptr<ServiceEntry>, EntryKeyHash> entries_;
  /// Order of the configuration, for listings and for lists of matches.
  std::vector<EntryKey> order_;
  std::unordered_map<EndpointKey, Endpoint, ServiceKeyHash> endpoints_;
  std::map<std::string, LocalEntry> local_entries_;  // by text, so that workers' shares do not depend on hash order
  std::vector<std::string> local_order_;
  std::array<SourceRange, 2> tunnel_sources_{};
  std::vector<Prefix> tunnel_prefixes_;
  bool echo_replies_ = true;
  std::function<void(ServerSlot)> slot_taken_;
  /// Timeouts of services and how many have each; the first is never used. Places are used again, so that an index stays what it is.
  std::vector<TimeoutTable> timeout_tables_ = std::vector<TimeoutTable>(1);
  std::vector<std::uint32_t> timeout_users_ = {1};
  /// As built last; nullptr: a server in mode nat has come or gone since.
  std::shared_ptr<const NatServers> nat_;
  std::size_t leavers_ = 0;
  std::uint64_t membership_ = 0;
  std::uint64_t generation_ = 0;
};

}  // namespace millrace
