// The rtnetlink socket: listings one after the other, events in between, solicitations in batches. Control thread.
#include "control/netlink.h"

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <limits>

#include "control/netlink_decode.h"

namespace millrace {
namespace {

/// Sequence number of solicitations: an error that carries it is a refused solicitation, not the end of a listing.
constexpr std::uint32_t kSolicitationSequence = 1;
/// The kernel cuts listings into pieces of at most 32 KiB.
constexpr std::size_t kReceiveBuffer = 64 * 1024;
/// Room for bursts of events; beyond net.core.rmem_max with CAP_NET_ADMIN.
constexpr int kSocketBuffer = 4 * 1024 * 1024;
constexpr int kReceivesPerProcess = 32;
/// A listing without an answer for so long is asked for again.
constexpr std::uint64_t kListingTimeoutMs = 5000;
constexpr std::uint64_t kRouteListingPauseMs = 20;
constexpr std::uint64_t kNeighbourListingPauseMs = 1000;
constexpr std::size_t kRoutesPerPauseMs = 1000;
constexpr std::uint32_t kInterruptionsInARow = 3;
constexpr std::uint64_t kRetryMs = 10;
constexpr std::size_t kSolicitationsPerSend = 64;

Error unavailable(const char* what, int error) { return Error{"netlink_unavailable", what, error}; }

template <typename Header>
Header* put_header(void* buffer, std::uint16_t type, std::uint16_t flags, std::uint32_t sequence, nlmsghdr*& message) {
  message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = type;
  message->nlmsg_flags = flags;
  message->nlmsg_seq = sequence;
  return static_cast<Header*>(mnl_nlmsg_put_extra_header(message, sizeof(Header)));
}

/// The kernel could not make the listing now; asking again helps. Any other error means a table that this kernel does not have.
bool is_transient(int error) {
  return error == ENOBUFS || error == ENOMEM || error == EBUSY || error == EAGAIN || error == EINTR;
}

}  // namespace

Result<std::unique_ptr<Netlink>> Netlink::open() {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return unavailable("cannot open an rtnetlink socket", errno);
  auto netlink = std::unique_ptr<Netlink>(new Netlink(fd));
  netlink->buffer_.resize(kReceiveBuffer);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBuffer, sizeof(kSocketBuffer)) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof(kSocketBuffer));
  }
  // Lets the kernel choose the routes of the main table; kernels before 4.20 send all of them and decode_route() chooses.
  const int on = 1;
  setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return unavailable("cannot bind an rtnetlink socket", errno);
  }
  for (const int group :
       {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_NEIGH}) {
    if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0) {
      return unavailable("cannot subscribe to rtnetlink events", errno);
    }
  }
  return netlink;
}

Netlink::~Netlink() { close(fd_); }

void Netlink::want_routes() { wanted_ |= kRoutes4 | kRoutes6; }

std::uint32_t Netlink::choose_listing(std::uint64_t now_ms) const {
  if (running_ != 0 || draining_ || now_ms < retry_not_before_ms_) return 0;
  // Both families of routes belong together: under steady change, the second would never have its turn.
  if (routes_half_read_) return kRoutes6;
  for (const std::uint32_t listing : {kLinks, kAddresses}) {
    if ((wanted_ & listing) != 0) return listing;
  }
  if ((wanted_ & kRoutes4) != 0 && now_ms >= routes_not_before_ms_) return kRoutes4;
  return wanted_ & kNeighbours;
}

void Netlink::start_listing(std::uint64_t now_ms, const Sink& sink) {
  const std::uint32_t next = choose_listing(now_ms);
  if (next == 0) return;

  alignas(nlmsghdr) std::array<char, 128> request{};
  nlmsghdr* message = nullptr;
  constexpr std::uint16_t flags = NLM_F_REQUEST | NLM_F_DUMP;
  if (++sequence_ <= kSolicitationSequence) sequence_ = kSolicitationSequence + 1;
  if (next == kLinks) {
    put_header<ifinfomsg>(request.data(), RTM_GETLINK, flags, sequence_, message);
    mnl_attr_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  } else if (next == kAddresses) {
    put_header<ifaddrmsg>(request.data(), RTM_GETADDR, flags, sequence_, message);
  } else if (next == kNeighbours) {
    put_header<ndmsg>(request.data(), RTM_GETNEIGH, flags, sequence_, message);
  } else {
    auto* header = put_header<rtmsg>(request.data(), RTM_GETROUTE, flags, sequence_, message);
    header->rtm_family = next == kRoutes4 ? AF_INET : AF_INET6;
    header->rtm_table = RT_TABLE_MAIN;
    if (next == kRoutes4) routes_.clear();
  }
  // The listing begins for the consumer before its first message can be read.
  if (next == kLinks) sink(KernelListing{KernelListing::Kind::kLinks, true});
  if (next == kAddresses) sink(KernelListing{KernelListing::Kind::kAddresses, true});
  if (next == kNeighbours) sink(KernelListing{KernelListing::Kind::kNeighbours, true});
  if (send(fd_, message, message->nlmsg_len, MSG_DONTWAIT) < 0) {
    retry_not_before_ms_ = now_ms + kRetryMs;
    return;
  }
  wanted_ &= ~next;
  if (next == kRoutes4) wanted_ &= ~static_cast<std::uint32_t>(kRoutes6);
  running_ = next;
  running_since_ms_ = now_ms;
  if (next == kNeighbours) {
    neighbours_in_doubt_ = false;
    neighbours_not_before_ms_ = now_ms + kNeighbourListingPauseMs;
  }
  interrupted_ = false;
  listings_++;
}

void Netlink::end_listing(int error, std::uint64_t now_ms, const Sink& sink) {
  const std::uint32_t ended = running_;
  running_ = 0;
  routes_half_read_ = false;
  // The kernel's table changed while it was listed and entries may be missing (NLM_F_DUMP_INTR). A table that changes all the
  // time is taken as it is after some tries: its changes cause the next listing anyway.
  const bool incomplete = is_transient(error) || (interrupted_ && ++interruptions_ <= kInterruptionsInARow);
  if (incomplete) {
    wanted_ |= (ended & (kRoutes4 | kRoutes6)) != 0 ? static_cast<std::uint32_t>(kRoutes4 | kRoutes6) : ended;
    retry_not_before_ms_ = now_ms + kRetryMs;
    return;
  }
  interruptions_ = 0;
  switch (ended) {
    case kLinks:
      return sink(KernelListing{KernelListing::Kind::kLinks, false});
    case kAddresses:
      return sink(KernelListing{KernelListing::Kind::kAddresses, false});
    case kNeighbours:
      return sink(KernelListing{KernelListing::Kind::kNeighbours, false});
    case kRoutes4:
      routes_half_read_ = true;
      return;
    default:
      routes_not_before_ms_ = now_ms + kRouteListingPauseMs + routes_.size() / kRoutesPerPauseMs;
      sink(KernelRoutes{std::move(routes_)});
      routes_.clear();
  }
}

void Netlink::deliver(const nlmsghdr* message, const Sink& sink) {
  const bool listed = running_ != 0 && message->nlmsg_seq == sequence_;
  switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      if (const auto link = decode_link(message)) {
        if (message->nlmsg_type == RTM_NEWLINK) {
          sink(*link);
        } else {
          sink(KernelLinkGone{link->index});
        }
      }
      if (!listed) want_routes();
      break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
      if (const auto address = decode_address(message)) {
        if (message->nlmsg_type == RTM_NEWADDR) {
          sink(*address);
        } else {
          sink(KernelAddressGone{*address});
        }
      }
      if (!listed) want_routes();
      break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      if (auto route = decode_route(message)) {
        if (listed) {
          routes_.push_back(std::move(*route));
        } else {
          want_routes();
        }
      }
      break;
    case RTM_NEWNEIGH:
      if (const auto neighbour = decode_neighbour(message)) sink(*neighbour);
      break;
    case RTM_DELNEIGH:
      if (const auto neighbour = decode_neighbour(message)) sink(KernelNeighbourGone{neighbour->link, neighbour->address});
      break;
    default:
      break;
  }
}

void Netlink::handle(const nlmsghdr* message, std::uint64_t now_ms, const Sink& sink) {
  const bool ours = running_ != 0 && message->nlmsg_seq == sequence_;
  if (ours && (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted_ = true;
  if (message->nlmsg_type == NLMSG_DONE) {
    // Carries the error that ended the listing early, or zero.
    int error = 0;
    if (mnl_nlmsg_get_payload_len(message) >= sizeof(error)) std::memcpy(&error, mnl_nlmsg_get_payload(message), sizeof(error));
    if (ours) end_listing(-error, now_ms, sink);
    return;
  }
  if (message->nlmsg_type == NLMSG_ERROR) {
    if (mnl_nlmsg_get_payload_len(message) < sizeof(nlmsgerr)) return;
    const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
    if (message->nlmsg_seq == kSolicitationSequence) {
      neighbours_in_doubt_ = neighbours_in_doubt_ || error->error == -EEXIST;
      if (error->error != 0 && error->error != -EEXIST) refusals_++;
    } else if (ours) {
      end_listing(-error->error, now_ms, sink);
    }
    return;
  }
  deliver(message, sink);
}

void Netlink::receive(std::span<const std::uint8_t> bytes, std::uint64_t now_ms, const Sink& sink) {
  const auto* message = reinterpret_cast<const nlmsghdr*>(bytes.data());
  int left = static_cast<int>(bytes.size());
  while (mnl_nlmsg_ok(message, left)) {
    handle(message, now_ms, sink);
    message = mnl_nlmsg_next(message, &left);
  }
}

void Netlink::process(std::uint64_t now_ms, const Sink& sink) {
  for (int i = 0; i < kReceivesPerProcess; i++) {
    sockaddr_nl from{};
    iovec piece{buffer_.data(), buffer_.size()};
    msghdr header{};
    header.msg_name = &from;
    header.msg_namelen = sizeof(from);
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    const ssize_t length = recvmsg(fd_, &header, MSG_DONTWAIT);
    if (length < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOBUFS) {
        // The socket is full to the brim: a listing finds room only when it is empty.
        lost_events_++;
        wanted_ = kAll;
        draining_ = true;
        continue;
      }
      draining_ = false;
      break;
    }
    // Only the kernel is believed (port 0); a truncated piece means a lost event.
    if (from.nl_pid != 0) continue;
    if ((header.msg_flags & MSG_TRUNC) != 0) {
      lost_events_++;
      wanted_ = kAll;
    }
    receive({buffer_.data(), static_cast<std::size_t>(length)}, now_ms, sink);
    if (running_ == 0) start_listing(now_ms, sink);
  }
  tick(now_ms, sink);
}

void Netlink::tick(std::uint64_t now_ms, const Sink& sink) {
  if (running_ != 0 && now_ms >= running_since_ms_ + kListingTimeoutMs) {
    wanted_ |= running_ == kRoutes6 ? static_cast<std::uint32_t>(kRoutes4 | kRoutes6) : running_;
    running_ = 0;
    routes_half_read_ = false;
  }
  if (neighbours_in_doubt_ && now_ms >= neighbours_not_before_ms_) wanted_ |= kNeighbours;
  start_listing(now_ms, sink);
}

std::uint64_t Netlink::next_tick_ms() const {
  if (running_ != 0) return running_since_ms_ + kListingTimeoutMs;
  if (wanted_ == 0 && !routes_half_read_ && neighbours_in_doubt_) return neighbours_not_before_ms_;
  if (wanted_ == 0 && !routes_half_read_) return std::numeric_limits<std::uint64_t>::max();
  const bool only_routes = !routes_half_read_ && (wanted_ & ~static_cast<std::uint32_t>(kRoutes4 | kRoutes6)) == 0;
  return std::max(retry_not_before_ms_, only_routes ? routes_not_before_ms_ : 0);
}

Result<void> Netlink::wait_until_listed(std::uint64_t now_ms, int timeout_ms, const Sink& sink) {
  const auto clock_ms = [] {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
  };
  const std::int64_t start = clock_ms();
  for (;;) {
    const std::int64_t elapsed = clock_ms() - start;
    process(now_ms + static_cast<std::uint64_t>(elapsed), sink);
    if (running_ == 0 && wanted_ == 0 && !routes_half_read_) return {};
    if (elapsed >= timeout_ms) return unavailable("the kernel does not answer rtnetlink listings", ETIMEDOUT);
    pollfd wait{fd_, POLLIN, 0};
    poll(&wait, 1, 20);
  }
}

void Netlink::solicit(std::span<const Solicitation> neighbours) {
  while (!neighbours.empty()) {
    const auto batch = neighbours.first(std::min(neighbours.size(), kSolicitationsPerSend));
    neighbours = neighbours.subspan(batch.size());
    alignas(nlmsghdr) std::array<char, kSolicitationsPerSend * 64> bytes{};
    std::size_t used = 0;
    for (const Solicitation& wish : batch) {
      nlmsghdr* message = nullptr;
      // "Exclusive" lets the kernel refuse when it has an entry after all.
      const bool exclusive = !wish.known || !neighbours_in_step();
      const auto flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_CREATE | (exclusive ? NLM_F_EXCL : 0));
      auto* header = put_header<ndmsg>(bytes.data() + used, RTM_NEWNEIGH, flags, kSolicitationSequence, message);
      const bool v4 = wish.address.is_v4();
      header->ndm_family = v4 ? AF_INET : AF_INET6;
      header->ndm_ifindex = static_cast<int>(wish.link);
      header->ndm_flags = NTF_USE;
      mnl_attr_put(message, NDA_DST, v4 ? 4 : 16, wish.address.bytes() + (v4 ? 12 : 0));
      used += MNL_ALIGN(message->nlmsg_len);
    }
    // A full socket loses wishes, not state: retries and keep-alive ask again.
    if (send(fd_, bytes.data(), used, MSG_DONTWAIT) < 0) refusals_ += batch.size();
  }
}

}  // namespace millrace
