// Full NAT: client:port -> VIP:port becomes local:port -> server:port, and back. Both addresses and both ports change, so the
// server answers to the balancer whatever its routes are. The families of client and server may differ (64, 46).
//
//   inbound    client:cport -> VIP:vport       ==>  local:lport -> server:sport
//   outbound   server:sport -> local:lport     ==>  VIP:vport -> client:cport
//
// Thread: one worker.
#pragma once

#include "pipeline/session_key.h"

namespace millrace::fullnat {

/// What the client's packets look like on their way to the server.
inline FlowTuple to_server(const WorkerState& state, const Session& session) {
  return {state.local_slots[session.local].address, state.server_slots[session.server].address, session.local_port,
          server_port_of(state, session)};
}

}  // namespace millrace::fullnat
