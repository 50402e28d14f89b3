// What the pipeline writes into the worker's log: which event a refusal is, and between whom it was.
// Guarantees: reached only where a packet or a session is refused already; costs a comparison or two where the event has had its share of
// the second. Thread: one worker.
#pragma once

#include "core/log_ring.h"
#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// A session that could not begin with this packet. `server` is kNoLogSlot where none had been chosen.
void log_refused(WorkerState& state, const ServiceTable& service, const PacketMeta& meta, std::uint32_t server, DropReason reason);

/// A packet without a session; `service` and `server` are kNoLogSlot where there is none.
void log_packet(WorkerState& state, LogEvent event, DropReason reason, const PacketMeta& meta, std::uint32_t service, std::uint32_t server,
                std::uint64_t value);

/// A packet of a session, of either direction: the record names the client and where it connected to.
void log_session(WorkerState& state, LogEvent event, DropReason reason, SessionId id, const Session& session, std::uint64_t value);
/// The same for a limit on packets or bits per second.
void log_rate_limit(WorkerState& state, DropReason reason, SessionId id, const Session& session);

/// A packet that has waited for its neighbour in vain: it is looked at again for its flow.
void log_waited(WorkerState& state, const Packet& packet);

/// What concerns no flow, with a number that says where.
void log_place(WorkerState& state, LogEvent event, DropReason reason, std::uint64_t value);

}  // namespace millrace
