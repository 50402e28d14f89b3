// The inside of class Network: its state, and what follows from each input. Only network.cc and network_parts.cc include this.
// Thread: the control thread alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/neighbour_table.h"
#include "control/netlink.h"
#include "control/network.h"
#include "control/next_hop_table.h"
#include "control/route_plan.h"

namespace millrace {

struct Network::Parts {
  struct ListedAddress {
    KernelAddress address;
    std::uint32_t listing;
  };
  struct ListedLink {
    KernelLink link;
    std::uint32_t listing;
  };
  /// Burst of new on-link destinations; the kernel's own table takes 1024 (gc_thresh3), each unanswered one for three seconds.
  static constexpr double kRequestBurst = 256;

  NetworkConfig config;
  std::unique_ptr<Netlink> netlink;
  std::uint64_t now = 0;

  std::unordered_map<std::uint32_t, ListedLink> links;
  std::vector<ListedAddress> addresses;
  std::uint32_t link_listing = 0;
  std::uint32_t address_listing = 0;
  std::vector<KernelRoute> kernel_routes;
  OurLinks our_links;

  std::vector<InterfaceView> views;
  std::vector<InterfaceState> states;
  std::vector<HostAddress> host_addresses;
  bool interfaces_changed = false;

  std::vector<PlannedRoute> plan;
  std::vector<PlannedRoute> on_link_with_mtu;
  std::vector<Route> routes;
  RouteTable route_table;
  std::vector<IpAddress> servers;
  NeighbourTable neighbours;
  NextHopTable next_hops{neighbours};
  std::uint16_t generation = 1;

  double request_tokens = kRequestBurst;
  std::uint64_t tokens_at_ms = 0;
  std::uint64_t forget_at_ms = 0;

  bool plan_is_old = true;
  bool report_change = true;
  bool tables_are_old = true;
  std::uint64_t next_build_ms = 0;
  std::shared_ptr<const NetworkTables> built;
  std::vector<Solicitation> solicitations;
  NetworkStats stats;

  void changed() { report_change = tables_are_old = true; }
  void raise_generation() {
    if (++generation == 0) generation = 1;
    changed();
  }

  std::optional<std::uint16_t> interface_of(std::uint32_t link) const {
    const auto found = our_links.find(link);
    return found == our_links.end() ? std::nullopt : std::optional(found->second.interface);
  }

  void on(const KernelLink& link);
  void on(const KernelLinkGone& gone);
  void on(const KernelAddress& address);
  void on(const KernelAddressGone& gone);
  void on(const KernelRoutes& listed);
  void on(const KernelNeighbour& neighbour);
  void on(const KernelNeighbourGone& gone);
  void on(const KernelListing& listing);

  void refresh_links();
  void refresh_states();
  void replan();
  void pin_everything();
  std::optional<std::uint32_t> on_link_mtu(const NeighbourKey& key) const;
  bool take_token();
  bool request_neighbour(const NeighbourKey& key);
  void settle();
  void build();
};

}  // namespace millrace
