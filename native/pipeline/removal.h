// What becomes of sessions whose server, or service, is removed with onRemoval drop or reset. The worker walks its sessions a few at a
// time when it sees tables that say so, and marks them in the fields of their next hops: so the packets of all other sessions pay nothing,
// and those of marked ones end in the slow path of resolve.cc.
// drop: packets are dropped, and a server that comes back before the sessions have timed out finds them as they were.
// reset: a session of TCP waits for its next packet, from either side. That packet holds the sequence numbers that both sides expect: its
// sender is answered with a reset, and the other side gets one in place of the packet. Sessions without resets to send end at once.
// Thread: one worker.
#pragma once

#include "pipeline/parse.h"
#include "pipeline/resolve.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// No next hop has this number, and no route generation is 0.
inline constexpr NextHopId kCutMark = 65535;
/// In the place of the next hop towards the client.
inline constexpr NextHopId kCutDrop = 0;
inline constexpr NextHopId kCutReset = 1;
/// The same, whatever becomes of the server: somebody wanted this session to end (session_query.h).
inline constexpr NextHopId kCutKilled = 2;

inline bool is_cut(const Session& session) { return session.route_generation == 0 && session.next_hop_server == kCutMark; }

/// When the worker begins to see other ServiceTables than before.
void begin_cutting(WorkerState& state);
/// Some more sessions. Returns whether there were any to look at.
bool continue_cutting(WorkerState& state);

/// A packet of a marked session: the resets that it leads to. `verdict` says already that it is dropped.
void answer_cut(WorkerState& state, const NetworkView& network, SessionId id, Direction direction, Packet& packet,
                const PacketMeta& meta, Verdict& verdict);

}  // namespace millrace
