// Rules are asked for the first packet of a flow only.
#include "pipeline/outbound.h"

#include "pipeline/icmp_error.h"

namespace millrace {

namespace {

/// An address that somebody can answer from.
bool is_unicast(const IpAddress& address, bool ipv6) {
  if (!ipv6) {
    const std::uint32_t top = address.v4_part().host() >> 24;
    return top != 0 && top != 127 && top < 224;
  }
  const std::uint8_t* bytes = address.bytes();
  const bool link_local = bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
  return bytes[0] != 0xff && !link_local && !address.is_v4() && !address.is_unspecified();
}

const ServiceTable* find_rule(const WorkerState& state, const Packet& packet, const PacketMeta& meta) {
  const ServiceTables& tables = *state.snapshot->services;
  if (tables.outbound.empty() || !is_unicast(meta.destination, meta.ipv6)) return nullptr;
  const bool echo = meta.protocol == net::kProtocolIcmp || meta.protocol == net::kProtocolIcmpv6;
  if (!echo && meta.protocol != net::kProtocolTcp && meta.protocol != net::kProtocolUdp) return nullptr;
  // A rule for some ports is not for echo, which has none.
  const std::uint16_t port = echo ? std::uint16_t{0} : meta.destination_port.host();
  return tables.outbound.find({meta.source, meta.destination, port, meta.protocol, packet.interface});
}

}  // namespace

const ServiceTable* find_outbound(WorkerState& state, Packet& packet, const PacketMeta& meta, Verdict& verdict) {
  const ServiceTable* rule = find_rule(state, packet, meta);
  if (rule == nullptr) return verdict = Verdict::drop(DropReason::address_not_owned), nullptr;
  if (meta.protocol == net::kProtocolIcmp || meta.protocol == net::kProtocolIcmpv6) {
    if (meta.tcp_flags != (meta.ipv6 ? net::kIcmpv6EchoRequest : net::kIcmpEchoRequest)) {
      return verdict = Verdict::drop(DropReason::icmp_unsupported), nullptr;
    }
    if (meta.ttl <= 1) {
      const IpAddress* gateway = gateway_address(state, packet, meta);
      return verdict = refuse_with_icmp(state, packet, meta, IcmpError::kTtlExceeded, 0, DropReason::ttl_expired, gateway), nullptr;
    }
    if (meta.destination_port != kEchoPort) return verdict = Verdict::drop(DropReason::icmp_unsupported), nullptr;
  }
  return rule;
}

const IpAddress* gateway_address(const WorkerState& state, const Packet& packet, const PacketMeta& meta) {
  const ServiceTables& tables = *state.snapshot->services;
  const ServiceTable* rule = find_rule(state, packet, meta);
  const auto pool = rule == nullptr ? tables.pools.end() : tables.pools.find(rule->slot);
  if (pool == tables.pools.end()) return nullptr;
  const std::vector<LocalSlot>& locals = pool->second[state.worker][meta.ipv6 ? 1 : 0];
  return locals.empty() ? nullptr : &state.local_slots[locals.front()].address;
}

}  // namespace millrace
