// Which packets of inside hosts the outbound gateway takes: the decision of af_xdp.bpf.c, for captures. By addresses, interface, protocol
// and port; fragments behind the first have no ports and are judged without, ICMP errors by addresses alone: their session decides.
// Guarantees: the same answer as the program for every frame whose destination is not ours (test/native/ports/selection_test.cc
// compares them in the kernel); reads only inside the frame. Threads: any. Immutable once made.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "net/address.h"
#include "tables/snapshot.h"

namespace millrace {

class OutboundSelection {
 public:
  OutboundSelection() = default;
  /// `rules` as TableBuilder::outbound_matches() has them; `kernel` are the host's own addresses, which are no destinations of others.
  OutboundSelection(std::span<const ServiceMatch> rules, std::span<const IpAddress> kernel)
      : rules_(rules.begin(), rules.end()), kernel_(kernel.begin(), kernel.end()) {}

  /// Whether a rule takes the frame, which arrived on `interface`.
  bool wants(std::span<const std::uint8_t> frame, std::uint16_t interface) const;

 private:
  struct Question;
  static bool read_ipv4(std::span<const std::uint8_t> l3, Question& question);
  static bool read_ipv6(std::span<const std::uint8_t> l3, Question& question);
  static bool takes(const ServiceMatch& rule, const Question& question);

  std::vector<ServiceMatch> rules_;
  std::unordered_set<IpAddress, AddressHash> kernel_;
};

}  // namespace millrace
