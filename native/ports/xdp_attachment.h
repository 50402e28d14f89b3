// XdpAttachment: Millrace's hold on one interface, from the lock that keeps a second Millrace away to the XDP program that sorts
// packets (af_xdp.bpf.c).
// Guarantees: everything hangs on file descriptors, nothing is pinned: when the process ends, however it ends, the kernel
// detaches the program and frees the lock. A refusal says what was found, what is needed and how to get it (interface_check.h).
// Threads: attach, the destructor and the setters belong to the control side, one thread at a time; counters() and the facts
// about the attachment may be asked by any thread meanwhile. Workers never touch it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "net/address.h"
#include "net/prefix.h"
#include "ports/interface_check.h"
#include "ports/interface_probe.h"
#include "tables/service_index.h"
#include "tables/slots.h"
#include "tables/snapshot.h"

namespace millrace {

/// Counts of the XDP program, all CPUs; bytes from the Ethernet header to the end of the frame as XDP sees it.
/// received = to_workers + to_kernel. A packet counted in to_workers may still be refused by a full socket: the sockets'
/// statistics say so (AfXdpPort::statistics).
struct XdpCounters {
  std::uint64_t received_packets = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t to_workers_packets = 0;
  std::uint64_t to_workers_bytes = 0;
  std::uint64_t to_kernel_packets = 0;
  std::uint64_t to_kernel_bytes = 0;
};

class XdpAttachment {
 public:
  struct Options {
    std::string interface;
    InterfaceNeeds needs;
  };

  /// Checks the interface, takes its lock, loads the program and attaches it. Until addresses and sockets are set, every packet
  /// still goes to the kernel.
  /// Errors: interface_not_found, those of check_interface(), interface_busy, those of xdp_error(), netlink_failed.
  static Result<std::unique_ptr<XdpAttachment>> attach(const Options& options);
  /// Detaches first, then frees the lock, so that a successor finds the interface free.
  ~XdpAttachment();
  XdpAttachment(const XdpAttachment&) = delete;
  XdpAttachment& operator=(const XdpAttachment&) = delete;

  /// Makes `addresses` the owned ones, touching only what differs: an address that stays owned loses no packet. New ones are
  /// added before old ones are removed. Order and repeats do not matter. Errors: limit_exceeded, xdp_unsupported.
  Result<void> set_owned_addresses(std::span<const IpAddress> addresses);

  /// Makes `vips` the prefixes whose addresses are owned, too, except those that are in `kernel`. Addresses of the kernel are
  /// excepted before prefixes come and until they are gone. Errors: limit_exceeded, xdp_unsupported.
  Result<void> set_owned_prefixes(std::span<const Prefix> vips, std::span<const IpAddress> kernel);
  /// Makes these the places that NAT servers answer from (address, port or 0 for any, protocol), in the same way.
  Result<void> set_nat_servers(std::span<const ServiceKey> servers);
  /// Makes these the addresses of the host itself: what NAT servers and inside hosts send to them stays the kernel's.
  Result<void> set_kernel_addresses(std::span<const IpAddress> addresses);
  /// Makes these the packets that the outbound gateway takes on this interface, all at once; those to addresses of the kernel
  /// excepted (set_kernel_addresses()). Errors: limit_exceeded, xdp_unsupported.
  Result<void> set_outbound(std::span<const ServiceMatch> rules);

  /// Lets the packets of receive queue `queue` flow to the AF_XDP socket `fd`, which must be bound to that queue.
  /// The kernel forgets the socket by itself when it closes. Errors: interface_queues_too_few, xdp_unsupported.
  Result<void> set_socket(std::uint32_t queue, int fd);

  XdpCounters counters() const;
  /// kNative or kSkb. Zero copy is possible in native mode only.
  XdpMode mode() const { return mode_; }
  /// Why native mode was not to be had under AttachMode::kAuto; empty in native mode or when skb was asked for.
  const std::string& fallback_reason() const { return fallback_reason_; }
  /// Receive queues of the interface at attach time.
  std::uint32_t queues() const { return probe_.rx_queues; }
  /// What was found before attaching.
  const InterfaceProbe& probe() const { return probe_; }

  static constexpr std::uint32_t kMaxOutboundRules = 64;
  /// The most owned addresses.
  static constexpr std::uint32_t kMaxAddresses = kMaxOwnedAddresses;

 private:
  struct Program;
  XdpAttachment() = default;
  Result<void> take_lock();
  Result<void> load(std::uint64_t capabilities);
  Result<void> link(AttachMode wanted, std::uint64_t capabilities);
  Result<void> store_prefixes(std::span<const Prefix> wanted, std::vector<Prefix>& stored, std::uint8_t verdict);
  Result<void> drop_prefixes(std::span<const Prefix> wanted, std::vector<Prefix>& stored);
  /// A table of the program, and what is in it now, sorted: also after a failure.
  template <std::size_t N>
  struct KernelSet {
    int map = -1;
    std::vector<std::array<std::uint8_t, N>> held;
  };
  template <std::size_t N>
  Result<void> replace(KernelSet<N>& set, std::vector<std::array<std::uint8_t, N>> wanted, std::size_t limit);
  template <std::size_t N>
  Result<void> add(KernelSet<N>& set, std::span<const std::array<std::uint8_t, N>> keys);
  template <std::size_t N>
  Result<void> remove(KernelSet<N>& set, std::span<const std::array<std::uint8_t, N>> keys);
  /// Clears queued connections of refused rivals, so that the lock's queue never fills and each of them learns our pid.
  void drain_lock() const;

  InterfaceProbe probe_;
  XdpMode mode_ = XdpMode::kNative;
  std::string fallback_reason_;
  /// What the kernel's trie holds, by what it says of them.
  std::vector<Prefix> prefixes_;
  std::vector<Prefix> excepted_;
  KernelSet<16> owned_;
  KernelSet<16> kernel_addresses_;
  KernelSet<20> nat_servers_;
  std::vector<ServiceMatch> outbound_;
  std::unique_ptr<Program> program_;
  int lock_fd_ = -1;
  int link_fd_ = -1;
};

}  // namespace millrace
