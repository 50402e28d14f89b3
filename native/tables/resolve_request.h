// What a worker asks of the control thread when it meets a destination without a usable next hop.
// Threads: pushed by a worker into its own SpscRing, popped by the control thread.
#pragma once

#include <cstdint>

#include "net/address.h"
#include "sessions/session.h"

namespace millrace {

struct ResolveRequest {
  enum class Kind : std::uint32_t {
    /// On-link destination `address` on `interface` has no next hop yet.
    kNeighbour,
    /// Next hop `next_hop` is known but its neighbour has not answered: ask (again).
    kNextHop
  };
  Kind kind;
  std::uint32_t interface;
  IpAddress address;
  std::uint32_t next_hop;
  std::uint32_t reserved;
};
static_assert(sizeof(ResolveRequest) == 32);

}  // namespace millrace
