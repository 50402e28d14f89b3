// Cutting IPv4 packets that are too big for their link and allow it (DF clear), RFC 791 3.2. IPv6 packets are never cut on the
// way. Thread: one worker.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// The first piece stays in `packet`; the others are new packets in `pieces`, at most `room` of them. The packet must be an IPv4
/// one without DF. Returns how many pieces were added, or -1 when frames or room do not suffice: nothing has changed then.
int cut_ipv4(WorkerState& state, Packet& packet, const PacketMeta& meta, std::uint32_t mtu, Packet* pieces, std::uint32_t room);

/// The same for an IPv6 packet that leaves with an address of ours as its source: a router may not do so, its sender may (RFC 8200 4.5).
/// It has no extension headers.
int cut_ipv6(WorkerState& state, Packet& packet, const PacketMeta& meta, std::uint32_t mtu, Packet* pieces, std::uint32_t room);

}  // namespace millrace
