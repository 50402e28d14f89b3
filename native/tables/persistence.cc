// From configuration to what workers look at. Control thread only.
#include "tables/persistence.h"

#include <vector>

#include "core/siphash.h"

namespace millrace {

namespace {

std::uint64_t scope_of(std::string_view kind, std::string_view name) {
  std::vector<std::uint8_t> bytes(kind.begin(), kind.end());
  bytes.insert(bytes.end(), name.begin(), name.end());
  return SipHash13({0x7065727369737465ull, 0x6e63652073636f70ull})(bytes);
}

IpAddress first_bits(std::uint32_t bits) {
  std::uint8_t mask[16] = {};
  for (std::uint32_t bit = 0; bit < bits; bit++) mask[bit / 8] |= static_cast<std::uint8_t>(0x80u >> (bit % 8));
  return IpAddress::v6(mask);
}

}  // namespace

std::shared_ptr<const Persistence> build_persistence(const PersistenceConfig& config, std::string_view service,
                                                     std::span<const TemplateServer> servers) {
  if (config.timeout_ms == 0) return nullptr;
  auto built = std::make_shared<Persistence>();
  built->whole_hosts = !config.group.empty();
  built->scope = built->whole_hosts ? scope_of("group:", config.group) : scope_of("service:", service);
  built->mask = first_bits(config.prefix);
  built->timeout_ms = config.timeout_ms;
  built->expire_quiescent = config.expire_quiescent;
  for (std::uint32_t i = 0; i < servers.size(); i++) built->servers.try_emplace(built->remembered(servers[i]), i);
  return built;
}

}  // namespace millrace
