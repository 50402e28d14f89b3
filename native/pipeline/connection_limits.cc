// Limits on connections, as a worker sees them.
#include "pipeline/connection_limits.h"

#include <utility>

namespace millrace {

namespace {

/// Takes over the limits of new tables: `own(slot)` is how many sessions of this worker a slot has.
template <class Limited, class Own>
void follow(WorkerLimits::Map& known, const Limited& wanted, std::uint32_t* gates, Own own) {
  WorkerLimits::Map next;
  for (const auto& [slot, limits] : wanted) {
    next[slot] = limits;
    ConnectionGate gate(gates[slot]);
    const auto before = known.find(slot);
    if (before == known.end()) {
      gate.add(own(slot), limits);
    } else if (limits.upper > before->second.upper) {
      gate.reopen(limits);
    }
  }
  for (const auto& [slot, limits] : known) {
    if (!next.contains(slot)) ConnectionGate(gates[slot]).forget(own(slot));
  }
  known = std::move(next);
}

}  // namespace

void follow_limits(WorkerState& state) {
  const ServiceTables& tables = *state.snapshot->services;
  WorkerLimits& limits = state.limits;
  if (limits.server_gates == nullptr) return;
  if (tables.limited_servers.empty() && tables.limited_services.empty() && limits.empty()) return;
  follow(limits.servers, tables.limited_servers, limits.server_gates,
         [&](ServerSlot slot) { return static_cast<std::uint32_t>(sessions_now(state.server_stats[slot])); });
  follow(limits.services, tables.limited_services, limits.service_gates,
         [&](ServiceSlot slot) { return limits.service_sessions[slot]; });
}

std::int32_t pick_within_limits(WorkerState& state, const ServiceTable& service, const PickContext& asked, DropReason& reason) {
  WorkerLimits& limits = state.limits;
  const auto of_service = limits.services.find(service.slot);
  if (of_service != limits.services.end() &&
      !ConnectionGate(limits.service_gates[service.slot]).enter(of_service->second)) {
    return reason = DropReason::connection_limit, -1;
  }
  // A server that filled up between the scheduler's look and ours is closed now: the scheduler will not choose it again.
  for (std::size_t tries = 0; tries <= service.servers.size(); tries++) {
    const std::int32_t picked = state.schedulers->pick(service, PickContext(asked));
    if (picked < 0) break;
    const ServerSlot slot = service.servers[static_cast<std::size_t>(picked)].slot;
    const auto of_server = limits.servers.find(slot);
    if (of_server == limits.servers.end()) return picked;
    ConnectionGate gate(limits.server_gates[slot]);
    if (scheduler_ignores_thresholds(service.scheduler) && gate.closed()) {
      gate.enter_anyway(of_server->second);
      return picked;
    }
    if (gate.enter(of_server->second)) return picked;
  }
  if (of_service != limits.services.end()) ConnectionGate(limits.service_gates[service.slot]).leave(of_service->second);
  return reason = DropReason::no_server, -1;
}

void leave_limits(WorkerState& state, ServiceSlot service, ServerSlot server) {
  WorkerLimits& limits = state.limits;
  if (limits.empty()) return;
  const auto of_service = limits.services.find(service);
  if (of_service != limits.services.end()) ConnectionGate(limits.service_gates[service]).leave(of_service->second);
  const auto of_server = limits.servers.find(server);
  if (of_server != limits.servers.end()) ConnectionGate(limits.server_gates[server]).leave(of_server->second);
}

}  // namespace millrace
