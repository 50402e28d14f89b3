// Limits on packets and bits per second, as a worker sees them.
#include "pipeline/rate_limits.h"

#include <algorithm>
#include <array>
#include <utility>

namespace millrace {

namespace {

/// One limit that a packet has to pay.
struct Due {
  RateLeases* leases;
  SharedRates* shared;
  RateKind kind;
  DropReason reason;
};

std::array<Due, 4> dues_of(WorkerState& state, ServiceSlot service, ServerSlot server) {
  WorkerRates& rates = state.rates;
  RateLeases* of_service = &rates.services[service];
  RateLeases* of_server = &rates.servers[server];
  return {{{of_service, &rates.shared_services[service], RateKind::kPackets, DropReason::service_packet_rate},
           {of_service, &rates.shared_services[service], RateKind::kBits, DropReason::service_bandwidth},
           {of_server, &rates.shared_servers[server], RateKind::kPackets, DropReason::server_packet_rate},
           {of_server, &rates.shared_servers[server], RateKind::kBits, DropReason::server_bandwidth}}};
}

std::uint32_t units_of(RateKind kind, std::uint32_t bytes) { return kind == RateKind::kPackets ? 1 : bytes; }

void count_dropped(RateLeases& leases, Direction direction) {
  std::uint64_t& dropped = leases.dropped[static_cast<std::size_t>(direction)];
  store_relaxed(dropped, dropped + 1);
}

/// Takes over the limits of new tables.
void follow(std::vector<std::uint32_t>& known, RateLeases* leases, const std::vector<std::pair<std::uint32_t, RateLimits>>& wanted) {
  std::vector<std::uint32_t> now;
  for (const auto& [slot, limits] : wanted) now.push_back(slot);
  if (now != known) {
    // A slot may have another owner when it has limits again.
    std::vector<std::uint32_t> staying = now;
    std::sort(staying.begin(), staying.end());
    for (const std::uint32_t slot : known) {
      if (!std::binary_search(staying.begin(), staying.end(), slot)) leases[slot] = RateLeases{};
    }
  }
  for (const auto& [slot, limits] : wanted) leases[slot].limits = limits;
  known = std::move(now);
}

}  // namespace

void follow_rates(WorkerState& state) {
  WorkerRates& rates = state.rates;
  if (rates.servers == nullptr) return;
  const ServiceTables& tables = *state.snapshot->services;
  follow(rates.rated_servers, rates.servers, tables.rated_servers);
  follow(rates.rated_services, rates.services, tables.rated_services);
}

bool pay_for_packet(WorkerState& state, ServiceSlot service, ServerSlot server, Direction direction, std::uint32_t bytes,
                    DropReason& reason) {
  if (state.rates.servers == nullptr) return true;
  const std::array<Due, 4> dues = dues_of(state, service, server);
  for (std::size_t i = 0; i < dues.size(); i++) {
    const Due& due = dues[i];
    if (due.leases->spend(*due.shared, direction, due.kind, units_of(due.kind, bytes), state.now_ms)) continue;
    for (std::size_t paid = 0; paid < i; paid++) dues[paid].leases->unspend(direction, dues[paid].kind, units_of(dues[paid].kind, bytes));
    count_dropped(*due.leases, direction);
    return reason = due.reason, false;
  }
  return true;
}

bool has_room_for_packet(WorkerState& state, ServiceSlot service, ServerSlot server, std::uint32_t bytes, DropReason& reason) {
  if (state.rates.servers == nullptr) return true;
  for (const Due& due : dues_of(state, service, server)) {
    if (due.leases->has_room(*due.shared, Direction::kInbound, due.kind, units_of(due.kind, bytes), state.now_ms)) continue;
    count_dropped(*due.leases, Direction::kInbound);
    return reason = due.reason, false;
  }
  return true;
}

}  // namespace millrace
