// TCP segments that the balancer sends in the name of one end of a connection: PROXY headers, acknowledgements, resets.
// Thread: one worker.
#pragma once

#include <cstdint>
#include <span>

#include "pipeline/session_key.h"

namespace millrace {

/// A segment as it leaves: addresses, ports and numbers are those that its receiver knows.
struct OwnSegment {
  FlowTuple tuple;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledgement = 0;
  std::uint8_t flags = 0;
  std::uint16_t window = 0;
  bool timestamps = false;
  std::uint32_t tsval = 0;
  std::uint32_t tsecr = 0;
  std::span<const std::uint8_t> payload{};
};

/// Writes IP and TCP header and payload, checksums included, from `l3` on. Returns how many bytes.
std::uint32_t write_segment(const OwnSegment& segment, std::uint8_t* l3);

/// Writes it into a frame of this worker's. False when there is no frame, or it is longer than the link carries.
bool make_segment(WorkerState& state, const OwnSegment& segment, const NextHop& hop, Packet& packet);

/// The next hop to `destination`, if it is known and can be used now; nullptr otherwise.
const NextHop* ready_hop(WorkerState& state, const IpAddress& destination);

/// make_segment(), sent after this batch. False when it could not be.
bool send_segment(WorkerState& state, const OwnSegment& segment, const NextHop& hop);

}  // namespace millrace
