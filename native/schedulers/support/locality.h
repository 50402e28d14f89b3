// What lblc and lblcr share: finding a remembered server in today's list, and when a server counts as overloaded.
// Thread: the worker that schedules. No state.
#pragma once

#include "schedulers/support/destination_cache.h"
#include "schedulers/support/least.h"

namespace millrace {

/// A server as it is remembered: by address, so that one that left and came back is known again even if it has another slot.
struct RememberedServer {
  IpAddress address;
  be16 port;
  ServerSlot slot = 0;
  /// Where it was in the list last; only a first guess.
  std::uint32_t index = 0;
};

inline RememberedServer remember(std::span<const ServerView> servers, const PickContext& context, std::int32_t index) {
  RememberedServer server;
  server.index = static_cast<std::uint32_t>(index);
  server.slot = servers[server.index].slot;
  if (context.identities != nullptr) {
    server.address = context.identities[server.slot].address;
    server.port = context.identities[server.slot].port;
  }
  return server;
}

inline bool is_that(const ServerView& view, const PickContext& context, const RememberedServer& server) {
  if (context.identities == nullptr) return view.slot == server.slot;
  return context.identities[view.slot].address == server.address && context.identities[view.slot].port == server.port;
}

/// Index of a remembered server in the list, -1 if it is not in it.
inline std::int32_t recall(std::span<const ServerView> servers, const PickContext& context, RememberedServer& server) {
  if (server.index < servers.size() && is_that(servers[server.index], context, server))
    return static_cast<std::int32_t>(server.index);
  for (std::size_t index = 0; index < servers.size(); index++) {
    if (!is_that(servers[index], context, server)) continue;
    server.index = static_cast<std::uint32_t>(index);
    return static_cast<std::int32_t>(index);
  }
  return -1;
}

/// More active sessions than its weight, while some server has not half as many as its own weight.
inline bool is_overloaded(std::span<const ServerView> servers, const PickContext& context, const ServerView& server) {
  if (context.loads.of(server.slot).active <= server.weight) return false;
  for (const ServerView& other : servers) {
    if (context.loads.of(other.slot).active * 2 < other.weight) return true;
  }
  return false;
}

}  // namespace millrace
