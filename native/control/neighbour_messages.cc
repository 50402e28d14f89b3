// Reading and making ARP and neighbour discovery frames. Pure functions; the fuzz target of outside bytes on the control thread.
#include "control/neighbour_messages.h"

#include <cstring>

#include "net/arp.h"
#include "net/checksum.h"
#include "net/headers.h"
#include "net/ndp.h"

namespace millrace {
namespace {

constexpr std::uint8_t kIcmpv6 = 58;

template <typename T>
bool read_at(std::span<const std::uint8_t> bytes, std::size_t offset, T& out) {
  if (bytes.size() < offset || bytes.size() - offset < sizeof(T)) return false;
  std::memcpy(&out, bytes.data() + offset, sizeof(T));
  return true;
}

MacAddress mac_from(const std::uint8_t* six) {
  MacAddress mac;
  std::memcpy(mac.bytes.data(), six, 6);
  return mac;
}

bool usable_mac(const MacAddress& mac) { return !mac.is_zero() && !mac.is_multicast(); }

bool is_multicast_v6(const IpAddress& address) { return address.bytes()[0] == 0xff; }

/// RFC 1071 over the pseudo header of RFC 8200 8.1 and the message.
net::Sum icmpv6_sum(const std::uint8_t* source, const std::uint8_t* destination, std::span<const std::uint8_t> message) {
  net::Sum sum = net::add_bytes(0, source, 16);
  sum = net::add_bytes(sum, destination, 16);
  const be32 tail[2] = {be32(static_cast<std::uint32_t>(message.size())), be32(kIcmpv6)};
  sum = net::add_bytes(sum, tail, sizeof(tail));
  return net::add_bytes(sum, message.data(), message.size());
}

std::optional<NeighbourQuery> parse_arp(std::span<const std::uint8_t> frame) {
  net::Arp arp;
  if (!read_at(frame, sizeof(net::Ethernet), arp)) return std::nullopt;
  if (arp.hardware_type != net::arp::kHardwareEthernet || arp.protocol_type != net::arp::kProtocolIpv4) return std::nullopt;
  if (arp.hardware_length != 6 || arp.protocol_length != 4) return std::nullopt;
  if (arp.operation != net::arp::kRequest && arp.operation != net::arp::kReply) return std::nullopt;
  NeighbourQuery query;
  query.kind = arp.operation == net::arp::kRequest ? NeighbourQuery::Kind::kArpRequest : NeighbourQuery::Kind::kArpReply;
  query.sender = IpAddress::v4(arp.sender);
  query.sender_mac = mac_from(arp.sender_mac);
  query.target = IpAddress::v4(arp.target);
  if (!usable_mac(query.sender_mac)) return std::nullopt;
  return query;
}

/// The address in the link-layer option of the wanted type, if any. False when the options are malformed (RFC 4861 4.6).
bool read_link_layer_option(std::span<const std::uint8_t> options, std::uint8_t wanted, std::optional<MacAddress>& mac) {
  while (!options.empty()) {
    if (options.size() < 2) return false;
    const std::size_t length = std::size_t{options[1]} * 8;
    if (length == 0 || length > options.size()) return false;
    if (options[0] == wanted && length == sizeof(net::LinkLayerOption)) mac = mac_from(options.data() + 2);
    options = options.subspan(length);
  }
  return true;
}

/// The checks of RFC 4861 7.1.1 and 7.1.2.
std::optional<NeighbourQuery> parse_ndp(std::span<const std::uint8_t> frame) {
  net::Ethernet ethernet;
  net::Ipv6 ip;
  if (!read_at(frame, 0, ethernet) || !read_at(frame, sizeof(ethernet), ip)) return std::nullopt;
  if ((ip.version_class_label.host() >> 28) != 6 || ip.next_header != kIcmpv6 || ip.hop_limit != net::ndp::kHopLimit) {
    return std::nullopt;
  }
  const auto payload = frame.subspan(sizeof(ethernet) + sizeof(ip));
  const std::size_t length = ip.payload_length.host();
  if (length > payload.size() || length < sizeof(net::NeighbourMessage)) return std::nullopt;
  const auto message_bytes = payload.first(length);
  if (net::fold(icmpv6_sum(ip.source, ip.destination, message_bytes)) != 0xffff) return std::nullopt;

  net::NeighbourMessage message;
  if (!read_at(message_bytes, 0, message) || message.code != 0) return std::nullopt;
  const bool solicitation = message.type == net::ndp::kSolicitation;
  if (!solicitation && message.type != net::ndp::kAdvertisement) return std::nullopt;
  NeighbourQuery query;
  query.kind = solicitation ? NeighbourQuery::Kind::kSolicitation : NeighbourQuery::Kind::kAdvertisement;
  query.sender = IpAddress::v6(ip.source);
  query.target = IpAddress::v6(message.target);
  // A v4-mapped address names no IPv6 node (RFC 4038 4.2); let in, it would be taken for an IPv4 address of ours.
  if (is_multicast_v6(query.target) || query.target.is_v4() || query.sender.is_v4() || is_multicast_v6(query.sender)) {
    return std::nullopt;
  }

  std::optional<MacAddress> option;
  const std::uint8_t wanted = solicitation ? net::ndp::kOptionSourceMac : net::ndp::kOptionTargetMac;
  if (!read_link_layer_option(message_bytes.subspan(sizeof(message)), wanted, option)) return std::nullopt;
  const IpAddress destination = IpAddress::v6(ip.destination);
  if (solicitation && query.sender.is_unspecified()) {
    if (option.has_value() || destination != solicited_node_group(query.target)) return std::nullopt;
  }
  if (!solicitation && is_multicast_v6(destination) && (message.flags.host() & net::ndp::kSolicited) != 0) return std::nullopt;
  query.sender_mac = option.value_or(mac_from(ethernet.source));
  if (!usable_mac(query.sender_mac)) return std::nullopt;
  return query;
}

void write_ethernet(NeighbourFrame& frame, const MacAddress& destination, const MacAddress& source, be16 type) {
  net::Ethernet ethernet;
  std::memcpy(ethernet.destination, destination.bytes.data(), 6);
  std::memcpy(ethernet.source, source.bytes.data(), 6);
  ethernet.type = type;
  std::memcpy(frame.bytes.data(), &ethernet, sizeof(ethernet));
}

NeighbourFrame arp_frame(be16 operation, const MacAddress& ethernet_destination, const MacAddress& sender_mac, be32 sender,
                         const MacAddress& target_mac, be32 target) {
  NeighbourFrame frame;
  write_ethernet(frame, ethernet_destination, sender_mac, net::kEtherTypeArp);
  net::Arp arp;
  arp.hardware_type = net::arp::kHardwareEthernet;
  arp.protocol_type = net::arp::kProtocolIpv4;
  arp.hardware_length = 6;
  arp.protocol_length = 4;
  arp.operation = operation;
  std::memcpy(arp.sender_mac, sender_mac.bytes.data(), 6);
  arp.sender = sender;
  std::memcpy(arp.target_mac, target_mac.bytes.data(), 6);
  arp.target = target;
  std::memcpy(frame.bytes.data() + sizeof(net::Ethernet), &arp, sizeof(arp));
  frame.length = 60;  // IEEE 802.3: the shortest frame without its check sequence; the rest stays zero
  return frame;
}

NeighbourFrame advertisement(const IpAddress& target, const MacAddress& own, const IpAddress& destination,
                             const MacAddress& ethernet_destination, std::uint32_t flags) {
  NeighbourFrame frame;
  write_ethernet(frame, ethernet_destination, own, net::kEtherTypeIpv6);
  struct {
    net::NeighbourMessage message;
    net::LinkLayerOption option;
  } body;
  body.message.type = net::ndp::kAdvertisement;
  body.message.code = 0;
  body.message.checksum = be16(0);
  body.message.flags = be32(flags);
  std::memcpy(body.message.target, target.bytes(), 16);
  body.option.type = net::ndp::kOptionTargetMac;
  body.option.length = 1;
  std::memcpy(body.option.mac, own.bytes.data(), 6);
  static_assert(sizeof(body) == 32);

  net::Ipv6 ip;
  ip.version_class_label = be32(0x60000000);
  ip.payload_length = be16(sizeof(body));
  ip.next_header = kIcmpv6;
  ip.hop_limit = net::ndp::kHopLimit;
  std::memcpy(ip.source, target.bytes(), 16);
  std::memcpy(ip.destination, destination.bytes(), 16);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&body);
  const auto sum = net::fold(icmpv6_sum(ip.source, ip.destination, {bytes, sizeof(body)}));
  body.message.checksum = be16::from_raw(static_cast<std::uint16_t>(~sum));
  std::memcpy(frame.bytes.data() + sizeof(net::Ethernet), &ip, sizeof(ip));
  std::memcpy(frame.bytes.data() + sizeof(net::Ethernet) + sizeof(ip), &body, sizeof(body));
  frame.length = sizeof(net::Ethernet) + sizeof(ip) + sizeof(body);
  static_assert(sizeof(net::Ethernet) + sizeof(net::Ipv6) + sizeof(body) == std::tuple_size_v<decltype(NeighbourFrame::bytes)>);
  return frame;
}

const MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

IpAddress all_nodes() {
  static constexpr std::uint8_t kBytes[16] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return IpAddress::v6(kBytes);
}

}  // namespace

std::optional<NeighbourQuery> parse_neighbour_query(std::span<const std::uint8_t> frame) {
  net::Ethernet ethernet;
  if (!read_at(frame, 0, ethernet)) return std::nullopt;
  if (ethernet.type == net::kEtherTypeArp) return parse_arp(frame);
  if (ethernet.type == net::kEtherTypeIpv6) return parse_ndp(frame);
  return std::nullopt;
}

NeighbourFrame build_answer(const NeighbourQuery& query, const MacAddress& own) {
  if (query.kind == NeighbourQuery::Kind::kArpRequest) {
    return arp_frame(net::arp::kReply, query.sender_mac, own, query.target.v4_part(), query.sender_mac, query.sender.v4_part());
  }
  // RFC 4861 7.2.4: an unspecified source is answered to all nodes, without the solicited flag.
  if (query.sender.is_unspecified()) {
    return advertisement(query.target, own, all_nodes(), multicast_mac(all_nodes()), net::ndp::kOverride);
  }
  return advertisement(query.target, own, query.sender, query.sender_mac, net::ndp::kSolicited | net::ndp::kOverride);
}

NeighbourFrame build_announcement(const IpAddress& address, const MacAddress& own, AnnouncementForm form) {
  if (!address.is_v4()) return advertisement(address, own, all_nodes(), multicast_mac(all_nodes()), net::ndp::kOverride);
  const be32 v4 = address.v4_part();
  if (form == AnnouncementForm::kRequest) return arp_frame(net::arp::kRequest, kBroadcast, own, v4, MacAddress{}, v4);
  return arp_frame(net::arp::kReply, kBroadcast, own, v4, kBroadcast, v4);
}

IpAddress solicited_node_group(const IpAddress& address) {
  std::uint8_t bytes[16] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0};
  std::memcpy(bytes + 13, address.bytes() + 13, 3);
  return IpAddress::v6(bytes);
}

MacAddress multicast_mac(const IpAddress& group) {
  MacAddress mac{{0x33, 0x33, 0, 0, 0, 0}};
  std::memcpy(mac.bytes.data() + 2, group.bytes() + 12, 4);
  return mac;
}

}  // namespace millrace
