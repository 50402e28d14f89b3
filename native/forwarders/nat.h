// NAT (IPVS "masquerading"): only the destination changes, the server sees the client. The server's way back to the client must
// lead through the balancer, which restores the VIP.
//
//   inbound    client:cport -> VIP:vport       ==>  client:cport -> server:sport
//   outbound   server:sport -> client:cport    ==>  VIP:vport -> client:cport
//
// Thread: one worker.
#pragma once

#include "pipeline/session_key.h"

namespace millrace::nat {

inline FlowTuple to_server(const WorkerState& state, const Session& session) {
  return {session.client, state.server_slots[session.server].address, session.client_port, server_port_of(state, session)};
}

}  // namespace millrace::nat
