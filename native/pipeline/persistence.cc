// Between a service's list of servers and the templates that name them by address.
#include "pipeline/persistence.h"

#include "pipeline/log_flow.h"

namespace millrace {

namespace {

/// Templates looked at per millisecond.
constexpr std::uint32_t kSweptPerMs = 64;

TemplateKey key_of(const Persistence& persistence, const PacketMeta& meta) {
  return {{meta.source.high & persistence.mask.high, meta.source.low & persistence.mask.low}, persistence.scope};
}

/// Whether a new session may go where a template says: the server is there, and drained only if that is no reason.
bool is_usable(const ServiceTable& service, const TemplateServer& server) {
  const Persistence& persistence = *service.persistence;
  const auto found = persistence.servers.find(server);
  if (found == persistence.servers.end()) return false;
  return !persistence.expire_quiescent || service.servers[found->second].weight != 0;
}

PersistentChoice choice_of(const ServiceTable& service, const TemplateTable::Answer& answer) {
  if (answer.outcome == TemplateTable::Outcome::kBusy) return {PersistentChoice::Kind::kRefuse};
  if (answer.outcome != TemplateTable::Outcome::kTaken) return {};
  return {PersistentChoice::Kind::kServer, service.persistence->servers.find(answer.server)->second, answer.id};
}

}  // namespace

PersistentChoice find_template(WorkerState& state, const ServiceTable& service, const PacketMeta& meta) {
  const auto answer = state.templates->find(key_of(*service.persistence, meta), state.now_ms,
                                            [&](const TemplateServer& server) { return is_usable(service, server); });
  return choice_of(service, answer);
}

PersistentChoice remember_choice(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, std::uint32_t picked) {
  const Persistence& persistence = *service.persistence;
  const ServerIdentity& server = state.server_slots[service.servers[picked].slot];
  const TemplateServer remembered = persistence.remembered({server.address, server.port});
  bool existed = false;
  const auto answer = state.templates->add(key_of(persistence, meta), remembered, persistence.timeout_ms, state.now_ms,
                                           [&](const TemplateServer& other) { return existed = is_usable(service, other); });
  if (answer.outcome == TemplateTable::Outcome::kAbsent) {
    // Better served without memory than not served: who has a template keeps it.
    state.counters.add(Counter::templates_refused);
    log_packet(state, LogEvent::templates_full, DropReason::kCount, meta, service.slot, service.servers[picked].slot, 0);
    return {PersistentChoice::Kind::kServer, picked};
  }
  if (answer.outcome == TemplateTable::Outcome::kTaken && !existed) {
    state.counters.add(Counter::templates_created);
    return {PersistentChoice::Kind::kServer, picked, answer.id};
  }
  return choice_of(service, answer);
}

void sweep_templates(WorkerState& state, std::uint32_t budget) {
  TemplateTable& templates = *state.templates;
  std::uint32_t freed = 0;
  if (budget == UINT32_MAX) {
    for (std::uint32_t s = state.worker; s < TemplateTable::kStripes; s += state.workers) freed += templates.sweep(s, budget, state.now_ms);
  } else if (state.template_sweep_ms != state.now_ms) {
    state.template_sweep_ms = state.now_ms;
    freed = templates.sweep(state.template_stripe, kSweptPerMs, state.now_ms);
    state.template_stripe += state.workers;
    if (state.template_stripe >= TemplateTable::kStripes) state.template_stripe = state.worker;
  }
  state.counters.add(Counter::templates_expired, freed);
}

}  // namespace millrace
