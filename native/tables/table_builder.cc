// Applying configurations. Control thread only.
#include "tables/table_builder.h"

#include <algorithm>
#include <unordered_set>

#include "net/headers.h"
#include "schedulers/registry.h"
#include "tables/endpoint_key.h"

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

Error too_many_rules() {
  return {"limit_exceeded", "more than 4096 different clientAddress settings since the start; restart to forget old ones", 0};
}

Error too_many_servers() { return {"limit_exceeded", "more than 262144 servers, those still draining included", 0}; }

/// The `bits` last bits of a 16-byte address, as a mask.
IpAddress last_bits(std::uint32_t bits) {
  std::uint8_t mask[16] = {};
  for (std::uint32_t bit = 0; bit < bits; bit++) mask[15 - bit / 8] |= static_cast<std::uint8_t>(1u << (bit % 8));
  return IpAddress::v6(mask);
}

std::array<SourceRange, 2> source_ranges(const std::vector<AddressRange>& configs) {
  std::array<SourceRange, 2> ranges{};
  for (const AddressRange& config : configs) {
    const IpAddress base = masked(config.prefix, config.length);
    ranges[base.is_v4() ? 0 : 1] = {base, last_bits(128u - config.length)};
  }
  return ranges;
}

}  // namespace

Result<void> TableBuilder::reserve() {
  if (auto r = services_.reserve(kMaxServices); !r) return r;
  if (auto r = servers_.reserve(kMaxServers); !r) return r;
  if (auto r = rules_.reserve(); !r) return r;
  return locals_.reserve(kMaxLocals);
}

std::size_t TableBuilder::new_servers(const ServiceEntry& known, const ServiceConfig& config) const {
  const ServersByKey present = servers_by_key(known);
  return static_cast<std::size_t>(std::count_if(config.servers.begin(), config.servers.end(), [&](const ServerConfig& server) {
    return find_alike(present, config.protocol, server) == nullptr;
  }));
}

Result<void> TableBuilder::check_limits(const TablesConfig& config) const {
  // Slots in use now may all have to stay, so what is new counts beside them.
  std::size_t servers = next_server_ - free_servers_.size();
  std::size_t services = next_service_ - free_services_.size();
  std::size_t locals = next_local_ - free_locals_.size();
  for (const ServiceConfig& service : config.services) {
    const auto known = entries_.find(key_of(service));
    if (known == entries_.end()) {
      services++;
      servers += service.servers.size();
      continue;
    }
    servers += new_servers(*known->second, service);
  }
  std::vector<IpAddress> own = config.local_addresses;
  for (const ServiceConfig& service : config.services) own.insert(own.end(), service.pool.begin(), service.pool.end());
  std::unordered_set<IpAddress, AddressHash> owned(own.begin(), own.end());
  std::size_t prefixes = owned_prefixes().size() + config.tunnel_sources.size();
  for (const ServiceConfig& service : config.services) {
    for (const Prefix& vips : millrace::vips_of(service)) {
      if (vips.is_host()) owned.insert(vips.address);
      else prefixes++;
    }
  }
  for (const IpAddress& address : owned_addresses()) owned.insert(address);
  if (prefixes > kMaxOwnedPrefixes) {
    return Error{"limit_exceeded", "more than 4096 prefixes of VIPs, those still draining and those that stay included", 0};
  }
  if (owned.size() > kMaxOwnedAddresses) {
    return Error{"limit_exceeded", "more than 65536 VIPs and local addresses, those still draining included", 0};
  }
  for (const IpAddress& address : own) locals += local_entries_.contains(address.to_string()) ? 0 : 1;
  if (!rules_.have_room_for(config.services)) return too_many_rules();
  if (services > kMaxServices) return Error{"limit_exceeded", "more than 131072 services, those still draining included", 0};
  if (servers > kMaxServers) return too_many_servers();
  if (locals > kMaxLocals) return Error{"limit_exceeded", "more than 65536 local addresses, those still draining included", 0};
  return {};
}

Result<std::shared_ptr<const ServiceTables>> TableBuilder::apply(const TablesConfig& config) {
  if (auto r = check_limits(config); !r) return r.error();
  apply_locals(config);
  tunnel_sources_ = source_ranges(config.tunnel_sources);
  echo_replies_ = config.echo_replies;
  tunnel_prefixes_.clear();
  for (const AddressRange& range : config.tunnel_sources) {
    tunnel_prefixes_.push_back({masked(range.prefix, range.length), static_cast<std::uint8_t>(range.length)});
  }

  std::unordered_set<EntryKey, EntryKeyHash> wanted;
  order_.clear();
  for (const ServiceConfig& service : config.services) {
    const EntryKey key = key_of(service);
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

Result<std::shared_ptr<const ServiceTables>> TableBuilder::update(const ServicesUpdate& update) {
  std::size_t servers = next_server_ - free_servers_.size();
  for (const ServiceConfig& service : update.services) {
    const auto known = entries_.find(key_of(service));
    if (known == entries_.end() || known->second->removed) {
      return Error{"unknown_service", "service " + service.name + " is not part of the configuration in force", 0};
    }
    servers += new_servers(*known->second, service);
  }
  if (servers > kMaxServers) return too_many_servers();
  if (!rules_.have_room_for(update.services)) return too_many_rules();
  for (const ServiceConfig& service : update.services) apply_service(service);
  count_leavers();
  return build();
}

TableBuilder::EntryKey TableBuilder::key_of(const ServiceConfig& config) {
  if (config.outbound) return {{}, be16(0), 0, 0, {}, "outbound " + config.name};
  if (!config.matches.empty()) return {{}, be16(0), 0, 0, {}, config.name};
  return {config.address, config.port, config.protocol, config.vip_length, config.ports.value_or(PortRange{}), {}};
}

std::vector<Prefix> TableBuilder::vips_of(const ServiceEntry& entry) {
  if (entry.outbound) return {};
  if (entry.key.matches.empty()) return {Prefix{entry.key.address, entry.key.vip_length}};
  std::vector<Prefix> vips;
  for (const ServiceMatch& match : entry.matches) vips.push_back(match.destination);
  return vips;
}

/// Where packets find the service.
void TableBuilder::enter(ServiceTables& tables, const ServiceEntry& entry) {
  const EntryKey& key = entry.key;
  const ServiceTable* table = entry.table.get();
  for (const ServiceMatch& match : entry.matches) (entry.outbound ? tables.outbound : tables.wide).add(match, table);
  if (!entry.matches.empty()) return;
  const std::vector<std::uint8_t> protocols =
      key.protocol != 0 ? std::vector<std::uint8_t>{key.protocol} : std::vector<std::uint8_t>{net::kProtocolTcp, net::kProtocolUdp};
  for (const std::uint8_t protocol : protocols) {
    if (key.vip_length == 128 && !entry.many_ports) {
      tables.services[ServiceKey{key.address, key.port, protocol}] = table;
    } else {
      const std::uint16_t port = key.port.host();
      tables.wide.add(Prefix{key.address, key.vip_length}, entry.many_ports || port == 0 ? key.ports : PortRange{port, port}, protocol,
                      table);
    }
  }
}

void TableBuilder::record(ServiceEntry& service, ServiceChange::Kind kind, ServerSlot slot, std::uint32_t weight) {
  service.changes.push_back({++service.serial, kind, slot, weight});
  if (kind != ServiceChange::Kind::kEdit) membership_++;
  service.table.reset();
}

TableBuilder::ServersByKey TableBuilder::servers_by_key(const ServiceEntry& service) {
  ServersByKey servers;
  for (const ServerEntry& server : service.servers) {
    servers.insert({{server.address, server.port, service.key.protocol}, &server});
  }
  return servers;
}

const TableBuilder::ServerEntry* TableBuilder::find_alike(const ServersByKey& servers, std::uint8_t protocol,
                                                          const ServerConfig& config) const {
  const auto [first, last] = servers.equal_range({config.address, config.port, protocol});
  const auto found = std::find_if(first, last, [&](const auto& entry) { return reached_alike(*entry.second, config); });
  return found == last ? nullptr : found->second;
}

bool TableBuilder::reached_alike(const ServerEntry& server, const ServerConfig& config) const {
  return server.mode == config.mode && servers_[server.slot].tunnel_port == config.tunnel_port;
}

ServerSlot TableBuilder::new_server(ServiceEntry& service, const ServerConfig& config) {
  const ServerSlot slot = take_slot(free_servers_, next_server_);
  if (config.mode == ForwardMode::kNat) nat_.reset();
  if (slot_taken_) slot_taken_(slot);
  servers_[slot] =
      ServerIdentity{config.address,       config.port,
                     service.key.protocol, config.mode,
                     service.slot,         take_endpoint(endpoint_key(config.address, config.port, service.key.protocol)),
                     config.tunnel_port,   0};
  service.servers.push_back({slot, config.address, config.port, config.mode, config.weight, false, config.weight, config.id, config.limits, config.rates});
  return slot;
}

void TableBuilder::remove_service(ServiceEntry& service) {
  service.removed = true;
  for (ServerEntry& server : service.servers) {
    if (!server.removed) record(service, ServiceChange::Kind::kRemove, server.slot, 0);
    server.removed = true;
  }
  service.list.clear();
  service.look_at_servers();
  refresh_table(service);
}

void TableBuilder::apply_service(const ServiceConfig& config) {
  const EntryKey key = key_of(config);
  auto& owned = entries_[key];
  if (!owned) {
    owned = std::make_unique<ServiceEntry>();
    owned->key = key;
    owned->many_ports = config.ports.has_value();
    owned->slot = take_slot(free_services_, next_service_);
    owned->serial = 0;
    services_[owned->slot] = ServiceIdentity{config.address, config.port, config.protocol, config.dscp, 0, 0, 0};
    owned->scheduler = config.scheduler;
  }
  ServiceEntry& service = *owned;
  if (service.name != config.name && config.persistence.timeout_ms != 0) service.table.reset();  // templates go by the name
  service.name = config.name;
  service.matches = config.matches;
  service.on_removal = config.on_removal;
  service.outbound = config.outbound;
  service.removed = false;
  if (service.announced != config.announced) membership_++;
  service.announced = config.announced;
  // A worker may be reading it: one packet has the old mark, the next one the new.
  __atomic_store_n(&services_[service.slot].dscp, config.dscp, __ATOMIC_RELAXED);
  apply_access(service, config);
  apply_client_address(service, config);
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
  if (service.persistence != config.persistence || service.rules != config.rules) {
    service.persistence = config.persistence;
    service.rules = config.rules;
    service.table.reset();
  }
  apply_servers(service, config.servers);
  service.look_at_servers();
  apply_rates(service, config);
  refresh_table(service);
}

void TableBuilder::apply_rates(ServiceEntry& service, const ServiceConfig& config) {
  service.rates = config.rates;
  const std::uint32_t rated = (service.rates.none() ? 0 : kServiceRated) | (service.rated_servers ? kServersRated : 0);
  __atomic_store_n(&services_[service.slot].rated, rated, __ATOMIC_RELAXED);
}

void TableBuilder::apply_access(ServiceEntry& service, const ServiceConfig& config) {
  if (service.access_rules == config.access && service.allow_others == config.allow_others) return;
  service.access_rules = config.access;
  service.allow_others = config.allow_others;
  const bool everybody = config.access.empty() && config.allow_others;
  service.access = everybody ? nullptr : std::make_shared<const AccessList>(service.access_rules, config.allow_others);
  service.table.reset();
}

void TableBuilder::apply_client_address(ServiceEntry& service, const ServiceConfig& config) {
  if (service.client_address == config.client_address) return;
  service.client_address = config.client_address;
  tells_clients_ = true;
  service.table.reset();
  service.proxy_from.reset();
  if (!config.client_address.accept_from.empty()) {
    auto from = std::make_shared<PrefixSet>();
    for (const Prefix& prefix : config.client_address.accept_from) from->add(prefix);
    service.proxy_from = std::move(from);
  }
  service.client_address_rule = rules_.number_of(config.client_address);
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
  std::unordered_map<ServerSlot, std::uint32_t> staying;  // with their weights
  std::unordered_multimap<ServiceKey, std::size_t, ServiceKeyHash> draining;  // places in service.servers
  for (std::size_t i = 0; i < service.servers.size(); i++) {
    ServerEntry& server = service.servers[i];
    const auto found = wanted.find({server.address, server.port, protocol});
    if (server.removed) {
      draining.insert({{server.address, server.port, protocol}, i});
    } else if (found == wanted.end() || !reached_alike(server, *found->second)) {
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
    const auto [first, last] = draining.equal_range(key);
    const auto old =
        std::find_if(first, last, [&](const auto& place) { return reached_alike(service.servers[place.second], server); });
    if (old != last) {
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
  table->rules = service.rules;
  table->servers = service.list;
  table->changes = service.changes;
  table->serial = service.serial;
  table->lookup = build_lookup(service);
  std::vector<TemplateServer> hosts;
  for (const ServerView& view : service.list) hosts.push_back({servers_[view.slot].address, servers_[view.slot].port});
  table->persistence = build_persistence(service.persistence, service.name, hosts);
  table->access = service.access;
  table->client_address = service.client_address_rule;
  table->proxy_from = service.proxy_from;
  table->limited = service.max_connections != 0 || service.limited_servers;
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

void TableBuilder::apply_locals(const TablesConfig& config) {
  struct Wanted {
    IpAddress address;
    std::string pool;
  };
  std::vector<Wanted> wanted;
  for (const IpAddress& address : config.local_addresses) wanted.push_back({address, {}});
  for (const ServiceConfig& service : config.services) {
    for (const IpAddress& address : service.pool) wanted.push_back({address, service.name});
  }
  local_order_.clear();
  for (auto& [text, entry] : local_entries_) entry.removed = true;
  for (const Wanted& local : wanted) {
    local_order_.push_back(local.address.to_string());
    const auto known = local_entries_.find(local_order_.back());
    if (known == local_entries_.end()) continue;
    known->second.removed = false;
    known->second.pool = local.pool;
  }
  // Within a pool every worker has as many addresses of a family as its neighbours, give or take one; who has one keeps it.
  std::map<std::string, std::array<std::vector<std::uint32_t>, 2>> shares;
  const auto share_of = [&](const std::string& pool, const IpAddress& address) -> std::vector<std::uint32_t>& {
    auto& counts = shares[pool][address.is_v4() ? 0 : 1];
    counts.resize(workers_);
    return counts;
  };
  for (const auto& [text, entry] : local_entries_) {
    const LocalIdentity& local = locals_[entry.slot];
    if (!entry.removed) share_of(entry.pool, local.address)[local.worker]++;
  }
  for (const Wanted& local : wanted) {
    const std::string text = local.address.to_string();
    if (local_entries_.contains(text)) continue;
    auto& counts = share_of(local.pool, local.address);
    const auto least = std::min_element(counts.begin(), counts.end());
    const LocalSlot slot = take_slot(free_locals_, next_local_);
    locals_[slot] = LocalIdentity{local.address, static_cast<std::uint32_t>(least - counts.begin()), {}};
    ++*least;
    local_entries_[text] = {slot, local.pool, false};
  }
}

LocalsOfWorkers TableBuilder::locals_of(const std::string& pool) const {
  LocalsOfWorkers locals(workers_);
  for (const std::string& text : local_order_) {
    const LocalEntry& entry = local_entries_.find(text)->second;
    if (entry.pool == pool) locals[locals_[entry.slot].worker][locals_[entry.slot].address.is_v4() ? 0 : 1].push_back(entry.slot);
  }
  return locals;
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

}  // namespace millrace
