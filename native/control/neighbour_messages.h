// ARP and neighbour discovery messages as the announcer needs them: outside bytes in, checked values out, and frames to send.
// Guarantees: parse_neighbour_query() reads only inside the span, whatever the bytes; frames are complete Ethernet frames.
// Sources: RFC 826 (ARP), RFC 5227 (probes and announcements), RFC 4861 (neighbour discovery).
// Thread: any. No state, no system calls.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "net/address.h"

namespace millrace {

/// A question about an address, or somebody's claim to one.
struct NeighbourQuery {
  enum class Kind : std::uint8_t { kArpRequest, kArpReply, kSolicitation, kAdvertisement };
  Kind kind = Kind::kArpRequest;
  /// Who speaks. `sender` is unspecified in a probe (RFC 5227 1.1) and in duplicate address detection (RFC 4862 5.4.2).
  IpAddress sender;
  MacAddress sender_mac;
  /// What is asked for or, in an advertisement, claimed.
  IpAddress target;

  bool is_question() const { return kind == Kind::kArpRequest || kind == Kind::kSolicitation; }
  /// True when the speaker says that `address` is his: the sender of ARP, the target of an advertisement, the source of a
  /// solicitation.
  bool claims(const IpAddress& address) const { return kind == Kind::kAdvertisement ? target == address : sender == address; }
};

/// A frame to send, at most one neighbour advertisement with a link-layer option.
struct NeighbourFrame {
  std::array<std::uint8_t, 86> bytes{};
  std::uint8_t length = 0;
  std::span<const std::uint8_t> span() const { return {bytes.data(), length}; }
};

enum class AnnouncementForm : std::uint8_t {
  kRequest,  ///< ARP announcement (RFC 5227 2.3); the same frame as kReply for IPv6
  kReply     ///< gratuitous ARP reply, for stacks that learn only from replies; unsolicited advertisement (RFC 4861 7.2.6)
};

/// Reads an Ethernet frame. Nothing for frames that are neither ARP nor neighbour solicitation or advertisement, and for
/// malformed ones: the caller's filter has already let through only ARP and ND, so to it nothing means malformed.
std::optional<NeighbourQuery> parse_neighbour_query(std::span<const std::uint8_t> frame);

/// The answer "`query.target` is at `own`". `query` is a question.
NeighbourFrame build_answer(const NeighbourQuery& query, const MacAddress& own);

/// Tells everyone on the link that `address` is at `own`.
NeighbourFrame build_announcement(const IpAddress& address, const MacAddress& own, AnnouncementForm form);

/// ff02::1:ffXX:XXXX (RFC 4291 2.7.1).
IpAddress solicited_node_group(const IpAddress& address);
/// 33:33:XX:XX:XX:XX (RFC 2464 7).
MacAddress multicast_mac(const IpAddress& group);

}  // namespace millrace
