// Which service a packet without a session is for: one address and port by one hash look-up, everything else by the index of wide
// services (tables/service_index.h). Thread: one worker.
#pragma once

#include "core/batch.h"
#include "pipeline/parse.h"
#include "tables/snapshot.h"

namespace millrace {

/// nullptr when no service wants the packet.
inline const ServiceTable* find_service(const ServiceTables& tables, const Packet& packet, const PacketMeta& meta) {
  const auto exact = tables.services.find(ServiceKey{meta.destination, meta.destination_port, meta.protocol});
  if (exact != tables.services.end()) return exact->second;
  if (tables.wide.empty()) return nullptr;
  return tables.wide.find({meta.source, meta.destination, meta.destination_port.host(), meta.protocol, packet.interface});
}

}  // namespace millrace
