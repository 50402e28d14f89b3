// Comparing a packet's connection id with its session.
#include "pipeline/connection_id.h"

#include "pipeline/create.h"

namespace millrace {

SessionRef follow_connection_id(WorkerState& state, const Packet& packet, const PacketMeta& meta, SessionRef ref,
                                Verdict& verdict) {
  if (ref_direction(ref) != Direction::kInbound) return ref;
  const ServiceTable* service = find_service(*state.snapshot->services, packet, meta);
  if (service == nullptr || service->scheduler != QuicConnectionId::kKind || service->lookup == nullptr) return ref;
  const ServiceTable& table = *service;
  const auto payload = udp_payload(packet, meta);
  const std::int32_t named = QuicConnectionId::find(*table.lookup, table.options.connection_id, payload);
  const SessionId id = ref_id(ref);
  if (named < 0 || table.servers[static_cast<std::size_t>(named)].slot == state.sessions->at(id).server) return ref;
  end_session(state, id);
  DropReason reason{};
  const SessionId created = create_session(state, table, meta, reason, payload);
  if (created == kNoSession) return verdict = Verdict::drop(reason), kNoRef;
  return make_ref(created, Direction::kInbound);
}

}  // namespace millrace
