// Fragments: each is sent on as it came, to where the first one of its datagram goes; nothing is put together and nothing is kept
// longer than needed. docs/fragments-and-icmp.md has the picture.
//
// With several workers every fragment is handed to the home of its pair of addresses first (fragment_homes.h; of packets to a
// local address that is the address's owner). Where the first fragment finds no session there, it is passed from worker to
// worker; each remembers that, so the later ones follow on the same way, in the same rings and so in the same order. The worker
// that has the session keeps them. When nobody has it, the first fragment comes home and may begin a session there. Guarantees:
// what leaves carries the identification and offsets it came with. Thread: one worker.
#pragma once

#include "core/batch.h"
#include "pipeline/parse.h"
#include "pipeline/resolve.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Puts a fragment aside for run_fragments(); its verdict is not kNone until then, so that the other stages leave it alone.
inline void set_fragment_aside(WorkerState& state, Batch& batch, std::uint32_t number) {
  state.notes.fragments[state.notes.fragment_count++] = static_cast<std::uint8_t>(number);
  batch.verdicts[number] = Verdict::held();
}

/// Decides about the fragments of the batch, in their order.
void run_fragments(WorkerState& state, const NetworkView& network, Batch& batch);

/// Forgets datagrams whose time is over; what waited for their first fragment is dropped and its frames are freed.
void expire_fragments(WorkerState& state);

/// Whether packets of flows that are new here may belong to a session of another worker because fragments came first; `home` is
/// that worker.
bool may_be_at_fragment_home(const WorkerState& state, const PacketMeta& meta, std::uint32_t& home);
/// A session was created for a fragment, or for a packet that may_be_at_fragment_home() sent here.
void note_fragment_home(WorkerState& state, Session& session, const PacketMeta& meta);
/// Such a session ends.
void forget_fragment_home(WorkerState& state, const Session& session, const SessionDetail& detail);

/// Sends a packet that is too big for its link in pieces, where it may be cut; a fragment becomes smaller ones. What travels in a
/// tunnel or changes its family is cut before, everything else after translation.
void send_in_pieces(WorkerState& state, SessionId id, const Session& session, Direction direction, Packet& packet,
                    PacketMeta& meta, const NextHop& hop, Verdict& verdict);
/// IPv4 without DF.
bool may_be_cut(const Packet& packet, const PacketMeta& meta);

}  // namespace millrace
