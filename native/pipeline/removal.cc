// Marking sessions, and resetting both their ends.
#include "pipeline/removal.h"

#include <cstring>

#include "forwarders/registry.h"
#include "pipeline/client_address.h"
#include "pipeline/create.h"
#include "pipeline/own_segment.h"
#include "pipeline/session_key.h"
#include "pipeline/track.h"

namespace millrace {

namespace {

/// Sessions looked at in one turn: about as long as a batch of packets takes.
constexpr std::uint32_t kPerTurn = 512;
constexpr auto kTcpHeader = static_cast<std::uint32_t>(sizeof(net::Tcp));

void cut(WorkerState& state, SessionId id, Session& session) {
  if (is_cut(session) && session.next_hop_client == kCutKilled) return;
  const auto& removed = state.snapshot->services->removed;
  const auto found = removed.find(session.server);
  if (found == removed.end()) {
    if (is_cut(session)) session.next_hop_server = session.next_hop_client = 0;
    return;
  }
  if (found->second == OnRemoval::kReset && session.protocol != net::kProtocolTcp) {
    end_session(state, id);
    return;
  }
  session.route_generation = 0;
  session.next_hop_server = kCutMark;
  session.next_hop_client = found->second == OnRemoval::kReset ? kCutReset : kCutDrop;
}

/// Makes the TCP header at `l4` a bare reset with these numbers and computes its checksum.
void write_reset(std::uint8_t* l4, const PacketMeta& meta, std::uint32_t sequence, bool with_ack, std::uint32_t ack) {
  auto* tcp = reinterpret_cast<net::Tcp*>(l4);
  tcp->sequence = be32(sequence);
  tcp->acknowledgement = be32(with_ack ? ack : 0);
  tcp->data_offset = 5 << 4;
  tcp->flags = static_cast<std::uint8_t>(net::tcp_flag::kRst | (with_ack ? net::tcp_flag::kAck : 0));
  tcp->window.raw = 0;
  tcp->urgent.raw = 0;
  tcp->checksum.raw = 0;
  net::Sum sum = net::add_bytes(0, tcp, kTcpHeader);
  sum = net::add_address(net::add_address(sum, meta.source), meta.destination);
  sum += be32(kTcpHeader).raw;
  sum += be32(net::kProtocolTcp).raw;
  tcp->checksum = net::finish(sum);
}

/// The packet's place is taken by a reset with the same numbers, translated like it.
void reset_other_side(WorkerState& state, const NetworkView& network, SessionId id, Direction direction, const Packet& packet,
                      const PacketMeta& meta) {
  const Session& session = state.sessions->at(id);
  const auto* tcp = reinterpret_cast<const net::Tcp*>(packet.data + meta.l4_offset);
  bool unreachable = false;
  const IpAddress& destination =
      direction == Direction::kInbound ? server_address_of(state, session, state.sessions->detail(id)) : session.client;
  const NextHopId hop_id = find_next_hop(state, destination, unreachable);
  if (hop_id == 0 || !network.next_hops[hop_id].resolved || state.frames == nullptr) return;
  const NextHop& hop = network.next_hops[hop_id];
  std::uint8_t* frame = network.interfaces[hop.interface].usable ? state.frames->acquire() : nullptr;
  if (frame == nullptr) return;

  std::memcpy(frame, packet.data, meta.l4_offset + kTcpHeader);
  std::uint32_t sequence = tcp->sequence.host(), acknowledgement = tcp->acknowledgement.host();
  if (session.told != 0) {
    const SessionDetail& detail = state.sessions->detail(id);
    if (direction == Direction::kInbound) sequence = to_server_sequence(state.client_address_rules[detail.rule], detail, sequence);
    else acknowledgement = to_client_sequence(session, detail, acknowledgement);
  }
  write_reset(frame + meta.l4_offset, meta, sequence, (tcp->flags & net::tcp_flag::kAck) != 0, acknowledgement);
  Packet reset = packet;
  reset.data = frame;
  reset.length = meta.l4_offset + kTcpHeader;
  PacketMeta as = meta;
  as.l3_length = static_cast<std::uint16_t>(reset.length - meta.l3_offset);
  as.tcp_flags = net::tcp_flag::kRst;
  if (meta.ipv6) {
    auto* ip = reinterpret_cast<net::Ipv6*>(frame + meta.l3_offset);
    ip->payload_length = be16(static_cast<std::uint16_t>(as.l3_length - sizeof(net::Ipv6)));
  } else {
    auto* ip = reinterpret_cast<net::Ipv4*>(frame + meta.l3_offset);
    ip->total_length = be16(as.l3_length);
    ip->checksum.raw = 0;
    ip->checksum = net::finish(net::add_bytes(0, ip, ip->header_length()));
  }
  translate(state, id, session, direction, reset, as, hop);
  if (!state.extra.push(reset, hop.interface)) state.frames->release(reset.data);
}

/// Turns the packet into a reset to its sender (RFC 9293 3.10.7.1).
void reset_sender(WorkerState& state, Packet& packet, const PacketMeta& meta) {
  const net::Tcp tcp = *reinterpret_cast<const net::Tcp*>(packet.data + meta.l4_offset);
  const bool acknowledges = (tcp.flags & net::tcp_flag::kAck) != 0;
  const std::uint32_t payload = packet.length - meta.l4_offset - tcp.header_length();
  const std::uint32_t taken = payload + ((tcp.flags & net::tcp_flag::kSyn) != 0 ? 1 : 0) + ((tcp.flags & net::tcp_flag::kFin) != 0 ? 1 : 0);
  auto* ethernet = reinterpret_cast<net::Ethernet*>(packet.data);
  std::memcpy(ethernet->destination, ethernet->source, 6);
  std::memcpy(ethernet->source, state.snapshot->network->interfaces[packet.interface].mac.bytes.data(), 6);
  const OwnSegment reset{.tuple = {meta.destination, meta.source, meta.destination_port, meta.source_port},
                         .sequence = acknowledges ? tcp.acknowledgement.host() : 0,
                         .acknowledgement = acknowledges ? 0 : tcp.sequence.host() + taken,
                         .flags = static_cast<std::uint8_t>(net::tcp_flag::kRst | (acknowledges ? 0 : net::tcp_flag::kAck))};
  packet.length = meta.l3_offset + write_segment(reset, packet.data + meta.l3_offset);
}

}  // namespace

void begin_cutting(WorkerState& state) {
  const bool some = !state.snapshot->services->removed.empty();
  if (some || state.cutting.had_some) state.cutting.cursor = 0;
  state.cutting.had_some = some;
}

bool continue_cutting(WorkerState& state) {
  if (state.cutting.cursor == kNoSession) return false;
  state.cutting.cursor = state.sessions->for_each(state.cutting.cursor, kPerTurn,
                                                  [&](SessionId id, Session& session) { cut(state, id, session); });
  return true;
}

void answer_cut(WorkerState& state, const NetworkView& network, SessionId id, Direction direction, Packet& packet,
                const PacketMeta& meta, Verdict& verdict) {
  Session& session = state.sessions->at(id);
  if (session.next_hop_client == kCutDrop || meta.protocol != net::kProtocolTcp || meta.fragment != 0) return;
  // Of a SYN the other side knows nothing.
  if ((meta.tcp_flags & net::tcp_flag::kSyn) == 0) reset_other_side(state, network, id, direction, packet, meta);
  // Short from now on; further packets are answered until then, for a reset may be lost or come to a window that has moved.
  enter_state(state, id, session, SessionState::kClose);
  if ((meta.tcp_flags & net::tcp_flag::kRst) != 0) return;
  reset_sender(state, packet, meta);
  verdict = Verdict::refuse(packet.interface, DropReason::server_removed);
}

}  // namespace millrace
