// Persistence: a new connection of a persistent service goes where its client's last one went. The templates that say so are shared
// by all workers (tables/template_table.h); only a new connection reaches for them, and the end of one that a template has decided
// about. Thread: one worker.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/worker_state.h"
#include "tables/template_table.h"

namespace millrace {

/// What persistence says about a new connection.
struct PersistentChoice {
  enum class Kind : std::uint8_t {
    kNone,    ///< nothing: the scheduler decides
    kServer,  ///< `server`, an index into the service's list
    kRefuse   ///< the template cannot be looked at now; the client will try again
  };
  Kind kind = Kind::kNone;
  std::uint32_t server = 0;
  /// Taken for the new session: give it back if there will be none.
  TemplateId held = kNoTemplate;
};

/// Where the client's template sends it, if it has one.
PersistentChoice find_template(WorkerState& state, const ServiceTable& service, const PacketMeta& meta);

/// Remembers the scheduler's choice for the client. Another worker may have been faster: then its choice is the answer.
PersistentChoice remember_choice(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, std::uint32_t picked);

/// A session that a template decided about could not begin.
inline void release_template(WorkerState& state, TemplateId id) { state.templates->release(id, state.now_ms); }

/// It is over: since its time has run out, which the worker may have noticed late, or now.
inline void release_template(WorkerState& state, const Session& session, TemplateId id) {
  const bool ran_out = static_cast<std::int32_t>(state.now_ms - session.deadline_ms) > 0;
  state.templates->release(id, ran_out ? session.deadline_ms : state.now_ms);
}

/// Frees templates whose time is over. Each worker has its share of the stripes and looks at one in each millisecond.
void sweep_templates(WorkerState& state, std::uint32_t budget);

}  // namespace millrace
