// Which packets of a capture the XDP program would give to workers: the decision of af_xdp.bpf.c, for replay.
// Guarantees: the same answer as the program for every frame (test/native/ports/selection_test.cc compares them in the kernel);
// reads only inside the frame. Threads: any. Immutable once made.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_set>

#include "net/address.h"
#include "tables/snapshot.h"

namespace millrace {

/// An IP packet, or something else, behind the Ethernet header and its tags.
struct TaggedPacket {
  be16 type{};
  std::span<const std::uint8_t> l3;
};
/// None when the frame ends before.
std::optional<TaggedPacket> behind_tags(std::span<const std::uint8_t> frame);

/// The destination of an IP packet behind up to two tags, unless it is the kernel's by its kind (neighbour discovery).
std::optional<IpAddress> steerable_destination(std::span<const std::uint8_t> frame);

/// Answers of NAT servers, whose destination is a client.
class AnswerSelection {
 public:
  AnswerSelection() = default;
  /// `servers` as in NatServers::endpoints; `kernel` are the host's own addresses.
  AnswerSelection(std::span<const ServiceKey> servers, std::span<const IpAddress> kernel);

  /// Whether the frame comes from such a server's port, is a fragment from such a server, or an ICMP error about a packet to one.
  bool wants(std::span<const std::uint8_t> frame) const;

 private:
  bool wants_ipv4(std::span<const std::uint8_t> l3) const;
  bool wants_ipv6(std::span<const std::uint8_t> l3) const;
  bool is_server(const IpAddress& address, be16 port, std::uint8_t protocol) const {
    return servers_.contains({address, port, protocol}) || servers_.contains({address, be16(0), protocol});
  }

  std::unordered_set<ServiceKey, ServiceKeyHash> servers_;
  /// The same without ports, for fragments.
  std::unordered_set<ServiceKey, ServiceKeyHash> hosts_;
  std::unordered_set<IpAddress, AddressHash> kernel_;
};

}  // namespace millrace
