// Attribute walks over rtnetlink messages. Pure functions.
#include "control/netlink_decode.h"

#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

namespace millrace {
namespace {

/// Calls visit(type, attribute) for each attribute of `length` bytes that begin at `first`.
template <typename Visit>
void for_each_attribute(const void* first, std::size_t length, Visit visit) {
  const auto* attribute = static_cast<const nlattr*>(first);
  const auto* end = static_cast<const char*>(first) + length;
  for (;;) {
    const auto left = end - reinterpret_cast<const char*>(attribute);
    if (left <= 0 || !mnl_attr_ok(attribute, static_cast<int>(left))) return;
    visit(mnl_attr_get_type(attribute), attribute);
    attribute = mnl_attr_next(attribute);
  }
}

template <typename Header, typename Visit>
const Header* open_message(const nlmsghdr* message, Visit visit) {
  const std::size_t header = MNL_ALIGN(sizeof(Header));
  const std::size_t payload = mnl_nlmsg_get_payload_len(message);
  if (payload < sizeof(Header)) return nullptr;
  const auto* body = static_cast<const char*>(mnl_nlmsg_get_payload(message));
  if (payload > header) for_each_attribute(body + header, payload - header, visit);
  return reinterpret_cast<const Header*>(body);
}

std::uint32_t u32_of(const nlattr* attribute) {
  std::uint32_t value = 0;
  if (mnl_attr_get_payload_len(attribute) >= sizeof(value)) std::memcpy(&value, mnl_attr_get_payload(attribute), sizeof(value));
  return value;
}

std::string text_of(const nlattr* attribute) {
  const auto* bytes = static_cast<const char*>(mnl_attr_get_payload(attribute));
  return std::string(bytes, strnlen(bytes, mnl_attr_get_payload_len(attribute)));
}

MacAddress mac_of(const nlattr* attribute) {
  MacAddress mac;
  if (mnl_attr_get_payload_len(attribute) == 6) std::memcpy(mac.bytes.data(), mnl_attr_get_payload(attribute), 6);
  return mac;
}

std::optional<IpAddress> address_from(std::uint8_t family, const void* bytes, std::size_t length) {
  if (family == AF_INET && length == 4) {
    std::uint32_t raw;
    std::memcpy(&raw, bytes, 4);
    return IpAddress::v4(be32::from_raw(raw));
  }
  if (family == AF_INET6 && length == 16) return IpAddress::v6(bytes);
  return std::nullopt;
}

std::optional<IpAddress> address_of(std::uint8_t family, const nlattr* attribute) {
  return address_from(family, mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute));
}

/// RTA_VIA: a gateway of another family than the route (RFC 8950): a 16-bit family, then the address.
std::optional<IpAddress> via_of(const nlattr* attribute) {
  const auto length = mnl_attr_get_payload_len(attribute);
  if (length < sizeof(rtvia)) return std::nullopt;
  const auto* via = static_cast<const rtvia*>(mnl_attr_get_payload(attribute));
  return address_from(static_cast<std::uint8_t>(via->rtvia_family), via->rtvia_addr, length - sizeof(rtvia));
}

void read_gateway(std::uint8_t family, std::uint16_t type, const nlattr* attribute, KernelPath& path) {
  std::optional<IpAddress> gateway;
  if (type == RTA_GATEWAY) gateway = address_of(family, attribute);
  if (type == RTA_VIA) gateway = via_of(attribute);
  if (!gateway) return;
  path.gateway = *gateway;
  path.has_gateway = true;
}

std::vector<KernelPath> multipath_of(std::uint8_t family, const nlattr* attribute) {
  std::vector<KernelPath> paths;
  const auto* bytes = static_cast<const char*>(mnl_attr_get_payload(attribute));
  std::size_t left = mnl_attr_get_payload_len(attribute);
  while (left >= sizeof(rtnexthop)) {
    const auto* hop = reinterpret_cast<const rtnexthop*>(bytes);
    if (hop->rtnh_len < sizeof(rtnexthop) || hop->rtnh_len > left) break;
    KernelPath path;
    path.link = static_cast<std::uint32_t>(hop->rtnh_ifindex);
    for_each_attribute(bytes + sizeof(rtnexthop), hop->rtnh_len - sizeof(rtnexthop),
                       [&](std::uint16_t type, const nlattr* a) { read_gateway(family, type, a, path); });
    paths.push_back(path);
    const std::size_t step = std::min<std::size_t>(left, MNL_ALIGN(hop->rtnh_len));
    bytes += step;
    left -= step;
  }
  return paths;
}

std::uint32_t mtu_of_metrics(const nlattr* attribute) {
  std::uint32_t mtu = 0;
  for_each_attribute(mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute),
                     [&](std::uint16_t type, const nlattr* a) { mtu = type == RTAX_MTU ? u32_of(a) : mtu; });
  return mtu;
}

std::uint8_t stored_length(std::uint8_t family, std::uint8_t length) {
  return family == AF_INET ? static_cast<std::uint8_t>(length + 96) : length;
}

bool valid_length(std::uint8_t family, std::uint8_t length) {
  return (family == AF_INET && length <= 32) || (family == AF_INET6 && length <= 128);
}

}  // namespace

std::optional<KernelLink> decode_link(const nlmsghdr* message) {
  KernelLink link;
  const auto* header = open_message<ifinfomsg>(message, [&](std::uint16_t type, const nlattr* a) {
    if (type == IFLA_IFNAME) link.name = text_of(a);
    if (type == IFLA_ADDRESS) link.mac = mac_of(a);
    if (type == IFLA_MTU) link.mtu = u32_of(a);
    if (type == IFLA_MASTER) link.master = u32_of(a);
    if (type != IFLA_LINKINFO) return;
    for_each_attribute(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a), [&](std::uint16_t inner, const nlattr* b) {
      if (inner == IFLA_INFO_KIND) link.kind = text_of(b);
    });
  });
  // AF_BRIDGE reports of bridge ports carry no whole link.
  if (header == nullptr || header->ifi_family != AF_UNSPEC || header->ifi_index <= 0) return std::nullopt;
  link.index = static_cast<std::uint32_t>(header->ifi_index);
  link.up = (header->ifi_flags & IFF_UP) != 0;
  link.carrier = (header->ifi_flags & IFF_LOWER_UP) != 0;
  return link;
}

std::optional<KernelAddress> decode_address(const nlmsghdr* message) {
  const nlattr* local = nullptr;
  const nlattr* address = nullptr;
  const auto* header = open_message<ifaddrmsg>(message, [&](std::uint16_t type, const nlattr* a) {
    if (type == IFA_LOCAL) local = a;
    if (type == IFA_ADDRESS) address = a;
  });
  if (header == nullptr || !valid_length(header->ifa_family, header->ifa_prefixlen)) return std::nullopt;
  // On a point-to-point link IFA_ADDRESS is the peer and IFA_LOCAL is us; elsewhere they are equal, and IPv6 may send only the
  // former.
  if (local == nullptr) local = address;
  if (local == nullptr) return std::nullopt;
  const auto ip = address_of(header->ifa_family, local);
  if (!ip) return std::nullopt;
  return KernelAddress{header->ifa_index, {*ip, stored_length(header->ifa_family, header->ifa_prefixlen)}};
}

std::optional<KernelRoute> decode_route(const nlmsghdr* message) {
  if (mnl_nlmsg_get_payload_len(message) < sizeof(rtmsg)) return std::nullopt;
  const auto family = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message))->rtm_family;
  KernelRoute route;
  KernelPath path;
  std::optional<IpAddress> destination;
  bool bad_destination = false;
  std::uint32_t table = 0;
  const auto* header = open_message<rtmsg>(message, [&](std::uint16_t type, const nlattr* a) {
    if (type == RTA_DST) {
      destination = address_of(family, a);
      bad_destination = !destination.has_value();
    }
    if (type == RTA_TABLE) table = u32_of(a);
    if (type == RTA_PRIORITY) route.metric = u32_of(a);
    if (type == RTA_OIF) path.link = u32_of(a);
    if (type == RTA_METRICS) route.mtu = mtu_of_metrics(a);
    if (type == RTA_MULTIPATH) route.paths = multipath_of(family, a);
    read_gateway(family, type, a, path);
  });
  if (header == nullptr || bad_destination || !valid_length(family, header->rtm_dst_len)) return std::nullopt;
  if (table == 0) table = header->rtm_table;
  if (table != RT_TABLE_MAIN || (header->rtm_flags & RTM_F_CLONED) != 0) return std::nullopt;
  // Routes that only hold for a source prefix or a type of service are policy, which this table does not know.
  if (header->rtm_src_len != 0 || header->rtm_tos != 0) return std::nullopt;
  switch (header->rtm_type) {
    case RTN_UNICAST:
      break;
    case RTN_BLACKHOLE:
    case RTN_UNREACHABLE:
    case RTN_PROHIBIT:
      route.unreachable = true;
      break;
    default:
      return std::nullopt;
  }
  route.prefix.address = destination.value_or(family == AF_INET ? IpAddress::v4(be32(0)) : IpAddress{});
  route.prefix.length = stored_length(family, header->rtm_dst_len);
  if (route.unreachable) {
    route.paths.clear();
  } else if (route.paths.empty() && path.link != 0) {
    route.paths.push_back(path);
  }
  return route;
}

std::optional<KernelNeighbour> decode_neighbour(const nlmsghdr* message) {
  if (mnl_nlmsg_get_payload_len(message) < sizeof(ndmsg)) return std::nullopt;
  const auto family = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(message))->ndm_family;
  KernelNeighbour neighbour;
  std::optional<IpAddress> address;
  const auto* header = open_message<ndmsg>(message, [&](std::uint16_t type, const nlattr* a) {
    if (type == NDA_DST) address = address_of(family, a);
    if (type == NDA_LLADDR) neighbour.mac = mac_of(a);
  });
  if (header == nullptr || !address || (header->ndm_flags & NTF_PROXY) != 0) return std::nullopt;
  neighbour.link = static_cast<std::uint32_t>(header->ndm_ifindex);
  neighbour.address = *address;
  neighbour.state = header->ndm_state;
  return neighbour;
}

}  // namespace millrace
