// What Network does with each input: the kernel's events, routes, servers, workers' requests. Control thread.
#include "control/network_parts.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace millrace {
namespace {

/// Copying this many entries takes about a millisecond; the pause between tables grows with them, so that building stays cheap.
constexpr std::size_t kEntriesPerPauseMs = 2000;

std::uint16_t clamp_mtu(std::uint32_t mtu) {
  return static_cast<std::uint16_t>(std::min<std::uint32_t>(mtu, std::numeric_limits<std::uint16_t>::max()));
}

bool same_route(const Route& a, const Route& b) {
  return a.prefix == b.prefix && a.length == b.length && a.gateway == b.gateway && a.interface == b.interface &&
         a.unreachable == b.unreachable;
}

}  // namespace

void Network::Parts::on(const KernelLink& link) {
  ListedLink& known = links[link.index];
  known.listing = link_listing;
  if (known.link == link) return;
  known.link = link;
  refresh_links();
}

void Network::Parts::on(const KernelLinkGone& gone) {
  if (links.erase(gone.index) != 0) refresh_links();
}

void Network::Parts::on(const KernelAddress& address) {
  const auto found = std::find_if(addresses.begin(), addresses.end(), [&](const auto& a) { return a.address == address; });
  if (found != addresses.end()) {
    found->listing = address_listing;
    return;
  }
  addresses.push_back({address, address_listing});
  plan_is_old = true;
}

void Network::Parts::on(const KernelAddressGone& gone) {
  if (std::erase_if(addresses, [&](const auto& a) { return a.address == gone.address; }) != 0) plan_is_old = true;
}

void Network::Parts::on(const KernelRoutes& listed) {
  if (listed.routes == kernel_routes) return;
  kernel_routes = listed.routes;
  plan_is_old = true;
}

void Network::Parts::on(const KernelNeighbour& neighbour) {
  const auto interface = interface_of(neighbour.link);
  if (interface) neighbours.kernel_update({neighbour.address, *interface}, neighbour.mac, neighbour.state, now);
}

void Network::Parts::on(const KernelNeighbourGone& gone) {
  const auto interface = interface_of(gone.link);
  if (interface) neighbours.kernel_gone({gone.address, *interface}, now);
}

void Network::Parts::on(const KernelListing& listing) {
  switch (listing.kind) {
    case KernelListing::Kind::kLinks:
      if (listing.begin) {
        link_listing++;
      } else if (std::erase_if(links, [&](const auto& l) { return l.second.listing != link_listing; }) != 0) {
        refresh_links();
      }
      break;
    case KernelListing::Kind::kAddresses:
      if (listing.begin) {
        address_listing++;
      } else if (std::erase_if(addresses, [&](const auto& a) { return a.listing != address_listing; }) != 0) {
        plan_is_old = true;
      }
      break;
    case KernelListing::Kind::kNeighbours:
      if (listing.begin) {
        neighbours.begin_listing();
      } else {
        neighbours.end_listing(now);
      }
      break;
  }
}

/// Which links are ours, and what they look like now. At once, because neighbours are told apart by it.
void Network::Parts::refresh_links() {
  const OurLinks before = std::exchange(our_links, {});
  std::vector<InterfaceView> fresh(config.interfaces.size());
  for (const auto& [index, known] : links) {
    for (std::size_t i = 0; i < config.interfaces.size(); i++) {
      if (config.interfaces[i].name != known.link.name) continue;
      fresh[i].mac = known.link.mac;
      fresh[i].mtu = clamp_mtu(known.link.mtu);
      fresh[i].usable = known.link.up && known.link.carrier;
      fresh[i].kernel_index = index;
      our_links[index] = {static_cast<std::uint16_t>(i), fresh[i].usable};
    }
  }
  for (std::size_t i = 0; i < fresh.size(); i++) {
    neighbours.set_usable(static_cast<std::uint32_t>(i), fresh[i].usable, now);
  }
  views = std::move(fresh);
  plan_is_old = true;
  // What was said of a link while it was not ours went unheard.
  const bool new_link =
      std::any_of(our_links.begin(), our_links.end(), [&](const auto& link) { return !before.contains(link.first); });
  if (new_link && netlink != nullptr) netlink->list_again();
}

void Network::Parts::refresh_states() {
  std::vector<InterfaceState> fresh(config.interfaces.size());
  for (std::size_t i = 0; i < fresh.size(); i++) {
    const InterfaceView view = i < views.size() ? views[i] : InterfaceView{};
    fresh[i] = {config.interfaces[i].name, view.kernel_index, view.mac, view.mtu, view.usable, {}};
  }
  const auto add = [&](std::uint16_t interface, const Prefix& prefix) {
    auto& on_link = fresh[interface].on_link;
    const Prefix network{masked(prefix.address, prefix.length), prefix.length};
    if (std::find(on_link.begin(), on_link.end(), network) == on_link.end()) on_link.push_back(network);
  };
  std::vector<HostAddress> hosts;
  for (const ListedAddress& listed : addresses) {
    const auto link = links.find(listed.address.link);
    hosts.push_back({listed.address.prefix, link == links.end() ? std::string() : link->second.link.name});
    const auto interface = interface_of(listed.address.link);
    if (interface && listed.address.prefix.length < 128) add(*interface, listed.address.prefix);
  }
  for (const PlannedRoute& route : plan) {
    const bool everything = route.prefix.family_length() == 0;
    if (!route.gateway && !route.unreachable && !everything) add(route.interface, route.prefix);
  }
  const auto same_host = [](const HostAddress& a, const HostAddress& b) {
    return a.prefix == b.prefix && a.interface == b.interface;
  };
  if (fresh != states || !std::equal(hosts.begin(), hosts.end(), host_addresses.begin(), host_addresses.end(), same_host)) {
    states = std::move(fresh);
    host_addresses = std::move(hosts);
    interfaces_changed = true;
  }
}

/// The MTU of the on-link route to a destination (0: the link's); nothing if it is not on-link there.
std::optional<std::uint32_t> Network::Parts::on_link_mtu(const NeighbourKey& key) const {
  const Route* route = route_table.lookup(key.address);
  const bool on_link = route != nullptr && !route->unreachable && route->gateway == 0 && route->interface == key.interface;
  if (on_link) {
    const auto found = std::find_if(on_link_with_mtu.begin(), on_link_with_mtu.end(), [&](const PlannedRoute& p) {
      return p.prefix.length == route->length && p.prefix.address == route->prefix;
    });
    return found == on_link_with_mtu.end() ? 0 : found->mtu;
  }
  const bool configured = std::any_of(config.neighbours.begin(), config.neighbours.end(), [&](const StaticNeighbour& n) {
    return n.address == key.address && n.interface == key.interface;
  });
  return configured ? std::optional<std::uint32_t>(0) : std::nullopt;
}

/// Routes, gateways, servers: everything that follows from links, addresses, the kernel's routes and the configuration.
void Network::Parts::replan() {
  plan_is_old = false;
  plan = plan_routes(kernel_routes, config.routes, our_links);
  on_link_with_mtu.clear();
  // Interfaces first: next hops take MAC and MTU from them. Nothing is freed yet.
  next_hops.refresh(views, [](const NeighbourKey&) { return std::optional<std::uint32_t>(0); });
  next_hops.begin_pinning();
  std::vector<Route> fresh;
  RouteTable table;
  fresh.reserve(plan.size());
  for (const PlannedRoute& planned : plan) {
    Route route{planned.prefix.address, planned.prefix.length, 0, planned.interface, planned.unreachable};
    if (planned.gateway) {
      route.gateway = next_hops.gateway({*planned.gateway, planned.interface}, planned.mtu, now);
      if (route.gateway == 0) route.unreachable = true;
    } else if (planned.mtu != 0) {
      on_link_with_mtu.push_back(planned);
    }
    table.add(route);
    fresh.push_back(route);
  }
  const bool same = std::equal(fresh.begin(), fresh.end(), routes.begin(), routes.end(), same_route);
  routes = std::move(fresh);
  route_table = std::move(table);
  next_hops.refresh(views, [this](const NeighbourKey& key) { return on_link_mtu(key); });
  pin_everything();
  next_hops.end_pinning(now);
  if (!same) raise_generation();
  changed();
  refresh_states();
}

void Network::Parts::pin_everything() {
  const auto pin_on_link = [this](const NeighbourKey& key) {
    const auto mtu = on_link_mtu(key);
    if (!mtu) return;
    const NextHopId id = next_hops.on_link(key, *mtu, now);
    if (id != 0) next_hops.pin(id);
  };
  for (const IpAddress& server : servers) {
    const Route* route = route_table.lookup(server);
    if (route != nullptr && !route->unreachable && route->gateway == 0) pin_on_link({server, route->interface});
  }
  for (const StaticNeighbour& neighbour : config.neighbours) pin_on_link({neighbour.address, neighbour.interface});
}

bool Network::Parts::take_token() {
  const double rate = config.new_neighbours_per_second;
  request_tokens = std::min(kRequestBurst, request_tokens + static_cast<double>(now - std::min(now, tokens_at_ms)) * rate / 1000);
  tokens_at_ms = now;
  if (request_tokens < 1) return false;
  request_tokens -= 1;
  return true;
}

/// False when the destination is not on-link there.
bool Network::Parts::request_neighbour(const NeighbourKey& key) {
  // Packets to a silent neighbour ask again and again: what has a number is on-link, replan() sees to that.
  NextHopId id = next_hops.find_on_link(key);
  if (id == 0) {
    const auto mtu = key.interface < views.size() ? on_link_mtu(key) : std::nullopt;
    if (!mtu) return false;
    if (!neighbours.is_known(key) && !take_token()) {
      stats.requests_limited++;
      return true;
    }
    id = next_hops.on_link(key, *mtu, now);
    changed();
  }
  if (id == 0) return true;
  next_hops.touch(id, now);
  neighbours.request(key, now);
  return true;
}

/// After any input: brings all parts in line and sends what must be asked of the kernel.
void Network::Parts::settle() {
  if (plan_is_old) replan();
  for (const NeighbourKey& key : neighbours.take_changed()) {
    if (next_hops.update(key)) changed();
  }
  if (next_hops.take_reused()) raise_generation();
  for (const NeighbourTable::Wish& wish : neighbours.take_solicitations()) {
    const std::uint32_t link = wish.key.interface < views.size() ? views[wish.key.interface].kernel_index : 0;
    if (link != 0) solicitations.push_back({link, wish.key.address, wish.known});
  }
  if (netlink != nullptr && !solicitations.empty()) {
    stats.solicitations += solicitations.size();
    netlink->solicit(solicitations);
    solicitations.clear();
  }
}

void Network::Parts::build() {
  auto tables = std::make_shared<NetworkTables>();
  tables->routes = route_table;
  tables->next_hops = next_hops.views();
  tables->neighbours = next_hops.on_link_ids();
  tables->interfaces = views;
  tables->route_generation = generation;
  const std::size_t entries = tables->next_hops.size() + tables->neighbours.size() + tables->routes.size();
  next_build_ms = now + entries / kEntriesPerPauseMs;
  built = std::move(tables);
  tables_are_old = false;
  stats.rebuilds++;
}

}  // namespace millrace
