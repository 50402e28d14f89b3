// Choosing routes. Control thread; runs when routes, links or the configuration change.
#include "control/route_plan.h"

#include <algorithm>
#include <cstring>

#include "tables/route_table.h"

namespace millrace {
namespace {

bool prefix_less(const Prefix& a, const Prefix& b) {
  // Shorter prefixes first, so that a covering route is known before what it covers.
  if (a.length != b.length) return a.length < b.length;
  return std::memcmp(a.address.bytes(), b.address.bytes(), 16) < 0;
}

struct Choice {
  std::optional<PlannedRoute> usable;
  std::optional<PlannedRoute> down;
  bool foreign = false;
};

void consider(const KernelRoute& route, const OurLinks& links, Choice& choice) {
  PlannedRoute planned;
  planned.prefix = route.prefix;
  planned.mtu = route.mtu;
  planned.unreachable = route.unreachable;
  if (route.unreachable) {
    choice.usable = planned;
    return;
  }
  for (const KernelPath& path : route.paths) {
    const auto link = links.find(path.link);
    if (link == links.end()) {
      choice.foreign = true;
      continue;
    }
    planned.interface = link->second.interface;
    planned.gateway = path.has_gateway ? std::optional(path.gateway) : std::nullopt;
    if (link->second.usable) {
      choice.usable = planned;
      return;
    }
    if (!choice.down) choice.down = planned;
  }
}

}  // namespace

std::vector<PlannedRoute> plan_routes(std::span<const KernelRoute> kernel, std::span<const StaticRoute> configured,
                                      const OurLinks& links) {
  std::vector<const KernelRoute*> sorted;
  sorted.reserve(kernel.size());
  for (const KernelRoute& route : kernel) sorted.push_back(&route);
  std::stable_sort(sorted.begin(), sorted.end(), [](const KernelRoute* a, const KernelRoute* b) {
    return a->prefix == b->prefix ? a->metric < b->metric : prefix_less(a->prefix, b->prefix);
  });

  std::vector<PlannedRoute> plan;
  std::vector<PlannedRoute> foreign;
  for (const StaticRoute& route : configured) {
    const Prefix prefix{masked(route.prefix.address, route.prefix.length), route.prefix.length};
    plan.push_back({prefix, route.interface, route.via, 0, false});
  }
  // Of routes to one prefix the configuration's last one counts, as in RouteTable::add.
  std::stable_sort(plan.begin(), plan.end(), [](const auto& a, const auto& b) { return prefix_less(a.prefix, b.prefix); });
  for (std::size_t i = 0; i + 1 < plan.size();) {
    if (plan[i].prefix == plan[i + 1].prefix) {
      plan.erase(plan.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      i++;
    }
  }
  const std::size_t configured_count = plan.size();

  for (std::size_t i = 0; i < sorted.size();) {
    const Prefix& prefix = sorted[i]->prefix;
    Choice choice;
    for (; i < sorted.size() && sorted[i]->prefix == prefix; i++) {
      if (!choice.usable) consider(*sorted[i], links, choice);
    }
    const auto first = plan.begin();
    const auto last = first + static_cast<std::ptrdiff_t>(configured_count);
    const auto same =
        std::lower_bound(first, last, prefix, [](const auto& a, const Prefix& b) { return prefix_less(a.prefix, b); });
    if (same != last && same->prefix == prefix) continue;
    if (choice.usable || choice.down) {
      plan.push_back(choice.usable ? *choice.usable : *choice.down);
    } else if (choice.foreign) {
      foreign.push_back({prefix, 0, std::nullopt, 0, true});
    }
  }
  if (!foreign.empty()) {
    RouteTable covered;
    for (const PlannedRoute& route : plan) covered.add({route.prefix.address, route.prefix.length, 0, 0, route.unreachable});
    for (const PlannedRoute& route : foreign) {
      if (covered.lookup(route.prefix.address) == nullptr) plan.push_back(route);
    }
  }
  std::stable_sort(plan.begin(), plan.end(), [](const auto& a, const auto& b) { return prefix_less(a.prefix, b.prefix); });
  return plan;
}

}  // namespace millrace
