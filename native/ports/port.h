// Port: how bytes arrive and leave. One Port object is one worker's share of one interface: a receive queue and a transmit queue.
// The pipeline does not know ports; the worker's loop is a template over this concept, so that production code runs over AF_XDP,
// captures and memory without a virtual call.
// Thread: all members are called by the worker that owns the port, except where a driver says otherwise.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include "core/batch.h"

namespace millrace {

template <typename P>
concept Port = requires(P port, Batch& batch, std::span<const Packet> packets) {
  /// Appends received packets to the batch until it is full or none wait; returns how many. No system call.
  { port.receive(batch) } -> std::same_as<std::uint32_t>;
  /// Queues packets for transmission, in order; returns how many were taken. The frames taken belong to the port until the
  /// device is done with them, then go to FramePool::release. The rest stays with the caller. No system call.
  { port.transmit(packets) } -> std::same_as<std::uint32_t>;
  /// Once per loop turn: starts transmission, reclaims sent frames, refills the receive side. The only place for system calls;
  /// returns how many were made.
  { port.flush() } -> std::same_as<std::uint32_t>;
};

}  // namespace millrace
