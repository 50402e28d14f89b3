// The three stages and their batching.
#include "pipeline/pipeline.h"

#include <algorithm>

#include "forwarders/registry.h"
#include "pipeline/classify.h"
#include "pipeline/client_address.h"
#include "pipeline/connection_id.h"
#include "pipeline/create.h"
#include "pipeline/find_service.h"
#include "pipeline/fragment_out.h"
#include "pipeline/fragments.h"
#include "pipeline/icmp_error.h"
#include "pipeline/log_flow.h"
#include "pipeline/mss.h"
#include "pipeline/outbound.h"
#include "pipeline/parse.h"
#include "pipeline/parse_fast.h"
#include "pipeline/persistence.h"
#include "pipeline/rate_limits.h"
#include "pipeline/removal.h"
#include "pipeline/resolve.h"
#include "pipeline/session_key.h"
#include "pipeline/track.h"

namespace millrace {

namespace {

/// How many packets ahead the headers are fetched.
constexpr std::uint32_t kPrefetchDistance = 6;
/// How many sessions ahead of the packet in hand are fetched. With all 64 of a batch at once the core runs out of places to note
/// what it waits for, and most of it comes late: at a million sessions a packet then costs 60 % more.
constexpr std::uint32_t kProbeDistance = 16;

/// And how many ahead the second line of those that have need of it: by then the first one has come.
constexpr std::uint32_t kDetailDistance = 4;

bool is_syn(const PacketMeta& meta) { return meta.protocol == net::kProtocolTcp && (meta.tcp_flags & net::tcp_flag::kSyn) != 0; }

/// The first packet of a TCP connection in either direction: its MSS must suit both ways. Where answers do not pass here it stays: what a
/// client announces limits what servers send, and that takes another way.
[[gnu::noinline]] void clamp_syn(WorkerState& state, Session& session, Direction direction, Packet& packet, const PacketMeta& meta) {
  if ((session.flags & session_flag::kOneWay) != 0) return;
  if (direction == Direction::kInbound && session.next_hop_client == 0) {
    bool unreachable;
    session.next_hop_client = find_next_hop(state, session.client, unreachable);
  }
  if (clamp_mss(packet, meta, largest_segment(state, session))) state.counters.add(Counter::mss_clamped);
}

/// A packet that its link does not carry whole: cut, or refused with the size that fits.
[[gnu::noinline]] void forward_too_big(WorkerState& state, SessionId id, Session& session, Direction direction, Packet& packet,
                                       PacketMeta& meta, const NextHop& hop, std::int32_t grown, Verdict& verdict) {
  if (!may_be_cut(packet, meta)) {
    verdict = refuse_with_icmp(state, packet, meta, IcmpError::kTooBig,
                               static_cast<std::uint32_t>(static_cast<std::int32_t>(hop.mtu) - grown), DropReason::mtu_exceeded,
                               teller_of(state, session, direction));
    return;
  }
  track(state, id, session, direction, meta, packet.length);
  if (is_syn(meta)) clamp_syn(state, session, direction, packet, meta);
  send_in_pieces(state, id, session, direction, packet, meta, hop, verdict);
}

/// A packet that the client's address has made longer than its link carries.
void send_cut(WorkerState& state, Packet& packet, const PacketMeta& meta, const NextHop& hop, Verdict& verdict) {
  std::array<Packet, 64> pieces;
  const int cut = meta.ipv6 ? cut_ipv6(state, packet, meta, hop.mtu, pieces.data(), pieces.size())
                            : cut_ipv4(state, packet, meta, hop.mtu, pieces.data(), pieces.size());
  if (cut < 0 || state.extra.packets.size() - state.extra.count < static_cast<std::size_t>(cut)) {
    for (int i = 0; i < cut; i++) state.frames->release(pieces[static_cast<std::size_t>(i)].data);
    verdict = Verdict::drop(DropReason::mtu_exceeded);
    return;
  }
  for (int i = 0; i < cut; i++) state.extra.push(pieces[static_cast<std::size_t>(i)], hop.interface);
  state.counters.add(Counter::fragmented);
}

/// A packet of a session whose server is told of its client, or whose numbers are shifted because it was (client_address.h).
[[gnu::noinline]] void forward_told(WorkerState& state, SessionId id, Session& session, Direction direction, Packet& packet,
                                    PacketMeta& meta, const NextHop& hop, Verdict& verdict) {
  SessionDetail& detail = state.sessions->detail(id);
  const bool crosses = (session.flags & session_flag::kCrossFamily) != 0;
  if (meta.protocol == net::kProtocolTcp && !crosses && meta.l3_length <= hop.mtu && shift_settled(detail, direction, packet, meta)) [[likely]] {
    track(state, id, session, direction, meta, packet.length);
    translate_plain(state, id, session, direction, packet, meta, hop);
    verdict = Verdict::forward(hop.interface);
    return;
  }
  const std::int32_t grown = growth(state, session, direction, meta);
  const std::uint32_t arrived = packet.length;
  if (static_cast<std::int32_t>(meta.l3_length) + grown > hop.mtu && !may_be_cut(packet, meta)) {
    verdict = refuse_with_icmp(state, packet, meta, IcmpError::kTooBig,
                               static_cast<std::uint32_t>(static_cast<std::int32_t>(hop.mtu) - grown), DropReason::mtu_exceeded,
                               teller_of(state, session, direction));
    return;
  }
  Telling telling{state, id, session, detail, state.client_address_rules[detail.rule], direction, packet, meta, hop, grown, verdict};
  const bool goes_on = meta.protocol == net::kProtocolTcp ? tell_tcp(telling) : tell_udp(telling);
  if (!goes_on) return;
  track(state, id, session, direction, meta, arrived);
  if (is_syn(meta)) clamp_syn(state, session, direction, packet, meta);
  translate(state, id, session, direction, packet, meta, hop);
  if (telling.uoa != 0) insert_uoa(telling);
  verdict = Verdict::forward(hop.interface);
  if (meta.l3_length > hop.mtu) send_cut(state, packet, meta, hop, verdict);
  if (telling.behind) {
    translate(state, id, session, direction, *telling.behind, telling.behind_meta, hop);
    if (!state.extra.push(*telling.behind, hop.interface)) state.frames->release(telling.behind->data);
  }
  if (!telling.ahead) return;
  // Packets of our own leave behind those of the batch: so the two change places. Where there is no room the header's timer helps.
  if (verdict.action == Action::kForward && state.extra.push(packet, hop.interface)) {
    packet = *telling.ahead;
  } else {
    state.frames->release(telling.ahead->data);
  }
}

/// A packet of a known session: on its way, or held, or dropped for lack of one. `kPlain`: is_plain(session).
template <bool kPlain>
[[gnu::always_inline]] inline void forward_as(WorkerState& state, const NetworkView& network, Packet& packet, PacketMeta& meta,
                                              SessionRef ref, Verdict& verdict) {
  const SessionId id = ref_id(ref);
  const Direction direction = ref_direction(ref);
  Session& session = state.sessions->at(id);
  const NextHop* hop = resolve_next_hop(state, network, id, session, direction, packet, verdict);
  if (hop == nullptr) [[unlikely]] {
    if (is_cut(session)) answer_cut(state, network, id, direction, packet, meta, verdict);
    return;
  }
  if (!network.interfaces[hop->interface].usable) [[unlikely]] {
    verdict = Verdict::drop(DropReason::interface_gone);
    log_session(state, LogEvent::interface_gone, DropReason::interface_gone, id, session, hop->interface);
    return;
  }
  if (is_rated(state, session.service)) [[unlikely]] {
    DropReason reason;
    if (!pay_for_packet(state, session.service, session.server, direction, meta.l3_length, reason)) {
      verdict = Verdict::drop(reason);
      log_rate_limit(state, reason, id, session);
      return;
    }
  }
  if (direction == Direction::kInbound && may_carry_address(packet, meta) && session.mode != ForwardMode::kSnat) [[unlikely]]
    remove_forged(state, packet, meta);
  if (!kPlain && session.told != 0) {
    forward_told(state, id, session, direction, packet, meta, *hop, verdict);
    return;
  }
  const std::int32_t grown = kPlain ? 0 : growth(state, session, direction, meta);
  if (static_cast<std::int32_t>(meta.l3_length) + grown > hop->mtu) [[unlikely]] {
    forward_too_big(state, id, session, direction, packet, meta, *hop, grown, verdict);
    return;
  }
  track(state, id, session, direction, meta, packet.length);
  if (is_syn(meta)) [[unlikely]]
    clamp_syn(state, session, direction, packet, meta);
  if (kPlain) {
    translate_plain(state, id, session, direction, packet, meta, *hop);
  } else {
    translate(state, id, session, direction, packet, meta, *hop);
  }
  verdict = Verdict::forward(hop->interface);
}

/// The modes beside full NAT, and the change of family: a function of their own, so that the packet loop keeps its registers.
[[gnu::noinline]] void forward_any(WorkerState& state, const NetworkView& network, Packet& packet, PacketMeta& meta, SessionRef ref,
                                   Verdict& verdict) {
  forward_as<false>(state, network, packet, meta, ref, verdict);
}

/// Whether what opens a connection on a session that exists is a new connection from the same ports, to be scheduled anew; as IPVS
/// decides with conn_reuse_mode. A session that a template decided about goes on where it was.
[[gnu::noinline]] bool begins_anew(const WorkerState& state, SessionId id, const Session& session, const Packet& packet,
                                   const PacketMeta& meta) {
  if ((session.flags & session_flag::kTemplate) != 0) return false;
  // The last connection's own SYN, which comes late.
  if (session.told != 0 && meta.protocol == net::kProtocolTcp && is_repeated_syn(state.sessions->detail(id), packet, meta)) return false;
  const ServiceTable* service = find_service(*state.snapshot->services, packet, meta);
  const ConnectionReuse reuse = service == nullptr ? ConnectionReuse::kEnded : service->rules.reuse;
  if (reuse == ConnectionReuse::kNever) return false;
  if (meta.protocol == net::kProtocolSctp) return sctp_is_over(session.state);
  if (tcp_is_over(session.state)) return true;
  return reuse == ConnectionReuse::kEndedOrFinWait && session.state == SessionState::kFinWait &&
         (session.flags & session_flag::kOneWay) != 0;
}

/// Of a client: what begins a connection.
bool is_opening(Direction direction, const PacketMeta& meta) {
  if (meta.protocol == net::kProtocolSctp) [[unlikely]]
    return direction == Direction::kInbound && sctp_may_open(static_cast<SctpEvent>(meta.tcp_flags));
  constexpr std::uint8_t opening = net::tcp_flag::kSyn | net::tcp_flag::kAck;
  return meta.protocol == net::kProtocolTcp && (meta.tcp_flags & opening) == net::tcp_flag::kSyn && direction == Direction::kInbound;
}

/// The probe looked at one candidate; this looks at all, and creates a session where one may begin. Not inlined: rare
/// code would take registers from the loop. A datagram that leaves no session is sent from here.
[[gnu::noinline]] SessionRef find_or_create(WorkerState& state, const NetworkView& network, Packet& packet, PacketMeta& meta,
                                            Verdict& verdict) {
  const SessionRef found = state.sessions->find(meta.hash, [&](const Session& session, Direction direction) {
    return belongs_to(state, state.sessions->id_of(session), session, direction, meta);
  });
  if (found != kNoRef) return found;
  const SessionId created = classify_miss(state, packet, meta, verdict);
  if (created == kNoSession) return kNoRef;
  const SessionRef ref = make_ref(created, Direction::kInbound);
  if (!state.notes.one_packet) return ref;
  state.notes.one_packet = false;
  forward_any(state, network, packet, meta, ref, verdict);
  end_session(state, created);
  return kNoRef;
}

/// Of what the parser refuses, only an expired TTL is somebody's to hear of.
Verdict refuse_unparsed(WorkerState& state, Packet& packet, const PacketMeta& meta, DropReason reason) {
  if (reason != DropReason::ttl_expired) return Verdict::drop(reason);
  if (state.snapshot->services->owner_of(meta.destination) == nullptr) {
    const IpAddress* gateway = gateway_address(state, packet, meta);
    if (gateway == nullptr) return Verdict::drop(reason);
    return refuse_with_icmp(state, packet, meta, IcmpError::kTtlExceeded, 0, reason, gateway);
  }
  return refuse_with_icmp(state, packet, meta, IcmpError::kTtlExceeded, 0, reason);
}

}  // namespace

void run_pipeline(WorkerState& state, Batch& batch) {
  std::array<PacketMeta, kBatchSize>& metas = state.notes.metas;
  std::array<SessionRef, kBatchSize>& candidates = state.notes.candidates;

  const std::uint32_t count = batch.count;

  for (std::uint32_t i = 0; i < count && i < kPrefetchDistance; i++) __builtin_prefetch(batch.packets[i].data, 1, 3);
  for (std::uint32_t i = 0; i < count; i++) {
    if (i + kPrefetchDistance < count) __builtin_prefetch(batch.packets[i + kPrefetchDistance].data, 1, 3);
    DropReason reason;
    const bool plain = parse_fast(batch.packets[i], metas[i]);
    if (plain || parse_packet(batch.packets[i], metas[i], reason)) [[likely]] {
      if (!plain && metas[i].fragment != 0) {
        set_fragment_aside(state, batch, i);
        continue;
      }
      metas[i].hash = hash_of(state, metas[i]);
      state.sessions->prefetch(metas[i].hash);
      batch.verdicts[i] = Verdict{};
    } else {
      batch.verdicts[i] = refuse_unparsed(state, batch.packets[i], metas[i], reason);
    }
  }

  const NetworkView network(*state.snapshot->network);
  const bool tells_clients = state.snapshot->services->tells_clients;
  const auto probe = [&](std::uint32_t i) {
    if (batch.verdicts[i].action == Action::kNone) [[likely]] candidates[i] = state.sessions->probe(metas[i].hash);
  };
  for (std::uint32_t i = 0; i < count && i < kProbeDistance; i++) probe(i);
  for (std::uint32_t i = 0; i < count; i++) {
    if (i + kProbeDistance < count) probe(i + kProbeDistance);
    if (tells_clients && i + kDetailDistance < count && batch.verdicts[i + kDetailDistance].action == Action::kNone) {
      const SessionRef ahead = candidates[i + kDetailDistance];
      if (ahead != kNoRef && state.sessions->at(ref_id(ahead)).told != 0) state.sessions->prefetch_detail(ref_id(ahead));
    }
    if (batch.verdicts[i].action != Action::kNone) [[unlikely]] continue;
    SessionRef ref = candidates[i];
    if (ref == kNoRef || !belongs_to(state, ref_id(ref), state.sessions->at(ref_id(ref)), ref_direction(ref), metas[i]))
        [[unlikely]] {
      ref = find_or_create(state, network, batch.packets[i], metas[i], batch.verdicts[i]);
      if (ref == kNoRef) continue;
    }
    if (is_opening(ref_direction(ref), metas[i]) &&
        begins_anew(state, ref_id(ref), state.sessions->at(ref_id(ref)), batch.packets[i], metas[i])) [[unlikely]] {
      end_session(state, ref_id(ref));
      ref = find_or_create(state, network, batch.packets[i], metas[i], batch.verdicts[i]);
      if (ref == kNoRef) continue;
    }
    if ((state.sessions->at(ref_id(ref)).flags & session_flag::kConnectionId) != 0) [[unlikely]] {
      ref = follow_connection_id(state, batch.packets[i], metas[i], ref, batch.verdicts[i]);
      if (ref == kNoRef) continue;
    }
    if (is_plain(state.sessions->at(ref_id(ref)))) [[likely]] {
      forward_as<true>(state, network, batch.packets[i], metas[i], ref, batch.verdicts[i]);
    } else {
      forward_any(state, network, batch.packets[i], metas[i], ref, batch.verdicts[i]);
    }
  }
  finish_created(state);
  if (state.notes.fragment_count != 0) [[unlikely]] {
    run_fragments(state, network, batch);
    finish_created(state);
  }
}

namespace {

/// Ends sessions whose time has come, at most `budget`. First all are collected and the lines of their entries asked for, then
/// they are removed: one after the other, each would wait twice for memory. Returns how many were looked at.
std::uint32_t expire_some(WorkerState& state, std::uint32_t budget) {
  struct Ending {
    SessionId id;
    SessionHashes hashes;
  };
  std::array<Ending, kBatchSize> ending;
  std::uint32_t count = 0;
  const std::uint32_t looked_at = state.timers->advance(state.now_ms, std::min(budget, kBatchSize), [&](SessionId id) {
    const SessionHashes hashes = hashes_of(state, state.sessions->at(id), state.sessions->detail(id));
    state.sessions->prefetch_entry(hashes.inbound);
    if ((state.sessions->at(id).flags & session_flag::kOneWay) == 0) state.sessions->prefetch_entry(hashes.outbound);
    ending[count++] = {id, hashes};
  });
  for (std::uint32_t i = 0; i < count; i++) remove_session(state, ending[i].id, ending[i].hashes);
  state.counters.add(Counter::sessions_expired, count);
  return looked_at;
}

}  // namespace

std::uint32_t run_timers(WorkerState& state, std::uint32_t budget, Batch& released) {
  for (std::uint32_t left = budget; left != 0;) {
    const std::uint32_t looked_at = expire_some(state, left);
    if (looked_at == 0) break;
    left -= looked_at;
  }
  expire_fragments(state);
  if (state.header_timers->size() != 0) [[unlikely]] repeat_headers(state);
  if (state.templates->used()) [[unlikely]] sweep_templates(state, budget);
  state.held.expire(state.now_ms, [&](const Packet& packet) {
    released.push(packet);
    state.counters.sub(Counter::held_packets);
    state.counters.drop(DropReason::neighbour_unresolved);
    log_waited(state, packet);
  });
  return released.count;
}

}  // namespace millrace
