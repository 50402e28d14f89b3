// Applying configurations. Control thread only.
#include "tables/table_builder.h"

#include <algorithm>
#include <unordered_set>

#include "schedulers/registry.h"

namespace millrace {

namespace {

/// Changes kept per service for schedulers that were idle for a while; an older one starts anew.
constexpr std::size_t kKeptChanges = 4096;

template <typename Slot>
Slot take_slot(std::vector<Slot>& free_slots, std::uint32_t& next) {
  if (free_slots.empty()) return static_cast<Slot>(next++);
  const Slot slot = free_slots.back();
  free_slots.pop_back();
  return slot;
}

/// The `bits` last bits of a 16-byte address, as a mask.
IpAddress last_bits(std::uint32_t bits) {
  std::uint8_t mask[16] = {};
  for (std::uint32_t bit = 0; bit < bits; bit++) mask[15 - bit / 8] |= static_cast<std::uint8_t>(1u << (bit % 8));
  return IpAddress::v6(mask);
}

std::array<SourceRange, 2> source_ranges(const std::vector<AddressRange>& configs) {
  std::array<SourceRange, 2> ranges{};
  for (const AddressRange& config : configs) {
    ranges[config.prefix.is_v4() ? 0 : 1] = {config.prefix, last_bits(128u - config.length)};
  }
  return ranges;
}

}  // namespace

Result<void> TableBuilder::reserve() {
  if (auto r = services_.reserve(kMaxServices); !r) return r;
  if (auto r = servers_.reserve(kMaxServers); !r) return r;
  return locals_.reserve(kMaxLocals);
}

Result<void> TableBuilder::check_limits(const TablesConfig& config) const {
  // Slots in use now may all have to stay, so what is new counts beside them.
  std::size_t servers = next_server_ - free_servers_.size();
  std::size_t services = next_service_ - free_services_.size();
  std::size_t locals = next_local_ - free_locals_.size();
  for (const ServiceConfig& service : config.services) {
    const auto known = entries_.find(ServiceKey{service.address, service.port, service.protocol});
    if (known == entries_.end()) {
      services++;
      servers += service.servers.size();
      continue;
    }
    std::unordered_set<ServiceKey, ServiceKeyHash> present;
    for (const ServerEntry& server : known->second->servers) present.insert({server.address, server.port, service.protocol});
    for (const ServerConfig& server : service.servers)
      servers += present.contains({server.address, server.port, service.protocol}) ? 0 : 1;
  }
  std::unordered_set<IpAddress, AddressHash> owned(config.local_addresses.begin(), config.local_addresses.end());
  for (const ServiceConfig& service : config.services) owned.insert(service.address);
  for (const IpAddress& address : owned_addresses()) owned.insert(address);
  if (owned.size() > kMaxOwnedAddresses) {
    return Error{"limit_exceeded", "more than 65536 VIPs and local addresses, those still draining included", 0};
  }
  for (const IpAddress& address : config.local_addresses) locals += local_entries_.contains(address.to_string()) ? 0 : 1;
  if (services > kMaxServices) return Error{"limit_exceeded", "more than 131072 services, those still draining included", 0};
  if (servers > kMaxServers) return Error{"limit_exceeded", "more than 262144 servers, those still draining included", 0};
  if (locals > kMaxLocals) return Error{"limit_exceeded", "more than 65536 local addresses, those still draining included", 0};
  return {};
}

Result<std::shared_ptr<const ServiceTables>> TableBuilder::apply(const TablesConfig& config) {
  if (auto r = check_limits(config); !r) return r.error();
  apply_locals(config.local_addresses);
  tunnel_sources_ = source_ranges(config.tunnel_sources);

  std::unordered_set<ServiceKey, ServiceKeyHash> wanted;
  order_.clear();
  for (const ServiceConfig& service : config.services) {
    const ServiceKey key{service.address, service.port, service.protocol};
    wanted.insert(key);
    order_.push_back(key);
    apply_service(service);
  }
  for (auto& [key, entry] : entries_) {
    if (wanted.contains(key)) continue;
    order_.push_back(key);
    if (!entry->removed) remove_service(*entry);
  }
  count_leavers();
  return build();
}

void TableBuilder::record(ServiceEntry& service, ServiceChange::Kind kind, ServerSlot slot, std::uint32_t weight) {
  service.changes.push_back({++service.serial, kind, slot, weight});
  service.table.reset();
}

ServerSlot TableBuilder::new_server(ServiceEntry& service, const ServerConfig& config) {
  const ServerSlot slot = take_slot(free_servers_, next_server_);
  if (slot_taken_) slot_taken_(slot);
  servers_[slot] =
      ServerIdentity{config.address,       config.port,
                     service.key.protocol, config.mode,
                     service.slot,         take_endpoint(EndpointKey{config.address, config.port, service.key.protocol}),
                     config.tunnel_port,   0};
  service.servers.push_back({slot, config.address, config.port, config.mode, config.weight, false, config.weight, config.id, config.limits});
  return slot;
}

void TableBuilder::remove_service(ServiceEntry& service) {
  service.removed = true;
  for (ServerEntry& server : service.servers) {
    if (!server.removed) record(service, ServiceChange::Kind::kRemove, server.slot, 0);
    server.removed = true;
  }
  service.list.clear();
  refresh_table(service);
}

void TableBuilder::apply_service(const ServiceConfig& config) {
  const ServiceKey key{config.address, config.port, config.protocol};
  auto& owned = entries_[key];
  if (!owned) {
    owned = std::make_unique<ServiceEntry>();
    owned->key = key;
    owned->slot = take_slot(free_services_, next_service_);
    owned->serial = 0;
    services_[owned->slot] = ServiceIdentity{config.address, config.port, config.protocol, config.dscp, 0, {}};
    owned->scheduler = config.scheduler;
  }
  ServiceEntry& service = *owned;
  service.name = config.name;
  service.on_removal = config.on_removal;
  service.removed = false;
  apply_access(service, config);
  apply_timeouts(service, config);
  if (service.max_connections != config.max_connections) {
    service.max_connections = config.max_connections;
    service.table.reset();
  }
  if (service.scheduler != config.scheduler || service.options != config.scheduler_options) {
    service.scheduler = config.scheduler;
    service.options = config.scheduler_options;
    service.table.reset();
  }
  apply_servers(service, config.servers);
  refresh_table(service);
}

void TableBuilder::apply_access(ServiceEntry& service, const ServiceConfig& config) {
  if (service.access_rules == config.access && service.allow_others == config.allow_others) return;
  service.access_rules = config.access;
  service.allow_others = config.allow_others;
  const bool everybody = config.access.empty() && config.allow_others;
  service.access = everybody ? nullptr : std::make_shared<const AccessList>(service.access_rules, config.allow_others);
  service.table.reset();
}

void TableBuilder::apply_timeouts(ServiceEntry& service, const ServiceConfig& config) {
  std::uint32_t index = 0;
  if (config.timeouts_ms) {
    std::uint32_t unused = 0;
    for (std::uint32_t i = 1; i < timeout_tables_.size() && index == 0; i++) {
      if (timeout_users_[i] != 0 && timeout_tables_[i] == *config.timeouts_ms) index = i;
      if (timeout_users_[i] == 0) unused = i;
    }
    if (index == 0 && unused == 0) {
      unused = static_cast<std::uint32_t>(timeout_tables_.size());
      timeout_tables_.emplace_back();
      timeout_users_.push_back(0);
    }
    if (index == 0) timeout_tables_[index = unused] = *config.timeouts_ms;
    timeout_users_[index]++;
  }
  if (service.timeouts != 0) timeout_users_[service.timeouts]--;
  service.timeouts = index;
  // A worker that still has the tables before these may look at a place that was another's: one packet gets other timeouts.
  __atomic_store_n(&services_[service.slot].timeouts, index, __ATOMIC_RELAXED);
}

void TableBuilder::apply_servers(ServiceEntry& service, const std::vector<ServerConfig>& configs) {
  const std::uint8_t protocol = service.key.protocol;
  std::unordered_map<ServiceKey, const ServerConfig*, ServiceKeyHash> wanted;
  for (const ServerConfig& server : configs) wanted[{server.address, server.port, protocol}] = &server;
  std::unordered_map<ServerSlot, std::uint32_t> staying;                 // with their weights
  std::unordered_map<ServiceKey, std::size_t, ServiceKeyHash> draining;  // places in service.servers
  for (std::size_t i = 0; i < service.servers.size(); i++) {
    ServerEntry& server = service.servers[i];
    const auto found = wanted.find({server.address, server.port, protocol});
    if (server.removed) {
      draining[{server.address, server.port, protocol}] = i;
    } else if (found == wanted.end() || found->second->mode != server.mode ||
               found->second->tunnel_port != servers_[server.slot].tunnel_port) {
      // A server that is to be reached in another way is another server: its sessions end as they began.
      server.removed = true;
      server.replaced = found != wanted.end();
      record(service, ServiceChange::Kind::kRemove, server.slot, 0);
    } else {
      const std::uint32_t weight = found->second->weight;
      if (server.weight != weight) record(service, ServiceChange::Kind::kEdit, server.slot, weight);
      if (server.id != found->second->id || server.limits != found->second->limits) service.table.reset();
      server.follow(*found->second);
      staying[server.slot] = weight;
      wanted.erase(found);
    }
  }
  std::erase_if(service.list, [&](const ServerView& view) { return !staying.contains(view.slot); });
  for (ServerView& view : service.list) view.weight = staying[view.slot];

  // What is left of `wanted` is new, or comes back while it drains.
  std::vector<ServerView> added;
  for (const ServerConfig& server : configs) {
    const ServiceKey key{server.address, server.port, protocol};
    if (wanted.erase(key) == 0) continue;
    ServerSlot slot;
    const auto old = draining.find(key);
    if (old != draining.end() && service.servers[old->second].mode == server.mode) {
      ServerEntry& entry = service.servers[old->second];
      entry.removed = entry.replaced = false;
      entry.follow(server);
      slot = entry.slot;
    } else {
      slot = new_server(service, server);
    }
    added.push_back({slot, server.weight});
    record(service, ServiceChange::Kind::kAdd, slot, server.weight);
  }
  service.list.insert(service.list.begin(), added.rbegin(), added.rend());
}

void TableBuilder::refresh_table(ServiceEntry& service) {
  if (service.table) return;
  if (service.changes.size() > kKeptChanges) {
    service.changes.erase(service.changes.begin(), service.changes.end() - static_cast<std::ptrdiff_t>(kKeptChanges));
  }
  auto table = std::make_shared<ServiceTable>();
  table->slot = service.slot;
  table->scheduler = service.scheduler;
  table->options = service.options;
  table->servers = service.list;
  table->changes = service.changes;
  table->serial = service.serial;
  table->lookup = build_lookup(service);
  table->access = service.access;
  table->limited = service.max_connections != 0 || std::any_of(service.servers.begin(), service.servers.end(), [](const auto& server) {
                     return !server.removed && server.limits.upper != 0;
                   });
  service.table = std::move(table);
}

std::shared_ptr<const SchedulerTable> TableBuilder::build_lookup(const ServiceEntry& service) const {
  if (!scheduler_has_table(service.scheduler)) return nullptr;
  std::unordered_map<ServerSlot, const ServerEntry*> by_slot;
  for (const ServerEntry& server : service.servers) by_slot[server.slot] = &server;
  std::vector<BuildServer> servers;
  servers.reserve(service.list.size());
  for (const ServerView& view : service.list) {
    const ServerEntry& server = *by_slot.find(view.slot)->second;
    servers.push_back({server.address, server.port, view.weight, server.last_weight, server.id});
  }
  return build_scheduler_table(service.scheduler, service.options, servers);
}

void TableBuilder::apply_locals(const std::vector<IpAddress>& addresses) {
  local_order_.clear();
  for (const IpAddress& address : addresses) local_order_.push_back(address.to_string());
  const std::unordered_set<std::string> wanted(local_order_.begin(), local_order_.end());
  for (auto& [text, entry] : local_entries_) entry.removed = !wanted.contains(text);
  // Every worker has as many addresses of a family as its neighbours, give or take one; who has one keeps it.
  std::array<std::vector<std::uint32_t>, 2> share;
  share.fill(std::vector<std::uint32_t>(workers_, 0));
  for (const auto& [text, entry] : local_entries_) {
    if (!entry.removed) share[locals_[entry.slot].address.is_v4() ? 0 : 1][locals_[entry.slot].worker]++;
  }
  for (const IpAddress& address : addresses) {
    const std::string text = address.to_string();
    if (local_entries_.contains(text)) continue;
    auto& counts = share[address.is_v4() ? 0 : 1];
    const auto least = std::min_element(counts.begin(), counts.end());
    const LocalSlot slot = take_slot(free_locals_, next_local_);
    locals_[slot] = LocalIdentity{address, static_cast<std::uint32_t>(least - counts.begin()), {}};
    ++*least;
    local_entries_[text] = {slot, false};
  }
}

std::uint32_t TableBuilder::take_endpoint(const EndpointKey& key) {
  const auto found = endpoints_.find(key);
  if (found != endpoints_.end()) {
    found->second.users++;
    return found->second.id;
  }
  const std::uint32_t id = take_slot(free_endpoints_, next_endpoint_);
  endpoints_[key] = {id, 1};
  return id;
}

void TableBuilder::release_endpoint(const EndpointKey& key) {
  const auto found = endpoints_.find(key);
  if (--found->second.users != 0) return;
  free_endpoints_.push_back(found->second.id);
  endpoints_.erase(found);
}

void TableBuilder::count_leavers() {
  leavers_ = leaving_locals_.size();
  for (const auto& [key, entry] : entries_) {
    if (entry->removed) leavers_++;
    for (const ServerEntry& server : entry->servers) leavers_ += server.removed ? 1 : 0;
  }
  for (const auto& [text, entry] : local_entries_) leavers_ += entry.removed ? 1 : 0;
}

std::shared_ptr<const ServiceTables> TableBuilder::reclaim(const std::function<std::uint64_t(ServerSlot)>& sessions_on_server,
                                                           const std::function<std::uint64_t(LocalSlot)>& sessions_on_local) {
  bool addresses_changed = false;
  // Tables that name them have been left by now.
  free_locals_.insert(free_locals_.end(), leaving_locals_.begin(), leaving_locals_.end());
  leaving_locals_.clear();
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    ServiceEntry& service = *entry->second;
    std::erase_if(service.servers, [&](const ServerEntry& server) {
      if (!server.removed || sessions_on_server(server.slot) != 0) return false;
      release_endpoint({server.address, server.port, service.key.protocol});
      free_servers_.push_back(server.slot);
      return true;
    });
    if (service.removed && service.servers.empty()) {
      free_services_.push_back(service.slot);
      if (service.timeouts != 0) timeout_users_[service.timeouts]--;
      std::erase(order_, service.key);
      entry = entries_.erase(entry);
      addresses_changed = true;
    } else {
      ++entry;
    }
  }
  for (auto entry = local_entries_.begin(); entry != local_entries_.end();) {
    if (entry->second.removed && sessions_on_local(entry->second.slot) == 0) {
      leaving_locals_.push_back(entry->second.slot);
      entry = local_entries_.erase(entry);
      addresses_changed = true;
    } else {
      ++entry;
    }
  }
  count_leavers();
  return addresses_changed ? build() : nullptr;
}

std::shared_ptr<const ServiceTables> TableBuilder::build() {
  auto tables = std::make_shared<ServiceTables>();
  tables->locals_of_worker.resize(workers_);
  tables->tunnel_sources = tunnel_sources_;
  tables->generation = ++generation_;
  tables->timeout_tables = timeout_tables_;
  // Leavers first: an address that is a VIP now and was a local address before, or the other way round, is what it is now.
  for (const bool removed : {true, false}) {
    for (const auto& [key, entry] : entries_) {
      if (entry->removed == removed) tables->owned[key.address] = OwnedAddress{OwnedAddress::Kind::kVip, 0};
    }
    for (const auto& [text, entry] : local_entries_) {
      if (entry.removed == removed)
        tables->owned[locals_[entry.slot].address] = OwnedAddress{OwnedAddress::Kind::kLocal, entry.slot};
    }
  }
  for (const auto& [key, entry] : entries_) {
    for (const ServerEntry& server : entry->servers) {
      if (server.removed && !server.replaced && entry->on_removal != OnRemoval::kKeep) {
        tables->removed[server.slot] = entry->on_removal;
      }
    }
    if (entry->removed) continue;
    tables->services[key] = entry->table.get();
    if (scheduler_counts(entry->scheduler)) {
      for (const ServerView& server : entry->list) tables->counted.push_back(server.slot);
    }
    if (entry->max_connections != 0) tables->limited_services.push_back({entry->slot, plain_limit(entry->max_connections)});
    for (const ServerEntry& server : entry->servers) {
      if (!server.removed && server.limits.upper != 0) tables->limited_servers.push_back({server.slot, server.limits});
    }
    tables->owners.push_back(entry->table);
  }
  for (const std::string& text : local_order_) {
    const LocalSlot slot = local_entries_[text].slot;
    tables->locals_of_worker[locals_[slot].worker][locals_[slot].address.is_v4() ? 0 : 1].push_back(slot);
  }
  return tables;
}

SlotMap TableBuilder::slot_map() const {
  SlotMap map;
  for (const ServiceKey& key : order_) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) continue;
    SlotMap::Service service{found->second->name, found->second->slot, {}};
    for (const ServerEntry& server : found->second->servers) {
      service.servers.push_back({server.address, server.port, server.slot, server.removed});
    }
    map.services.push_back(std::move(service));
  }
  return map;
}

std::vector<IpAddress> TableBuilder::owned_addresses() const {
  std::unordered_set<IpAddress, AddressHash> unique;
  for (const auto& [key, entry] : entries_) unique.insert(key.address);
  for (const auto& [text, entry] : local_entries_) unique.insert(locals_[entry.slot].address);
  return {unique.begin(), unique.end()};
}

std::vector<IpAddress> TableBuilder::server_addresses() const {
  std::unordered_set<IpAddress, AddressHash> unique;
  for (const auto& [key, entry] : entries_) {
    for (const ServerEntry& server : entry->servers) unique.insert(server.address);
  }
  return {unique.begin(), unique.end()};
}

}  // namespace millrace
