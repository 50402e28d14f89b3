// Where an owned address (VIP or local address) is answered for: on the interfaces whose connected prefixes contain it; on all of
// them if none does, because then a router was told to send it here by some way we do not know. Never one that the kernel holds.
// Thread: any. Pure functions, no system calls.
#pragma once

#include <span>
#include <unordered_set>
#include <vector>

#include "control/network.h"
#include "tables/snapshot.h"

namespace millrace {

using AddressSet = std::unordered_set<IpAddress, AddressHash>;

/// Per interface, in their order: the addresses that are answered for there.
std::vector<AddressSet> place_owned_addresses(std::span<const IpAddress> owned, std::span<const InterfaceState> interfaces,
                                              std::span<const HostAddress> kernel_addresses);

}  // namespace millrace
