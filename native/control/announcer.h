// Announcer: VIPs and local addresses are Millrace's own and the kernel knows nothing of them, so somebody else must answer ARP
// and neighbour solicitations for them and tell the link when they appear. That is this class, with packet sockets beside the
// data path.
// Guarantees: answers only for owned addresses that the kernel does not hold; bounded work per call; never fights over
// an address.
// Thread: the control thread alone. Nothing blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/neighbour_messages.h"
#include "control/network.h"
#include "core/result.h"

namespace millrace {

struct AnnouncerStats {
  std::uint64_t requests = 0;       ///< questions for an address of ours
  std::uint64_t answers = 0;        ///< answers sent
  std::uint64_t announcements = 0;  ///< unasked frames sent: gratuitous ARP, unsolicited advertisements
  std::uint64_t malformed = 0;      ///< ARP and ND frames that break their RFC
  std::uint64_t ignored = 0;        ///< well-formed frames about addresses of others
  std::uint64_t limited = 0;        ///< questions not answered because too many came
  std::uint64_t conflicts = 0;      ///< frames in which somebody else claims an address of ours
  std::uint64_t send_errors = 0;    ///< frames that the kernel did not take
};

/// Somebody else claims an address of ours. Reported at most once per address and 10 seconds; counted each time.
struct AddressConflict {
  IpAddress address;
  MacAddress claimant;
  /// Name of the interface on which it was heard.
  std::string interface;
};

class Announcer {
 public:
  using ConflictHandler = std::function<void(const AddressConflict&)>;

  /// Opens without sockets; each interface gets its own in set_interfaces(). Error: packet_socket_unavailable.
  static Result<std::unique_ptr<Announcer>> open(ConflictHandler on_conflict = {});
  ~Announcer();
  Announcer(const Announcer&) = delete;
  Announcer& operator=(const Announcer&) = delete;

  /// Call at start and whenever Network::take_interfaces_changed(). An interface that has become usable, or has a new MAC,
  /// announces its addresses again. Error: packet_socket_unavailable (names the interface); the other interfaces still work.
  Result<void> set_interfaces(std::vector<InterfaceState> interfaces, const std::vector<HostAddress>& kernel_addresses,
                              std::uint64_t now_ms);
  /// The addresses that are ours (VIPs and local addresses); new ones are announced, at once and again after a second.
  void set_owned(const std::vector<IpAddress>& addresses, std::uint64_t now_ms);

  /// Readable when process() has work.
  int fd() const;
  void process(std::uint64_t now_ms);
  void tick(std::uint64_t now_ms);
  /// When tick() has something to send; UINT64_MAX if never.
  std::uint64_t next_tick_ms() const;
  const AnnouncerStats& stats() const;

 private:
  struct Parts;
  explicit Announcer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace millrace
