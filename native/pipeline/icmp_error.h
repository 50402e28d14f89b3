// ICMP errors that the balancer sends itself, about a packet that it drops: too big, TTL exceeded, nobody there.
// Sources: RFC 792, RFC 1122 3.2.2, RFC 1191, RFC 1812 4.3.2, RFC 4443 2.4, RFC 8201.
// Thread: one worker.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

enum class IcmpError : std::uint8_t {
  /// "Fragmentation needed" with the next hop's MTU, or "packet too big".
  kTooBig,
  kTtlExceeded,
  /// What IPVS answers when a service has no server: clients see "connection refused" at once instead of a timeout.
  kPortUnreachable
};

/// Turns the packet into an error about itself, from the address that it was sent to or from `from`, back to the neighbour that it came from.
/// The packet must be as it arrived. It counts as dropped for `reason` either way; no error is sent about ICMP errors, and not
/// more than the limit per second (RFC 1812 4.3.2.8).
Verdict refuse_with_icmp(WorkerState& state, Packet& packet, const PacketMeta& meta, IcmpError error, std::uint32_t mtu,
                         DropReason reason, const IpAddress* from = nullptr);

}  // namespace millrace
