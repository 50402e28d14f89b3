// The announcer's work: questions in, answers out, announcements on time. Control thread.
#include "control/announcer.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <limits>
#include <unordered_map>
#include <utility>

#include "control/owned_addresses.h"
#include "control/packet_socket.h"

namespace millrace {
namespace {

constexpr int kFramesPerProcess = 256;
constexpr std::size_t kAnnouncementsPerTick = 64;
constexpr std::uint64_t kAnnouncementPauseMs = 5;
/// RFC 5227 2.3: announcements are repeated, here once, for receivers that lost the first.
constexpr std::uint64_t kRepeatMs = 1000;
constexpr std::uint64_t kConflictReportMs = 10 * 1000;
/// A storm of questions must not take the control thread from its other duties.
constexpr double kAnswersPerSecond = 5000;
constexpr double kAnswerBurst = 2000;

struct Announcement {
  std::uint64_t due_ms;
  std::size_t interface;
  IpAddress address;
};

}  // namespace

struct Announcer::Parts {
  ConflictHandler on_conflict;
  int epoll_fd = -1;
  std::vector<InterfaceState> interfaces;
  std::vector<HostAddress> kernel_addresses;
  std::vector<IpAddress> owned;
  std::vector<std::unique_ptr<PacketSocket>> sockets;
  /// Per interface: what is answered for there.
  std::vector<AddressSet> placed;
  /// In order of time, each: first announcements and repetitions.
  std::deque<Announcement> first;
  std::deque<Announcement> repeated;
  std::uint64_t not_before_ms = 0;
  std::unordered_map<IpAddress, std::uint64_t, AddressHash> reported_ms;
  double answer_tokens = kAnswerBurst;
  std::uint64_t tokens_at_ms = 0;
  AnnouncerStats stats;

  ~Parts() {
    sockets.clear();
    if (epoll_fd >= 0) close(epoll_fd);
  }

  Result<void> open_socket(std::size_t interface);
  void place(std::uint64_t now_ms);
  void announce(std::size_t interface, const IpAddress& address, std::uint64_t now_ms);
  void send_announcement(const Announcement& due);
  void handle(std::size_t interface, std::span<const std::uint8_t> frame, std::uint64_t now_ms);
  void check_claim(std::size_t interface, const NeighbourQuery& query, std::uint64_t now_ms);
  bool take_token(std::uint64_t now_ms);
  void send(std::size_t interface, const NeighbourFrame& frame, std::uint64_t& counter);
};

Announcer::Announcer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Announcer::~Announcer() = default;

Result<std::unique_ptr<Announcer>> Announcer::open(ConflictHandler on_conflict) {
  auto parts = std::make_unique<Parts>();
  parts->on_conflict = std::move(on_conflict);
  parts->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (parts->epoll_fd < 0) return Error{"packet_socket_unavailable", "cannot make an epoll instance", errno};
  return std::unique_ptr<Announcer>(new Announcer(std::move(parts)));
}

Result<void> Announcer::Parts::open_socket(std::size_t interface) {
  const InterfaceState& state = interfaces[interface];
  auto opened = PacketSocket::open(state.kernel_index, state.name);
  if (!opened) return opened.error();
  sockets[interface] = std::move(opened).value();
  const int fds[2] = {sockets[interface]->arp_fd(), sockets[interface]->nd_fd()};
  for (std::size_t i = 0; i < 2; i++) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = interface * 2 + i;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event) != 0) {
      const int error = errno;
      sockets[interface].reset();
      return Error{"packet_socket_unavailable", "cannot watch the packet sockets of " + state.name, error};
    }
  }
  return {};
}

Result<void> Announcer::set_interfaces(std::vector<InterfaceState> interfaces, const std::vector<HostAddress>& kernel_addresses,
                                       std::uint64_t now_ms) {
  Parts& parts = *parts_;
  const std::vector<InterfaceState> before = std::exchange(parts.interfaces, std::move(interfaces));
  parts.kernel_addresses = kernel_addresses;
  parts.sockets.resize(parts.interfaces.size());
  parts.placed.resize(parts.interfaces.size());
  Result<void> result;
  for (std::size_t i = 0; i < parts.interfaces.size(); i++) {
    const InterfaceState& now = parts.interfaces[i];
    const InterfaceState old = i < before.size() ? before[i] : InterfaceState{};
    if (now.kernel_index != old.kernel_index || parts.sockets[i] == nullptr) {
      parts.sockets[i].reset();
      if (now.kernel_index != 0) {
        if (auto opened = parts.open_socket(i); !opened) result = opened;
      }
    }
    // What is forgotten here is new in place(), and announced.
    if (now.kernel_index != old.kernel_index || now.mac != old.mac || (now.usable && !old.usable)) parts.placed[i].clear();
  }
  parts.place(now_ms);
  return result;
}

void Announcer::set_owned(const std::vector<IpAddress>& addresses, std::uint64_t now_ms) {
  parts_->owned = addresses;
  const AddressSet kept(addresses.begin(), addresses.end());
  std::erase_if(parts_->reported_ms, [&](const auto& reported) { return !kept.contains(reported.first); });
  parts_->place(now_ms);
}

void Announcer::Parts::place(std::uint64_t now_ms) {
  const std::vector<AddressSet> before = std::exchange(placed, place_owned_addresses(owned, interfaces, kernel_addresses));
  for (std::size_t i = 0; i < placed.size(); i++) {
    if (sockets[i] != nullptr) sockets[i]->join_groups(placed[i]);
    for (const IpAddress& address : placed[i]) {
      if (i >= before.size() || !before[i].contains(address)) announce(i, address, now_ms);
    }
  }
}

void Announcer::Parts::announce(std::size_t interface, const IpAddress& address, std::uint64_t now_ms) {
  // A link that is down announces when it is back.
  if (interfaces[interface].usable) first.push_back({now_ms, interface, address});
}

void Announcer::Parts::send(std::size_t interface, const NeighbourFrame& frame, std::uint64_t& counter) {
  if (sockets[interface] != nullptr && sockets[interface]->send(frame)) {
    counter++;
  } else {
    stats.send_errors++;
  }
}

void Announcer::Parts::send_announcement(const Announcement& due) {
  if (due.interface >= placed.size() || !placed[due.interface].contains(due.address) || !interfaces[due.interface].usable) return;
  const MacAddress& mac = interfaces[due.interface].mac;
  send(due.interface, build_announcement(due.address, mac, AnnouncementForm::kRequest), stats.announcements);
  if (due.address.is_v4())
    send(due.interface, build_announcement(due.address, mac, AnnouncementForm::kReply), stats.announcements);
}

void Announcer::tick(std::uint64_t now_ms) {
  Parts& parts = *parts_;
  if (now_ms < parts.not_before_ms) return;
  std::size_t sent = 0;
  for (; sent < kAnnouncementsPerTick && !parts.first.empty(); sent++) {
    Announcement due = parts.first.front();
    parts.first.pop_front();
    parts.send_announcement(due);
    due.due_ms = now_ms + kRepeatMs;
    parts.repeated.push_back(due);
  }
  for (; sent < kAnnouncementsPerTick && !parts.repeated.empty() && parts.repeated.front().due_ms <= now_ms; sent++) {
    parts.send_announcement(parts.repeated.front());
    parts.repeated.pop_front();
  }
  if (sent == kAnnouncementsPerTick) parts.not_before_ms = now_ms + kAnnouncementPauseMs;
}

std::uint64_t Announcer::next_tick_ms() const {
  std::uint64_t next = std::numeric_limits<std::uint64_t>::max();
  if (!parts_->first.empty()) next = parts_->first.front().due_ms;
  if (!parts_->repeated.empty()) next = std::min(next, parts_->repeated.front().due_ms);
  return next == std::numeric_limits<std::uint64_t>::max() ? next : std::max(next, parts_->not_before_ms);
}

bool Announcer::Parts::take_token(std::uint64_t now_ms) {
  const double elapsed = static_cast<double>(now_ms - std::min(now_ms, tokens_at_ms));
  answer_tokens = std::min(kAnswerBurst, answer_tokens + elapsed * kAnswersPerSecond / 1000);
  tokens_at_ms = now_ms;
  if (answer_tokens < 1) return false;
  answer_tokens -= 1;
  return true;
}

void Announcer::Parts::check_claim(std::size_t interface, const NeighbourQuery& query, std::uint64_t now_ms) {
  const IpAddress& claimed = query.kind == NeighbourQuery::Kind::kAdvertisement ? query.target : query.sender;
  if (!placed[interface].contains(claimed)) return;
  stats.conflicts++;
  const auto [reported, is_new] = reported_ms.try_emplace(claimed, now_ms);
  if (!is_new && now_ms < reported->second + kConflictReportMs) return;
  reported->second = now_ms;
  if (on_conflict) on_conflict({claimed, query.sender_mac, interfaces[interface].name});
}

void Announcer::Parts::handle(std::size_t interface, std::span<const std::uint8_t> frame, std::uint64_t now_ms) {
  const auto query = parse_neighbour_query(frame);
  if (!query) {
    stats.malformed++;
    return;
  }
  // Two interfaces on one link hear each other's announcements.
  const bool from_us =
      std::any_of(interfaces.begin(), interfaces.end(), [&](const InterfaceState& own) { return own.mac == query->sender_mac; });
  if (!from_us) check_claim(interface, *query, now_ms);
  if (from_us || !query->is_question() || query->claims(query->target) || !placed[interface].contains(query->target)) {
    stats.ignored++;
    return;
  }
  stats.requests++;
  if (!take_token(now_ms)) {
    stats.limited++;
    return;
  }
  send(interface, build_answer(*query, interfaces[interface].mac), stats.answers);
}

int Announcer::fd() const { return parts_->epoll_fd; }

void Announcer::process(std::uint64_t now_ms) {
  std::array<epoll_event, 32> events;
  const int ready = epoll_wait(parts_->epoll_fd, events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < ready; i++) {
    const std::size_t interface = events[static_cast<std::size_t>(i)].data.u64 / 2;
    const bool arp = events[static_cast<std::size_t>(i)].data.u64 % 2 == 0;
    std::array<std::uint8_t, 2048> buffer;
    for (int n = 0; n < kFramesPerProcess; n++) {
      const PacketSocket* socket = parts_->sockets[interface].get();
      if (socket == nullptr) break;
      const auto frame = PacketSocket::receive(arp ? socket->arp_fd() : socket->nd_fd(), buffer);
      if (frame.empty()) break;
      parts_->handle(interface, frame, now_ms);
    }
  }
}

const AnnouncerStats& Announcer::stats() const { return parts_->stats; }

}  // namespace millrace
