// How a service remembers its clients: what the configuration says, and what workers make of it. Templates (template_table.h) name
// servers by address, because slots and places in a list go to others; here is where a service finds them again.
// Threads: built by the control thread, immutable once published; workers read.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "tables/template_table.h"

namespace millrace {

/// A timeout of 0: the service is not persistent.
struct PersistenceConfig {
  std::uint32_t timeout_ms = 0;
  /// How many bits of a client's address count, 1..128 over the 16-byte form.
  std::uint8_t prefix = 128;
  /// Clients of a server with weight 0 are scheduled anew (IPVS expire_quiescent_template).
  bool expire_quiescent = false;
  /// Services with the same one share their templates; empty: the service has its own.
  std::string group{};
  bool operator==(const PersistenceConfig&) const = default;
};

struct Persistence {
  /// Of the service, or of its group: a hash of the name, so that templates outlive a change of anything else.
  std::uint64_t scope = 0;
  /// What of a client's address counts.
  IpAddress mask{};
  std::uint32_t timeout_ms = 0;
  bool expire_quiescent = false;
  /// Templates name hosts without a port: those of a group.
  bool whole_hosts = false;
  /// Indices into ServiceTable::servers. Of several servers of one host, the first is the one that its clients are sent to.
  std::unordered_map<TemplateServer, std::uint32_t, TemplateServerHash> servers;

  TemplateServer remembered(const TemplateServer& server) const { return whole_hosts ? TemplateServer{server.address, be16(0)} : server; }
};

/// nullptr for a service that is not persistent. `servers` in the order of ServiceTable::servers.
std::shared_ptr<const Persistence> build_persistence(const PersistenceConfig& config, std::string_view service,
                                                     std::span<const TemplateServer> servers);

}  // namespace millrace
