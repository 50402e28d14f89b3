// Placing owned addresses. Control thread; runs when addresses or interfaces change.
#include "control/owned_addresses.h"

#include <algorithm>

namespace millrace {

std::vector<AddressSet> place_owned_addresses(std::span<const IpAddress> owned, std::span<const InterfaceState> interfaces,
                                              std::span<const HostAddress> kernel_addresses) {
  AddressSet kernel;
  for (const HostAddress& host : kernel_addresses) kernel.insert(host.prefix.address);
  std::vector<AddressSet> placed(interfaces.size());
  for (const IpAddress& address : owned) {
    if (kernel.contains(address)) continue;
    bool connected = false;
    for (std::size_t i = 0; i < interfaces.size(); i++) {
      const auto& prefixes = interfaces[i].on_link;
      if (std::none_of(prefixes.begin(), prefixes.end(), [&](const Prefix& p) { return p.contains(address); })) continue;
      placed[i].insert(address);
      connected = true;
    }
    if (connected) continue;
    for (AddressSet& everywhere : placed) everywhere.insert(address);
  }
  return placed;
}

}  // namespace millrace
