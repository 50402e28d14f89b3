// ClientAddressRules: the rules by which servers are told of their clients, each once, by number. Sessions keep the number of the rule
// they began with, so a rule is never changed and its number never given to another one; number 0 tells and accepts nothing.
// Threads: written by the control thread before the tables that name a rule are published; data() is read by workers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tables/client_address.h"
#include "tables/slots.h"

namespace millrace {

struct ServiceConfig;

class ClientAddressRules {
 public:
  Result<void> reserve() { return rules_.reserve(kMaxClientAddressRules); }

  /// Whether the rules of these services fit beside those that there are.
  bool have_room_for(std::span<const ServiceConfig> services) const;
  /// Number of the rule; a new one if it has not occurred yet. have_room_for() has been asked.
  std::uint16_t number_of(const ClientAddressConfig& config);
  const ClientAddressRule* data() const { return rules_.data(); }

 private:
  StableArray<ClientAddressRule> rules_;
  /// What each of them was made from.
  std::vector<ClientAddressConfig> configs_ = std::vector<ClientAddressConfig>(1);
};

}  // namespace millrace
