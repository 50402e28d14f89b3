// From rtnetlink messages (linux/rtnetlink.h, linux/neighbour.h) to the values of kernel_objects.h.
// Guarantees: reads only inside the message; a message that makes no sense, or is of no interest, gives nothing.
// Thread: any. No state, no system calls.
#pragma once

#include <linux/netlink.h>

#include <optional>

#include "control/kernel_objects.h"

namespace millrace {

std::optional<KernelLink> decode_link(const nlmsghdr* message);
std::optional<KernelAddress> decode_address(const nlmsghdr* message);
/// Only unicast, blackhole, unreachable and prohibit routes of the main table.
std::optional<KernelRoute> decode_route(const nlmsghdr* message);
/// Only IPv4 and IPv6 neighbours, no bridge entries, no proxies.
std::optional<KernelNeighbour> decode_neighbour(const nlmsghdr* message);

}  // namespace millrace
