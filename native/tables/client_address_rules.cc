// Finding rules that are the same, and their form for workers.
#include "tables/client_address_rules.h"

#include <algorithm>

#include "tables/configuration.h"

namespace millrace {

namespace {

/// From whom headers are accepted is asked when a connection begins, and no part of its rule.
ClientAddressConfig without_sources(ClientAddressConfig config) {
  config.accept_from.clear();
  return config;
}

ClientAddressRule rule_of(const ClientAddressConfig& config) {
  ClientAddressRule rule{config.method,    config.kind_ipv4,     config.kind_ipv6, config.on_syn, config.carrier, config.server_first,
                         config.datagrams, config.when_too_big, config.unique_id, config.crc32c, 0,              {}};
  for (const ProxyTlv& tlv : config.tlvs) {
    const std::size_t length = tlv.value.size();
    if (rule.tlv_length + 3 + length > rule.tlvs.size()) break;  // validated by src/config
    std::uint8_t* at = rule.tlvs.data() + rule.tlv_length;
    at[0] = tlv.type;
    at[1] = static_cast<std::uint8_t>(length >> 8);
    at[2] = static_cast<std::uint8_t>(length);
    std::copy(tlv.value.begin(), tlv.value.end(), at + 3);
    rule.tlv_length = static_cast<std::uint8_t>(rule.tlv_length + 3 + length);
  }
  return rule;
}

}  // namespace

bool ClientAddressRules::have_room_for(std::span<const ServiceConfig> services) const {
  std::vector<ClientAddressConfig> fresh;
  for (const ServiceConfig& service : services) {
    const ClientAddressConfig rule = without_sources(service.client_address);
    const auto knows = [&](const auto& rules) { return std::find(rules.begin(), rules.end(), rule) != rules.end(); };
    if (!knows(configs_) && !knows(fresh)) fresh.push_back(rule);
  }
  return configs_.size() + fresh.size() <= kMaxClientAddressRules;
}

std::uint16_t ClientAddressRules::number_of(const ClientAddressConfig& config) {
  ClientAddressConfig rule = without_sources(config);
  const auto known = std::find(configs_.begin(), configs_.end(), rule);
  const auto number = static_cast<std::uint16_t>(known - configs_.begin());
  if (known == configs_.end()) {
    rules_[number] = rule_of(rule);
    configs_.push_back(std::move(rule));
  }
  return number;
}

}  // namespace millrace
