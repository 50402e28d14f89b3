// See interface_probe.h. Link and address facts by rtnetlink dumps (libmnl), queues and driver by ethtool ioctls, XDP features by
// the generic netlink family "netdev", program names by bpf(2).
#include "ports/interface_probe.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <iterator>
#include <unordered_map>
#include <utility>

namespace millrace {
namespace {

// Family "netdev" (Documentation/netlink/specs/netdev.yaml). Newer than the kernel headers this is built with.
constexpr std::uint8_t kNetdevCmdDevGet = 1;
constexpr std::uint16_t kNetdevAttrIfindex = 1;
constexpr std::uint16_t kNetdevAttrXdpFeatures = 3;
constexpr std::uint64_t kXdpActBasic = 1;
constexpr std::uint64_t kXdpActRedirect = 2;
constexpr std::uint64_t kXdpActZeroCopy = 8;

using Attributes = std::array<const nlattr*, 128>;

/// A netlink socket that closes itself.
class NetlinkSocket {
 public:
  explicit NetlinkSocket(int protocol) : socket_(mnl_socket_open2(protocol, SOCK_CLOEXEC)) {
    if (socket_ != nullptr && mnl_socket_bind(socket_, 0, MNL_SOCKET_AUTOPID) < 0) {
      const int error = errno;
      mnl_socket_close(std::exchange(socket_, nullptr));
      errno = error;
    }
  }
  ~NetlinkSocket() {
    if (socket_ != nullptr) mnl_socket_close(socket_);
  }
  NetlinkSocket(const NetlinkSocket&) = delete;
  NetlinkSocket& operator=(const NetlinkSocket&) = delete;

  bool is_open() const { return socket_ != nullptr; }

  /// Sends one request and hands every answering message to `handle`; 0 or the errno.
  int query(nlmsghdr* request, const std::function<void(const nlmsghdr*)>& handle) {
    request->nlmsg_seq = ++sequence_;
    if (mnl_socket_sendto(socket_, request, request->nlmsg_len) < 0) return errno;
    const mnl_cb_t forward = [](const nlmsghdr* message, void* context) {
      (*static_cast<const std::function<void(const nlmsghdr*)>*>(context))(message);
      return MNL_CB_OK;
    };
    while (true) {
      const ssize_t received = mnl_socket_recvfrom(socket_, buffer_.data(), buffer_.size());
      if (received < 0) return errno;
      const int state = mnl_cb_run(buffer_.data(), static_cast<std::size_t>(received), sequence_, mnl_socket_get_portid(socket_),
                                   forward, const_cast<std::function<void(const nlmsghdr*)>*>(&handle));
      if (state < 0) return errno;
      if (state == MNL_CB_STOP) return 0;
    }
  }

 private:
  mnl_socket* socket_;
  std::uint32_t sequence_ = 0;
  // The kernel fills dump messages up to 32 KiB; a smaller buffer would cut them.
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
};

int collect_attribute(const nlattr* attribute, void* context) {
  Attributes& attributes = *static_cast<Attributes*>(context);
  const std::uint16_t type = mnl_attr_get_type(attribute);
  if (type < attributes.size()) attributes[type] = attribute;
  return MNL_CB_OK;
}

Attributes parse_attributes(const nlmsghdr* message, std::size_t header_length) {
  Attributes attributes{};
  mnl_attr_parse(message, static_cast<unsigned>(header_length), collect_attribute, &attributes);
  return attributes;
}

Attributes parse_nested(const nlattr* nest) {
  Attributes attributes{};
  if (nest != nullptr) mnl_attr_parse_nested(nest, collect_attribute, &attributes);
  return attributes;
}

std::uint32_t get_u32(const nlattr* attribute) {
  return attribute != nullptr && mnl_attr_get_payload_len(attribute) >= 4 ? mnl_attr_get_u32(attribute) : 0;
}

std::uint8_t get_u8(const nlattr* attribute) {
  return attribute != nullptr && mnl_attr_get_payload_len(attribute) >= 1 ? mnl_attr_get_u8(attribute) : std::uint8_t{0};
}

std::string get_text(const nlattr* attribute) {
  if (attribute == nullptr) return {};
  const char* text = static_cast<const char*>(mnl_attr_get_payload(attribute));
  return std::string(text, strnlen(text, mnl_attr_get_payload_len(attribute)));
}

std::string program_name(std::uint32_t id) {
  const int fd = bpf_prog_get_fd_by_id(id);
  if (fd < 0) return {};
  bpf_prog_info info{};
  std::uint32_t length = sizeof(info);
  const int error = bpf_obj_get_info_by_fd(fd, &info, &length);
  close(fd);
  return error == 0 ? std::string(info.name, strnlen(info.name, sizeof(info.name))) : std::string();
}

std::optional<XdpProgramInfo> parse_xdp(const nlattr* nest) {
  const Attributes xdp = parse_nested(nest);
  XdpProgramInfo program;
  switch (get_u8(xdp[IFLA_XDP_ATTACHED])) {
    case XDP_ATTACHED_DRV:
      program.mode = XdpMode::kNative;
      program.id = get_u32(xdp[IFLA_XDP_PROG_ID]);
      break;
    case XDP_ATTACHED_SKB:
      program.mode = XdpMode::kSkb;
      program.id = get_u32(xdp[IFLA_XDP_PROG_ID]);
      break;
    case XDP_ATTACHED_HW:
      program.mode = XdpMode::kOffload;
      program.id = get_u32(xdp[IFLA_XDP_PROG_ID]);
      break;
    case XDP_ATTACHED_MULTI:
      // Offloaded and in the driver at once: the one in the driver is what stands in the way.
      program.mode = xdp[IFLA_XDP_DRV_PROG_ID] != nullptr ? XdpMode::kNative : XdpMode::kSkb;
      program.id = get_u32(xdp[IFLA_XDP_DRV_PROG_ID] != nullptr ? xdp[IFLA_XDP_DRV_PROG_ID] : xdp[IFLA_XDP_SKB_PROG_ID]);
      break;
    default:
      return std::nullopt;
  }
  if (program.id != 0) program.name = program_name(program.id);
  return program;
}

struct LinkRecord {
  InterfaceProbe probe;
  std::uint32_t master_index = 0;
};

LinkRecord parse_link(const nlmsghdr* message) {
  const auto* header = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message));
  const Attributes attributes = parse_attributes(message, sizeof(*header));
  LinkRecord record;
  InterfaceProbe& probe = record.probe;
  probe.index = static_cast<std::uint32_t>(header->ifi_index);
  probe.name = get_text(attributes[IFLA_IFNAME]);
  probe.mtu = get_u32(attributes[IFLA_MTU]);
  probe.up = (header->ifi_flags & IFF_UP) != 0;
  probe.carrier = get_u8(attributes[IFLA_CARRIER]) != 0;
  if (const nlattr* mac = attributes[IFLA_ADDRESS]; mac != nullptr && mnl_attr_get_payload_len(mac) == 6) {
    std::memcpy(probe.mac.bytes.data(), mnl_attr_get_payload(mac), 6);
  }
  probe.kind = get_text(parse_nested(attributes[IFLA_LINKINFO])[IFLA_INFO_KIND]);
  probe.rx_queues = get_u32(attributes[IFLA_NUM_RX_QUEUES]);
  probe.tx_queues = get_u32(attributes[IFLA_NUM_TX_QUEUES]);
  probe.xdp_program = parse_xdp(attributes[IFLA_XDP]);
  record.master_index = get_u32(attributes[IFLA_MASTER]);
  return record;
}

/// One ethtool ioctl; false when the driver does not know the command.
template <typename Command>
bool ethtool(int socket, const std::string& name, Command& command) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_data = reinterpret_cast<char*>(&command);
  return ioctl(socket, SIOCETHTOOL, &request) == 0;
}

void add_ethtool_facts(int socket, InterfaceProbe& probe) {
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (ethtool(socket, probe.name, driver)) probe.driver.assign(driver.driver, strnlen(driver.driver, sizeof(driver.driver)));

  // rtnetlink tells how many queues were allocated, ethtool how many are in use.
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (ethtool(socket, probe.name, channels) && channels.combined_count + channels.rx_count != 0) {
    probe.rx_queues = channels.combined_count + channels.rx_count;
    probe.tx_queues = channels.combined_count + channels.tx_count;
  }

  ethtool_value flags{};
  flags.cmd = ETHTOOL_GFLAGS;
  if (ethtool(socket, probe.name, flags)) probe.ntuple = (flags.data & ETH_FLAG_NTUPLE) != 0;
}

int add_addresses(NetlinkSocket& netlink, std::unordered_map<std::uint32_t, LinkRecord*>& by_index) {
  std::array<char, 256> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = RTM_GETADDR;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  mnl_nlmsg_put_extra_header(request, sizeof(ifaddrmsg));
  return netlink.query(request, [&](const nlmsghdr* message) {
    const auto* header = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
    const auto link = by_index.find(header->ifa_index);
    if (link == by_index.end()) return;
    const Attributes attributes = parse_attributes(message, sizeof(*header));
    // IFA_LOCAL is the address itself, IFA_ADDRESS the far end of a point-to-point link; IPv6 has only the latter.
    const nlattr* address = attributes[IFA_LOCAL] != nullptr ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS];
    const std::size_t length = header->ifa_family == AF_INET ? 4 : 16;
    if (address == nullptr || mnl_attr_get_payload_len(address) != length) return;
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (inet_ntop(header->ifa_family, mnl_attr_get_payload(address), text.data(), text.size()) == nullptr) return;
    link->second->probe.addresses.push_back(std::string(text.data()) + "/" + std::to_string(header->ifa_prefixlen));
  });
}

std::uint16_t netdev_family(NetlinkSocket& netlink) {
  std::array<char, 256> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = GENL_ID_CTRL;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  auto* header = static_cast<genlmsghdr*>(mnl_nlmsg_put_extra_header(request, sizeof(genlmsghdr)));
  header->cmd = CTRL_CMD_GETFAMILY;
  header->version = 1;
  mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, "netdev");
  std::uint16_t family = 0;
  const int error = netlink.query(request, [&](const nlmsghdr* message) {
    const Attributes attributes = parse_attributes(message, sizeof(genlmsghdr));
    if (attributes[CTRL_ATTR_FAMILY_ID] != nullptr) family = mnl_attr_get_u16(attributes[CTRL_ATTR_FAMILY_ID]);
  });
  return error == 0 ? family : std::uint16_t{0};
}

/// Best effort: kernels before 6.3 have no such family, and the features stay absent.
void add_xdp_features(std::unordered_map<std::uint32_t, LinkRecord*>& by_index) {
  NetlinkSocket netlink(NETLINK_GENERIC);
  if (!netlink.is_open()) return;
  const std::uint16_t family = netdev_family(netlink);
  if (family == 0) return;
  std::array<char, 256> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = family;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  auto* header = static_cast<genlmsghdr*>(mnl_nlmsg_put_extra_header(request, sizeof(genlmsghdr)));
  header->cmd = kNetdevCmdDevGet;
  header->version = 1;
  (void)netlink.query(request, [&](const nlmsghdr* message) {
    const Attributes attributes = parse_attributes(message, sizeof(genlmsghdr));
    const auto link = by_index.find(get_u32(attributes[kNetdevAttrIfindex]));
    const nlattr* features = attributes[kNetdevAttrXdpFeatures];
    if (link == by_index.end() || features == nullptr || mnl_attr_get_payload_len(features) != 8) return;
    const std::uint64_t bits = mnl_attr_get_u64(features);
    link->second->probe.xdp_features =
        XdpFeatures{(bits & kXdpActBasic) != 0, (bits & kXdpActRedirect) != 0, (bits & kXdpActZeroCopy) != 0};
  });
}

Error netlink_error(const char* what, int system_errno) {
  return Error{"netlink_failed",
               std::string("cannot ask the kernel for its ") + what + " by netlink: " + std::strerror(system_errno),
               system_errno};
}

}  // namespace

std::string_view to_string(XdpMode mode) {
  switch (mode) {
    case XdpMode::kNative:
      return "native";
    case XdpMode::kSkb:
      return "skb";
    case XdpMode::kOffload:
      return "offload";
  }
  return "";
}

Result<std::vector<InterfaceProbe>> probe_interfaces() {
  NetlinkSocket netlink(NETLINK_ROUTE);
  if (!netlink.is_open()) return netlink_error("interfaces", errno);

  std::array<char, 256> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = RTM_GETLINK;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  mnl_nlmsg_put_extra_header(request, sizeof(ifinfomsg));
  std::vector<LinkRecord> links;
  if (const int error = netlink.query(request, [&](const nlmsghdr* message) { links.push_back(parse_link(message)); });
      error != 0) {
    return netlink_error("interfaces", error);
  }

  std::unordered_map<std::uint32_t, LinkRecord*> by_index;
  for (LinkRecord& link : links) by_index[link.probe.index] = &link;
  if (const int error = add_addresses(netlink, by_index); error != 0) return netlink_error("addresses", error);
  add_xdp_features(by_index);
  for (LinkRecord& link : links) {
    if (const auto master = by_index.find(link.master_index); master != by_index.end()) {
      link.probe.master = master->second->probe.name;
      link.probe.master_kind = master->second->probe.kind;
    }
  }

  if (const int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); socket_fd >= 0) {
    for (LinkRecord& link : links) add_ethtool_facts(socket_fd, link.probe);
    close(socket_fd);
  }
  std::vector<InterfaceProbe> probes;
  probes.reserve(links.size());
  std::transform(links.begin(), links.end(), std::back_inserter(probes), [](LinkRecord& link) { return std::move(link.probe); });
  return probes;
}

}  // namespace millrace
