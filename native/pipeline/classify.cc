// The slow path's decisions. A packet to a local address belongs to the worker that owns the address. A client's packet that is
// not a SYN belongs to a session that some worker has: it is passed round all workers once before it is dropped, within a budget,
// so that a flood of stray packets cannot multiply itself by the number of workers.
#include "pipeline/classify.h"

#include "pipeline/create.h"
#include "pipeline/find_service.h"
#include "pipeline/fragments.h"
#include "pipeline/icmp_error.h"
#include "pipeline/icmp_translate.h"
#include "pipeline/local.h"
#include "pipeline/outbound.h"
#include "pipeline/search.h"
#include "sessions/sctp_state.h"
#include "sessions/tcp_state.h"

namespace millrace {

namespace {

Verdict to_local_address(const WorkerState& state, const Packet& packet, const OwnedAddress& owned) {
  const std::uint32_t owner = state.local_slots[owned.local].worker;
  // hops guards against workers that see different snapshots for a moment.
  if (owner != state.worker && packet.hops < state.workers) return Verdict::handoff(owner);
  return Verdict::drop(DropReason::local_no_session);
}

/// A TCP packet that opens nothing: another worker may have its session. When all have been asked in vain, a service that takes
/// connections up in the middle begins one, on the worker that gets the packets; false then.
bool send_round(WorkerState& state, const ServiceTable* service, const Packet& packet, const PacketMeta& meta, Verdict& verdict) {
  const bool sloppy = service != nullptr && service->rules.sloppy_tcp && (meta.tcp_flags & net::tcp_flag::kRst) == 0 && meta.fragment == 0;
  if (sloppy && (state.workers == 1 || packet.hops >= state.workers)) return false;
  const bool was_last = packet.hops + 1u == state.workers;
  verdict = sloppy && was_last ? Verdict::handoff((state.worker + 1) % state.workers)
                               : search_on(state, packet, DropReason::tcp_no_session);
  return true;
}

/// Whether a packet of a NAT server can only be an answer to a client, and no connection that the server itself begins.
bool is_only_an_answer(const WorkerState& state, const Packet& packet, const PacketMeta& meta) {
  const ServiceTables& tables = *state.snapshot->services;
  if (tables.outbound.empty()) return true;
  if (meta.protocol == net::kProtocolTcp) return !tcp_may_open(meta.tcp_flags);
  if (tables.nat->endpoints.contains({meta.source, meta.source_port, meta.protocol})) return true;
  // It answers from any port: it depends on whether somebody has asked.
  if (packet.hops != 0 || state.session_owners == nullptr) return false;
  const std::uint32_t owner = state.session_owners->find(meta.hash);
  return owner < state.workers && owner != state.worker;
}

/// A packet to somebody else's address: the answer of a NAT server, or one that a rule of the outbound gateway takes.
const ServiceTable* outside_service(WorkerState& state, Packet& packet, const PacketMeta& meta, Verdict& verdict) {
  if (is_from_nat_server(state, meta) && is_only_an_answer(state, packet, meta)) {
    return verdict = to_owner(state, packet, meta.hash, DropReason::nat_no_session), nullptr;
  }
  return find_outbound(state, packet, meta, verdict);
}

}  // namespace

SessionId classify_miss(WorkerState& state, Packet& packet, const PacketMeta& meta, Verdict& verdict) {
  if (is_icmp_error(meta)) return verdict = translate_icmp_error(state, packet, meta), kNoSession;
  const ServiceTables& tables = *state.snapshot->services;
  const OwnedAddress* owned = tables.owner_of(meta.destination);
  // A v4-mapped destination inside an IPv6 header would look like our IPv4 address (net/address.h).
  if (meta.ipv6 == meta.destination.is_v4()) return verdict = Verdict::drop(DropReason::address_not_owned), kNoSession;
  const ServiceTable* service;
  if (owned == nullptr) {
    service = outside_service(state, packet, meta, verdict);
    if (service == nullptr) return kNoSession;
  } else {
    const bool icmp = meta.protocol == net::kProtocolIcmp || meta.protocol == net::kProtocolIcmpv6;
    // A reply to what an inside host asked has its session where the address belongs.
    const bool reply = icmp && owned->kind == OwnedAddress::Kind::kLocal && !tables.outbound.empty() && is_echo_reply(meta);
    if (icmp && !reply) return verdict = answer_icmp(state, packet, meta), kNoSession;
    if (owned->kind == OwnedAddress::Kind::kLocal) return verdict = to_local_address(state, packet, *owned), kNoSession;
    service = find_service(tables, packet, meta);
  }
  if (meta.protocol == net::kProtocolTcp && !tcp_may_open(meta.tcp_flags) && send_round(state, service, packet, meta, verdict)) {
    return kNoSession;
  }
  if (meta.protocol == net::kProtocolSctp && !sctp_may_open(static_cast<SctpEvent>(meta.tcp_flags))) {
    return verdict = search_on(state, packet, DropReason::sctp_no_session), kNoSession;
  }
  if (service == nullptr) return verdict = Verdict::drop(DropReason::no_service), kNoSession;
  // A datagram that nobody handed over may belong to a flow that began with a fragment.
  std::uint32_t home;
  if (state.workers > 1 && packet.hops == 0 && meta.fragment == 0 && meta.protocol != net::kProtocolTcp &&
      meta.protocol != net::kProtocolSctp && may_be_at_fragment_home(state, meta, home)) {
    return verdict = Verdict::handoff(home), kNoSession;
  }
  DropReason reason{};
  const SessionId id = create_session(state, *service, meta, reason, udp_payload(packet, meta));
  if (id == kNoSession) {
    const bool refused = reason == DropReason::no_server || reason == DropReason::connection_limit;
    verdict = refused ? refuse_with_icmp(state, packet, meta, IcmpError::kPortUnreachable, 0, reason)
                                              : Verdict::drop(reason);
  } else if (state.workers > 1 && ((packet.hops != 0 && meta.protocol != net::kProtocolTcp) || meta.fragment != 0)) {
    note_fragment_home(state, state.sessions->at(id), meta);
  }
  state.notes.one_packet = id != kNoSession && service->rules.one_packet && meta.fragment == 0;
  return id;
}

}  // namespace millrace
