// The three stages and their batching.
#include "pipeline/pipeline.h"

#include <algorithm>

#include "forwarders/registry.h"
#include "pipeline/classify.h"
#include "pipeline/connection_id.h"
#include "pipeline/create.h"
#include "pipeline/fragments.h"
#include "pipeline/icmp_error.h"
#include "pipeline/mss.h"
#include "pipeline/parse.h"
#include "pipeline/parse_fast.h"
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

bool is_syn(const PacketMeta& meta) { return meta.protocol == net::kProtocolTcp && (meta.tcp_flags & net::tcp_flag::kSyn) != 0; }

/// A packet of a known session: on its way, or held, or dropped for lack of one.
void forward(WorkerState& state, const NetworkView& network, Packet& packet, PacketMeta& meta, SessionRef ref, Verdict& verdict) {
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
    return;
  }
  const std::int32_t grown =
      direction == Direction::kInbound || (session.flags & session_flag::kCrossFamily) != 0 ? growth(state, session, meta) : 0;
  const bool too_big = static_cast<std::int32_t>(meta.l3_length) + grown > hop->mtu;
  if (too_big && !may_be_cut(packet, meta)) [[unlikely]] {
    verdict = refuse_with_icmp(state, packet, meta, IcmpError::kTooBig,
                               static_cast<std::uint32_t>(static_cast<std::int32_t>(hop->mtu) - grown), DropReason::mtu_exceeded);
    return;
  }
  track(state, id, session, direction, meta, packet.length);
  if (is_syn(meta)) [[unlikely]] {
    if (direction == Direction::kInbound && session.next_hop_client == 0) {
      bool unreachable;
      session.next_hop_client = find_next_hop(state, session.client, unreachable);
    }
    if (clamp_mss(packet, meta, largest_segment(state, session))) state.counters.add(Counter::mss_clamped);
  }
  if (too_big) [[unlikely]] {
    send_in_pieces(state, id, session, direction, packet, meta, *hop, verdict);
    return;
  }
  translate(state, id, session, direction, packet, meta, *hop);
  verdict = Verdict::forward(hop->interface);
}

/// A client that opens a connection from the ports of one that has ended: IPVS calls this connection reuse (conn_reuse_mode 1).
bool begins_anew(const Session& session, Direction direction, const PacketMeta& meta) {
  constexpr std::uint8_t opening = net::tcp_flag::kSyn | net::tcp_flag::kAck;
  return meta.protocol == net::kProtocolTcp && (meta.tcp_flags & opening) == net::tcp_flag::kSyn &&
         direction == Direction::kInbound && tcp_is_over(session.state);
}

/// The probe looked at one candidate; this looks at all, and creates a session where one may begin. Not inlined: rare
/// code would take registers from the loop.
[[gnu::noinline]] SessionRef find_or_create(WorkerState& state, Packet& packet, const PacketMeta& meta, Verdict& verdict) {
  const SessionRef found = state.sessions->find(meta.hash, [&](const Session& session, Direction direction) {
    return belongs_to(state, state.sessions->id_of(session), session, direction, meta);
  });
  if (found != kNoRef) return found;
  const SessionId created = classify_miss(state, packet, meta, verdict);
  return created == kNoSession ? kNoRef : make_ref(created, Direction::kInbound);
}

/// Of what the parser refuses, only an expired TTL is somebody's to hear of.
Verdict refuse_unparsed(WorkerState& state, Packet& packet, const PacketMeta& meta, DropReason reason) {
  if (reason != DropReason::ttl_expired || !state.snapshot->services->owned.contains(meta.destination))
    return Verdict::drop(reason);
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
  const auto probe = [&](std::uint32_t i) {
    if (batch.verdicts[i].action == Action::kNone) [[likely]] candidates[i] = state.sessions->probe(metas[i].hash);
  };
  for (std::uint32_t i = 0; i < count && i < kProbeDistance; i++) probe(i);
  for (std::uint32_t i = 0; i < count; i++) {
    if (i + kProbeDistance < count) probe(i + kProbeDistance);
    if (batch.verdicts[i].action != Action::kNone) [[unlikely]] continue;
    SessionRef ref = candidates[i];
    if (ref == kNoRef || !belongs_to(state, ref_id(ref), state.sessions->at(ref_id(ref)), ref_direction(ref), metas[i]))
        [[unlikely]] {
      ref = find_or_create(state, batch.packets[i], metas[i], batch.verdicts[i]);
      if (ref == kNoRef) continue;
    }
    if (begins_anew(state.sessions->at(ref_id(ref)), ref_direction(ref), metas[i])) [[unlikely]] {
      end_session(state, ref_id(ref));
      ref = find_or_create(state, batch.packets[i], metas[i], batch.verdicts[i]);
      if (ref == kNoRef) continue;
    }
    if ((state.sessions->at(ref_id(ref)).flags & session_flag::kConnectionId) != 0) [[unlikely]] {
      ref = follow_connection_id(state, batch.packets[i], metas[i], ref, batch.verdicts[i]);
      if (ref == kNoRef) continue;
    }
    forward(state, network, batch.packets[i], metas[i], ref, batch.verdicts[i]);
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
  state.held.expire(state.now_ms, [&](const Packet& packet) {
    released.push(packet);
    state.counters.sub(Counter::held_packets);
    state.counters.drop(DropReason::neighbour_unresolved);
  });
  return released.count;
}

}  // namespace millrace
