// Tracking, search and translation of fragments.
#include "pipeline/fragments.h"

#include "forwarders/registry.h"
#include "pipeline/classify.h"
#include "pipeline/client_address.h"
#include "pipeline/fragment_out.h"
#include "pipeline/icmp_error.h"
#include "pipeline/log_flow.h"
#include "pipeline/outbound.h"
#include "pipeline/rate_limits.h"
#include "pipeline/search.h"
#include "pipeline/session_key.h"
#include "pipeline/track.h"

namespace millrace {

namespace {

using Datagram = FragmentTracker::Datagram;

/// Marks a packet (Packet::reserved) whose bytes the tracker has noted: it comes by a second time, having waited.
constexpr std::uint8_t kRecorded = 0x80;
/// Datagrams looked at per turn.
constexpr std::uint32_t kExpiredPerTurn = 64;

std::uint32_t slot_of_pair(const WorkerState& state, const IpAddress& source, const IpAddress& destination) {
  return FragmentHomes::slot_of(flow_hash(state.hash_key, source, destination, be16(0), be16(0), 0));
}

/// The worker that is asked first about fragments between two addresses.
std::uint32_t home_of(const WorkerState& state, const PacketMeta& meta) {
  if (state.workers == 1) return state.worker;
  const OwnedAddress* owned = state.snapshot->services->owner_of(meta.destination);
  if (owned != nullptr && owned->kind == OwnedAddress::Kind::kLocal) return state.local_slots[owned->local].worker;
  return slot_of_pair(state, meta.source, meta.destination) % state.workers;
}

void drop_waiting(WorkerState& state, const Packet& packet, DropReason reason) {
  state.counters.sub(Counter::held_packets);
  state.counters.sub(Counter::fragments_held);
  state.counters.drop(reason);
  state.frames->release(packet.data);
}

struct Range {
  std::uint32_t offset;  ///< units of 8 bytes
  std::uint32_t length;  ///< bytes
};

Range range_of(const Packet& packet, const PacketMeta& meta) {
  const std::uint32_t begin =
      meta.ipv6 ? meta.fragment_header + static_cast<std::uint32_t>(sizeof(net::Ipv6Fragment))
                : meta.l3_offset + reinterpret_cast<const net::Ipv4*>(packet.data + meta.l3_offset)->header_length();
  return {meta.fragment & static_cast<std::uint32_t>(kFragmentOffset), packet.length - begin};
}

/// Looks the fragment's datagram up and notes its bytes. nullptr: the fragment goes no further, `verdict` says why.
Datagram* account(WorkerState& state, Packet& packet, const PacketMeta& meta, bool round, Verdict& verdict) {
  FragmentTracker& tracker = *state.fragments;
  const FragmentTracker::Key key{meta.source, meta.destination, meta.fragment_id, meta.ipv6 ? std::uint8_t{0} : meta.protocol,
                                 round};
  Datagram* datagram = tracker.find(key);
  if (datagram == nullptr) {
    datagram = &tracker.begin(key, state.now_ms,
                              [&](const Packet& waiting) { drop_waiting(state, waiting, DropReason::fragment_table_full); });
  }
  if ((packet.reserved & kRecorded) == 0) {
    const Range range = range_of(packet, meta);
    const auto arrival = tracker.record(*datagram, range.offset, range.length, (meta.fragment & kMoreFragments) != 0);
    if (arrival == FragmentTracker::Arrival::kDuplicate && datagram->state != FragmentTracker::State::kDead) {
      verdict = Verdict::drop(DropReason::fragment_duplicate);
      return nullptr;
    }
    if (arrival == FragmentTracker::Arrival::kOverlap) {
      tracker.kill(*datagram, [&](const Packet& waiting) { drop_waiting(state, waiting, DropReason::fragment_overlap); });
    }
  }
  packet.reserved = 0;
  if (datagram->state == FragmentTracker::State::kDead) {
    verdict = Verdict::drop(DropReason::fragment_overlap);
    return nullptr;
  }
  return datagram;
}

/// Fills in what only the first fragment says. False: it has not come yet, and `verdict` says what becomes of this one.
bool complete_meta(WorkerState& state, Datagram& datagram, const Packet& packet, PacketMeta& meta, Verdict& verdict) {
  FragmentTracker& tracker = *state.fragments;
  if (!is_later_fragment(meta)) {
    meta.hash = hash_of(state, meta);
    datagram.protocol = meta.protocol;
    datagram.source_port = meta.source_port;
    datagram.destination_port = meta.destination_port;
    datagram.hash = meta.hash;
    tracker.become_known(datagram);
    return true;
  }
  if (datagram.state == FragmentTracker::State::kWaiting) {
    Packet waiting = packet;
    waiting.reserved = kRecorded;
    if (!tracker.hold(datagram, waiting,
                      [&](const Packet& other) { drop_waiting(state, other, DropReason::fragment_table_full); })) {
      verdict = Verdict::drop(DropReason::fragment_held_full);
      return false;
    }
    state.counters.add(Counter::held_packets);
    state.counters.add(Counter::fragments_held);
    verdict = Verdict::held();
    return false;
  }
  meta.protocol = datagram.protocol;
  meta.source_port = datagram.source_port;
  meta.destination_port = datagram.destination_port;
  meta.hash = datagram.hash;
  return true;
}

/// A first fragment without a session here: asks the other workers; when they have been asked, it may begin one.
SessionId find_elsewhere_or_create(WorkerState& state, Datagram& datagram, bool at_home, Packet& packet, const PacketMeta& meta,
                                   Verdict& verdict) {
  const OwnedAddress* owned = state.snapshot->services->owner_of(meta.destination);
  const bool local = owned != nullptr && owned->kind == OwnedAddress::Kind::kLocal;
  if (owned == nullptr && at_home && !datagram.key.round && state.session_owners != nullptr) {
    const std::uint32_t owner = state.session_owners->find(meta.hash);
    if (owner < state.workers && owner != state.worker) {
      datagram.pass_to = static_cast<std::uint16_t>(owner);
      verdict = Verdict::handoff(owner);
      return kNoSession;
    }
  }
  if (state.workers > 1 && !local && !datagram.key.round) {
    if (at_home) {
      if (!take_search_budget(state)) {
        verdict = Verdict::drop(DropReason::fragment_search_limited);
        return kNoSession;
      }
      state.fragment_homes->mark(slot_of_pair(state, meta.source, meta.destination), state.now_ms);
    }
    datagram.pass_to = static_cast<std::uint16_t>((state.worker + 1) % state.workers);
    verdict = Verdict::handoff(datagram.pass_to);
    return kNoSession;
  }
  const SessionId created = classify_miss(state, packet, meta, verdict);
  if (verdict.action == Action::kHandoff) datagram.pass_to = verdict.target;
  return created;
}

/// Bytes by which this fragment grows on its way.
std::int32_t growth_of(const WorkerState& state, const Session& session, Direction direction, const PacketMeta& meta) {
  if ((session.flags & session_flag::kCrossFamily) == 0 || is_tunnel(session.mode)) {
    return direction == Direction::kInbound ? growth(state, session, direction, meta) : 0;
  }
  const std::int32_t header = meta.ipv6
                                  ? meta.fragment_header + static_cast<std::int32_t>(sizeof(net::Ipv6Fragment)) - meta.l3_offset
                                  : meta.l4_offset - meta.l3_offset;
  return (meta.ipv6 ? static_cast<std::int32_t>(sizeof(net::Ipv4))
                    : static_cast<std::int32_t>(sizeof(net::Ipv6) + sizeof(net::Ipv6Fragment))) -
         header;
}

/// RFC 7915 5.1.1: the fragment header's fields go into the IPv4 header, of the identification the lower half.
void fragment_to_ipv4(Packet& packet, PacketMeta& meta, const FlowTuple& to) {
  const auto old = *reinterpret_cast<const net::Ipv6*>(packet.data + meta.l3_offset);
  const std::uint32_t data = meta.fragment_header + static_cast<std::uint32_t>(sizeof(net::Ipv6Fragment));
  const std::uint32_t start = data - static_cast<std::uint32_t>(sizeof(net::Ipv4)) - meta.l3_offset;
  std::uint8_t* frame = packet.data + start;
  std::memmove(frame, packet.data, meta.l3_offset);
  const be16 type = net::kEtherTypeIpv4;
  std::memcpy(frame + meta.l3_offset - 2, &type, 2);
  packet.data = frame;
  packet.length -= start;
  auto* ip = reinterpret_cast<net::Ipv4*>(frame + meta.l3_offset);
  ip->version_ihl = 0x45;
  ip->tos = static_cast<std::uint8_t>(old.version_class_label.host() >> 20);
  ip->total_length = be16(static_cast<std::uint16_t>(packet.length - meta.l3_offset));
  ip->id = be16(static_cast<std::uint16_t>(meta.fragment_id));
  ip->fragment = be16(meta.fragment);
  ip->ttl = static_cast<std::uint8_t>(old.hop_limit - 1);
  ip->protocol = meta.protocol;
  ip->checksum.raw = 0;
  ip->source = to.source.v4_part();
  ip->destination = to.destination.v4_part();
  ip->checksum = net::finish(net::add_bytes(0, ip, sizeof(net::Ipv4)));
  meta.l4_offset = static_cast<std::uint16_t>(meta.l3_offset + sizeof(net::Ipv4));
  meta.ipv6 = false;
}

/// RFC 7915 4.1: an IPv6 header with a fragment header behind it.
void fragment_to_ipv6(Packet& packet, PacketMeta& meta, const FlowTuple& to) {
  const auto old = *reinterpret_cast<const net::Ipv4*>(packet.data + meta.l3_offset);
  const std::uint32_t payload = packet.length - meta.l4_offset;
  constexpr std::uint32_t headers = sizeof(net::Ipv6) + sizeof(net::Ipv6Fragment);
  // Behind the parser's header check the IPv4 header has 20 to 60 bytes; the new ones need 48.
  const std::int32_t start = static_cast<std::int32_t>(meta.l4_offset) - static_cast<std::int32_t>(headers) - meta.l3_offset;
  std::uint8_t* frame = packet.data + start;
  std::memmove(frame, packet.data, meta.l3_offset);
  const be16 type = net::kEtherTypeIpv6;
  std::memcpy(frame + meta.l3_offset - 2, &type, 2);
  packet.data = frame;
  packet.length = meta.l3_offset + headers + payload;
  auto* ip = reinterpret_cast<net::Ipv6*>(frame + meta.l3_offset);
  ip->version_class_label = be32(6u << 28 | static_cast<std::uint32_t>(old.tos) << 20);
  ip->payload_length = be16(static_cast<std::uint16_t>(sizeof(net::Ipv6Fragment) + payload));
  ip->next_header = net::kProtocolIpv6Fragment;
  ip->hop_limit = static_cast<std::uint8_t>(old.ttl - 1);
  std::memcpy(ip->source, &to.source, 16);
  std::memcpy(ip->destination, &to.destination, 16);
  auto* header = reinterpret_cast<net::Ipv6Fragment*>(ip + 1);
  header->next_header = meta.protocol;
  header->reserved = 0;
  header->offset_more =
      be16(static_cast<std::uint16_t>((meta.fragment & kFragmentOffset) << 3 | ((meta.fragment & kMoreFragments) != 0 ? 1 : 0)));
  header->id = be32(meta.fragment_id);
  meta.l4_offset = static_cast<std::uint16_t>(meta.l3_offset + headers);
  meta.ipv6 = true;
}

/// translate() for a fragment: ports and transport checksum only in the first one.
void translate_fragment(WorkerState& state, SessionId id, const Session& session, Direction direction, Packet& packet,
                        PacketMeta meta, const NextHop& hop) {
  constexpr std::uint8_t no_ports = 0;
  const bool later = is_later_fragment(meta);
  if ((session.flags & session_flag::kCrossFamily) == 0 || is_tunnel(session.mode)) {
    if (later) meta.protocol = no_ports;
    translate(state, id, session, direction, packet, meta, hop);
    return;
  }
  const SessionDetail& detail = state.sessions->detail(id);
  const bool inbound = direction == Direction::kInbound;
  const FlowTuple to = inbound ? inbound_translated(state, session, detail) : outbound_translated(state, session, detail);
  if (meta.ipv6) {
    fragment_to_ipv4(packet, meta, to);
  } else {
    fragment_to_ipv6(packet, meta, to);
  }
  rewrite::ethernet(packet.data, hop);
  rewrite::ports(packet.data + meta.l4_offset, packet.length - meta.l4_offset, later ? no_ports : meta.protocol, to.source_port,
                 to.destination_port, inbound ? session.l4_delta : net::inverse(session.l4_delta));
}

/// Whether an SCTP packet's ports change: its CRC covers the whole packet, so a fragment of it cannot be made right.
bool checksum_out_of_reach(const WorkerState& state, SessionId id, const Session& session, Direction direction) {
  if (session.protocol != net::kProtocolSctp || is_one_way(session.mode)) return false;
  const SessionDetail& detail = state.sessions->detail(id);
  const FlowTuple from = inbound_tuple(state, session, detail), to = inbound_translated(state, session, detail);
  const FlowTuple back_from = outbound_tuple(state, session, detail), back_to = outbound_translated(state, session, detail);
  return direction == Direction::kInbound
             ? from.source_port != to.source_port || from.destination_port != to.destination_port
             : back_from.source_port != back_to.source_port || back_from.destination_port != back_to.destination_port;
}

/// A fragment that cannot change its family: the reason. True when it can.
bool family_may_change(const Packet& packet, const PacketMeta& meta, DropReason& reason) {
  if (meta.ipv6) {
    // Headers behind the fragment header count as data of the datagram; IPv4 has no place for them.
    if (meta.l4_offset != meta.fragment_header + sizeof(net::Ipv6Fragment))
      return reason = DropReason::fragment_unsupported, false;
    return true;
  }
  if (is_later_fragment(meta) || meta.protocol != net::kProtocolUdp) return true;
  // The checksum that IPv6 wants is the sum of bytes that have not come yet (RFC 7915 4.5).
  if (reinterpret_cast<const net::Udp*>(packet.data + meta.l4_offset)->checksum.raw == 0) {
    return reason = DropReason::udp_checksum_missing, false;
  }
  return true;
}

void forward_fragment(WorkerState& state, const NetworkView& network, Datagram& datagram, Packet& packet, PacketMeta& meta,
                      SessionRef ref, Verdict& verdict) {
  const SessionId id = ref_id(ref);
  const Direction direction = ref_direction(ref);
  Session& session = state.sessions->at(id);
  const bool changes_family = (session.flags & session_flag::kCrossFamily) != 0 && !is_tunnel(session.mode);
  DropReason reason;
  if (changes_family && !family_may_change(packet, meta, reason)) {
    state.fragments->kill(datagram, [](const Packet&) {});
    verdict = Verdict::drop(reason);
    return;
  }
  if (checksum_out_of_reach(state, id, session, direction)) {
    verdict = Verdict::drop(DropReason::fragment_unsupported);
    return;
  }
  packet.reserved = kRecorded;  // the held queue keeps it as it is
  const NextHop* hop = resolve_next_hop(state, network, id, session, direction, packet, verdict);
  packet.reserved = 0;
  if (hop == nullptr) {
    if (verdict.action == Action::kHeld) datagram.parked = true;
    return;
  }
  if (!network.interfaces[hop->interface].usable) {
    verdict = Verdict::drop(DropReason::interface_gone);
    log_session(state, LogEvent::interface_gone, DropReason::interface_gone, id, session, hop->interface);
    return;
  }
  if (is_rated(state, session.service) &&
      !pay_for_packet(state, session.service, session.server, direction, meta.l3_length, reason)) {
    verdict = Verdict::drop(reason);
    log_rate_limit(state, reason, id, session);
    return;
  }
  if (direction == Direction::kInbound && session.mode != ForwardMode::kSnat && !is_later_fragment(meta) && may_carry_address(packet, meta)) {
    remove_forged(state, packet, meta);
  }
  const std::int32_t grown = growth_of(state, session, direction, meta);
  if (session.told != 0) {
    SessionDetail& detail = state.sessions->detail(id);
    Telling telling{state, id, session, detail, state.client_address_rules[detail.rule], direction, packet, meta, *hop, grown, verdict};
    if (!tell_fragment(telling, reason)) {
      state.fragments->kill(datagram, [&](const Packet& waiting) { drop_waiting(state, waiting, reason); });
      verdict = Verdict::drop(reason);
      return;
    }
  }
  const bool too_big = static_cast<std::int32_t>(meta.l3_length) + grown > hop->mtu;
  if (too_big && !may_be_cut(packet, meta)) {
    verdict = refuse_with_icmp(state, packet, meta, IcmpError::kTooBig,
                               static_cast<std::uint32_t>(static_cast<std::int32_t>(hop->mtu) - grown), DropReason::mtu_exceeded,
                               teller_of(state, session, direction));
    return;
  }
  if (!is_later_fragment(meta)) {
    track(state, id, session, direction, meta, packet.length);
  } else {
    count_packet(state, session, direction, packet.length);
  }
  state.counters.add(Counter::fragments_forwarded);
  if (too_big) {
    send_in_pieces(state, id, session, direction, packet, meta, *hop, verdict);
    return;
  }
  translate_fragment(state, id, session, direction, packet, meta, *hop);
  verdict = Verdict::forward(hop->interface);
}

void take_fragment(WorkerState& state, const NetworkView& network, Packet& packet, PacketMeta& meta, Verdict& verdict) {
  const std::uint32_t home = home_of(state, meta);
  if (home != state.worker && packet.hops == 0) {
    verdict = Verdict::handoff(home);
    return;
  }
  const bool at_home = home == state.worker;
  // A packet comes home for the first time after one hop at most.
  const bool round = at_home && state.workers > 1 && packet.hops >= state.workers;
  Datagram* datagram = account(state, packet, meta, round, verdict);
  if (datagram == nullptr || !complete_meta(state, *datagram, packet, meta, verdict)) return;

  SessionRef ref = state.sessions->find(meta.hash, [&](const Session& session, Direction direction) {
    return belongs_to(state, state.sessions->id_of(session), session, direction, meta);
  });
  if (ref == kNoRef && !is_later_fragment(meta)) {
    const SessionId created = find_elsewhere_or_create(state, *datagram, at_home, packet, meta, verdict);
    if (created != kNoSession) ref = make_ref(created, Direction::kInbound);
  } else if (ref == kNoRef) {
    verdict = datagram->pass_to == FragmentTracker::kNobody ? Verdict::drop(DropReason::fragment_orphan)
                                                            : Verdict::handoff(datagram->pass_to);
  }
  if (ref != kNoRef) forward_fragment(state, network, *datagram, packet, meta, ref, verdict);
  state.fragments->settle(*datagram);
}

}  // namespace

void run_fragments(WorkerState& state, const NetworkView& network, Batch& batch) {
  for (std::uint32_t i = 0; i < state.notes.fragment_count; i++) {
    const std::uint32_t number = state.notes.fragments[i];
    batch.verdicts[number] = Verdict{};
    take_fragment(state, network, batch.packets[number], state.notes.metas[number], batch.verdicts[number]);
  }
  state.notes.fragment_count = 0;
  state.counters.set(Counter::datagrams_tracked, state.fragments->datagrams());
}

void expire_fragments(WorkerState& state) {
  if (state.fragments->empty()) return;
  state.fragments->expire(state.now_ms, kExpiredPerTurn,
                          [&](const Packet& waiting) { drop_waiting(state, waiting, DropReason::fragment_timeout); });
  state.counters.set(Counter::datagrams_tracked, state.fragments->datagrams());
}

bool may_be_at_fragment_home(const WorkerState& state, const PacketMeta& meta, std::uint32_t& home) {
  const std::uint32_t slot = slot_of_pair(state, meta.source, meta.destination);
  home = slot % state.workers;
  return home != state.worker && state.fragment_homes->marked(slot, state.now_ms);
}

void note_fragment_home(WorkerState& state, Session& session, const PacketMeta& meta) {
  session.flags |= session_flag::kAtFragmentHome;
  state.fragment_homes->add_session(slot_of_pair(state, meta.source, meta.destination));
}

void forget_fragment_home(WorkerState& state, const Session& session, const SessionDetail& detail) {
  state.fragment_homes->remove_session(slot_of_pair(state, session.client, vip_of(state, session, detail)));
}

bool may_be_cut(const Packet& packet, const PacketMeta& meta) {
  return !meta.ipv6 && (reinterpret_cast<const net::Ipv4*>(packet.data + meta.l3_offset)->fragment.host() & 0x4000) == 0;
}

void send_in_pieces(WorkerState& state, SessionId id, const Session& session, Direction direction, Packet& packet,
                    PacketMeta& meta, const NextHop& hop, Verdict& verdict) {
  const bool tunnelled = direction == Direction::kInbound && is_tunnel(session.mode);
  const bool changes_family = (session.flags & session_flag::kCrossFamily) != 0 && !is_tunnel(session.mode);
  // So that servers reassemble the client's packets and not the tunnel's.
  const bool cut_first = tunnelled || changes_family;
  std::uint32_t mtu = hop.mtu;
  if (tunnelled) mtu -= tunnel_overhead(state, session);
  if (changes_family) {
    const std::uint32_t header = static_cast<std::uint32_t>(meta.l4_offset) - meta.l3_offset;
    mtu = mtu - static_cast<std::uint32_t>(sizeof(net::Ipv6) + sizeof(net::Ipv6Fragment)) + header;
    auto* udp = reinterpret_cast<net::Udp*>(packet.data + meta.l4_offset);
    // Of a whole datagram all bytes are here, for once.
    if (meta.fragment == 0 && meta.protocol == net::kProtocolUdp && udp->checksum.raw == 0) {
      rewrite::complete_udp_checksum(packet.data + meta.l4_offset, meta.source, meta.destination);
    }
    if (meta.fragment == 0 && meta.protocol == net::kProtocolSctp) {
      // The checksum covers all pieces; the first one finds its ports changed already.
      const SessionDetail& detail = state.sessions->detail(id);
      const FlowTuple to = direction == Direction::kInbound ? inbound_translated(state, session, detail)
                                                            : outbound_translated(state, session, detail);
      rewrite::ports(packet.data + meta.l4_offset, packet.length - meta.l4_offset, meta.protocol, to.source_port,
                     to.destination_port, session.l4_delta);
    }
  }
  if (!cut_first) translate_fragment(state, id, session, direction, packet, meta, hop);
  std::array<Packet, 64> pieces;
  const int cut = cut_ipv4(state, packet, meta, mtu, pieces.data(), pieces.size());
  if (cut < 0 || state.extra.packets.size() - state.extra.count < static_cast<std::size_t>(cut)) {
    for (int i = 0; i < cut; i++) state.frames->release(pieces[static_cast<std::size_t>(i)].data);
    verdict = Verdict::drop(DropReason::mtu_exceeded);
    return;
  }
  const auto translate_piece = [&](Packet& piece) {
    if (!cut_first) return;
    const auto* ip = reinterpret_cast<const net::Ipv4*>(piece.data + meta.l3_offset);
    PacketMeta of_piece = meta;
    of_piece.l3_length = ip->total_length.host();
    of_piece.fragment = ip->fragment.host() & (kMoreFragments | kFragmentOffset);
    of_piece.fragment_id = ip->id.host();
    translate_fragment(state, id, session, direction, piece, of_piece, hop);
  };
  translate_piece(packet);
  for (int i = 0; i < cut; i++) {
    Packet& piece = pieces[static_cast<std::size_t>(i)];
    translate_piece(piece);
    state.extra.push(piece, hop.interface);
  }
  state.counters.add(Counter::fragmented);
  verdict = Verdict::forward(hop.interface);
}

}  // namespace millrace
