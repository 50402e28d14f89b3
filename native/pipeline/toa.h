// TOA: the client's address as a TCP option of the segments that the server gets. Thread: one worker.
#pragma once

#include <cstdint>

#include "pipeline/client_address.h"

namespace millrace {

/// Puts the option first into the segment. Where options leave no room, some go (prune_options()); where the link leaves none, the segment
/// is divided. Where nothing helps, it leaves without, and that is noted.
void insert_toa(Telling& telling);

/// Copies options into `out`, as many as fit into `room` bytes; returns their length, a multiple of 4, or -1 when those that must stay do
/// not fit. What goes, in this order, each only if still needed: padding; kinds that nobody knows; on segments without SYN the oldest SACK
/// blocks, then SACK; Multipath TCP; Fast Open. MSS, window scale, SACK-permitted, timestamps and authentication stay.
std::int32_t prune_options(std::span<const std::uint8_t> options, bool syn, std::uint32_t room, std::span<std::uint8_t> out);

}  // namespace millrace
