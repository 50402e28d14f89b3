// SNAT: an outbound gateway. An inside host's packets leave with an address and port of the pool; answers find back.
//
//   inbound    inside:port -> outside:port     ==>  local:lport -> outside:port
//   outbound   outside:port -> local:lport     ==>  outside:port -> inside:port
//
// "Inbound" is the direction of whoever began, as everywhere. ICMP echo has its identifier in the place of the inside port.
// Thread: one worker.
#pragma once

#include "pipeline/session_key.h"

namespace millrace::snat {

inline FlowTuple to_outside(const WorkerState& state, const Session& session, const SessionDetail& detail) {
  return {state.local_slots[session.local].address, detail.destination, session.local_port, session.vip_port};
}

}  // namespace millrace::snat
