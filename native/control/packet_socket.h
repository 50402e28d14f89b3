// PacketSocket: receives and sends the ARP and ND frames of one interface beside the kernel's stack. The kernel copies frames
// here that it also handles itself; the filters let only ARP requests and replies, neighbour solicitations and advertisements
// through.
// Guarantees: never blocks; hears multicast groups that the kernel has not joined, and tells switches about them (MLD).
// Thread: the control thread alone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "control/neighbour_messages.h"
#include "control/owned_addresses.h"
#include "core/result.h"

namespace millrace {

class PacketSocket {
 public:
  /// Error: packet_socket_unavailable.
  static Result<std::unique_ptr<PacketSocket>> open(std::uint32_t kernel_index, const std::string& interface);
  ~PacketSocket();
  PacketSocket(const PacketSocket&) = delete;
  PacketSocket& operator=(const PacketSocket&) = delete;

  int arp_fd() const { return arp_fd_; }
  int nd_fd() const { return nd_fd_; }

  /// The next frame that waits on `fd`, in `buffer`; empty when none does. Frames for other hosts are passed over.
  static std::span<const std::uint8_t> receive(int fd, std::span<std::uint8_t> buffer);
  /// False when the kernel did not take the frame.
  bool send(const NeighbourFrame& frame) const;

  /// Joins exactly the solicited-node groups of these addresses (RFC 4861 7.2.1); IPv4 ones need none.
  void join_groups(const AddressSet& addresses);

 private:
  PacketSocket(std::uint32_t kernel_index, int arp_fd, int nd_fd, int mld_fd)
      : kernel_index_(kernel_index), arp_fd_(arp_fd), nd_fd_(nd_fd), mld_fd_(mld_fd) {}
  void change_group(const IpAddress& group, bool join);

  std::uint32_t kernel_index_;
  int arp_fd_;
  int nd_fd_;
  /// A plain IPv6 socket whose memberships the kernel reports by MLD; -1 without IPv6.
  int mld_fd_;
  AddressSet groups_;
  bool all_multicast_ = false;
};

}  // namespace millrace
