// What TableBuilder knows as the tables that workers read, and what nobody uses any more given back. Control thread only.
#include "schedulers/registry.h"
#include "tables/connection_gate.h"
#include "tables/endpoint_key.h"
#include "tables/table_builder.h"

namespace millrace {

void TableBuilder::ServiceEntry::look_at_servers() {
  leaving_servers = 0;
  rated_servers = limited_servers = any_port_servers = false;
  for (const ServerEntry& server : servers) {
    if (server.removed) leaving_servers++;
    if (!server.rates.none()) rated_servers = true;
    if (!server.removed && server.limits.upper != 0) limited_servers = true;
    if (server.port.raw == 0 && server.mode == ForwardMode::kFullNat) any_port_servers = true;
  }
}

void TableBuilder::count_leavers() {
  leavers_ = leaving_locals_.size();
  for (const auto& [key, entry] : entries_) leavers_ += entry->leaving_servers + (entry->removed ? 1 : 0);
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
    if (service.leaving_servers == 0 && !service.removed) {
      ++entry;
      continue;
    }
    std::erase_if(service.servers, [&](const ServerEntry& server) {
      if (!server.removed || sessions_on_server(server.slot) != 0) return false;
      release_endpoint(endpoint_key(server.address, server.port, service.key.protocol));
      free_servers_.push_back(server.slot);
      if (server.mode == ForwardMode::kNat) nat_.reset();
      return true;
    });
    service.look_at_servers();
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
  tables->locals_of_worker = locals_of({});
  tables->tunnel_sources = tunnel_sources_;
  tables->echo_replies = echo_replies_;
  tables->tells_clients = tells_clients_;
  tables->generation = ++generation_;
  tables->timeout_tables = timeout_tables_;
  // Leavers first: an address that is a VIP now and was a local address before, or the other way round, is what it is now.
  for (const bool removed : {true, false}) {
    for (const auto& [key, entry] : entries_) {
      if (entry->removed != removed) continue;
      for (const Prefix& vips : vips_of(*entry)) {
        if (vips.is_host()) tables->owned[vips.address] = OwnedAddress{OwnedAddress::Kind::kVip, 0};
        else tables->owned_prefixes.add(vips);
      }
    }
    for (const auto& [text, entry] : local_entries_) {
      if (entry.removed == removed)
        tables->owned[locals_[entry.slot].address] = OwnedAddress{OwnedAddress::Kind::kLocal, entry.slot};
    }
  }
  for (const auto& [key, entry] : entries_) {
    // Those that were removed, too: their sessions go on.
    if (!entry->rates.none()) tables->rated_services.push_back({entry->slot, entry->rates});
    if (entry->any_port_servers) tables->endpoints_overlap = true;
    if (!entry->rated_servers && entry->leaving_servers == 0) continue;
    for (const ServerEntry& server : entry->servers) {
      if (!server.rates.none()) tables->rated_servers.push_back({server.slot, server.rates});
      if (server.removed && !server.replaced && entry->on_removal != OnRemoval::kKeep) {
        tables->removed[server.slot] = entry->on_removal;
      }
    }
  }
  for (const EntryKey& key : order_) {
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second->removed) continue;
    const std::unique_ptr<ServiceEntry>& entry = found->second;
    enter(*tables, *entry);
    if (entry->outbound) tables->pools[entry->slot] = locals_of(entry->name);
    if (scheduler_counts(entry->scheduler)) {
      for (const ServerView& server : entry->list) tables->counted.push_back(server.slot);
    }
    if (entry->max_connections != 0) tables->limited_services.push_back({entry->slot, plain_limit(entry->max_connections)});
    if (entry->limited_servers) {
      for (const ServerEntry& server : entry->servers) {
        if (!server.removed && server.limits.upper != 0) tables->limited_servers.push_back({server.slot, server.limits});
      }
    }
    tables->owners.push_back(entry->table);
  }
  if (!nat_) {
    auto nat = std::make_shared<NatServers>();
    for (const ServiceKey& server : nat_servers()) {
      nat->endpoints.insert(server);
      nat->hosts.insert(server.address);
    }
    nat_ = std::move(nat);
  }
  tables->nat = nat_;
  return tables;
}

}  // namespace millrace
