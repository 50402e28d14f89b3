// Building segments from nothing.
#include "pipeline/own_segment.h"

#include <cstring>

#include "net/checksum.h"
#include "net/headers.h"
#include "pipeline/resolve.h"

namespace millrace {

namespace {

constexpr std::uint8_t kTtl = 64;
constexpr std::uint32_t kTimestampsLength = 12;

void write_ip(std::uint8_t* l3, const FlowTuple& tuple, std::uint32_t l4_length) {
  if (tuple.destination.is_v4()) {
    auto* ip = reinterpret_cast<net::Ipv4*>(l3);
    std::memset(ip, 0, sizeof(*ip));
    ip->version_ihl = 0x45;
    ip->total_length = be16(static_cast<std::uint16_t>(sizeof(net::Ipv4) + l4_length));
    ip->fragment = be16(0x4000);  // don't fragment: then an identification is not needed (RFC 6864)
    ip->ttl = kTtl;
    ip->protocol = net::kProtocolTcp;
    ip->source = tuple.source.v4_part();
    ip->destination = tuple.destination.v4_part();
    ip->checksum = net::finish(net::add_bytes(0, ip, sizeof(*ip)));
  } else {
    auto* ip = reinterpret_cast<net::Ipv6*>(l3);
    ip->version_class_label = be32(6u << 28);
    ip->payload_length = be16(static_cast<std::uint16_t>(l4_length));
    ip->next_header = net::kProtocolTcp;
    ip->hop_limit = kTtl;
    std::memcpy(ip->source, &tuple.source, 16);
    std::memcpy(ip->destination, &tuple.destination, 16);
  }
}

std::uint32_t tcp_header_length(const OwnSegment& segment) {
  return static_cast<std::uint32_t>(sizeof(net::Tcp)) + (segment.timestamps ? kTimestampsLength : 0);
}

std::uint32_t ip_header_length(const OwnSegment& segment) {
  return static_cast<std::uint32_t>(segment.tuple.destination.is_v4() ? sizeof(net::Ipv4) : sizeof(net::Ipv6));
}

}  // namespace

std::uint32_t write_segment(const OwnSegment& segment, std::uint8_t* l3) {
  const std::uint32_t l3_header = ip_header_length(segment), header = tcp_header_length(segment);
  const std::uint32_t l4_length = header + static_cast<std::uint32_t>(segment.payload.size());
  write_ip(l3, segment.tuple, l4_length);
  auto* tcp = reinterpret_cast<net::Tcp*>(l3 + l3_header);
  tcp->source_port = segment.tuple.source_port;
  tcp->destination_port = segment.tuple.destination_port;
  tcp->sequence = be32(segment.sequence);
  tcp->acknowledgement = be32(segment.acknowledgement);
  tcp->data_offset = static_cast<std::uint8_t>((header / 4) << 4);
  tcp->flags = segment.flags;
  tcp->window = be16(segment.window);
  tcp->checksum.raw = 0;
  tcp->urgent.raw = 0;
  if (segment.timestamps) {
    const be32 words[3] = {be32(0x0101080a), be32(segment.tsval), be32(segment.tsecr)};
    std::memcpy(tcp + 1, words, sizeof(words));
  }
  if (!segment.payload.empty()) std::memcpy(reinterpret_cast<std::uint8_t*>(tcp) + header, segment.payload.data(), segment.payload.size());
  // The prefix of a v4-mapped address is zero in one's complement, so this holds for both families.
  net::Sum sum = net::add_address(net::add_address(0, segment.tuple.source), segment.tuple.destination);
  sum += be32(l4_length).raw;
  sum += be32(net::kProtocolTcp).raw;
  tcp->checksum = net::finish(net::add_bytes(sum, tcp, l4_length));
  return l3_header + l4_length;
}

bool make_segment(WorkerState& state, const OwnSegment& segment, const NextHop& hop, Packet& packet) {
  const std::uint32_t length = ip_header_length(segment) + tcp_header_length(segment) + static_cast<std::uint32_t>(segment.payload.size());
  if (length > hop.mtu || state.frames == nullptr) return false;
  std::uint8_t* frame = state.frames->acquire();
  if (frame == nullptr) return false;
  std::memcpy(frame, &hop, 12);
  const be16 type = segment.tuple.destination.is_v4() ? net::kEtherTypeIpv4 : net::kEtherTypeIpv6;
  std::memcpy(frame + 12, &type, 2);
  packet = Packet{frame, static_cast<std::uint32_t>(sizeof(net::Ethernet)) + write_segment(segment, frame + sizeof(net::Ethernet)), hop.interface, 0, 0};
  return true;
}

const NextHop* ready_hop(WorkerState& state, const IpAddress& destination) {
  bool unreachable = false;
  const NextHopId id = find_next_hop(state, destination, unreachable);
  const NetworkTables& network = *state.snapshot->network;
  if (id == 0 || !network.next_hops[id].resolved || !network.interfaces[network.next_hops[id].interface].usable) return nullptr;
  return &network.next_hops[id];
}

bool send_segment(WorkerState& state, const OwnSegment& segment, const NextHop& hop) {
  Packet packet;
  if (!make_segment(state, segment, hop, packet)) return false;
  if (state.extra.push(packet, hop.interface)) return true;
  state.frames->release(packet.data);
  return false;
}

}  // namespace millrace
