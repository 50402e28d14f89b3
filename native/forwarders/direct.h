// Direct routing: only the MAC addresses change (and TTL by one, as IPVS does since Linux 4.1). The server is on a link of ours,
// holds the VIP itself without answering ARP for it, and answers straight to the client. Thread: one worker.
#pragma once

#include "forwarders/rewrite.h"

namespace millrace::direct {

inline void apply(Packet& packet, const PacketMeta& meta, const NextHop& hop) {
  rewrite::ethernet(packet.data, hop);
  if (meta.ipv6) {
    rewrite::ipv6_addresses(packet.data + meta.l3_offset, meta.source, meta.destination);
  } else {
    rewrite::ipv4_addresses(packet.data + meta.l3_offset, meta.source, meta.destination);
  }
}

}  // namespace millrace::direct
