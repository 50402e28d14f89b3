// The slow path's decisions. A packet to a local address belongs to the worker that owns the address. A client's packet that is
// not a SYN belongs to a session that some worker has: it is passed round all workers once before it is dropped, within a budget,
// so that a flood of stray packets cannot multiply itself by the number of workers.
#include "pipeline/classify.h"

#include "pipeline/create.h"
#include "pipeline/fragments.h"
#include "pipeline/icmp_error.h"
#include "pipeline/icmp_translate.h"
#include "pipeline/local.h"
#include "pipeline/search.h"

namespace millrace {

namespace {

Verdict to_local_address(const WorkerState& state, const Packet& packet, const OwnedAddress& owned) {
  const std::uint32_t owner = state.local_slots[owned.local].worker;
  // hops guards against workers that see different snapshots for a moment.
  if (owner != state.worker && packet.hops < state.workers) return Verdict::handoff(owner);
  return Verdict::drop(DropReason::local_no_session);
}

}  // namespace

SessionId classify_miss(WorkerState& state, Packet& packet, const PacketMeta& meta, Verdict& verdict) {
  if (is_icmp_error(meta)) return verdict = translate_icmp_error(state, packet, meta), kNoSession;
  const ServiceTables& tables = *state.snapshot->services;
  const auto owned = tables.owned.find(meta.destination);
  // A v4-mapped destination inside an IPv6 header would look like our IPv4 address (net/address.h).
  if (owned == tables.owned.end() || meta.ipv6 == meta.destination.is_v4()) {
    return verdict = Verdict::drop(DropReason::address_not_owned), kNoSession;
  }
  if (meta.protocol == net::kProtocolIcmp || meta.protocol == net::kProtocolIcmpv6) {
    verdict = answer_icmp(state, packet, meta);
    return kNoSession;
  }
  if (owned->second.kind == OwnedAddress::Kind::kLocal)
    return verdict = to_local_address(state, packet, owned->second), kNoSession;

  if (meta.protocol == net::kProtocolTcp) {
    constexpr std::uint8_t relevant = net::tcp_flag::kSyn | net::tcp_flag::kAck | net::tcp_flag::kRst | net::tcp_flag::kFin;
    if ((meta.tcp_flags & relevant) != net::tcp_flag::kSyn) {
      verdict = search_on(state, packet, DropReason::tcp_no_session);
      return kNoSession;
    }
  }
  const auto service = tables.services.find(ServiceKey{meta.destination, meta.destination_port, meta.protocol});
  if (service == tables.services.end()) return verdict = Verdict::drop(DropReason::no_service), kNoSession;
  // A datagram that nobody handed over may belong to a flow that began with a fragment.
  std::uint32_t home;
  if (state.workers > 1 && packet.hops == 0 && meta.fragment == 0 && meta.protocol != net::kProtocolTcp &&
      may_be_at_fragment_home(state, meta, home)) {
    return verdict = Verdict::handoff(home), kNoSession;
  }
  DropReason reason{};
  const SessionId id = create_session(state, *service->second, meta, reason, udp_payload(packet, meta));
  if (id == kNoSession) {
    const bool refused = reason == DropReason::no_server || reason == DropReason::connection_limit;
    verdict = refused ? refuse_with_icmp(state, packet, meta, IcmpError::kPortUnreachable, 0, reason)
                                              : Verdict::drop(reason);
  } else if (state.workers > 1 && (packet.hops != 0 || meta.fragment != 0)) {
    note_fragment_home(state, state.sessions->at(id), meta);
  }
  return id;
}

}  // namespace millrace
