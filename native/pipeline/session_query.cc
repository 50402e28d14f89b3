// Filtering, copying and ending.
#include "pipeline/session_query.h"

#include <algorithm>

#include "pipeline/create.h"
#include "pipeline/removal.h"
#include "pipeline/session_key.h"

namespace millrace {

namespace {

/// Sessions looked at in one turn: about as long as a batch of packets takes.
constexpr std::uint32_t kPerTurn = 512;

SessionRow row_of(const WorkerState& state, SessionId id, const Session& session) {
  const SessionDetail& detail = state.sessions->detail(id);
  const bool full_nat = session.mode == ForwardMode::kFullNat || session.mode == ForwardMode::kSnat;
  const std::uint32_t left = session.deadline_ms - state.now_ms;
  return {.client = session.client,
          .vip = vip_of(state, session, detail),
          .local = full_nat ? state.local_slots[session.local].address : session.client,
          .server = server_address_of(state, session, detail),
          .client_port = session.client_port,
          .vip_port = session.vip_port,
          .local_port = full_nat ? session.local_port : session.client_port,
          .server_port = session.mode == ForwardMode::kSnat ? session.vip_port : server_port_of(state, session),
          .service = session.service,
          .server_slot = session.server,
          .worker = state.worker,
          .id = id,
          // Past: the timer has not come by yet.
          .expires_ms = static_cast<std::int32_t>(left) < 0 ? 0 : left,
          .packets_in = session.packets_in,
          .packets_out = session.packets_out,
          .protocol = session.protocol,
          .state = session.state,
          .mode = session.mode};
}

void end_one(WorkerState& state, SessionId id, Session& session) {
  if (session.protocol != net::kProtocolTcp) {
    end_session(state, id);
    return;
  }
  session.route_generation = 0;
  session.next_hop_server = kCutMark;
  session.next_hop_client = kCutKilled;
}

}  // namespace

SessionQuery::SessionQuery(SessionFilter filter, SessionId cursor, std::uint32_t limit, bool end)
    : filter_(std::move(filter)), cursor_(cursor), limit_(limit), end_(end) {
  std::sort(filter_.services.begin(), filter_.services.end());
  std::sort(filter_.servers.begin(), filter_.servers.end());
  rows_.reserve(limit);
}

bool SessionQuery::matches(const Session& session) const {
  if (filter_.protocol != 0 && session.protocol != filter_.protocol) return false;
  if (filter_.client_port.raw != 0 && session.client_port != filter_.client_port) return false;
  if (!filter_.services.empty() && !std::binary_search(filter_.services.begin(), filter_.services.end(), session.service)) return false;
  if (!filter_.servers.empty() && !std::binary_search(filter_.servers.begin(), filter_.servers.end(), session.server)) return false;
  return !filter_.client || filter_.client->contains(session.client);
}

bool SessionQuery::advance(WorkerState& state) {
  const bool listing = limit_ != 0;
  SessionId stopped = kNoSession;
  const SessionId next = state.sessions->for_each(cursor_, kPerTurn, [&](SessionId id, Session& session) {
    if (stopped != kNoSession || !matches(session)) return;
    if (listing && rows_.size() == limit_) {
      stopped = id;
      return;
    }
    matched_++;
    if (listing) rows_.push_back(row_of(state, id, session));
    if (end_) end_one(state, id, session);
  });
  cursor_ = stopped != kNoSession ? stopped : next;
  return stopped != kNoSession || next == kNoSession;
}

}  // namespace millrace
