// MemoryPort: a port whose far end is in the same process: for tests and benches of everything above the ports.
//
//   far end: inject() --> arriving ring --> receive()   worker
//            take()   <-- sent ring     <-- transmit()
//
// Guarantees: packets keep their order; nothing is copied except by inject(bytes); without room nothing is taken, as on a device.
// Threads: receive, transmit and flush belong to the worker; the far end may be another thread if it injects frames of its own
// pool (inject(bytes) draws from the worker's pool and so belongs to the worker's thread). All frames still inside at destruction
// are released to the worker's pool.
#pragma once

#include <cstdint>
#include <span>

#include "core/batch.h"
#include "core/packet_memory.h"
#include "core/spsc_ring.h"

namespace millrace {

class MemoryPort {
 public:
  struct Options {
    /// What Packet::interface says of packets that arrive here.
    std::uint16_t interface_index = 0;
    /// Packets that fit into each direction, rounded up to a power of two.
    std::uint32_t ring_size = 1024;
    /// Frees transmitted frames in flush() instead of keeping them for take(): for benches that only count.
    bool discard_sent = false;
  };
  MemoryPort(FramePool& pool, const Options& options);
  ~MemoryPort();
  MemoryPort(const MemoryPort&) = delete;
  MemoryPort& operator=(const MemoryPort&) = delete;

  // Concept Port (ports/port.h).
  std::uint32_t receive(Batch& batch);
  std::uint32_t transmit(std::span<const Packet> packets);
  std::uint32_t flush();

  // Far end.
  /// Copies an Ethernet frame into a free frame of the worker's pool and lets it arrive; false when there is no frame, no room,
  /// or the bytes do not fit into one frame.
  bool inject(std::span<const std::uint8_t> bytes);
  /// Lets packets arrive whose frames the caller owns; returns how many were taken. Packet::interface is set here.
  std::uint32_t inject(std::span<const Packet> packets);
  /// Moves transmitted packets out; their frames then belong to the caller. Returns how many.
  std::uint32_t take(std::span<Packet> out) { return static_cast<std::uint32_t>(sent_.pop(out)); }

  /// Packets given to transmit() since the beginning, and their bytes.
  std::uint64_t sent_packets() const { return sent_packets_; }
  std::uint64_t sent_bytes() const { return sent_bytes_; }

 private:
  FramePool& pool_;
  const Options options_;
  SpscRing<Packet> arriving_;
  SpscRing<Packet> sent_;
  std::uint64_t sent_packets_ = 0;
  std::uint64_t sent_bytes_ = 0;
};

}  // namespace millrace
