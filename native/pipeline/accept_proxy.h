// Taking off the PROXY headers of balancers in front (TCP). The server hears nothing from the client, not even the end of the handshake,
// until the header is whole: so what it is told of the client is right from the first moment.
// Thread: one worker.
#pragma once

#include "pipeline/client_address.h"

namespace millrace {

/// A client's segment while its header is still to come. True: the header has ended in this segment and has been left out; the rest goes
/// on. False: the segment goes no further.
bool take_front(Telling& telling);

// Of client_address_tcp.cc, for take_front():
/// Counts on a PROXY header of our own in front of the client's first byte.
void begin_header(Telling& telling);
/// Leaves out the first `count` bytes of the segment's payload.
void leave_out_front(Telling& telling, std::uint32_t count);

}  // namespace millrace
