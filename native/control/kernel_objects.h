// What the kernel tells about the network, as plain values: links, addresses, routes, neighbours, and one event that carries any
// of them. The netlink client makes them, class Network consumes them; tests make them by hand.
// Thread: any. No state.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "net/address.h"
#include "net/prefix.h"

namespace millrace {

struct KernelLink {
  std::uint32_t index = 0;
  std::string name;
  MacAddress mac;
  std::uint32_t mtu = 0;
  /// Administratively up (IFF_UP).
  bool up = false;
  /// The lower layer carries packets (IFF_LOWER_UP).
  bool carrier = false;
  /// rtnetlink's IFLA_INFO_KIND: "veth", "bond"; empty for hardware.
  std::string kind;
  /// Index of the bond, bridge or team it belongs to; 0 if none.
  std::uint32_t master = 0;
  bool operator==(const KernelLink&) const = default;
};

struct KernelAddress {
  std::uint32_t link = 0;
  /// The address with the length of its connected prefix.
  Prefix prefix;
  bool operator==(const KernelAddress&) const = default;
};

/// One path of a route.
struct KernelPath {
  std::uint32_t link = 0;
  /// Unspecified when the destination is on-link.
  IpAddress gateway;
  bool has_gateway = false;
  bool operator==(const KernelPath&) const = default;
};

struct KernelRoute {
  Prefix prefix;
  /// Lower wins (RTA_PRIORITY).
  std::uint32_t metric = 0;
  /// RTAX_MTU, 0 if not set.
  std::uint32_t mtu = 0;
  /// blackhole, unreachable, prohibit.
  bool unreachable = false;
  std::vector<KernelPath> paths;
  bool operator==(const KernelRoute&) const = default;
};

struct KernelNeighbour {
  std::uint32_t link = 0;
  IpAddress address;
  /// Zero while unknown.
  MacAddress mac;
  /// NUD_* of linux/neighbour.h; 0 when the kernel has no entry.
  std::uint16_t state = 0;
  bool operator==(const KernelNeighbour&) const = default;
};

/// The whole of the main routing tables; routes are never reported one by one (netlink.h says why).
struct KernelRoutes {
  std::vector<KernelRoute> routes;
};

/// A full listing of one kind begins or ends: what was not seen in between no longer exists.
struct KernelListing {
  enum class Kind : std::uint8_t { kLinks, kAddresses, kNeighbours };
  Kind kind;
  bool begin;
};

struct KernelLinkGone {
  std::uint32_t index;
};
struct KernelAddressGone {
  KernelAddress address;
};
struct KernelNeighbourGone {
  std::uint32_t link;
  IpAddress address;
};

using KernelEvent = std::variant<KernelLink, KernelLinkGone, KernelAddress, KernelAddressGone, KernelRoutes, KernelNeighbour,
                                 KernelNeighbourGone, KernelListing>;

/// A wish to the kernel: resolve this neighbour, or confirm that it is still there (RTM_NEWNEIGH with NTF_USE).
struct Solicitation {
  std::uint32_t link = 0;
  IpAddress address;
  /// The kernel has an entry, and it is not a permanent one. On an unknown entry the wish must not act: NTF_USE takes the
  /// permanence from an operator's entry (net/core/neighbour.c, __neigh_update with NEIGH_UPDATE_F_USE).
  bool known = false;
  bool operator==(const Solicitation&) const = default;
};

}  // namespace millrace
