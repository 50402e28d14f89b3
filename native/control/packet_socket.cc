// AF_PACKET sockets with classic BPF filters (linux/filter.h, packet(7)). Control thread.
#include "control/packet_socket.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "net/arp.h"
#include "net/headers.h"
#include "net/ndp.h"

namespace millrace {
namespace {

/// With more groups than this the card gets "all multicast" instead of a filter entry for each.
constexpr std::size_t kGroupsPerInterface = 256;

// Offsets from the start of the Ethernet header.
constexpr std::uint32_t kArpOperation = 20;
constexpr std::uint32_t kIpv6NextHeader = 20;
constexpr std::uint32_t kIcmpv6Type = 54;
constexpr std::uint32_t kIcmpv6 = 58;

constexpr sock_filter statement(int code, std::uint32_t k) { return {static_cast<std::uint16_t>(code), 0, 0, k}; }
constexpr sock_filter jump_if_equal(std::uint32_t k, std::uint8_t yes, std::uint8_t no) {
  return {BPF_JMP | BPF_JEQ | BPF_K, yes, no, k};
}

constexpr std::array<sock_filter, 5> kArpFilter = {
    statement(BPF_LD | BPF_H | BPF_ABS, kArpOperation),
    jump_if_equal(1, 1, 0),
    jump_if_equal(2, 0, 1),
    statement(BPF_RET | BPF_K, 0xffff),
    statement(BPF_RET | BPF_K, 0),
};

constexpr std::array<sock_filter, 7> kNdFilter = {
    statement(BPF_LD | BPF_B | BPF_ABS, kIpv6NextHeader),
    jump_if_equal(kIcmpv6, 0, 4),
    statement(BPF_LD | BPF_B | BPF_ABS, kIcmpv6Type),
    jump_if_equal(net::ndp::kSolicitation, 1, 0),
    jump_if_equal(net::ndp::kAdvertisement, 0, 1),
    statement(BPF_RET | BPF_K, 0xffff),
    statement(BPF_RET | BPF_K, 0),
};

int open_filtered(std::uint32_t kernel_index, std::uint16_t protocol, std::span<const sock_filter> filter) {
  // Protocol 0 hears nothing: the filter is there before the first frame.
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  const sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(protocol);
  address.sll_ifindex = static_cast<int>(kernel_index);
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0 ||
      bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

void change_membership(int fd, std::uint32_t kernel_index, std::uint16_t type, const MacAddress& mac, bool join) {
  packet_mreq request{};
  request.mr_ifindex = static_cast<int>(kernel_index);
  request.mr_type = type;
  request.mr_alen = 6;
  std::memcpy(request.mr_address, mac.bytes.data(), 6);
  setsockopt(fd, SOL_PACKET, join ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP, &request, sizeof(request));
}

}  // namespace

Result<std::unique_ptr<PacketSocket>> PacketSocket::open(std::uint32_t kernel_index, const std::string& interface) {
  const int arp_fd = open_filtered(kernel_index, ETH_P_ARP, kArpFilter);
  const int arp_errno = errno;
  const int nd_fd = arp_fd < 0 ? -1 : open_filtered(kernel_index, ETH_P_IPV6, kNdFilter);
  if (nd_fd < 0) {
    const int error = arp_fd < 0 ? arp_errno : errno;
    if (arp_fd >= 0) close(arp_fd);
    return Error{"packet_socket_unavailable",
                 "cannot open a packet socket on " + interface + " to answer ARP and neighbour discovery; it needs CAP_NET_RAW",
                 error};
  }
  const int mld_fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return std::unique_ptr<PacketSocket>(new PacketSocket(kernel_index, arp_fd, nd_fd, mld_fd));
}

PacketSocket::~PacketSocket() {
  close(arp_fd_);
  close(nd_fd_);
  if (mld_fd_ >= 0) close(mld_fd_);
}

std::span<const std::uint8_t> PacketSocket::receive(int fd, std::span<std::uint8_t> buffer) {
  // Bounded, because in promiscuous mode a busy link may bring nothing but frames for others; epoll tells of the rest.
  for (int i = 0; i < 64; i++) {
    sockaddr_ll from{};
    socklen_t from_length = sizeof(from);
    const ssize_t length =
        recvfrom(fd, buffer.data(), buffer.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &from_length);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) {
      // ENETDOWN is told once when the link goes; the socket stays bound and hears again when the link is back.
      return {};
    }
    const bool for_us =
        from.sll_pkttype == PACKET_HOST || from.sll_pkttype == PACKET_BROADCAST || from.sll_pkttype == PACKET_MULTICAST;
    if (for_us && length > 0) return buffer.first(static_cast<std::size_t>(length));
  }
  return {};
}

bool PacketSocket::send(const NeighbourFrame& frame) const {
  const int fd = frame.bytes[12] == 0x08 ? arp_fd_ : nd_fd_;
  return ::send(fd, frame.bytes.data(), frame.length, MSG_DONTWAIT) == frame.length;
}

void PacketSocket::join_groups(const AddressSet& addresses) {
  AddressSet wanted;
  for (const IpAddress& address : addresses) {
    if (!address.is_v4()) wanted.insert(solicited_node_group(address));
  }
  const std::vector<IpAddress> before(groups_.begin(), groups_.end());
  for (const IpAddress& group : before) {
    if (!wanted.contains(group)) change_group(group, false);
  }
  for (const IpAddress& group : wanted) {
    if (!groups_.contains(group)) change_group(group, true);
  }
  const bool many = groups_.size() > kGroupsPerInterface;
  if (many != all_multicast_) change_membership(nd_fd_, kernel_index_, PACKET_MR_ALLMULTI, MacAddress{}, many);
  all_multicast_ = many;
}

void PacketSocket::change_group(const IpAddress& group, bool join) {
  if (join) {
    groups_.insert(group);
  } else {
    groups_.erase(group);
  }
  // Both are best effort: without the card's filter "all multicast" still helps, and a link without IPv6 has no MLD.
  change_membership(nd_fd_, kernel_index_, PACKET_MR_MULTICAST, multicast_mac(group), join);
  ipv6_mreq request{};
  std::memcpy(&request.ipv6mr_multiaddr, group.bytes(), 16);
  request.ipv6mr_interface = kernel_index_;
  if (mld_fd_ >= 0) setsockopt(mld_fd_, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &request, sizeof(request));
}

}  // namespace millrace
