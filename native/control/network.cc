// Network's calls: opening, events, requests, timers, and what it publishes. Control thread.
#include "control/network.h"

#include <algorithm>
#include <utility>

#include "control/network_parts.h"

namespace millrace {
namespace {

constexpr int kFirstListingTimeoutMs = 5000;
/// Unresolved clients that nobody asks for leave the tables after so long.
constexpr std::uint64_t kForgetMs = 30 * 1000;

}  // namespace

Network::Network(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Network::~Network() = default;

Result<std::unique_ptr<Network>> Network::open(NetworkConfig config, std::uint64_t now_ms) {
  auto network = offline(std::move(config));
  Parts& parts = *network->parts_;
  parts.now = now_ms;
  auto netlink = Netlink::open();
  if (!netlink) return netlink.error();
  const auto listed = netlink.value()->wait_until_listed(now_ms, kFirstListingTimeoutMs, [&](const KernelEvent& event) {
    std::visit([&](const auto& e) { parts.on(e); }, event);
  });
  if (!listed) return listed.error();
  parts.netlink = std::move(netlink).value();
  for (std::size_t i = 0; i < parts.views.size(); i++) {
    if (parts.views[i].kernel_index != 0) continue;
    return Error{"interface_missing", "there is no interface " + parts.config.interfaces[i].name + " in this network namespace",
                 0};
  }
  parts.settle();
  return network;
}

std::unique_ptr<Network> Network::offline(NetworkConfig config) {
  auto parts = std::make_unique<Parts>();
  parts->config = std::move(config);
  auto network = std::unique_ptr<Network>(new Network(std::move(parts)));
  network->parts_->refresh_links();
  network->configure(network->parts_->config.routes, network->parts_->config.neighbours, 0);
  return network;
}

std::shared_ptr<const NetworkTables> Network::from_configuration(const NetworkConfig& config) {
  auto network = offline(config);
  KernelRoutes connected;
  for (std::size_t i = 0; i < config.interfaces.size(); i++) {
    const InterfaceConfig& interface = config.interfaces[i];
    const auto index = static_cast<std::uint32_t>(i + 1);
    network->apply(KernelLink{index, interface.name, interface.mac, interface.mtu, true, true, {}, 0}, 0);
    for (const Prefix& prefix : interface.addresses) {
      network->apply(KernelAddress{index, prefix}, 0);
      KernelRoute route;
      route.prefix = {masked(prefix.address, prefix.length), prefix.length};
      route.paths.push_back({index, {}, false});
      connected.routes.push_back(std::move(route));
    }
  }
  network->apply(connected, 0);
  return network->tables();
}

int Network::fd() const { return parts_->netlink == nullptr ? -1 : parts_->netlink->fd(); }

void Network::process(std::uint64_t now_ms) {
  parts_->now = now_ms;
  if (parts_->netlink != nullptr) {
    parts_->netlink->process(now_ms,
                             [this](const KernelEvent& event) { std::visit([this](const auto& e) { parts_->on(e); }, event); });
  }
  parts_->settle();
}

void Network::apply(const KernelEvent& event, std::uint64_t now_ms) {
  parts_->now = now_ms;
  std::visit([this](const auto& e) { parts_->on(e); }, event);
  parts_->settle();
}

void Network::request(const ResolveRequest& request, std::uint64_t now_ms) {
  Parts& parts = *parts_;
  parts.now = now_ms;
  parts.stats.requests++;
  bool understood = false;
  if (request.kind == ResolveRequest::Kind::kNeighbour) {
    understood = parts.request_neighbour({request.address, request.interface});
  } else if (request.next_hop <= NextHopTable::kLimit) {
    const auto id = static_cast<NextHopId>(request.next_hop);
    if (const NeighbourKey* gateway = parts.next_hops.gateway_key(id)) {
      parts.neighbours.request(*gateway, now_ms);
      understood = true;
    } else if (const NeighbourKey* on_link = parts.next_hops.on_link_key(id)) {
      understood = parts.request_neighbour(NeighbourKey(*on_link));
    }
  }
  if (!understood) parts.stats.requests_ignored++;
  parts.settle();
}

void Network::tick(std::uint64_t now_ms) {
  Parts& parts = *parts_;
  parts.now = now_ms;
  if (parts.netlink != nullptr) {
    parts.netlink->tick(now_ms, [&](const KernelEvent& event) { std::visit([&](const auto& e) { parts.on(e); }, event); });
  }
  parts.neighbours.tick(now_ms);
  if (now_ms >= parts.forget_at_ms) {
    const std::size_t before = parts.next_hops.on_link_ids().size();
    parts.next_hops.free_forgotten(now_ms, kForgetMs);
    if (parts.next_hops.on_link_ids().size() != before) parts.changed();
    parts.forget_at_ms = now_ms + kForgetMs / 3;
  }
  parts.settle();
}

std::uint64_t Network::next_tick_ms() const {
  std::uint64_t next = parts_->neighbours.next_tick_ms();
  if (parts_->netlink != nullptr) next = std::min(next, parts_->netlink->next_tick_ms());
  if (parts_->report_change) next = std::min(next, parts_->next_build_ms);
  return next;
}

void Network::set_servers(const std::vector<IpAddress>& servers, std::uint64_t now_ms) {
  parts_->now = now_ms;
  if (servers == parts_->servers) return;
  parts_->servers = servers;
  parts_->plan_is_old = true;
  parts_->settle();
}

void Network::configure(std::vector<StaticRoute> routes, std::vector<StaticNeighbour> neighbours, std::uint64_t now_ms) {
  Parts& parts = *parts_;
  parts.now = now_ms;
  parts.config.routes = std::move(routes);
  parts.config.neighbours = std::move(neighbours);
  // The configuration's check names unknown interfaces; here they only must do no harm.
  const auto unknown = [&](const auto& item) { return item.interface >= parts.config.interfaces.size(); };
  std::erase_if(parts.config.routes, unknown);
  std::erase_if(parts.config.neighbours, unknown);
  std::unordered_map<NeighbourKey, MacAddress, NeighbourKeyHash> configured;
  for (const StaticNeighbour& n : parts.config.neighbours) configured[{n.address, n.interface}] = n.mac;
  parts.neighbours.set_configured(configured);
  parts.plan_is_old = true;
  parts.settle();
}

std::size_t Network::pending_servers() const {
  std::size_t pending = 0;
  for (const IpAddress& server : parts_->servers) {
    const Route* route = parts_->route_table.lookup(server);
    if (route == nullptr || route->unreachable) continue;
    const NextHopId id = route->gateway != 0 ? route->gateway : parts_->next_hops.find_on_link({server, route->interface});
    const NextHop& view = parts_->next_hops.views()[id];
    if (!view.resolved && !view.failed) pending++;
  }
  return pending;
}

bool Network::take_changed() {
  if (!parts_->report_change || parts_->now < parts_->next_build_ms) return false;
  parts_->report_change = false;
  return true;
}

std::shared_ptr<const NetworkTables> Network::tables() {
  if (parts_->tables_are_old) parts_->build();
  return parts_->built;
}

bool Network::take_interfaces_changed() { return std::exchange(parts_->interfaces_changed, false); }
std::vector<InterfaceState> Network::interfaces() const { return parts_->states; }
std::vector<HostAddress> Network::kernel_addresses() const { return parts_->host_addresses; }

Result<void> Network::check_not_on_kernel(const IpAddress& address) const {
  for (const HostAddress& host : parts_->host_addresses) {
    if (host.prefix.address != address) continue;
    return Error{"address_on_kernel",
                 address.to_string() + " is configured on " + host.interface +
                     ": the kernel would answer for it, and reset clients when Millrace stops. Remove it with: ip addr del " +
                     host.prefix.to_string() + " dev " + host.interface,
                 0};
  }
  return {};
}

const NetworkStats& Network::stats() const {
  NetworkStats& stats = parts_->stats;
  stats.reclaimed = parts_->next_hops.reclaimed();
  if (parts_->netlink != nullptr) {
    stats.listings = parts_->netlink->listings();
    stats.lost_events = parts_->netlink->lost_events();
    stats.refusals = parts_->netlink->refusals();
  }
  return stats;
}

std::vector<Solicitation> Network::take_solicitations() { return std::exchange(parts_->solicitations, {}); }

}  // namespace millrace
