// See outbound_selection.h. Kept beside af_xdp.bpf.c, function by function.
#include "ports/outbound_selection.h"

#include <algorithm>

#include "net/headers.h"
#include "ports/selection.h"

namespace millrace {

/// What the rules are asked about.
struct OutboundSelection::Question {
  enum class Kind : std::uint8_t { kOther, kWithPort, kLaterFragment, kError };
  IpAddress source;
  IpAddress destination;
  std::uint16_t interface = 0;
  Kind kind = Kind::kOther;
  std::uint8_t protocol = 0;
  std::uint16_t port = 0;

  /// `l4` is what is left of the packet behind its IP headers.
  void read_transport(std::uint8_t of_protocol, bool later, std::span<const std::uint8_t> l4) {
    protocol = of_protocol;
    if (protocol == net::kProtocolTcp || protocol == net::kProtocolUdp) {
      if (later) {
        kind = Kind::kLaterFragment;
      } else if (l4.size() >= 4) {
        kind = Kind::kWithPort;
        port = static_cast<std::uint16_t>(l4[2] << 8 | l4[3]);
      }
      return;
    }
    if (later || l4.empty()) return;
    const std::uint8_t type = l4[0];
    if (protocol == net::kProtocolIcmp) {
      if (type == net::kIcmpEchoRequest) kind = Kind::kWithPort;
      if (type == 3 || type == 11 || type == 12) kind = Kind::kError;
    } else if (protocol == net::kProtocolIcmpv6) {
      if (type == net::kIcmpv6EchoRequest) kind = Kind::kWithPort;
      if (type >= 1 && type <= 4) kind = Kind::kError;
    }
  }
};

bool OutboundSelection::read_ipv4(std::span<const std::uint8_t> l3, Question& question) {
  if (l3.size() < sizeof(net::Ipv4)) return false;
  const auto* ip = reinterpret_cast<const net::Ipv4*>(l3.data());
  const std::size_t header = ip->header_length();
  if (header < sizeof(net::Ipv4)) return false;
  question.source = IpAddress::v4(ip->source);
  question.destination = IpAddress::v4(ip->destination);
  const std::span<const std::uint8_t> l4 = header <= l3.size() ? l3.subspan(header) : std::span<const std::uint8_t>();
  question.read_transport(ip->protocol, (ip->fragment.host() & 0x1fff) != 0, l4);
  return true;
}

bool OutboundSelection::read_ipv6(std::span<const std::uint8_t> l3, Question& question) {
  if (l3.size() < sizeof(net::Ipv6)) return false;
  const auto* ip = reinterpret_cast<const net::Ipv6*>(l3.data());
  question.source = IpAddress::v6(ip->source);
  question.destination = IpAddress::v6(ip->destination);
  if (question.source.is_v4() || question.destination.is_v4()) return false;
  const std::span<const std::uint8_t> behind = l3.subspan(sizeof(net::Ipv6));
  if (ip->next_header != net::kProtocolIpv6Fragment) {
    question.read_transport(ip->next_header, false, behind);
    return true;
  }
  if (behind.size() < sizeof(net::Ipv6Fragment)) return false;
  const auto* fragment = reinterpret_cast<const net::Ipv6Fragment*>(behind.data());
  question.read_transport(fragment->next_header, (fragment->offset_more.host() & 0xfff8) != 0, behind.subspan(sizeof(net::Ipv6Fragment)));
  return true;
}

bool OutboundSelection::takes(const ServiceMatch& rule, const Question& question) {
  using Kind = Question::Kind;
  if (!rule.source.contains(question.source) || !rule.destination.contains(question.destination)) return false;
  if (rule.interface != kAnyInterface && rule.interface != question.interface) return false;
  if (question.kind == Kind::kError) return true;
  if (rule.protocol != 0 && rule.protocol != question.protocol) return false;
  return question.kind == Kind::kLaterFragment || rule.ports.contains(question.port);
}

bool OutboundSelection::wants(std::span<const std::uint8_t> frame, std::uint16_t interface) const {
  if (rules_.empty()) return false;
  const auto found = behind_tags(frame);
  if (!found || (frame[0] & 1) != 0) return false;  // what is sent to many goes through no gateway
  Question question;
  question.interface = interface;
  const bool ipv4 = found->type == net::kEtherTypeIpv4;
  if (!ipv4 && found->type != net::kEtherTypeIpv6) return false;
  if (!(ipv4 ? read_ipv4(found->l3, question) : read_ipv6(found->l3, question)) || question.kind == Question::Kind::kOther) return false;
  return !kernel_.contains(question.destination) &&
         std::any_of(rules_.begin(), rules_.end(), [&](const ServiceMatch& rule) { return takes(rule, question); });
}

}  // namespace millrace
