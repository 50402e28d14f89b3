// The lab's network card: decides on which receive queue of a veth the packets of its peer arrive. A veth has no RSS and no flow
// rules; a small BPF program at the peer's egress stands in for both, so that every steering case can be proven without hardware.
// Guarantees: the program stays attached after the calling process ends, until the interface goes or it is replaced by another
// call. Thread: any; set-up only.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/result.h"
#include "net/address.h"

namespace millrace {

struct SteeringRule {
  IpAddress destination;
  /// Receive queue at the other end, counted from 0; below the number of queues.
  std::uint32_t queue = 0;
};

/// Installs the steering program at the clsact egress hook of `interface`, which must be the far end (the sender) in the current
/// network namespace. `queues` is the number of receive queues of the balancer's end and at most the transmit queues of this one.
/// Packets to the address of a rule go to its queue, all others are spread by a hash of addresses and ports. A second call
/// replaces the rules of the first. Errors: interface_not_found, config_invalid (a rule beyond the queues, too many rules),
/// permission_denied, xdp_unsupported (the kernel refused the program or the hook).
Result<void> attach_steering(const std::string& interface, std::uint32_t queues, std::span<const SteeringRule> rules);

}  // namespace millrace
