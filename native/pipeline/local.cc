// Echo replies.
#include "pipeline/local.h"

#include <cstring>

#include "net/checksum.h"

namespace millrace {

namespace {

constexpr std::uint8_t kReplyTtl = 64;

void swap_ipv4(std::uint8_t* l3) {
  auto* ip = reinterpret_cast<net::Ipv4*>(l3);
  const be32 source = ip->source;
  ip->source = ip->destination;
  ip->destination = source;
  ip->ttl = kReplyTtl;
  ip->checksum.raw = 0;
  ip->checksum = net::finish(net::add_bytes(0, ip, ip->header_length()));
}

void swap_ipv6(std::uint8_t* l3) {
  auto* ip = reinterpret_cast<net::Ipv6*>(l3);
  std::uint8_t source[16];
  std::memcpy(source, ip->source, 16);
  std::memcpy(ip->source, ip->destination, 16);
  std::memcpy(ip->destination, source, 16);
  ip->hop_limit = kReplyTtl;
}

}  // namespace

Verdict answer_icmp(WorkerState& state, Packet& packet, const PacketMeta& meta) {
  auto* icmp = reinterpret_cast<net::Icmp*>(packet.data + meta.l4_offset);
  const std::uint8_t request = meta.ipv6 ? net::kIcmpv6EchoRequest : net::kIcmpEchoRequest;
  if (icmp->type != request || icmp->code != 0) return Verdict::drop(DropReason::icmp_unsupported);
  if (!state.snapshot->services->echo_replies) return Verdict::drop(DropReason::echo_refused);
  // A wrong checksum must not become a right one.
  net::Sum sum = net::add_bytes(0, icmp, packet.length - meta.l4_offset);
  if (meta.ipv6) {
    sum = net::add_address(net::add_address(sum, meta.source), meta.destination);
    sum += be32(packet.length - meta.l4_offset).raw;
    sum += be32(net::kProtocolIcmpv6).raw;
  }
  if (net::fold(sum) != 0xffff) return Verdict::drop(DropReason::icmp_unsupported);

  // The word of type and code changes; the addresses only change places, which the sum does not notice.
  const std::uint16_t removed = be16(static_cast<std::uint16_t>(request << 8)).raw;
  icmp->type = meta.ipv6 ? net::kIcmpv6EchoReply : net::kIcmpEchoReply;
  const std::uint16_t added = be16(static_cast<std::uint16_t>(icmp->type << 8)).raw;
  icmp->checksum = net::updated(icmp->checksum, net::difference(removed, added));
  if (meta.ipv6) {
    swap_ipv6(packet.data + meta.l3_offset);
  } else {
    swap_ipv4(packet.data + meta.l3_offset);
  }
  auto* ethernet = reinterpret_cast<net::Ethernet*>(packet.data);
  std::memcpy(ethernet->destination, ethernet->source, 6);
  std::memcpy(ethernet->source, state.snapshot->network->interfaces[packet.interface].mac.bytes.data(), 6);
  return Verdict::reply(packet.interface);
}

}  // namespace millrace
