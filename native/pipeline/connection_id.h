// Sessions of services that go by QUIC connection id (schedulers/quic_cid.h): a client's address and port may have become another
// client's, whose packets carry the id of another server. So an id that names a server comes before the session, and the session
// before hashing. Thread: one worker.
#pragma once

#include "pipeline/find_service.h"
#include "pipeline/parse.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// The session that a packet of session `ref` goes on with: `ref`, or a new one in its place if the packet names another server
/// of the service. kNoRef if that one cannot be made; `verdict` then says why.
SessionRef follow_connection_id(WorkerState& state, const Packet& packet, const PacketMeta& meta, SessionRef ref,
                                Verdict& verdict);

}  // namespace millrace
