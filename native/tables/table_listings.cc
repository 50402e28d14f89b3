// What the control thread asks a TableBuilder about: where services and servers live, and which addresses, servers and packets are ours.
// It goes to the XDP program's maps, to ARP and ND, and to statistics. Control thread.
#include <algorithm>
#include <tuple>
#include <unordered_set>

#include "tables/table_builder.h"

namespace millrace {

SlotMap::Service TableBuilder::slots_of(const ServiceEntry& entry) {
  SlotMap::Service service{entry.name, entry.slot, {}};
  for (const ServerEntry& server : entry.servers) {
    service.servers.push_back({server.address, server.port, server.slot, server.removed});
  }
  return service;
}

SlotMap TableBuilder::slot_map() const {
  SlotMap map;
  for (const EntryKey& key : order_) {
    const auto found = entries_.find(key);
    if (found != entries_.end()) map.services.push_back(slots_of(*found->second));
  }
  return map;
}

SlotMap TableBuilder::slot_map(const std::vector<ServiceConfig>& services) const {
  SlotMap map;
  for (const ServiceConfig& service : services) {
    const auto found = entries_.find(key_of(service));
    if (found != entries_.end()) map.services.push_back(slots_of(*found->second));
  }
  return map;
}

std::vector<IpAddress> TableBuilder::owned_addresses() const {
  std::unordered_set<IpAddress, AddressHash> unique;
  for (const auto& [key, entry] : entries_) {
    for (const Prefix& vips : vips_of(*entry)) {
      if (vips.is_host()) unique.insert(vips.address);
    }
  }
  for (const auto& [text, entry] : local_entries_) unique.insert(locals_[entry.slot].address);
  return {unique.begin(), unique.end()};
}

std::vector<IpAddress> TableBuilder::announced_addresses() const {
  std::unordered_set<IpAddress, AddressHash> silent, announced;
  for (const auto& [key, entry] : entries_) {
    for (const Prefix& vips : vips_of(*entry)) {
      if (vips.is_host()) (entry->announced ? announced : silent).insert(vips.address);
    }
  }
  std::vector<IpAddress> addresses = owned_addresses();
  std::erase_if(addresses, [&](const IpAddress& address) { return silent.contains(address) && !announced.contains(address); });
  return addresses;
}

std::vector<Prefix> TableBuilder::owned_prefixes() const {
  std::vector<Prefix> unique = tunnel_prefixes_;
  for (const auto& [key, entry] : entries_) {
    for (const Prefix& vips : vips_of(*entry)) {
      if (!vips.is_host()) unique.push_back(vips);
    }
  }
  const auto order = [](const Prefix& p) { return std::tuple(p.address.high, p.address.low, p.length); };
  std::sort(unique.begin(), unique.end(), [&](const Prefix& a, const Prefix& b) { return order(a) < order(b); });
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  return unique;
}

std::vector<ServiceKey> TableBuilder::nat_servers() const {
  std::unordered_set<ServiceKey, ServiceKeyHash> unique;
  for (const auto& [key, entry] : entries_) {
    for (const ServerEntry& server : entry->servers) {
      if (server.mode != ForwardMode::kNat) continue;
      if (key.protocol != 0) {
        unique.insert({server.address, server.port, key.protocol});
      } else {  // both protocols of ports
        unique.insert({server.address, server.port, 6});
        unique.insert({server.address, server.port, 17});
      }
    }
  }
  return {unique.begin(), unique.end()};
}

std::vector<ServiceMatch> TableBuilder::outbound_matches() const {
  std::vector<ServiceMatch> all;
  for (const EntryKey& key : order_) {
    const auto found = entries_.find(key);
    if (found == entries_.end() || !found->second->outbound) continue;  // what has left may still have sessions
    all.insert(all.end(), found->second->matches.begin(), found->second->matches.end());
  }
  return all;
}

std::vector<IpAddress> TableBuilder::server_addresses() const {
  std::unordered_set<IpAddress, AddressHash> unique;
  for (const auto& [key, entry] : entries_) {
    if (entry->outbound) continue;
    for (const ServerEntry& server : entry->servers) unique.insert(server.address);
  }
  return {unique.begin(), unique.end()};
}

}  // namespace millrace
