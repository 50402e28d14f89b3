// Netlink: the rtnetlink client of the control thread. One socket for monitoring and for listings (dumps), so that the order in
// which the kernel queued them is the order in which they are seen, and a listing cannot undo a newer event. Routes are listed
// again after every change instead of being followed one by one: the kernel removes IPv4 routes silently when a link goes down,
// and reports multipath IPv6 routes piecemeal. The pause between listings grows with their size.
// Guarantees: never blocks except open(); after lost events (ENOBUFS) everything is listed anew.
// Thread: the control thread alone.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "control/kernel_objects.h"
#include "core/result.h"

namespace millrace {

class Netlink {
 public:
  using Sink = std::function<void(const KernelEvent&)>;

  /// Opens the socket in the present network namespace and asks for everything. Error: netlink_unavailable.
  static Result<std::unique_ptr<Netlink>> open();
  ~Netlink();
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;

  int fd() const { return fd_; }
  /// Reads what waits, at most some hundred kilobytes, and starts the next listing.
  void process(std::uint64_t now_ms, const Sink& sink);
  /// Starts listings that were put off, and listings that got no answer.
  void tick(std::uint64_t now_ms, const Sink& sink);
  /// Lists everything anew, for example because an interface is now another link.
  void list_again() { wanted_ = kAll; }
  /// When tick() has something to do; UINT64_MAX if never.
  std::uint64_t next_tick_ms() const;
  /// Waits until all listings are complete. Error: netlink_unavailable after `timeout_ms`.
  Result<void> wait_until_listed(std::uint64_t now_ms, int timeout_ms, const Sink& sink);

  /// Asks the kernel to resolve or confirm neighbours; refusals are counted, not reported. When the kernel turns out to have an
  /// entry that was taken for unknown, neighbours are listed again, at most once a second.
  void solicit(std::span<const Solicitation> neighbours);

  std::uint64_t listings() const { return listings_; }
  std::uint64_t lost_events() const { return lost_events_; }
  std::uint64_t refusals() const { return refusals_; }

 private:
  /// In the order in which they are asked for: routes need links, neighbours are meant for known links.
  enum Listing : std::uint32_t { kLinks = 1, kAddresses = 2, kRoutes4 = 4, kRoutes6 = 8, kNeighbours = 16, kAll = 31 };

  explicit Netlink(int fd) : fd_(fd) {}
  void start_listing(std::uint64_t now_ms, const Sink& sink);
  std::uint32_t choose_listing(std::uint64_t now_ms) const;
  /// `error` is an errno, 0 when the listing is complete.
  void end_listing(int error, std::uint64_t now_ms, const Sink& sink);
  void receive(std::span<const std::uint8_t> bytes, std::uint64_t now_ms, const Sink& sink);
  void handle(const nlmsghdr* message, std::uint64_t now_ms, const Sink& sink);
  void deliver(const nlmsghdr* message, const Sink& sink);
  void want_routes();
  bool neighbours_in_step() const { return !draining_ && (wanted_ & kNeighbours) == 0 && running_ != kNeighbours; }

  int fd_;
  std::uint32_t wanted_ = kAll;
  std::uint32_t running_ = 0;
  bool interrupted_ = false;
  /// Events were lost and what came before is still being read.
  bool draining_ = false;
  std::uint32_t interruptions_ = 0;
  /// IPv4 routes are read, IPv6 ones belong to the same set and come next.
  bool routes_half_read_ = false;
  std::uint32_t sequence_ = 1;
  std::uint64_t running_since_ms_ = 0;
  std::uint64_t routes_not_before_ms_ = 0;
  std::uint64_t neighbours_not_before_ms_ = 0;
  bool neighbours_in_doubt_ = false;
  std::uint64_t retry_not_before_ms_ = 0;
  std::vector<KernelRoute> routes_;
  std::vector<std::uint8_t> buffer_;
  std::uint64_t listings_ = 0;
  std::uint64_t lost_events_ = 0;
  std::uint64_t refusals_ = 0;
};

}  // namespace millrace
