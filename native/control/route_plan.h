// Route plan: which of the kernel's and the configuration's routes the packet path uses. A pure function, so that it can be
// tested with routes made by hand.
// Thread: any. No state, no system calls.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "control/kernel_objects.h"
#include "control/network.h"

namespace millrace {

/// A link of the kernel that is one of ours.
struct OurLink {
  std::uint16_t interface = 0;
  bool usable = false;
};
using OurLinks = std::unordered_map<std::uint32_t, OurLink>;

/// A route as it is used: one path, on one of our interfaces.
struct PlannedRoute {
  Prefix prefix;
  std::uint16_t interface = 0;
  /// Absent: on-link.
  std::optional<IpAddress> gateway;
  /// 0: the link's.
  std::uint32_t mtu = 0;
  bool unreachable = false;
  bool operator==(const PlannedRoute&) const = default;
};

/// One route per prefix, in the order of prefixes:
/// - a route of the configuration wins over the kernel's to the same prefix;
/// - then the lowest metric with a path over a usable link of ours; of several paths the first such;
/// - a link of ours that is down only if nothing else serves the prefix;
/// - routes over links that are not ours do not count, unless no other route of the plan covers the prefix: then it is
/// unreachable.
std::vector<PlannedRoute> plan_routes(std::span<const KernelRoute> kernel, std::span<const StaticRoute> configured,
                                      const OurLinks& links);

}  // namespace millrace
