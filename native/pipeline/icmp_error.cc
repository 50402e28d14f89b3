// Building ICMP errors in the frame of the packet that they are about: it already holds what they quote.
#include "pipeline/icmp_error.h"

#include <algorithm>
#include <cstring>

#include "net/checksum.h"
#include "net/icmp_errors.h"

namespace millrace {

namespace {

using namespace net::icmp_error;

/// Per worker: errors in a row, and per second in the long run.
constexpr std::uint32_t kBurst = 100;
constexpr std::uint32_t kMsPerToken = 1;

struct TypeCode {
  std::uint8_t type;
  std::uint8_t code;
};

TypeCode type_of(IcmpError error, bool ipv6) {
  switch (error) {
    case IcmpError::kTooBig:
      return ipv6 ? TypeCode{kIpv6TooBig, 0} : TypeCode{kIpv4Unreachable, kIpv4FragmentationNeeded};
    case IcmpError::kTtlExceeded:
      return ipv6 ? TypeCode{kIpv6TimeExceeded, 0} : TypeCode{kIpv4TimeExceeded, 0};
    case IcmpError::kPortUnreachable:
      break;
  }
  return ipv6 ? TypeCode{kIpv6Unreachable, kIpv6PortUnreachable} : TypeCode{kIpv4Unreachable, kIpv4PortUnreachable};
}

bool take_token(WorkerState& state) {
  const std::uint32_t elapsed = state.now_ms - state.icmp_tokens_ms;
  if (elapsed >= kMsPerToken) {
    state.icmp_tokens = std::min(kBurst, state.icmp_tokens + std::min(kBurst, elapsed / kMsPerToken));
    state.icmp_tokens_ms = state.now_ms;
  }
  if (state.icmp_tokens == 0) return false;
  state.icmp_tokens--;
  return true;
}

/// Only echo is asked about; everything else of ICMP may be an error, about which no error is sent (RFC 1122 3.2.2).
/// Neither is any about a later IPv4 fragment (RFC 1122 3.2.2).
bool may_be_told(const Packet& packet, const PacketMeta& meta) {
  if (!meta.ipv6 && is_later_fragment(meta)) return false;
  if (meta.protocol != net::kProtocolIcmp && meta.protocol != net::kProtocolIcmpv6) return true;
  if (meta.l4_offset >= packet.length) return false;
  const std::uint8_t type = packet.data[meta.l4_offset];
  return meta.ipv6 ? type >= 128 : type == net::kIcmpEchoRequest || type == net::kIcmpEchoReply;
}

}  // namespace

Verdict refuse_with_icmp(WorkerState& state, Packet& packet, const PacketMeta& meta, IcmpError error, std::uint32_t mtu,
                         DropReason reason, const IpAddress* from) {
  if (!may_be_told(packet, meta) || !take_token(state)) return Verdict::drop(reason);
  const auto ip_header = static_cast<std::uint32_t>(meta.ipv6 ? sizeof(net::Ipv6) : sizeof(net::Ipv4));
  const std::uint32_t headers = ip_header + static_cast<std::uint32_t>(sizeof(net::Icmp));
  const std::uint32_t largest = meta.ipv6 ? kLargestIpv6 : kLargestIpv4;
  const std::uint32_t quoted = std::min(packet.length - meta.l3_offset, largest - headers);

  const IpAddress source = from != nullptr ? *from : meta.destination;
  std::uint8_t neighbour[6];
  std::memcpy(neighbour, packet.data + 6, 6);
  std::uint8_t* frame = packet.data - headers;
  std::memmove(frame, packet.data, meta.l3_offset);
  std::memcpy(frame, neighbour, 6);
  std::memcpy(frame + 6, state.snapshot->network->interfaces[packet.interface].mac.bytes.data(), 6);

  auto* icmp = reinterpret_cast<net::Icmp*>(frame + meta.l3_offset + ip_header);
  const TypeCode kind = type_of(error, meta.ipv6);
  icmp->type = kind.type;
  icmp->code = kind.code;
  icmp->checksum.raw = 0;
  icmp->rest = be32(error == IcmpError::kTooBig ? mtu : 0);
  const std::uint32_t icmp_length = static_cast<std::uint32_t>(sizeof(net::Icmp)) + quoted;
  net::Sum sum = net::add_bytes(0, icmp, icmp_length);
  if (meta.ipv6) {
    auto* ip = reinterpret_cast<net::Ipv6*>(frame + meta.l3_offset);
    ip->version_class_label = be32(6u << 28);
    ip->payload_length = be16(static_cast<std::uint16_t>(icmp_length));
    ip->next_header = net::kProtocolIcmpv6;
    ip->hop_limit = kTtl;
    std::memcpy(ip->source, &source, 16);
    std::memcpy(ip->destination, &meta.source, 16);
    sum = net::add_address(net::add_address(sum, meta.source), source);
    sum += be32(icmp_length).raw;
    sum += be32(net::kProtocolIcmpv6).raw;
  } else {
    auto* ip = reinterpret_cast<net::Ipv4*>(frame + meta.l3_offset);
    ip->version_ihl = 0x45;
    ip->tos = 0xc0;  // internetwork control (RFC 1812 4.3.2.5)
    ip->total_length = be16(static_cast<std::uint16_t>(sizeof(net::Ipv4) + icmp_length));
    ip->id = be16(static_cast<std::uint16_t>(state.now_ms));
    ip->fragment.raw = 0;
    ip->ttl = kTtl;
    ip->protocol = net::kProtocolIcmp;
    ip->checksum.raw = 0;
    ip->source = source.v4_part();
    ip->destination = meta.source.v4_part();
    ip->checksum = net::finish(net::add_bytes(0, ip, sizeof(net::Ipv4)));
  }
  icmp->checksum = net::finish(sum);
  packet.data = frame;
  packet.length = meta.l3_offset + headers + quoted;
  return Verdict::refuse(packet.interface, reason);
}

}  // namespace millrace
