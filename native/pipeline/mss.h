// MSS clamping: a SYN or SYN-ACK announces no more than the narrower of the two links carries, so that no full segment is too big
// for either (RFC 9293 3.7.1, RFC 4459 3.2).
// Thread: one worker.
#pragma once

#include "net/headers.h"
#include "pipeline/parse.h"

namespace millrace {

/// Lowers the MSS option of a SYN or SYN-ACK to `limit` bytes (0: no limit known); the checksum follows. False when it was
/// small enough or absent (an absent option means 536 or 1220 and fits every link). The parser has checked the options' bounds.
bool clamp_mss(const Packet& packet, const PacketMeta& meta, std::uint16_t limit);

}  // namespace millrace
