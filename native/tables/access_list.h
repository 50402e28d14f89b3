// Which clients may use a service: prefixes that are allowed or denied, the longest that holds the client's address decides. A hash
// table of all prefixes, asked once per prefix length in use, longest first: 100,000 prefixes cost what ten do, and only when a session
// begins.
// Threads: built by the control thread, immutable; workers read.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "net/address.h"

namespace millrace {

/// A prefix over the 16-byte form; bits of the address beyond it are 0.
struct AccessRule {
  IpAddress prefix;
  /// 0..128; of IPv4 96..128.
  std::uint8_t length = 0;
  bool allow = false;
  bool operator==(const AccessRule&) const = default;
};

class AccessList {
 public:
  /// `allow_others`: what becomes of clients that no prefix holds. Of two rules for one prefix the later one counts.
  AccessList(std::span<const AccessRule> rules, bool allow_others);

  bool allows(const IpAddress& client) const;

 private:
  struct Entry {
    IpAddress prefix;
    std::uint8_t length = 0;
    bool used = false;
    bool allow = false;
  };
  /// The entry of that prefix, or the free one where it belongs.
  std::size_t place_of(const IpAddress& prefix, std::uint8_t length) const;

  /// Open addressing, at most half full, so that a search ends soon.
  std::vector<Entry> entries_;
  /// Per family (0 IPv4, 1 IPv6): the lengths in use, longest first.
  std::vector<std::uint8_t> lengths_[2];
  bool allow_others_;
};

}  // namespace millrace
